"""Write hypnograms: EDF+ annotations, CSV and BIDS events.tsv.

Every file is written beside its place and then renamed into it: a reader sees the old one or
the new one, whole.
"""

import csv
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import edfio

from models.errors import HypnodError, RecordingError
from models.recordings.hypnogram import Hypnogram
from models.recordings.hypnograms.marks import STAGED_BY, STAGED_BY_COLUMN

_FIRST_EDF_YEAR, _LAST_EDF_YEAR = 1985, 2084
_RECORD_DURATION_AT, _RECORD_DURATION = 244, "{:<8}"
"""Where in an EDF header the seconds of a data record are."""


@contextmanager
def replacing(path: Path, error: type[HypnodError] = RecordingError) -> Iterator[Path]:
    """Give a path to write to, which becomes `path` if all goes well.

    Args:
        path: the file.
        error: what is raised where the place cannot be written to.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield draft
        draft.replace(path)
    except OSError as found:
        raise error(f"{path}: expected a place to write to, found: {found}") from found
    finally:
        draft.unlink(missing_ok=True)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV, or with the extension .tsv tab-separated values.

    Raises:
        RecordingError: the place cannot be written to.
    """
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with replacing(path) as draft, draft.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def write_csv(
    path: Path, hypnogram: Hypnogram, columns: Mapping[str, Sequence[object]] | None = None
) -> None:
    """Write the columns onset, duration, stage, and any others, such as probabilities.

    Args:
        path: the file.
        hypnogram: what to write, one row for each of its n stages.
        columns: further columns by name, (n,) each.

    Raises:
        RecordingError: the place cannot be written to.
    """
    extra = columns or {}
    rows = zip(*_times(hypnogram), hypnogram.stages, *extra.values(), strict=True)
    write_table(path, ("onset", "duration", "stage", *extra), rows)


def write_events(path: Path, hypnograms: Mapping[str, Hypnogram], by: str = "") -> None:
    """Write a BIDS events.tsv: onset, duration, trial_type (the stage), and the subject.

    Args:
        path: the file.
        hypnograms: by subject.
        by: who staged them, a further column; empty: it is left out.

    Raises:
        RecordingError: the place cannot be written to.
    """
    rows = [
        (onset, duration, stage, subject)
        for subject, hypnogram in hypnograms.items()
        for onset, duration, stage in _bouts(hypnogram)
    ]
    rows.sort(key=lambda row: row[0])
    columns = ("onset", "duration", "trial_type", "subject")
    if by:
        write_table(path, (*columns, STAGED_BY_COLUMN), [(*row, by) for row in rows])
    else:
        write_table(path, columns, rows)


def write_edf(
    path: Path,
    hypnograms: Mapping[str, Hypnogram],
    start: datetime | None = None,
    by: str = "",
    scored_by: str = "",
) -> None:
    """Write an EDF+ file of annotations alone, one for each bout of a stage.

    A text is the stage, or with several subjects "<subject> <stage>"; the first is "staged by …".
    The one data record lasts as long as they do: MNE drops annotations beyond it.

    Args:
        path: the file.
        hypnograms: by subject.
        start: when the recording's first sample was taken, on its recorder's clock.
        by: the program that staged them; empty: that is left out.
        scored_by: the person who scored them, whose they are then; likewise.

    Raises:
        RecordingError: there is no stage to write, or the place cannot be written to.
    """
    annotations = [
        edfio.EdfAnnotation(onset, duration, f"{subject} {stage}" if len(hypnograms) > 1 else stage)
        for subject, hypnogram in hypnograms.items()
        for onset, duration, stage in _bouts(hypnogram)
    ]
    if not annotations:
        raise RecordingError(f"{path}: expected stages to write, found none")
    if by:
        annotations.insert(0, edfio.EdfAnnotation(0, None, f"{STAGED_BY} {by}"))
    if scored_by:
        annotations.insert(0, edfio.EdfAnnotation(0, None, f"scored by {scored_by}"))
    known = start is not None and _FIRST_EDF_YEAR <= start.year <= _LAST_EDF_YEAR
    edf = edfio.Edf(
        [],
        recording=edfio.Recording(startdate=start.date() if start and known else None),
        starttime=start.time() if start and known else None,
        annotations=annotations,
    )
    end = max(annotation.onset + (annotation.duration or 0) for annotation in annotations)
    with replacing(path) as draft:
        edf.write(draft)
        with draft.open("r+b") as stream:  # edfio knows only 0 s without signals
            stream.seek(_RECORD_DURATION_AT)
            stream.write(_RECORD_DURATION.format(math.ceil(end)).encode())


def _bouts(hypnogram: Hypnogram) -> Iterable[tuple[float, float, str]]:
    merged = hypnogram.merged()
    return zip(*_times(merged), merged.stages, strict=True)


def _times(hypnogram: Hypnogram) -> tuple[list[float], list[float]]:
    """Return onsets and durations as people want to read them: no digits beyond 1 µs."""
    return hypnogram.onsets.round(6).tolist(), hypnogram.durations.round(6).tolist()
