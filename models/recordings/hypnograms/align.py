"""A hypnogram is laid where its own start says, held against that of its recording."""

from datetime import date, datetime, time, timedelta

import msgspec

from models.errors import RecordingError
from models.recordings.base import Recording
from models.recordings.hypnogram import Hypnogram, is_as_long
from models.recordings.hypnograms.interpret import Legend, Scoring

_SAME_S = 1.0
"""Starts are written to the second, or coarser."""
_ZONE_S = 1800.0
"""Time zones, summer time and dates are so many seconds apart, or a multiple."""
_OTHER_CLOCK_S = 60.0
"""So far apart two clocks, and when a file and its first sample began, may be without a word."""
_HIDDEN = date(1985, 1, 1)
_DAY_S = 86_400.0


def align(scoring: Scoring, recording: Recording, legend: Legend) -> Scoring:
    """Return a scoring on its recording's time, and say so in its account where it was moved.

    Raises:
        RecordingError: the two starts contradict each other: they are apart by another time zone
            or date, or nothing of the hypnogram lies in the recording.
    """
    if legend.same_start or scoring.start is None or recording.start is None:
        return scoring
    hypnogram, length = scoring.hypnogram, recording.duration
    by_s = _from(recording.start.replace(tzinfo=None), scoring.start)
    epoch_s = hypnogram.epoch_s or 0.0
    within_s = scoring.start_within_s
    if abs(by_s) < within_s or (scoring.start_of_epoch and abs(by_s) <= epoch_s + within_s):
        return scoring
    if recording.start.tzinfo is not None:  # of the recorder's computer, by a clock of its own
        if abs(by_s) <= _OTHER_CLOCK_S:
            return scoring
        return _with_flaw(
            scoring,
            f"it begins at {scoring.start}, its recording at {recording.start} by another clock: "
            "it was laid from the first sample on",
        )
    if within_s > _SAME_S:
        raise RecordingError(
            f"{scoring.account.file}: expected a hypnogram from its recording's start on, at "
            f"{recording.start}, found one from {scoring.start} on, to {within_s:g} s: give times "
            "with seconds; --same-start lays it from the recording's first sample on"
        )
    of_zone = round(by_s / _ZONE_S) * _ZONE_S
    is_zone = of_zone != 0 and abs(by_s - of_zone) < _SAME_S and is_as_long(hypnogram, recording)
    moved = hypnogram.moved(by_s, length)
    if is_zone or sum(moved.durations) <= 0:
        raise RecordingError(
            f"{scoring.account.file}: expected a hypnogram that begins with or within its "
            f"recording, at {recording.start}, found one from {scoring.start}: is it another time "
            "zone or date? --same-start lays it from the recording's first sample on"
        )
    laid = scoring._replace(hypnogram=moved)
    return _with_flaw(laid, _in_words(by_s, hypnogram, moved))


def _with_flaw(scoring: Scoring, flaw: str) -> Scoring:
    flaws = (*scoring.account.flaws, flaw)
    return scoring._replace(account=msgspec.structs.replace(scoring.account, flaws=flaws))


def _from(start: datetime, other: datetime | time) -> float:
    """Return how long after the start of a recording another was, s.

    By the time of day alone where one of them hides its date.
    """
    if isinstance(other, datetime) and _HIDDEN not in (start.date(), other.date()):
        return (other - start).total_seconds()
    of_day = other.time() if isinstance(other, datetime) else other
    by_s = (datetime.combine(start.date(), of_day) - start) / timedelta(seconds=1)
    return (by_s + _DAY_S / 2) % _DAY_S - _DAY_S / 2


def _in_words(by_s: float, before: Hypnogram, after: Hypnogram) -> str:
    outside = float(before.durations.sum() - after.durations.sum())
    lost = f"; {outside:g} s of it lie outside and are not used" if outside > 0 else ""
    return (
        f"it begins {abs(by_s):g} s {'after' if by_s > 0 else 'before'} its recording, as both "
        f"say, and was laid there{lost} (--same-start: from the first sample on)"
    )
