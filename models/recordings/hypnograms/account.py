"""The account of a hypnogram: what was read as what, for how long, and what was not read."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from models.stages import ART, HUMAN, MOUSE, UNKNOWN

_HOURS_S = 2 * 3600.0  # who sleeps that long without waking up has been given a drug
_ENOUGH_REM_S = 60.0


class LabelAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What became of a label."""

    label: str
    """As the file has it."""
    stage: str | None
    """What it was read as, ART and UNKNOWN included; null: it was not read."""
    n: int
    """How often it is there."""
    seconds: float
    """For how long, s; of what was not read, what it leaves without a stage."""
    why: str = ""
    """Why it was not read."""


class HypnogramAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was read of a hypnogram, and what was not."""

    file: str
    subject: str
    """Whose stages these are, as the file names it; empty: it names nobody."""
    codes: str = ""
    """The code book by which it was read; empty: none was."""
    staged_by: str = ""
    """What hypnod says of itself where it wrote the file; empty: someone else did."""
    labels: tuple[LabelAccount, ...]
    """In the order of the stages, what was not read last."""
    seconds: dict[str, float]
    """Time in each stage, s."""
    flaws: tuple[str, ...] = ()
    """Where the file is not whole, or contradicts itself or its recording's clock, a sentence
    each."""
    questions: tuple[str, ...] = ()
    """What a mouse or a person hardly does, or might mean something else."""


def make_account(
    file: str,
    labels: Iterable[LabelAccount],
    stages: Sequence[str],
    *,
    subject: str = "",
    codes: str = "",
    staged_by: str = "",
    flaws: Sequence[str] = (),
) -> HypnogramAccount:
    """Return the account of the labels of a file."""
    order = [*stages, ART, UNKNOWN, None]
    listed = tuple(sorted(labels, key=lambda read: (order.index(read.stage), read.label)))
    seconds = {
        stage: sum(read.seconds for read in listed if read.stage == stage) for stage in stages
    }
    return HypnogramAccount(
        file=file,
        subject=subject,
        codes=codes,
        staged_by=staged_by,
        flaws=tuple(flaws),
        labels=listed,
        seconds=seconds,
        questions=tuple(_questions(listed, seconds, stages)),
    )


def _questions(
    labels: Sequence[LabelAccount], seconds: Mapping[str, float], stages: Sequence[str]
) -> Iterable[str]:
    total, wake, rem = sum(seconds.values()), seconds[stages[0]], seconds["REM"]
    nrem = sum(seconds[stage] for stage in stages[1:-1])
    if total >= _HOURS_S and wake == 0:
        yield f"no {stages[0]} in {total / 3600:.1f} h"
    if total >= _HOURS_S and nrem == 0:
        yield f"no NREM in {total / 3600:.1f} h"
    elif rem > nrem and rem >= _ENOUGH_REM_S:
        yield f"{rem:g} s of REM beside {nrem:g} s of NREM"
    if tuple(stages) == HUMAN and total >= _HOURS_S and seconds["N1"] > seconds["N2"]:
        yield f"{seconds['N1']:g} s of N1 beside {seconds['N2']:g} s of N2"
    if tuple(stages) == MOUSE and any(
        read.label.lower() == "a" and read.stage == ART for read in labels
    ):
        yield "'A' was taken for an artefact: --codes A=Wake says that it is awake"


def in_words(account: HypnogramAccount) -> list[str]:
    """Say what was read as what, and what to ask oneself of it."""
    whose = f", {account.subject}" if account.subject else ""
    by = f" by the codes {account.codes}" if account.codes else ""
    read: dict[str, list[LabelAccount]] = {}
    for label in account.labels:
        if label.stage is not None:
            read.setdefault(label.stage, []).append(label)
    parts = [
        f"{stage} {sum(e.seconds for e in each):g} s = {' + '.join(repr(e.label) for e in each)}"
        for stage, each in read.items()
    ]
    lines = [f"{account.file}{whose}{by}: {', '.join(parts)}"]
    if account.staged_by:
        lines.append(f"{account.file}{whose}: no expert's, staged by {account.staged_by}")
    unread = [e for e in account.labels if e.stage is None]
    if unread:
        listed = ", ".join(
            f"{e.label!r} {e.n} ×{f' {e.seconds:g} s' if e.seconds else ''} ({e.why})"
            for e in unread
        )
        lines.append(f"{account.file}{whose}: not read: {listed}")
    lines += [f"{account.file}{whose}: {flaw}" for flaw in account.flaws]
    lines += [f"{account.file}{whose}: is this right? {question}" for question in account.questions]
    return lines
