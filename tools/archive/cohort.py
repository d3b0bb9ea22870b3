"""The cohort of an archive: every subject of every recording, as a tidy table and at a glance."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from models.recordings.bouts import Bouts
from models.recordings.writers import write_table
from models.stages import ART, UNKNOWN
from tools.archive.folder import ArchiveFolder
from tools.archive.sidecar import Sidecar
from tools.score.drift import DriftSummary
from tools.view.live import STAGE_STYLES

_NAME_WIDTH = 12
"""A name is never cut, and a longer one broken no shorter than this."""


class StageTime(msgspec.Struct, frozen=True, kw_only=True):
    """One stage of one subject in one recording."""

    seconds: float
    share: float | None
    """Of the time that has a stage; null of ART and UNKNOWN."""
    bouts: int | None
    mean_bout_s: float | None
    """Null without any."""


class SubjectRow(msgspec.Struct, frozen=True, kw_only=True):
    """One subject in one recording."""

    recording: str
    subject: str
    start: str | None
    """On the recorder's clock, ISO 8601."""
    hours: float
    stages: dict[str, StageTime]
    transitions_per_hour: float | None
    wake_to_rem_per_hour: float | None
    drift: dict[str, float]
    """Median by modality: how unlike the training animals it looked; 1 is the limit."""
    contradictions: tuple[str, ...]
    remarks: tuple[str, ...]
    """What was guessed, what is not used, what the file lacks."""
    model: str
    hypnod: str


def read_cohort(folder: ArchiveFolder) -> list[SubjectRow]:
    """Return a row for each subject of each recording that is done.

    Raises:
        ArchiveError: this is no folder of an archive.
    """
    found = (folder.read(each.name) for each in folder.index().recordings)
    return [row for sidecar in found if sidecar is not None for row in rows_of(sidecar)]


def rows_of(sidecar: Sidecar) -> Iterator[SubjectRow]:
    """Yield a row for each subject of a recording; none where it is not done."""
    summary = sidecar.summary
    if summary is None:
        return
    for name, subject in summary.subjects.items():
        bouts = sidecar.bouts[name]
        yield SubjectRow(
            recording=sidecar.recording,
            subject=name,
            start=sidecar.start,
            hours=summary.duration_s / 3600,
            stages={s: _stage_time(s, subject.seconds, bouts) for s in subject.seconds},
            transitions_per_hour=bouts.transitions_per_hour,
            wake_to_rem_per_hour=bouts.wake_to_rem_per_hour,
            drift=_medians(subject.drift),
            contradictions=summary.contradictions,
            remarks=sidecar.remarks,
            model=summary.model,
            hypnod=sidecar.follows.hypnod,
        )


def _stage_time(stage: str, seconds: dict[str, float], bouts: Bouts) -> StageTime:
    staged = sum(s for name, s in seconds.items() if name not in (ART, UNKNOWN))
    is_stage = stage in bouts.n
    return StageTime(
        seconds=seconds[stage],
        share=seconds[stage] / staged if is_stage and staged else None,
        bouts=bouts.n.get(stage),
        mean_bout_s=bouts.mean_s.get(stage),
    )


def _medians(drift: dict[str, DriftSummary]) -> dict[str, float]:
    return {m: found.median for m, found in drift.items() if found.median is not None}


def write_tidy(path: Path, rows: Sequence[SubjectRow]) -> None:
    """Write a CSV or TSV with a row for each recording, subject and stage.

    Raises:
        RecordingError: the place cannot be written to.
    """
    modalities = sorted({modality for row in rows for modality in row.drift})
    columns = ["recording", "subject", "start", "hours", "stage", "seconds", "share", "bouts"]
    columns += ["mean_bout_s", "transitions_per_hour", "wake_to_rem_per_hour"]
    columns += [f"drift_{modality}" for modality in modalities]
    columns += ["contradictions", "remarks", "model", "hypnod"]
    write_table(path, columns, (line for row in rows for line in _lines(row, modalities)))


def _lines(row: SubjectRow, modalities: Sequence[str]) -> Iterator[list[object]]:
    for stage, time in row.stages.items():
        figures = [time.seconds, time.share, time.bouts, time.mean_bout_s]
        figures += [row.transitions_per_hour, row.wake_to_rem_per_hour]
        figures += [row.drift.get(modality) for modality in modalities]
        yield [
            *(row.recording, row.subject, row.start or "", f"{row.hours:.6g}", stage),
            *("" if value is None else f"{value:.6g}" for value in figures),
            *("; ".join(row.contradictions), "; ".join(row.remarks), row.model, row.hypnod),
        ]


def print_cohort(console: Console, rows: Sequence[SubjectRow]) -> None:
    """Print a line for each subject, its n recordings together, and two for them all."""
    by_subject: dict[str, list[SubjectRow]] = defaultdict(list)
    for row in rows:
        by_subject[row.subject].append(row)
    stages = list(dict.fromkeys(stage for row in rows for stage in row.stages))
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    table.add_column("subject", overflow="fold", min_width=_NAME_WIDTH)
    for column in ("n", "hours"):
        table.add_column(column, justify="right", no_wrap=True)
    for stage in stages:
        table.add_column(stage, justify="right", style=STAGE_STYLES[stage], no_wrap=True)
    table.add_column("changes/h", justify="right", no_wrap=True)
    shares = {subject: _percentages(mine) for subject, mine in sorted(by_subject.items())}
    for subject, mine_shares in shares.items():
        mine = by_subject[subject]
        table.add_row(
            *(subject, str(len(mine)), f"{sum(r.hours for r in mine):.1f}"),
            *(_say(mine_shares.get(stage)) for stage in stages),
            _say(_transitions_per_hour(mine)),
        )
    if len(shares) > 1:
        known = [[mine[stage] for mine in shares.values() if stage in mine] for stage in stages]
        means = [_say(float(np.mean(found))) for found in known]
        sds = [_say(float(np.std(f, ddof=1)) if len(f) > 1 else None) for f in known]
        table.add_row("mean of subjects", "", "", *means, "")
        table.add_row("their SD", "", "", *sds, "")
    console.print("time in stage, % of what was recorded, ART and UNKNOWN included")
    console.print(table)
    for line in dict.fromkeys(c for row in rows for c in row.contradictions):
        console.print(line)


def _percentages(rows: Sequence[SubjectRow]) -> dict[str, float]:
    """Return the share of each stage that a subject's models know, of all its recordings, %."""
    seconds: dict[str, float] = defaultdict(float)
    for row in rows:
        for stage, time in row.stages.items():
            seconds[stage] += time.seconds
    whole = sum(seconds.values())
    return {stage: 100 * s / whole for stage, s in seconds.items()} if whole else {}


def _transitions_per_hour(rows: Sequence[SubjectRow]) -> float | None:
    """Return the mean over a subject's recordings, each counting by its time with a stage."""
    staged = [
        (
            row.transitions_per_hour,
            sum(t.seconds for t in row.stages.values() if t.bouts is not None),
        )
        for row in rows
    ]
    known = [(rate, seconds) for rate, seconds in staged if rate is not None and seconds]
    whole = sum(seconds for _, seconds in known)
    return sum(rate * seconds for rate, seconds in known) / whole if known else None


def _say(figure: float | None) -> str:
    return "–" if figure is None else f"{figure:.1f}"
