"""What `hypnod adapt` tells: who taught what, and what changed."""

import msgspec
from rich.table import Table

from models.spec import LearntAs
from tools.shared.plain import plain_console
from tools.train.report import PassReport, digits

READINGS = ("live", "final")


class Taught(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One subject in one recording."""

    recording: str
    subject: str
    channels: dict[str, str]
    """Label by modality."""
    hours: float
    """Of usable signal."""
    seconds: dict[str, int]
    """What the teacher is trusted in, by stage, s; empty where it is not."""
    left_out: str | None
    """Why nothing is learnt from it; null: it is."""
    learnt: LearntAs | None
    """What the bundle that it began with had used this very recording for; null: nothing."""


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A figure before and after."""

    before: float | None
    after: float | None


class Gain(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """By how much κ live with the teacher rose on what was held out."""

    kappa: float
    low: float
    """95 % interval, by a bootstrap over blocks."""
    high: float
    n_blocks: int


class AdaptReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What came of it."""

    command: str
    bundle: str
    """That it began with: name and first 12 digits of the hash."""
    teacher: str
    """SHA-256 of the teacher."""
    device: str
    minutes: float
    """All of it took."""
    recordings: tuple[Taught, ...]
    held_out: str
    """What nothing was learnt from, and the figures are of."""
    history: tuple[PassReport, ...]
    """Of the training."""
    taken: int
    """Which pass; 0: none was better."""
    seeds: dict[int, float]
    """κ live on what stopped it, by seed; the best was taken. Empty: subjects left out in turn."""
    kappa: dict[str, Change]
    """Agreement with the teacher on what was held out, by reading."""
    gain: Gain
    share: dict[str, Change]
    """Of each stage, live, in what was held out."""
    simulated: Change
    """κ live, the net's own, on simulated subjects that nobody learnt from."""
    written: str | None
    """The bundle; null: nothing was gained."""
    outcome: str
    """In words."""


def print_report(report: AdaptReport) -> None:
    """Print what was taught and what changed."""
    console = plain_console()
    table = Table("subject", "hours", "learnt from, min", title="recordings")
    for each in report.recordings:
        learnt = ", ".join(f"{stage} {s / 60:.0f}" for stage, s in each.seconds.items())
        table.add_row(each.subject, f"{each.hours:.1f}", each.left_out or learnt)
    console.print(table)
    if len(report.seeds) > 1:
        found = ", ".join(f"{seed}: {digits(kappa)}" for seed, kappa in report.seeds.items())
        console.print(f"κ on what stops it, by seed: {found}")
    table = Table("", "before", "after", title=f"on {report.held_out}")
    for reading, change in report.kappa.items():
        table.add_row(f"κ with the teacher, {reading}", *_row(change))
    for stage, change in report.share.items():
        table.add_row(f"share of {stage}, live", *_row(change))
    table.add_section()
    table.add_row("κ on simulated subjects, live", *_row(report.simulated))
    console.print(table)


def _row(change: Change) -> tuple[str, str]:
    return digits(change.before), digits(change.after)
