"""Tables of stages: bouts with onset and duration, or one stage a line, as programs export them."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import NamedTuple

from models.errors import RecordingError
from models.recordings.hypnograms.clock import check_times, first_time, is_clock
from models.recordings.hypnograms.codes import as_code
from models.recordings.hypnograms.marks import STAGED_BY, Mark, Marks, consecutive, epoch_given
from models.recordings.hypnograms.sheet import Row, Sheet, read_sheet
from models.stages import UNKNOWN

_STAGES = (
    *("stage", "stages", "sleep stage", "sleep stages", "sleepstage", "stage name", "vigilance"),
    *("state", "states", "sleep state", "brain state", "brain states", "vigilance state"),
    *("score", "scores", "scoring", "sleep score", "sleep scores", "sleep scoring", "rodent sleep"),
    *("label", "labels", "hypnogram", "numeric score", "epoch score", "score #"),
    *("stadium", "stadien", "schlafstadium", "schlafstadien", "schlafphase", "schlafphasen"),
    *("vigilanzstadium", "vigilanz", "zustand", "schlafzustand", "hypnogramm"),
    *("stade", "stades", "stade de sommeil", "stades de sommeil", "stade de vigilance"),
    *("etat", "etat de vigilance", "hypnogramme"),
)
_WITH_EVENTS = (
    *("trial type", "value", "annotation", "annotations", "description", "event", "text"),
    *("code", "marker", "anmerkung", "ereignis", "evenement"),
)
_ONSETS = (
    *("onset", "onsets", "start", "begin", "start time", "begin time", "onset time", "time"),
    *("epoch start", "timestamp", "time stamp", "time of day", "clock time", "date time"),
    *("datetime", "beginn", "anfang", "startzeit", "zeit", "uhrzeit", "zeitpunkt", "zeitstempel"),
    *("debut", "heure de debut", "heure", "temps", "horodatage", "from", "von"),
    *("second", "seconds", "sec", "secs", "s", "sekunde", "sekunden", "seconde", "secondes"),
)
_DURATIONS = (
    *("duration", "durations", "dur", "length", "epoch length", "epoch duration"),
    *("dauer", "lange", "epochenlange", "epochendauer", "duree"),
)
_ENDS = (
    *("offset", "end", "stop", "end time", "stop time", "epoch end"),
    *("ende", "endzeit", "fin", "heure de fin", "to", "bis"),
)
_DATES = ("date", "datum", "jour")
_INDICES = (
    *("", "#", "epoch", "epoch no", "epoch #", "epoch number", "epochs", "index", "no", "nr"),
    *("epoch nr", "epoch num", "epoch index", "epoch id", "epoche", "epochen", "epoche nr"),
    *("epochen nr", "epochennummer", "nummer", "epoque", "epoques", "numero", "n°"),
)
_SUBJECTS = (
    *("subject", "subject id", "participant", "participant id", "animal", "animal id"),
    *("mouse", "mouse id", "rat", "rat id", "tier", "tier id", "maus", "souris"),
)
_UNITS = {"": 1.0, "s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0}
_UNITS |= {"ms": 1e-3, "msec": 1e-3, "min": 60.0, "mins": 60.0, "minutes": 60.0, "h": 3600.0}
_UNITS |= {"sek": 1.0, "sekunden": 1.0, "secondes": 1.0, "minuten": 60.0}
_TITLE = re.compile(r"(.*?)\s*(?:[(\[]\s*([^)\]]*?)\s*[)\]])?$")
_HEADER_WITHIN = 60  # rows: what programs write above their tables
_SAME = 0.01  # of an epoch, by which its length may be rounded
_SHOWN = 6  # columns in a sentence
_NOTHING = ("", "n/a", "na", "nan", "none", "null", "-")

StageOf = Callable[[str], str | None]
"""Returns the stage that a label is; None: none is, ART and UNKNOWN apart."""


class _Column(NamedTuple):
    """A column of times."""

    at: int
    title: str
    unit_s: float


class _Header(NamedTuple):
    """What the columns of a table are."""

    sheet: Sheet
    row: Row
    names: tuple[str, ...]

    def find(self, wanted: Sequence[str]) -> int | None:
        """Return the first column with one of the names, in their order."""
        return next((self.names.index(n) for n in wanted if n in self.names), None)

    def time(self, wanted: Sequence[str]) -> _Column | None:
        """Return the first column of times with one of the names, in their order."""
        at = self.find(wanted)
        if at is None:
            return None
        title = self.row.cells[at]
        unit = _unit(title)
        if unit not in _UNITS and not _is_numeric(self.below, at):
            unit = ""  # such as hh:mm:ss
        if unit not in _UNITS:
            raise RecordingError(
                f"row {self.row.number}: expected seconds, ms or min in the column {title!r}, "
                f"found {unit!r}"
            )
        return _Column(at, title, _UNITS[unit])

    @property
    def below(self) -> list[Row]:
        """The rows below it."""
        return [row for row in self.sheet.rows if row.number > self.row.number]


def read_table(path: Path, epoch_s: float | None, stage_of: StageOf) -> dict[str | None, Marks]:
    """Return what a text file says, by the subject that its rows name; None: nobody.

    Args:
        path: the file. Encoding, delimiter, decimal commas and header are found.
        epoch_s: length of an epoch where it has one stage a line, s.
        stage_of: what a label is.

    Raises:
        RecordingError: it is no such table; the row is named.
    """
    sheets = read_sheet(path)
    header = _find_header(sheets)
    if header is None:
        return {None: Marks(marks=_headless(sheets, epoch_s, stage_of))}
    _check_titles(header)
    column = _stage_column(header, stage_of)
    onset = header.time(_ONSETS)
    clock = _clock_column(header, onset)
    by = _by_subject(header)
    first = None
    if clock is not None:
        times = {row.number: _time_of_day(header, row, clock) for row in header.below}
        first = first_time(times.values())
        for rows in by.values():
            check_times([(row.number, times[row.number]) for row in rows], epoch_s)
        onset = None
    if onset is None:
        _check_no_empty_line(header.below)
    with_events = header.names[column] in _WITH_EVENTS
    levels = _sidecar(path, header.row.cells[column])
    owner = _owner(header)
    unread = () if owner else tuple(_unread(header, (column, clock)))
    found = {}
    for subject, rows in by.items():
        if onset is None:
            marks = _lines(rows, header, column, epoch_s)
        else:
            marks = _bouts(rows, header, column, onset)
        found[subject] = Marks(
            marks=marks,
            with_events=with_events,
            levels=levels,
            staged_by=owner,
            flaws=unread,
            start=None if first is None else first.start,
            start_within_s=1.0 if first is None else first.within_s,
            start_of_epoch=True,
        )
    return found


def _clock_column(header: _Header, onset: _Column | None) -> int | None:
    """Return the column of times of day beside a stage a row, that are no onsets of bouts."""
    if onset is None:
        rows = header.below[:1]
        columns = range(len(header.names))
        return next((at for at in columns if any(is_clock(_cell(row, at)) for row in rows)), None)
    if header.names[onset.at].startswith("onset") or _is_numeric(header.below, onset.at):
        return None
    of_epochs = header.find(_INDICES) is not None or header.find((*_DURATIONS, *_ENDS)) is None
    return onset.at if of_epochs else None


def _time_of_day(header: _Header, row: Row, at: int) -> str:
    """Return a time, with the date in front of it where that has a column of its own."""
    day = header.find(_DATES)
    return _cell(row, at) if day in (None, at) else f"{_cell(row, day or 0)} {_cell(row, at)}"


def _cell(row: Row, at: int) -> str:
    return row.cells[at] if at < len(row.cells) else ""


def _check_no_empty_line(rows: Sequence[Row]) -> None:
    """Raise RecordingError where lines between stages are empty, unless all are spaced alike."""
    apart = [row.number - before.number for before, row in pairwise(rows)]
    if len({*apart}) > 1:
        at = next(k for k, n in enumerate(apart) if n > min(apart))
        raise RecordingError(
            f"row {rows[at + 1].number - 1}: expected a stage a line, found an empty line; write "
            "UNKNOWN where nobody scored"
        )


def _find_header(sheets: Sequence[Sheet]) -> _Header | None:
    """Return the first row that names a column of stages, in the first sheet that has one."""
    best: _Header | None = None
    for sheet in sheets:
        for row in sheet.rows[:_HEADER_WITHIN]:
            names = tuple(_name(cell) for cell in row.cells)
            known = {*names} & {*_STAGES, *_WITH_EVENTS}
            is_header = known and (
                len(names) == 1 or not any(as_code(cell) for cell in row.cells[: len(names)])
            )
            if is_header or {*names} >= {"onset", "duration"}:
                if best is None or len(names) > len(best.names):
                    best = _Header(sheet, row, names)
                break
    return best


def _name(cell: str) -> str:
    """Return a title in small letters, without accents and unit: `Epoch_No.`, `EpochNo`."""
    plain = (c for c in unicodedata.normalize("NFKD", cell) if not unicodedata.combining(c))
    cell = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", "".join(plain))
    match = _TITLE.match(cell.replace("\n", " "))
    bare = re.sub(r"[\s_.:-]+", " ", match[1] if match else cell).strip(" \ufeff\"'").lower()
    words = bare.split(" ")
    return " ".join(words[:-1]) if len(words) > 1 and words[-1] in _UNITS else bare


def _unit(cell: str) -> str:
    """Return the unit in a title: `onset (ms)`, `onset_ms`; empty where it names none."""
    match = _TITLE.match(cell)
    if match and match[2]:
        return match[2].strip(" .").lower()
    last = re.split(r"[\s_.]+", cell.strip().lower())[-1]
    return last if last in _UNITS and last != cell.strip().lower() else ""


def _stage_column(header: _Header, stage_of: StageOf) -> int:
    """Return the column of stages: the first by name in which something can be one.

    Raises:
        RecordingError: there is none.
    """
    named = [header.names.index(n) for n in (*_STAGES, *_WITH_EVENTS) if n in header.names]
    if not named:
        raise _untitled(header.row, header.below, stage_of)
    for at in named:
        if any(stage_of(_cell(row, at)) for row in header.below):
            _check_other_stages(header, at, [n for n in named if n != at], stage_of)
            return at
    for at in named:
        if any(at < len(row.cells) and as_code(row.cells[at]) for row in header.below):
            return at
    filled = [at for at in named if any(not _empty(row, at) for row in header.below)]
    return (filled or named)[0]


def _check_other_stages(
    header: _Header, column: int, others: Sequence[int], stage_of: StageOf
) -> None:
    """Raise RecordingError where another column with a title of stages has other stages."""
    rows = header.below if others else []
    for at in set(others) & set(_of_stages(rows, stage_of)):
        for row in rows:
            one, other = _cell(row, column), _cell(row, at)
            stages = {stage_of(one), stage_of(other)} - {None}
            if len(stages) > 1:
                raise RecordingError(
                    f"row {row.number}: expected one column of stages, found "
                    f"{header.row.cells[column]} {one!r} and {header.row.cells[at]} {other!r}; "
                    "give the one that is not meant another title"
                )


def _of_stages(rows: Sequence[Row], stage_of: StageOf) -> list[int]:
    """Return the columns in which most of what there is are stages."""
    width = max((len(row.cells) for row in rows), default=0)
    found = []
    for at in range(width):
        filled = [row.cells[at] for row in rows if not _empty(row, at)]
        if 2 * sum(stage_of(cell) is not None for cell in filled) > len(filled):
            found.append(at)
    return found


def _untitled(titles: Row, rows: Sequence[Row], stage_of: StageOf) -> RecordingError:
    """Return the error of a table in which no title is one of stages."""
    columns = [repr(_cell(titles, at)) for at in _of_stages(rows, stage_of)]
    found = f"stages in {' and '.join(columns)}" if columns else ", ".join(titles.cells)
    return RecordingError(
        f"row {titles.number}: expected a column stage (or state, score, trial_type, value, …), "
        f"found {found}: give the one that is meant the title stage"
    )


def _unread(header: _Header, read: Collection[int | None]) -> Iterator[str]:
    """Say which columns are not read, those beside that tell what hypnod knows anyway."""
    known = {*_ONSETS, *_DURATIONS, *_ENDS, *_DATES, *_INDICES, *_SUBJECTS}
    rows = header.below
    others = [
        repr(title)
        for at, (title, name) in enumerate(zip(header.row.cells, header.names, strict=True))
        if at not in read and name not in known and any(not _empty(r, at) for r in rows)
    ]
    if others:
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        yield f"not read of its columns: {', '.join(others[:_SHOWN])}{more}"


def _check_titles(header: _Header) -> None:
    """Raise RecordingError where two columns of stages or times have one title and differ."""
    known = {*_STAGES, *_WITH_EVENTS, *_ONSETS, *_DURATIONS, *_ENDS}
    columns = range(len(header.names))
    for name in known & {*header.names}:
        alike = {
            tuple(row.cells[at : at + 1] for row in header.below)
            for at in columns
            if header.names[at] == name
        }
        if len(alike) > 1:
            raise RecordingError(
                f"row {header.row.number}: expected one column {name!r}, found "
                f"{header.names.count(name)} that differ; give the others another title"
            )


def _empty(row: Row, at: int) -> bool:
    return at >= len(row.cells) or row.cells[at].lower() in _NOTHING


def _by_subject(header: _Header) -> dict[str | None, list[Row]]:
    """Return the rows that count, by subject; of hypnod's own tables not the live estimates."""
    subject = header.find(_SUBJECTS)
    kind = header.find(("kind",)) if _owner(header) else None
    found: dict[str | None, list[Row]] = {}
    for row in header.below:
        if len(row.cells) > len(header.names) and any(row.cells[len(header.names) :]):
            raise RecordingError(
                f"row {row.number}: expected {len(header.names)} cells as in the header, found "
                f"{len(row.cells)}; a decimal comma needs another delimiter than a comma"
            )
        if kind is not None and not _empty(row, kind) and row.cells[kind] == "live":
            continue
        whose = None if subject is None or _empty(row, subject) else row.cells[subject]
        found.setdefault(whose, []).append(row)
    if None in found and len(found) > 1:
        raise RecordingError(
            f"row {found[None][0].number}: expected whose stage it is, as in the other rows, found "
            f"nobody in the column {header.row.cells[subject or 0]!r}"
        )
    return found or {None: []}


def _owner(header: _Header) -> str | None:
    """Return who staged it, where hypnod wrote the table."""
    at = header.find((STAGED_BY,))
    if at is not None:
        return next((row.cells[at] for row in header.below if not _empty(row, at)), None)
    if {"kind", "pathway"} <= {*header.names}:  # of hypnod before it said so in words
        return "hypnod"
    return None


def _sidecar(path: Path, title: str) -> dict[str, str]:
    """Return what a BIDS sidecar says that the labels of a column mean; it may not be there."""
    try:
        levels = json.loads(path.with_suffix(".json").read_bytes())[title]["Levels"]
        return {as_code(code) or code: _level(text) for code, text in levels.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _level(text: object) -> str:
    return str(text.get("Description", "")) if isinstance(text, Mapping) else str(text)


def _lines(rows: Sequence[Row], header: _Header, column: int, epoch_s: float | None) -> list[Mark]:
    """Return one epoch a row.

    Raises:
        RecordingError: the rows are not consecutive, or the epochs have no length.
    """
    index = header.find(_INDICES)
    if index is not None and index != column:
        _check_index([(row.number, row.cells[index]) for row in rows if index < len(row.cells)])
    labels = [_cell(row, column) for row in rows]
    if not labels:
        raise RecordingError(f"expected stages below row {header.row.number}, found none")
    length = epoch_given(epoch_s, "a table without a column onset in seconds")
    duration = header.time(_DURATIONS)
    if duration is not None:
        _check_durations(rows, duration, length)
    return consecutive(labels, length, [f"row {row.number}" for row in rows])


def _check_durations(rows: Sequence[Row], duration: _Column, epoch_s: float) -> None:
    """Raise RecordingError where a row says that it lasts otherwise than its epoch."""
    for row in rows:
        value = _number(_cell(row, duration.at))
        if value is not None and abs(value * duration.unit_s - epoch_s) > _SAME * epoch_s:
            raise RecordingError(
                f"row {row.number}: expected the {epoch_s:g} s of --hypnogram-epoch in the column "
                f"{duration.title!r}, found {value * duration.unit_s:g} s; bouts need a column "
                "onset in seconds"
            )


def _check_index(cells: Sequence[tuple[int, str]]) -> None:
    """Raise RecordingError where the numbers of epochs do not count up by one."""
    numbers = [(row, int(code)) for row, cell in cells if (code := as_code(cell)) is not None]
    for (_, before), (row, number) in pairwise(numbers):
        if number != before + 1:
            raise RecordingError(
                f"row {row}: expected epoch {before + 1} after epoch {before}, found {number}"
            )


def _bouts(rows: Sequence[Row], header: _Header, column: int, onset: _Column) -> list[Mark]:
    """Return a mark a row, with its own times.

    Raises:
        RecordingError: a time is no number.
    """
    duration, end = header.time(_DURATIONS), header.time(_ENDS)
    marks = []
    for row in rows:
        label = _cell(row, column)
        where = f"row {row.number}"
        start = _seconds(row, onset)
        length = None if duration is None else _seconds(row, duration)
        if duration is None and end is not None and start is not None:
            until = _seconds(row, end)
            length = None if until is None else until - start
        if length is not None and length < 0:
            raise RecordingError(f"{where}: expected no duration below 0 s, found {length:g}")
        marks.append(Mark(label, start, length or 0.0, where))
    return marks


def _seconds(row: Row, column: _Column) -> float | None:
    """Return the time in a cell, s; None where it says that there is none."""
    if column.at >= len(row.cells):
        raise RecordingError(
            f"row {row.number}: expected seconds in the column {column.title!r}, found no such cell"
        )
    cell = row.cells[column.at]
    if cell.lower() in _NOTHING:
        return None
    value = _number(cell)
    if value is None:
        of_day = "; count them from the first sample on" if ":" in cell else ""
        raise RecordingError(
            f"row {row.number}: expected seconds in the column {column.title!r}, found {cell!r}"
            f"{of_day}"
        )
    return value * column.unit_s


def _number(cell: str) -> float | None:
    """Return a finite number, with a decimal point or comma."""
    if cell.count(",") == 1 and "." not in cell:
        cell = cell.replace(",", ".")
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if isfinite(value) else None


def _is_numeric(rows: Sequence[Row], at: int) -> bool:
    cells = [row.cells[at] for row in rows if not _empty(row, at)]
    return bool(cells) and _number(cells[0]) is not None


def _headless(sheets: Sequence[Sheet], epoch_s: float | None, stage_of: StageOf) -> list[Mark]:
    """Return one epoch a row of a file that names no columns.

    Raises:
        RecordingError: it has several columns, and not one with stages beside a running number.
    """
    sheet = sheets[0]
    width = Counter(len(row.cells) for row in sheet.rows).most_common(1)[0][0]
    if sheet.delimiter is None or width == 1:
        rows = sheets[-1].rows
        _check_no_empty_line(rows)
        _check_title(rows, stage_of)
        length = epoch_given(epoch_s, "a file of one stage a line")
        labels = [row.cells[0] for row in rows]
        return consecutive(labels, length, [f"row {row.number}" for row in rows])
    first = sheet.rows[0]
    titles = next(row for row in sheet.rows if len(row.cells) == width)
    are_times = any(_number(cell) is not None or is_clock(cell) for cell in titles.cells)
    if not are_times and not all(map(stage_of, titles.cells)):
        rows = [row for row in sheet.rows if row.number > titles.number]
        raise _untitled(titles, rows, stage_of)
    with_stages = [at for at in range(width) if any(stage_of(_cell(row, at)) for row in sheet.rows)]
    if len(with_stages) != 1 or width != 2 or not _counts(sheet.rows, 1 - with_stages[0]):
        raise RecordingError(
            f"row {first.number}: expected a header such as onset,duration,stage above {width} "
            f"columns, found {' | '.join(first.cells)}: name the columns in a first row"
        )
    column = with_stages[0]
    _check_no_empty_line(sheet.rows)
    length = epoch_given(epoch_s, "a file of one stage a line")
    return consecutive(
        [_cell(row, column) for row in sheet.rows],
        length,
        [f"row {row.number}" for row in sheet.rows],
    )


def _counts(rows: Sequence[Row], at: int) -> bool:
    """Whether a column is a running number from 0 or 1 on."""
    numbers = [as_code(row.cells[at]) if at < len(row.cells) else None for row in rows]
    return any(numbers == [str(i) for i in range(k, k + len(rows))] for k in (0, 1))


def _check_title(rows: Sequence[Row], stage_of: StageOf) -> None:
    """Raise RecordingError where the first line is neither a stage, a number nor a known title."""
    first = rows[0].cells[0]
    if len(rows) > 1 and not (stage_of(first) or as_code(first) or first.lower() in _NOTHING):
        words = {len(row.cells[0].split()) for row in rows}
        is_any = any(stage_of(row.cells[0]) for row in rows[1:])
        if not is_any and len(words) == 1 and words != {1}:
            raise RecordingError(
                f"row {rows[0].number}: expected tabs, semicolons or commas between columns, found "
                f"spaces alone: {first!r}"
            )
        if first == UNKNOWN or not is_any:
            return
        raise RecordingError(
            f"row {rows[0].number}: expected a stage, or a title that hypnod knows such as stage "
            f"or score, found {first!r}"
        )
