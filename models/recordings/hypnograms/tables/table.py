"""Tables of stages: bouts with onset and duration, or one stage a line, as programs export them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from models.errors import RecordingError
from models.recordings.hypnograms.codes import as_code
from models.recordings.hypnograms.marks import IsKnown, Mark, Marks, StageOf
from models.recordings.hypnograms.tables.cells import NOTHING, as_number, is_numeric, text_at
from models.recordings.hypnograms.tables.clock import check_times, first_time, is_clock, since_first
from models.recordings.hypnograms.tables.header import (
    Column,
    Header,
    check_titles,
    find_header,
    owner_of,
    rows_by_subject,
    unread_columns,
)
from models.recordings.hypnograms.tables.lines import check_no_empty_line, read_headless, read_lines
from models.recordings.hypnograms.tables.sheet import Row, read_sheet
from models.recordings.hypnograms.tables.stage_column import find_stage_column
from models.recordings.hypnograms.tables.titles import (
    DATES,
    DURATIONS,
    ENDS,
    INDICES,
    ONSETS,
    WITH_EVENTS,
)


def read_table(
    path: Path, epoch_s: float | None, stage_of: StageOf, is_known: IsKnown
) -> dict[str | None, Marks]:
    """Return what a text file says, by the subject that its rows name; None: nobody.

    Args:
        path: the file. Encoding, delimiter, decimal commas and header are found.
        epoch_s: length of an epoch where it has one stage a line, s.
        stage_of: which stage a label is.
        is_known: whether it means anything.

    Raises:
        RecordingError: it is no such table; the row is named.
    """
    sheets = read_sheet(path)
    header = find_header(sheets)
    if header is None:
        return {None: Marks(marks=read_headless(sheets, epoch_s, stage_of, is_known))}
    check_titles(header)
    column = find_stage_column(header, stage_of)
    onset = header.time(ONSETS)
    clock = _clock_column(header, onset)
    by = rows_by_subject(header)
    first = None
    if clock is not None:
        times = {row.number: _time_of_day(header, row, clock) for row in header.below}
        first = first_time(times.values())
        for rows in by.values():
            check_times([(row.number, times[row.number]) for row in rows], epoch_s)
        onset = None
    starts = None
    if onset is not None and _are_of_day(header, onset):
        first = first_time(_time_of_day(header, row, onset.at) for row in header.below)
        starts = _starts(header, onset, from_first=first is not None)
    if onset is None:
        check_no_empty_line(header.below)
    with_events = header.names[column] in WITH_EVENTS
    levels = _sidecar(path, header.row.cells[column])
    owner = owner_of(header)
    unread = () if owner else tuple(unread_columns(header, (column, clock)))
    found = {}
    for subject, rows in by.items():
        if onset is None:
            marks = read_lines(rows, header, column, epoch_s)
        else:
            marks = _bouts(rows, header, column, onset, starts)
        found[subject] = Marks(
            marks=marks,
            with_events=with_events,
            levels=levels,
            staged_by=owner,
            flaws=unread,
            start=None if first is None else first.start,
            start_within_s=1.0 if first is None else first.within_s,
            start_of_epoch=onset is None,
        )
    return found


def _clock_column(header: Header, onset: Column | None) -> int | None:
    """Return the column of times of day beside a stage a row, that are no onsets of bouts."""
    if onset is None:
        rows = header.below[:1]
        columns = range(len(header.names))
        return next((at for at in columns if any(is_clock(text_at(row, at)) for row in rows)), None)
    if header.names[onset.at].startswith("onset") or is_numeric(header.below, onset.at):
        return None
    of_epochs = header.find(INDICES) is not None or header.find((*DURATIONS, *ENDS)) is None
    return onset.at if of_epochs else None


def _time_of_day(header: Header, row: Row, at: int) -> str:
    """Return a time, with the date in front of it where that has a column of its own."""
    day = header.find(DATES)
    return text_at(row, at) if day in (None, at) else f"{text_at(row, day or 0)} {text_at(row, at)}"


def _sidecar(path: Path, title: str) -> dict[str, str]:
    """Return what a BIDS sidecar says that the labels of a column mean; it may not be there."""
    try:
        levels = json.loads(path.with_suffix(".json").read_bytes())[title]["Levels"]
        return {as_code(code) or code: _level(text) for code, text in levels.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _level(text: object) -> str:
    return str(text.get("Description", "")) if isinstance(text, Mapping) else str(text)


def _are_of_day(header: Header, onset: Column) -> bool:
    """Whether bouts begin at times of day; an onset is from the first sample on."""
    if header.names[onset.at].startswith("onset"):
        return False
    cells = (text_at(row, onset.at) for row in header.below)
    return is_clock(next((cell for cell in cells if cell.lower() not in NOTHING), ""))


def _starts(header: Header, onset: Column, *, from_first: bool) -> dict[int, float]:
    """Return when the bout of each row begins that has a time of day, by the row's number, s.

    It is from the first one on, or where that is all but midnight, from midnight on.
    """
    cells = [text_at(row, onset.at) for row in header.below]
    found = since_first(cells if from_first else ["00:00:00", *cells])[-len(cells) :]
    rows = zip(header.below, found, strict=True)
    return {row.number: at for row, at in rows if at is not None}


def _bouts(
    rows: Sequence[Row],
    header: Header,
    column: int,
    onset: Column,
    starts: Mapping[int, float] | None,
) -> list[Mark]:
    """Return a mark a row, with its own times.

    Args:
        rows: of one subject.
        header: names their columns.
        column: of the stages.
        onset: of the onsets.
        starts: by row, where the onsets are times of day; None: they are seconds.

    Raises:
        RecordingError: a time is no number.
    """
    duration, end = header.time(DURATIONS), header.time(ENDS)
    marks = []
    for row in rows:
        label = text_at(row, column)
        where = f"row {row.number}"
        start = _seconds(row, onset) if starts is None else starts.get(row.number)
        length = None if duration is None else _seconds(row, duration)
        if duration is None and end is not None and start is not None:
            until = _seconds(row, end)
            length = None if until is None else until - start
        if length is not None and length < 0:
            raise RecordingError(f"{where}: expected no duration below 0 s, found {length:g}")
        marks.append(Mark(label, start, length or 0.0, where))
    return marks


def _seconds(row: Row, column: Column) -> float | None:
    """Return the time in a cell, s; None where it says that there is none."""
    if column.at >= len(row.cells):
        raise RecordingError(
            f"row {row.number}: expected seconds in the column {column.title!r}, found no such cell"
        )
    cell = row.cells[column.at]
    if cell.lower() in NOTHING:
        return None
    value = as_number(cell)
    if value is None:
        of_day = "; count them from the first sample on" if ":" in cell else ""
        raise RecordingError(
            f"row {row.number}: expected seconds in the column {column.title!r}, found {cell!r}"
            f"{of_day}"
        )
    return value * column.unit_s
