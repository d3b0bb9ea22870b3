"""What a file says before anyone takes it for stages: labels with times."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time

from models.errors import RecordingError

STAGED_BY = "staged by"
"""How hypnod says that it wrote the stages of a file: so an annotation begins."""
STAGED_BY_COLUMN = "staged_by"
"""The same in a table."""

StageOf = Callable[[str], str | None]
"""Returns the stage that a label is; None: it is none, be it ART or UNKNOWN."""
IsKnown = Callable[[str], bool]
"""Whether a label means something: a stage, ART, UNKNOWN, or that it is not to be read."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A label with a time, as the file has it."""

    label: str
    """What the file says, spaces at both ends apart."""
    onset: float | None
    """From the recording's first sample, s; None: the file gives none."""
    duration: float = 0.0
    """0 where the file gives none: a point, s."""
    where: str = ""
    """Its row in the file, for people."""


@dataclass(frozen=True, kw_only=True)
class Marks:
    """All labels of a file that belong to one subject."""

    marks: Sequence[Mark]
    with_events: bool = False
    """Whether other events than stages are in the same list, as annotations are."""
    coded: str | None = None
    """The code book that the file's own format means; None: it does not say."""
    levels: Mapping[str, str] = field(default_factory=dict)
    """What a file beside it says that its labels mean, in its words."""
    staged_by: str | None = None
    """The program that wrote it, where that was hypnod; None: someone else."""
    flaws: Sequence[str] = ()
    """Where the file is not whole, or contradicts itself, a sentence each."""
    start: datetime | time | None = None
    """When its time 0 was, or at what time of day; None: it does not say."""
    start_within_s: float = 1.0
    """To what that was rounded, s."""
    start_of_epoch: bool = False
    """Whether that is the time beside the first epoch, which may be that of its end."""


def consecutive(
    labels: Sequence[str], epoch_s: float, where: Sequence[str] | None = None
) -> list[Mark]:
    """Return marks of consecutive epochs, `epoch_s` seconds each, from the first sample on."""
    rows = where or [""] * len(labels)
    return [
        Mark(label.strip(), i * epoch_s, epoch_s, row)
        for i, (label, row) in enumerate(zip(labels, rows, strict=True))
    ]


def epoch_given(epoch_s: float | None, what: str) -> float:
    """Return the epoch length that was given.

    Raises:
        RecordingError: none was.
    """
    if epoch_s is None:
        raise RecordingError(
            f"expected the length of an epoch for {what}, found none: give it in seconds, as in "
            "--hypnogram-epoch 4"
        )
    return epoch_s
