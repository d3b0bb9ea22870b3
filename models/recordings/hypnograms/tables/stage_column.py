"""Which column of a table holds the stages."""

from collections.abc import Sequence

from models.errors import RecordingError
from models.recordings.hypnograms.codes import as_code
from models.recordings.hypnograms.marks import StageOf
from models.recordings.hypnograms.tables.cells import is_empty, text_at
from models.recordings.hypnograms.tables.header import Header
from models.recordings.hypnograms.tables.sheet import Row
from models.recordings.hypnograms.tables.titles import STAGES, WITH_EVENTS


def find_stage_column(header: Header, stage_of: StageOf) -> int:
    """Return the column of stages: the first by name in which something can be one.

    Raises:
        RecordingError: there is none.
    """
    named = [header.names.index(n) for n in (*STAGES, *WITH_EVENTS) if n in header.names]
    if not named:
        raise untitled(header.row, header.below, stage_of)
    events = [header.names.index(n) for n in WITH_EVENTS if n in header.names]
    if len(events) < len(named):
        named = [*(at for at in events if _has_both(header, at, stage_of)), *named]
    for at in named:
        if any(stage_of(text_at(row, at)) for row in header.below):
            _check_other_stages(header, at, [n for n in named if n != at], stage_of)
            return at
    for at in named:
        if any(at < len(row.cells) and as_code(row.cells[at]) for row in header.below):
            return at
    filled = [at for at in named if any(not is_empty(row, at) for row in header.below)]
    return (filled or named)[0]


def _has_both(header: Header, at: int, stage_of: StageOf) -> bool:
    """Whether each row is an event by this column, of which some are stages, as RemLogic's."""
    if any(is_empty(row, at) for row in header.below):
        return False
    return len({stage_of(text_at(row, at)) is None for row in header.below}) == 2


def _check_other_stages(
    header: Header, column: int, others: Sequence[int], stage_of: StageOf
) -> None:
    """Raise RecordingError where another column with a title of stages has other stages."""
    rows = header.below if others else []
    for at in set(others) & set(_of_stages(rows, stage_of)):
        for row in rows:
            one, other = text_at(row, column), text_at(row, at)
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
        filled = [row.cells[at] for row in rows if not is_empty(row, at)]
        if 2 * sum(stage_of(cell) is not None for cell in filled) > len(filled):
            found.append(at)
    return found


def untitled(titles: Row, rows: Sequence[Row], stage_of: StageOf) -> RecordingError:
    """Return the error of a table in which no title is one of stages."""
    columns = [repr(text_at(titles, at)) for at in _of_stages(rows, stage_of)]
    found = f"stages in {' and '.join(columns)}" if columns else ", ".join(titles.cells)
    return RecordingError(
        f"row {titles.number}: expected a column stage (or state, score, trial_type, value, …), "
        f"found {found}: give the one that is meant the title stage"
    )
