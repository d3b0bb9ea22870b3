"""The row of a table that names its columns, and whose the rows below it are."""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from models.errors import RecordingError
from models.recordings.hypnograms.codes import as_code
from models.recordings.hypnograms.marks import STAGED_BY
from models.recordings.hypnograms.tables.cells import is_empty, is_numeric
from models.recordings.hypnograms.tables.sheet import Row, Sheet
from models.recordings.hypnograms.tables.titles import (
    DATES,
    DURATIONS,
    ENDS,
    INDICES,
    ONSETS,
    STAGES,
    SUBJECTS,
    UNITS,
    WITH_EVENTS,
    name_in,
    unit_in,
)

_HEADER_WITHIN = 60  # rows: what programs write above their tables
_SHOWN = 6  # columns in a sentence


class Column(NamedTuple):
    """A column of times."""

    at: int
    title: str
    unit_s: float


class Header(NamedTuple):
    """What the columns of a table are."""

    sheet: Sheet
    row: Row
    names: tuple[str, ...]

    def find(self, wanted: Sequence[str]) -> int | None:
        """Return the first column with one of the names, in their order."""
        return next((self.names.index(n) for n in wanted if n in self.names), None)

    def time(self, wanted: Sequence[str]) -> Column | None:
        """Return the first column of times with one of the names, in their order."""
        at = self.find(wanted)
        if at is None:
            return None
        title = self.row.cells[at]
        unit = unit_in(title)
        if unit not in UNITS and not is_numeric(self.below, at):
            unit = ""  # such as hh:mm:ss
        if unit not in UNITS:
            raise RecordingError(
                f"row {self.row.number}: expected seconds, ms or min in the column {title!r}, "
                f"found {unit!r}"
            )
        return Column(at, title, UNITS[unit])

    @property
    def below(self) -> list[Row]:
        """The rows below it."""
        return [row for row in self.sheet.rows if row.number > self.row.number]


def find_header(sheets: Sequence[Sheet]) -> Header | None:
    """Return the first row that names a column of stages, in the first sheet that has one."""
    best: Header | None = None
    for sheet in sheets:
        for row in sheet.rows[:_HEADER_WITHIN]:
            names = tuple(name_in(cell) for cell in row.cells)
            known = {*names} & {*STAGES, *WITH_EVENTS}
            is_header = known and (
                len(names) == 1 or not any(as_code(cell) for cell in row.cells[: len(names)])
            )
            if is_header or {*names} >= {"onset", "duration"}:
                if best is None or len(names) > len(best.names):
                    best = Header(sheet, row, names)
                break
    return best


def check_titles(header: Header) -> None:
    """Raise RecordingError where two columns of stages or times have one title and differ."""
    known = {*STAGES, *WITH_EVENTS, *ONSETS, *DURATIONS, *ENDS}
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


def unread_columns(header: Header, read: Collection[int | None]) -> Iterator[str]:
    """Say which columns are not read, those beside that tell what hypnod knows anyway."""
    known = {*ONSETS, *DURATIONS, *ENDS, *DATES, *INDICES, *SUBJECTS}
    rows = header.below
    others = [
        repr(title)
        for at, (title, name) in enumerate(zip(header.row.cells, header.names, strict=True))
        if at not in read and name not in known and any(not is_empty(r, at) for r in rows)
    ]
    if others:
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        yield f"not read of its columns: {', '.join(others[:_SHOWN])}{more}"


def rows_by_subject(header: Header) -> dict[str | None, list[Row]]:
    """Return the rows that count, by subject; of hypnod's own tables not the live estimates."""
    subject = header.find(SUBJECTS)
    kind = header.find(("kind",)) if owner_of(header) else None
    found: dict[str | None, list[Row]] = {}
    for row in header.below:
        if len(row.cells) > len(header.names) and any(row.cells[len(header.names) :]):
            raise RecordingError(
                f"row {row.number}: expected {len(header.names)} cells as in the header, found "
                f"{len(row.cells)}; a decimal comma needs another delimiter than a comma"
            )
        if kind is not None and not is_empty(row, kind) and row.cells[kind] == "live":
            continue
        whose = None if subject is None or is_empty(row, subject) else row.cells[subject]
        found.setdefault(whose, []).append(row)
    if None in found and len(found) > 1:
        raise RecordingError(
            f"row {found[None][0].number}: expected whose stage it is, as in the other rows, found "
            f"nobody in the column {header.row.cells[subject or 0]!r}"
        )
    return found or {None: []}


def owner_of(header: Header) -> str | None:
    """Return who staged it, where hypnod wrote the table."""
    at = header.find((STAGED_BY,))
    if at is not None:
        return next((row.cells[at] for row in header.below if not is_empty(row, at)), None)
    if {"kind", "pathway"} <= {*header.names}:  # of hypnod before it said so in words
        return "hypnod"
    return None
