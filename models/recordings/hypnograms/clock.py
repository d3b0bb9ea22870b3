"""Times of day beside stages: when the first epoch was, and that no row is missing between."""

import re
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time
from itertools import pairwise

from models.errors import RecordingError

_CLOCK = re.compile(r"\b(\d{1,2}):(\d\d):(\d\d)(?:[.,](\d+))?\s*(?:([AaPp])\.?[Mm]\b)?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_ELAPSED = time(0, 2)
"""A time before it is one that counts from the begin on."""
_DAY_S = 86400.0
_JITTER_S, _OF_EPOCH = 1.011, 0.75  # times are rounded, at most to seconds


def first_time(cells: Iterable[str]) -> datetime | time | None:
    """Return when the first epoch was: its date where that is written as in ISO 8601.

    None where it says none, or counts from the begin on.
    """
    cell = next(iter(cells), "")
    found = _CLOCK.search(cell)
    if found is None:
        return None
    try:
        clock = time(int(_second(found)) // 3600, int(found[2]), int(found[3]))
        day = _DATE.match(cell)
        if day is not None:
            return datetime.combine(date.fromisoformat(day[0]), clock)
    except ValueError:
        return None
    return clock if clock >= _ELAPSED else None


def check_times(cells: Sequence[tuple[int, str]], epoch_s: float | None) -> None:
    """See that rows are as far apart by their times as by their epochs.

    Args:
        cells: row and what stands there, of every epoch; one without a time says nothing.
        epoch_s: length of an epoch, s; None: not known, and nothing is held against it.

    Raises:
        RecordingError: a row is missing or has another time; it is named.
    """
    if epoch_s is None:
        return
    found = [
        (k, row, clock) for k, (row, cell) in enumerate(cells) if (clock := _CLOCK.search(cell))
    ]
    for (k, _, one), (n, row, other) in pairwise(found):
        expected = (n - k) * epoch_s
        off = (_second(other) - _second(one) - expected + _DAY_S / 2) % _DAY_S - _DAY_S / 2
        if abs(off) > min(_JITTER_S, _OF_EPOCH * epoch_s):
            raise RecordingError(
                f"row {row}: expected {expected:g} s after {one[0].strip()}, found "
                f"{other[0].strip()}; of rows that are missing nobody knows the stage: give an "
                "onset in seconds, or a row with UNKNOWN for each"
            )


def _second(clock: re.Match[str]) -> float:
    """Return a time of day in s."""
    hour = int(clock[1])
    if clock[5]:
        hour = hour % 12 + 12 * (clock[5].lower() == "p")
    return 3600.0 * hour + 60 * int(clock[2]) + int(clock[3]) + float(f"0.{clock[4] or 0}")
