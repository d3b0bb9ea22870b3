"""Stages corrected by hand, written as an expert's: files of their own, never the journal."""

import re
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np

from models.errors import RecordingError
from models.recordings.hypnogram import Hypnogram
from models.recordings.writers import write_csv, write_edf
from models.stages import ART, HUMAN, MOUSE, UNKNOWN
from tools.night.record import Record, to_iso

KEYS = {
    MOUSE: {"w": "Wake", "n": "NREM", "r": "REM", "a": ART, "u": UNKNOWN},
    HUMAN: {"w": "W", "1": "N1", "2": "N2", "3": "N3", "r": "REM", "a": ART, "u": UNKNOWN},
}
"""Which key gives which stage, by stage set."""
_NAME = re.compile(r"[\w.,' -]{1,60}")
_saving = threading.Lock()  # two that save in the same second have files of their own
_Time = Annotated[float, msgspec.Meta(ge=-1e11, le=1e11)]


class Span(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A span of time that was given a stage."""

    start: _Time
    """Unix time, s."""
    end: _Time
    """Unix time, s."""
    stage: Annotated[str, msgspec.Meta(max_length=20)]


class Scoring(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What somebody has corrected of a subject's night."""

    scorer: Annotated[str, msgspec.Meta(max_length=1000)]
    """Who: letters, digits, spaces and . , ' -, at most 60."""
    spans: Annotated[tuple[Span, ...], msgspec.Meta(max_length=20_000)]
    """In the order in which they were given: a later one holds."""


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """Where it was written."""

    files: list[str]
    epochs_changed: int
    """Epochs that have another stage than they had."""


def save(record: Record, scoring: Scoring, folder: Path) -> Saved:
    """Write a corrected night as EDF+ annotations and as CSV, each saying who and when.

    Args:
        record: the night as it was staged.
        scoring: what was corrected.
        folder: where to; a file that is there already stays.

    Raises:
        RecordingError: a stage is none of the night's set, who scored it has no name that can be
            written, or the files cannot be written.
    """
    if not _NAME.fullmatch(scoring.scorer):
        raise RecordingError(
            "expected a name of 1 to 60 letters, digits, spaces and . , ' -, found "
            f"{scoring.scorer!r}"
        )
    known = (*record.stages, ART, UNKNOWN)
    stages = np.array(record.hypnogram.stages, dtype=object)
    for span in scoring.spans:
        if span.stage not in known:
            raise RecordingError(f"expected one of {', '.join(known)}, found {span.stage!r}")
        middle = record.times + record.durations / 2
        stages[(middle >= span.start) & (middle < span.end)] = span.stage
    changed = stages != np.array(record.hypnogram.stages, dtype=object)
    corrected = Hypnogram(record.onsets, record.durations, tuple(stages.tolist()))
    now = datetime.now(UTC)
    by = f"{scoring.scorer}, {now.isoformat(timespec='seconds')}"
    start = record.local_start.replace(tzinfo=None)  # as every recorder does, it has local time
    n = len(stages)
    columns: dict[str, Sequence[object]] = {
        "utc": [to_iso(time) for time in record.times],
        "scored_by": [scoring.scorer] * n,
        "scored_utc": [now.isoformat(timespec="seconds")] * n,
        "corrected": ["yes" if each else "" for each in changed.tolist()],
    }
    with _saving:
        edf, csv = _free(folder, _stem(record.subject, scoring.scorer, now))
        write_edf(edf, {record.subject: corrected}, start, scored_by=by)
        write_csv(csv, corrected, columns)
    return Saved(files=[str(edf), str(csv)], epochs_changed=int(changed.sum()))


def _stem(subject: str, scorer: str, now: datetime) -> str:
    who = re.sub(r"[^\w-]+", "-", scorer).strip("-") or "scorer"
    return f"{subject}-{who}-{now:%Y%m%dT%H%M%S}"


def _free(folder: Path, stem: str) -> tuple[Path, Path]:
    """Return an EDF and a CSV that are not there yet."""
    names = chain([stem], (f"{stem}-{k}" for k in count(2)))
    pairs = ((folder / f"{name}.edf", folder / f"{name}.csv") for name in names)
    return next(pair for pair in pairs if not any(path.exists() for path in pair))
