"""What stands in the cells of a table."""

from collections.abc import Sequence
from math import isfinite

from models.recordings.hypnograms.tables.sheet import Row

NOTHING = ("", "n/a", "na", "nan", "none", "null", "-")
"""What says that there is nothing, in small letters."""


def text_at(row: Row, at: int) -> str:
    """Return what stands in a column of a row; empty where the row is shorter."""
    return row.cells[at] if at < len(row.cells) else ""


def is_empty(row: Row, at: int) -> bool:
    """Whether a row has nothing in a column."""
    return at >= len(row.cells) or row.cells[at].lower() in NOTHING


def as_number(cell: str) -> float | None:
    """Return a finite number, with a decimal point or comma."""
    if cell.count(",") == 1 and "." not in cell:
        cell = cell.replace(",", ".")
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if isfinite(value) else None


def is_numeric(rows: Sequence[Row], at: int) -> bool:
    """Whether the first thing in a column is a number."""
    cells = [row.cells[at] for row in rows if not is_empty(row, at)]
    return bool(cells) and as_number(cells[0]) is not None
