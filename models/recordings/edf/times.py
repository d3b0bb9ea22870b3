"""When an EDF or BDF file began, and when each of its records did, where the file says it twice.

The header has a date with two digits of the year; EDF+ has it again in words, or an X where it is
hidden. Records follow one another, and in EDF+ each says when it began as well.
"""

import re
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.errors import RecordingError
from models.recordings.edf.annotations import record_onset
from models.recordings.edf.file import EdfFile
from models.signal.clock.timeline import LONGEST_GAP_S

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
_NEAR = 0.1
"""So much of a record two of them may be apart, or overlap, and yet follow each other."""
_NEAR_S = 0.1
"""But no more than that apart: it is a pause."""
_SEAM_S = 0.005
"""Between records there may be so much without a gap for who reads them."""
_SMOOTHED = 0.125
"""Of what times part from counting by, where they were rounded."""


class RecordTimes(NamedTuple):
    """When the records of a file began."""

    first: float
    """The first one, after the start in the header, s; 0 where the file does not say."""
    onsets: NDArray[np.float64] | None = None
    """(n_records,), from the first one, s; None: they follow one another."""
    record_s: float | None = None
    """How long a record lasts by them, s; None: as long as the header says."""
    flaw: str = ""
    """Where the file contradicts itself."""


def read_record_times(file: EdfFile) -> RecordTimes:
    """Hold the times of the records against counting them.

    Those of an interrupted recording count. They are believed where a file says that it is not
    interrupted, too, unless they go back. A record whose time is damaged, more than a day off or
    before the end of the one before follows that one: each of its samples has a time of its own.

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
    back = (steps <= 0) & (steps >= -LONGEST_GAP_S)
    if np.any(back):
        at = int(np.argmax(back))
        if not file.is_interrupted:
            return counted._replace(flaw=_gone_back(onsets, at))
        raise RecordingError(
            f"{file.path}: expected each record after the one before, found record {at + 1} at "
            f"{onsets[at + 1]:g} s after one at {onsets[at]:g} s"
        )
    by_count = np.arange(len(onsets)) * file.record_s
    if not file.is_interrupted and np.abs(onsets - onsets[0] - by_count).max() <= _COUNTED_S:
        return counted
    lasts = _measure(steps, file.record_s)
    laid = _lay(onsets, lasts)
    flaws = []
    if not file.is_interrupted:
        flaws.append(_jumped(onsets, laid, lasts, laid.onsets - by_count))
    is_other = abs(lasts - file.record_s) > _SEAM_S
    if is_other:
        flaws.append(
            f"a record lasts {file.record_s:g} s by its header, {lasts:.6g} s by the times of its "
            "records, of which its rate is taken"
        )
    flaws += _disbelieved(steps, laid)
    return counted._replace(
        onsets=laid.onsets,
        record_s=lasts if is_other else None,
        flaw="; ".join(filter(None, flaws)),
    )


def _measure(steps: NDArray[np.float64], record_s: float) -> float:
    """Return how long a record lasts by those that follow each other, s.

    What is between them longer may be a pause; what they overlap is none.
    """
    apart = steps - record_s
    near = (apart >= -_NEAR * record_s) & (apart <= min(_NEAR * record_s, _NEAR_S))
    return float(steps[near].mean()) if 2 * near.sum() > len(steps) else record_s


class _Laid(NamedTuple):
    """Where records were laid."""

    onsets: NDArray[np.float64]
    """(n_records,), from the first one, s."""
    far: list[int]
    """Records whose time is further from that of the one before than a gap can be."""
    early: list[int]
    """Records that say that they begin before the one before has ended."""


def _lay(onsets: NDArray[np.float64], lasts: float) -> _Laid:
    """Lay records where they say, smoothed where that was rounded, and none into another."""
    within_s = min(_COUNTED_S, _NEAR * lasts)
    laid = _Laid(np.zeros(len(onsets)), [], [])
    moved = onsets[0]
    for i in range(1, len(onsets)):
        following = laid.onsets[i - 1] + lasts
        if abs(onsets[i] - onsets[i - 1]) > LONGEST_GAP_S:
            laid.far.append(i)
            moved = onsets[i] - following
        off = onsets[i] - moved - following
        if off > within_s:
            laid.onsets[i] = following + off
            continue
        if off < -within_s:
            laid.early.append(i)
            off = 0.0
        laid.onsets[i] = following + off * _SMOOTHED
    return laid


def _gone_back(onsets: NDArray[np.float64], at: int) -> str:
    return (
        f"the time of record {at + 1}, {onsets[at + 1]:g} s, is not after that of the one before, "
        f"{onsets[at]:g} s: the times of records are not believed, they are counted"
    )


def _jumped(
    onsets: NDArray[np.float64], laid: _Laid, lasts: float, parted: NDArray[np.float64]
) -> str:
    jumps = np.diff(laid.onsets) - lasts
    jumped = np.flatnonzero(jumps > min(_COUNTED_S, _NEAR * lasts))
    if len(jumped):
        at = int(jumped[0])
        what = (
            f"the times of its records jump {len(jumped)} ×, first by {jumps[at]:+g} s before "
            f"{onsets[at + 1]:g} s"
        )
    elif np.abs(parted).max() > _COUNTED_S:
        what = f"the times of its records part from counting by {parted[-1]:+.3g} s"
    else:
        return ""
    return f"{what}, though it says that it is not interrupted: the times are believed"


def _disbelieved(steps: NDArray[np.float64], laid: _Laid) -> Iterator[str]:
    if laid.far:
        first = laid.far[0]
        yield (
            f"the times of its records jump {len(laid.far)} × by more than a day, first by "
            f"{steps[first - 1]:+g} s before record {first}: these jumps are not believed, what "
            "comes after follows what was before"
        )
    if laid.early:
        first = laid.early[0]
        yield (
            f"{len(laid.early)} of its records begin, by their times, before the one before has "
            f"ended, record {first} first: each is taken to follow it"
        )


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
        lost = f"its first record begins {first:g} s after {start}, which is no time"
        return None, f"{lost}: its start is unknown"


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
