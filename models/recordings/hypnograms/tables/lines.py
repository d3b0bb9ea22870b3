"""Tables of one stage a line, with a header and without."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from models.errors import RecordingError
from models.recordings.hypnograms.codes import as_code
from models.recordings.hypnograms.marks import IsKnown, Mark, StageOf, consecutive, epoch_given
from models.recordings.hypnograms.tables.cells import NOTHING, as_number, text_at
from models.recordings.hypnograms.tables.clock import is_clock
from models.recordings.hypnograms.tables.header import Column, Header
from models.recordings.hypnograms.tables.sheet import Row, Sheet
from models.recordings.hypnograms.tables.stage_column import untitled
from models.recordings.hypnograms.tables.titles import DURATIONS, INDICES

_SAME = 0.01  # of an epoch, by which its length may be rounded
_FIRST = (0, 1)  # numbers that the first epoch may have
_MISSING = (
    "; of epochs that are missing nobody knows the stage: give an onset in seconds, or a row with "
    "UNKNOWN for each"
)


def read_lines(
    rows: Sequence[Row], header: Header, column: int, epoch_s: float | None
) -> list[Mark]:
    """Return one epoch a row.

    Raises:
        RecordingError: the rows are not consecutive, or the epochs have no length.
    """
    index = header.find(INDICES)
    if index is not None and index != column:
        _check_index(rows, index, header)
    labels = [text_at(row, column) for row in rows]
    if not labels:
        raise RecordingError(f"expected stages below row {header.row.number}, found none")
    length = epoch_given(epoch_s, "a table without a column onset in seconds")
    duration = header.time(DURATIONS)
    if duration is not None:
        _check_durations(rows, duration, length)
    return consecutive(labels, length, [f"row {row.number}" for row in rows])


def _check_durations(rows: Sequence[Row], duration: Column, epoch_s: float) -> None:
    """Raise RecordingError where a row says that it lasts otherwise than its epoch."""
    for row in rows:
        value = as_number(text_at(row, duration.at))
        if value is not None and abs(value * duration.unit_s - epoch_s) > _SAME * epoch_s:
            raise RecordingError(
                f"row {row.number}: expected the {epoch_s:g} s of --hypnogram-epoch in the column "
                f"{duration.title!r}, found {value * duration.unit_s:g} s; bouts need a column "
                "onset in seconds"
            )


def _check_index(rows: Sequence[Row], at: int, header: Header) -> None:
    """Raise RecordingError where the numbers of epochs do not count up by one, from 0 or 1 on."""
    if _counts(header.below, at):  # also where several subjects follow each other
        return
    codes = [(k, row.number, as_code(text_at(row, at))) for k, row in enumerate(rows)]
    numbers = [(k, row, int(code)) for k, row, code in codes if code is not None]
    for (i, _, before), (k, row, number) in pairwise(numbers):
        expected = before + k - i
        if number != expected:
            raise RecordingError(
                f"row {row}: expected epoch {expected} after epoch {before}, found {number}"
                f"{_MISSING}"
            )
    for k, row, number in numbers[:1]:
        if number - k not in _FIRST:
            raise RecordingError(
                f"row {row}: expected epochs that are numbered from 0 or 1 on, found {number}"
                f"{_MISSING}; if none is missing, number them anew"
            )


def read_headless(
    sheets: Sequence[Sheet], epoch_s: float | None, stage_of: StageOf, is_known: IsKnown
) -> list[Mark]:
    """Return one epoch a row of a file that names no columns.

    Args:
        sheets: what stands in it.
        epoch_s: length of an epoch, s.
        stage_of: which stage a label is.
        is_known: whether it means anything, be it that nobody scored.

    Raises:
        RecordingError: it has several columns, and not one with stages beside a running number.
    """
    sheet = sheets[0]
    width = Counter(len(row.cells) for row in sheet.rows).most_common(1)[0][0]
    if sheet.delimiter is None or width == 1:
        rows = sheets[-1].rows
        check_no_empty_line(rows)
        _check_title(rows, stage_of, is_known)
        length = epoch_given(epoch_s, "a file of one stage a line")
        labels = [row.cells[0] for row in rows]
        return consecutive(labels, length, [f"row {row.number}" for row in rows])
    titles = next(row for row in sheet.rows if len(row.cells) == width)
    are_times = any(as_number(cell) is not None or is_clock(cell) for cell in titles.cells)
    if not are_times and not all(map(stage_of, titles.cells)):
        rows = [row for row in sheet.rows if row.number > titles.number]
        raise untitled(titles, rows, stage_of)
    with_stages = [
        at for at in range(width) if any(stage_of(text_at(row, at)) for row in sheet.rows)
    ]
    if len(with_stages) != 1 or width != 2 or not _counts(sheet.rows, 1 - with_stages[0]):
        raise _unnamed(sheet.rows[0], width, with_stages)
    column = with_stages[0]
    check_no_empty_line(sheet.rows)
    length = epoch_given(epoch_s, "a file of one stage a line")
    return consecutive(
        [text_at(row, column) for row in sheet.rows],
        length,
        [f"row {row.number}" for row in sheet.rows],
    )


def _unnamed(first: Row, width: int, with_stages: Sequence[int]) -> RecordingError:
    """Return the error of a table of several columns that nobody named."""
    if width == 2:
        names, of_onset = "onset,stage", "; the onset is in seconds from the first sample on"
        if list(with_stages) == [0]:
            names = "stage,onset"
    else:
        names, of_onset = "onset,duration,stage", ""
    return RecordingError(
        f"row {first.number}: expected a header such as {names} above {width} columns, found "
        f"{' | '.join(first.cells)}: name the columns in a first row, with the delimiter of the "
        f"others{of_onset}"
    )


def _counts(rows: Sequence[Row], at: int) -> bool:
    """Whether a column is a running number from 0 or 1 on."""
    numbers = [as_code(row.cells[at]) if at < len(row.cells) else None for row in rows]
    return any(numbers == [str(i) for i in range(k, k + len(rows))] for k in _FIRST)


def check_no_empty_line(rows: Sequence[Row]) -> None:
    """Raise RecordingError where lines between stages are empty, unless all are spaced alike."""
    apart = [row.number - before.number for before, row in pairwise(rows)]
    if len({*apart}) > 1:
        at = next(k for k, n in enumerate(apart) if n > min(apart))
        raise RecordingError(
            f"row {rows[at + 1].number - 1}: expected a stage a line, found an empty line; write "
            "UNKNOWN where nobody scored"
        )


def _check_title(rows: Sequence[Row], stage_of: StageOf, is_known: IsKnown) -> None:
    """Raise RecordingError where the first line is no label, no number and no known title."""
    first = rows[0].cells[0]
    if len(rows) > 1 and not (is_known(first) or as_code(first) or first.lower() in NOTHING):
        words = {len(row.cells[0].split()) for row in rows}
        is_any = any(stage_of(row.cells[0]) for row in rows[1:])
        if not is_any and len(words) == 1 and words != {1}:
            raise RecordingError(
                f"row {rows[0].number}: expected tabs, semicolons or commas between columns, found "
                f"spaces alone: {first!r}"
            )
        if not is_any:
            return
        raise RecordingError(
            f"row {rows[0].number}: expected a stage, or a title that hypnod knows such as stage "
            f"or score, found {first!r}; if it is a label, --ignore {first!r} leaves it out, "
            f"--codes {f'{first}=STAGE'!r} says which stage it is"
        )
