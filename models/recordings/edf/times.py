"""When an EDF or BDF file began, and when each of its records did, where the file says it twice.

The header has a date with two digits of the year; EDF+ has it again in words, or an X where it is
hidden. Records follow one another, and in EDF+ each says when it began as well.
"""

import re
from datetime import date, datetime, time, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.errors import RecordingError
from models.recordings.edf.annotations import record_onset
from models.recordings.edf.file import EdfFile

_IN_WORDS = re.compile(rb"Startdate (\d\d)-([A-Z]{3})-(\d{4})")
_MONTHS = (
    b"JAN",
    b"FEB",
    b"MAR",
    b"APR",
    b"MAY",
    b"JUN",
    b"JUL",
    b"AUG",
    b"SEP",
    b"OCT",
    b"NOV",
    b"DEC",
)
_FIELD = re.compile(rb"(\d\d)\D(\d\d)\D(\d\d)")
_HIDDEN = datetime(1985, 1, 1)
_COUNTED_S = 0.05
"""Record times that part from counting by less were rounded."""


class RecordTimes(NamedTuple):
    """When the records of a file began."""

    first: float
    """The first one, after the start in the header, s; 0 where the file does not say."""
    onsets: NDArray[np.float64] | None = None
    """(n_records,), from the first one, s; None: they follow one another."""
    flaw: str = ""
    """Where the file contradicts itself."""


def read_record_times(file: EdfFile) -> RecordTimes:
    """Hold the times of the records against counting them.

    Those of an interrupted recording count. They are believed where a file says that it is not
    interrupted, too, unless they go back. A record whose time is damaged follows the one before.

    Raises:
        RecordingError: those of an interrupted recording are missing, or go back.
    """
    counted = RecordTimes(record_onset(file, 0) or 0.0)
    if not file.annotation_signals:
        if file.is_interrupted:
            raise RecordingError(f"{file.path}: expected the times of its records, found none")
        return counted
    found = [record_onset(file, i) for i in range(len(file.records))]
    missing = [i for i, onset in enumerate(found) if onset is None]
    if missing[:1] == [0] or 2 * len(missing) > len(found):
        if file.is_interrupted:
            raise RecordingError(
                f"{file.path}: expected the time of record {missing[0]}, found none"
            )
        return counted
    onsets = np.empty(len(found))
    for i, onset in enumerate(found):
        onsets[i] = onsets[i - 1] + file.record_s if onset is None else onset
    times = _hold(file, onsets, counted)
    if not missing:
        return times
    lost = (
        f"{len(missing)} of its records have no time, record {missing[0]} first, and follow those"
    )
    return times._replace(flaw="; ".join(filter(None, (times.flaw, f"{lost} before them"))))


def _hold(file: EdfFile, onsets: NDArray[np.float64], counted: RecordTimes) -> RecordTimes:
    """Hold the times of all records against counting them; see `read_record_times`."""
    steps = np.diff(onsets)
    if np.any(steps <= 0):
        at = int(np.argmax(steps <= 0))
        if not file.is_interrupted:
            return counted._replace(flaw=_gone_back(onsets, at))
        raise RecordingError(
            f"{file.path}: expected each record after the one before, found record {at + 1} at "
            f"{onsets[at + 1]:g} s after one at {onsets[at]:g} s"
        )
    onsets -= onsets[0]
    parted = onsets - np.arange(len(onsets)) * file.record_s
    if file.is_interrupted:
        return counted._replace(onsets=onsets)
    if np.abs(parted).max() <= _COUNTED_S:
        return counted
    return counted._replace(onsets=onsets, flaw=_jumped(onsets, steps - file.record_s, parted))


def _gone_back(onsets: NDArray[np.float64], at: int) -> str:
    return (
        f"the time of record {at + 1}, {onsets[at + 1]:g} s, is not after that of the one before, "
        f"{onsets[at]:g} s: the times of records are not believed, they are counted"
    )


def _jumped(
    onsets: NDArray[np.float64], jumps: NDArray[np.float64], parted: NDArray[np.float64]
) -> str:
    jumped = np.flatnonzero(np.abs(jumps) > _COUNTED_S)
    if len(jumped):
        at = int(jumped[0])
        what = (
            f"the times of its records jump {len(jumped)} ×, first by {jumps[at]:+g} s before "
            f"{onsets[at + 1]:g} s"
        )
    else:
        what = f"the times of its records part from counting by {parted[-1]:+.3g} s"
    return f"{what}, though it says that it is not interrupted: the times are believed"


def read_start(file: EdfFile, first: float) -> tuple[datetime | None, str]:
    """Return when the first sample was taken, and what is wrong with what the header says of it.

    Where EDF+ hides the date in words, that in the header is taken; 1985-01-01 stands for a hidden
    one. None: there is no real date or time of day, or all is hidden, the time of day too.

    Args:
        file: the file.
        first: when its first record began after the start in the header, s.
    """
    days, clocks = file.header[168:176], file.header[176:184]
    day, clock = _day(days), _clock(clocks)
    said = _day_in_words(file.header[88:168])
    if clock is None or (day is None and said is None):
        unreal = _unreal(days) * (day is None and said is None) + _unreal(clocks) * (clock is None)
        lost = (
            f"it began at {' '.join(unreal)} by its header, which is no time: its start is unknown"
        )
        return None, lost if unreal else ""
    start = datetime.combine(said or day or _HIDDEN.date(), clock)
    if start == _HIDDEN:
        return None, ""
    remark = ""
    if said is not None and day is not None and said != day:
        remark = f"it began on {said} as EDF+ says it, on {day} as EDF does: the former is believed"
    elif day is None and _FIELD.fullmatch(days) and _unreal(days):
        remark = f"it began on {said} as EDF+ says it; {_unreal(days)[0]}, as EDF does, is no date"
    try:
        return start + timedelta(seconds=first), remark
    except OverflowError:
        return None, ""


def _unreal(field: bytes) -> list[str]:
    """Return what stands in a field that cannot be read; nothing where it hides what it says."""
    return [repr(field.decode("latin-1").strip())] if re.search(rb"[1-9]", field) else []


def _day(field: bytes) -> date | None:
    match = _FIELD.fullmatch(field)
    if match is None:
        return None
    day, month, year = map(int, match.groups())
    try:
        return date(year + (1900 if year >= _HIDDEN.year % 100 else 2000), month, day)
    except ValueError:
        return None


def _day_in_words(field: bytes) -> date | None:
    match = _IN_WORDS.match(field)
    if match is None or match[2] not in _MONTHS:
        return None
    try:
        return date(int(match[3]), _MONTHS.index(match[2]) + 1, int(match[1]))
    except ValueError:
        return None


def _clock(field: bytes) -> time | None:
    match = _FIELD.fullmatch(field)
    if match is None:
        return None
    hour, minute, second = map(int, match.groups())
    try:
        return time(hour, minute, second)
    except ValueError:
        return None
