"""Times of day beside stages: when the first epoch was, and that no row is missing between."""

import re
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time
from itertools import groupby, pairwise
from typing import NamedTuple

from models.errors import RecordingError

_CLOCK = re.compile(r"(?<![\d:])(\d{1,2}):(\d\d):(\d\d)(?:[.,](\d+))?\s*(?:([AaPp])\.?[Mm]\b)?")
_MINUTE = re.compile(r"(?<![\d:])(\d{1,3}):(\d\d)(?![\d:])\s*(?:([AaPp])\.?[Mm]\b)?")
_DATE = re.compile(r"(\d{4})([-/])(\d\d?)\2(\d\d?)|(\d\d?)\.(\d\d?)\.(\d{4})")
_ELAPSED = time(0, 2)
"""A time before it is one that counts from the begin on."""
_DIAL_S = 43_200.0
"""After so long a clock may show the same again: not all say AM and PM, s."""
_JITTER_S, _OF_EPOCH = 1.011, 0.75  # times are rounded, at most to seconds
_MINUTE_S, _HOUR_S = 60.0, 3600.0
_EXACT_S = 1e-6


class First(NamedTuple):
    """When the first epoch was."""

    start: datetime | time
    """With its date where that is written from the year down, or with points."""
    within_s: float
    """To what it was rounded, s."""


def first_time(cells: Iterable[str]) -> First | None:
    """Return when the first epoch was; None where it says none, or counts from the begin on."""
    cell = next(iter(cells), "")
    found, to_minutes = _CLOCK.search(cell), _MINUTE.search(cell)
    try:
        if found is not None:
            clock = time(int(_second(found)) // 3600, int(found[2]), int(found[3]))
        elif to_minutes is not None:
            clock = time(_hour(to_minutes[1], to_minutes[3]), int(to_minutes[2]))
        else:
            return None
        within_s = 1.0 if found is not None else _MINUTE_S
        if (of_day := _DATE.match(cell)) is not None:
            on = date(*map(int, of_day.group(1, 3, 4) if of_day[1] else of_day.group(7, 6, 5)))
            return First(datetime.combine(on, clock), within_s)
    except ValueError:
        return None
    return First(clock, within_s) if clock >= _ELAPSED else None


def since_first(cells: Sequence[str]) -> list[float | None]:
    """Return how long after the first time of day each is, s; None: a cell has none.

    Each is less than six hours from the one before, and they go on after midnight, or noon.
    """
    found: list[float | None] = []
    first = last = None
    for cell in cells:
        clock = _CLOCK.search(cell)
        if clock is None:
            found.append(None)
            continue
        at = _second(clock)
        if first is None or last is None:
            first = last = at
        last += _wrapped(at - last, _DIAL_S)
        found.append(last - first)
    return found


def is_clock(cell: str) -> bool:
    """Whether a cell has a time with seconds."""
    return _CLOCK.search(cell) is not None


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
    if not found:
        _check_minutes(cells, epoch_s)
    for (k, _, one), (n, row, other) in pairwise(found):
        expected = (n - k) * epoch_s
        off = _wrapped(_second(other) - _second(one) - expected, _DIAL_S)
        if abs(off) > min(_JITTER_S, _OF_EPOCH * epoch_s):
            raise _missing(row, expected, one[0], other[0], epoch_s)


def _check_minutes(cells: Sequence[tuple[int, str]], epoch_s: float) -> None:
    """See that times without seconds pass as epochs do, whether they are 22:05 or 5:59 elapsed."""
    found = [
        (k, row, clock) for k, (row, cell) in enumerate(cells) if (clock := _MINUTE.search(cell))
    ]
    as_hours = _first_off(found, epoch_s, _MINUTE_S, _DIAL_S)
    if _first_off(found, epoch_s, 1.0, _HOUR_S) is None:
        return
    if as_hours is None:
        _check_whole_minutes(found, epoch_s)
        return
    (k, _, one), (n, row, other) = found[0], found[as_hours]
    raise _missing(row, (n - k) * epoch_s, one[0], other[0], epoch_s)


def _check_whole_minutes(found: Sequence[tuple[int, int, re.Match[str]]], epoch_s: float) -> None:
    """See that no minute lacks a row, where a whole number of epochs fits in.

    An epoch at a change of minutes may be told with either: some minutes have more rows then.
    """
    n = round(_MINUTE_S / epoch_s)
    if abs(n * epoch_s - _MINUTE_S) > _EXACT_S:
        return
    firsts = [next(rows) for _, rows in groupby(found, lambda each: each[2].groups())]
    whole = firsts if n == 1 else firsts[1:]  # the first minute may have begun before
    off = []
    for (k, _, one), (m, row, other) in pairwise(whole):
        expected = n * round(_wrapped(_at(other) - _at(one), _DIAL_S) / _MINUTE_S)
        if m - k != expected:
            off.append((row, expected, m - k, one[0].strip(), other[0].strip()))
    if off and all(rows < expected for _, expected, rows, _, _ in off):
        row, expected, rows, begin, end = off[0]
        raise RecordingError(
            f"row {row}: expected {expected} rows from {begin} to {end}, found {rows}"
            f"{_advice(epoch_s)}"
        )


def _at(clock: re.Match[str]) -> float:
    """Return the time of day of a minute, s."""
    return 3600.0 * _hour(clock[1], clock[3]) + 60 * int(clock[2])


def _first_off(
    found: Sequence[tuple[int, int, re.Match[str]]], epoch_s: float, unit_s: float, dial_s: float
) -> int | None:
    """Return which time is the first that no beginning of the first epoch explains.

    A time is that of its epoch without what is less than a unit, or rounded to one.
    """
    begins = [unit_s / _MINUTE_S * _at(clock) - k * epoch_s for k, _, clock in found]
    earliest, latest = -dial_s, dial_s
    for i, begin in enumerate(begins):
        after = _wrapped(begin - begins[0], dial_s)
        earliest, latest = max(earliest, after), min(latest, after + unit_s)
        if earliest - latest > min(_JITTER_S, _OF_EPOCH * epoch_s):
            return i
    return None


def _missing(row: int, expected: float, one: str, other: str, epoch_s: float) -> RecordingError:
    return RecordingError(
        f"row {row}: expected {expected:g} s after {one.strip()}, found {other.strip()}"
        f"{_advice(epoch_s)}"
    )


def _advice(epoch_s: float) -> str:
    return (
        "; of rows that are missing nobody knows the stage: give an onset in seconds, or a row "
        f"with UNKNOWN for each; if none is missing, correct --hypnogram-epoch {epoch_s:g}, or "
        "leave out the times of a clock that was changed"
    )


def _wrapped(seconds: float, dial_s: float) -> float:
    """Return a difference of times, at most half a turn of the dial either way, s."""
    return (seconds + dial_s / 2) % dial_s - dial_s / 2


def _second(clock: re.Match[str]) -> float:
    """Return a time of day in s."""
    hour = _hour(clock[1], clock[5])
    return 3600.0 * hour + 60 * int(clock[2]) + int(clock[3]) + float(f"0.{clock[4] or 0}")


def _hour(hour: str, half: str | None) -> int:
    return int(hour) if not half else int(hour) % 12 + 12 * (half.lower() == "p")
