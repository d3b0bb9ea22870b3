"""The figures of one subject's night: time in stage, bouts, transitions, by hour and by light."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.recordings.agreement import or_null
from models.signal.drift import LIMIT
from models.stages import ART, UNKNOWN
from tools.night.counting import Bout, Course, Rule, count
from tools.night.record import Record
from tools.night.sleep import SleepFigures, sleep_figures_of
from tools.shared.day import HOUR_S, Day

_N_LENGTHS = 9
_LEAST_LENGTH_S = 5.0
_REM = "REM"


class StageBouts(msgspec.Struct, frozen=True, kw_only=True):
    """The bouts of one stage."""

    n: int
    median_s: float
    """Median length, s."""
    mean_s: float
    longest_s: float
    lengths: tuple[int, ...]
    """How many are as long as `Figures.lengths_s` says."""
    first_s: float
    """From the beginning of the record until the first one, s."""


class HourFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What was in an hour of the day, or what of it was recorded."""

    start: str
    """Local, ISO 8601."""
    zeitgeber: int | None
    """Which hour after lights on it is, from 0; null: lights are not known."""
    light: float | None
    """Share of it that is light; null: likewise."""
    length_s: float
    """Of it within the record, s."""
    seconds: dict[str, float]
    """Time in each stage, in ART and in UNKNOWN, s."""
    bouts: dict[str, int]
    """That begin in it, by stage."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one subject's night."""

    rule: str
    """How epochs and bouts are counted."""
    epoch_s: float
    min_bout_s: float
    seconds: dict[str, float]
    """Time in each stage, in ART and in UNKNOWN, s."""
    light_s: dict[str, float] | None
    """Likewise while it is light; null: lights are not known."""
    dark_s: dict[str, float] | None
    """Likewise while it is dark."""
    bouts: dict[str, StageBouts]
    """By stage, those that there are."""
    lengths_s: tuple[float, ...]
    """From where on bouts are counted together in their `lengths`, s; the last ones are longer."""
    transitions: dict[str, dict[str, int]]
    """How often a stage went over into another one."""
    transitions_per_hour: float | None
    """In the time with a stage; null without any."""
    rem_after_s: float | None
    """From the first bout of sleep to the first one of REM, s; null without both."""
    sleep: SleepFigures | None
    """What a sleep lab reports of a person's night; null: of a mouse."""
    probability: dict[str, float]
    """Mean probability of a stage in its epochs: so many of them are expected to be right, as far
    as the model is calibrated (docs/accuracy.md)."""
    drift_most: float | None
    """The highest there was; null: not known."""
    drift_s: float
    """For how long it was beyond the limit, s."""
    hours: tuple[HourFigures, ...]


class Counted(NamedTuple):
    """A subject's night, counted."""

    course: Course
    figures: Figures


def figures_of(record: Record, rule: Rule, day: Day) -> Counted:
    """Return the figures of a record, counted by a rule."""
    course = count(record, rule)
    shown = (*record.stages, ART, UNKNOWN)
    stages = np.array(course.stages)
    lit = _lit(course, day)
    bouts = course.bouts
    asleep = next((b.start for b in bouts if b.stage != record.stages[0]), None)
    rem = next((b.start for b in bouts if b.stage == _REM), None)
    found = Figures(
        rule=rule.in_words(record.epoch_s),
        epoch_s=course.epoch_s,
        min_bout_s=rule.min_bout_s,
        seconds=_seconds(stages, shown, course.epoch_s),
        light_s=None if lit is None else _seconds(stages[lit], shown, course.epoch_s),
        dark_s=None if lit is None else _seconds(stages[~lit], shown, course.epoch_s),
        bouts={name: b for name in record.stages if (b := _bouts(course, name)) is not None},
        lengths_s=lengths_of(course.epoch_s),
        transitions=_transitions(course),
        transitions_per_hour=_per_hour(course),
        rem_after_s=None if asleep is None or rem is None else rem - asleep,
        sleep=sleep_figures_of(course),
        probability=_probability(record),
        drift_most=or_null(np.nanmax(record.drift)) if np.isfinite(record.drift).any() else None,
        drift_s=float(np.count_nonzero(record.drift > LIMIT) * record.epoch_s),
        hours=_hours(course, day, shown),
    )
    return Counted(course, found)


def lengths_of(epoch_s: float) -> tuple[float, ...]:
    """Return from where on bouts are counted together, s.

    Each is twice the one before, from 5 s on, or of longer epochs from two of them on.
    """
    least = _LEAST_LENGTH_S if epoch_s <= _LEAST_LENGTH_S else 2 * epoch_s
    return (0.0, *(least * 2**k for k in range(_N_LENGTHS - 1)))


def _seconds(stages: NDArray[np.str_], shown: Sequence[str], epoch_s: float) -> dict[str, float]:
    return {name: float(np.count_nonzero(stages == name) * epoch_s) for name in shown}


def _lit(course: Course, day: Day) -> NDArray[np.bool_] | None:
    """Return in which epochs it is light, (n_epochs,); None where that is not known."""
    if not day.has_lights:
        return None
    middles = course.middles
    lit = np.zeros(len(middles), bool)
    for start, end in day.lights(course.start, course.end):
        lit |= (middles >= start) & (middles < end)
    return lit


def _bouts(course: Course, stage: str) -> StageBouts | None:
    mine = [bout for bout in course.bouts if bout.stage == stage]
    if not mine:
        return None
    lengths = np.array([bout.duration for bout in mine])
    edges = lengths_of(course.epoch_s)
    bins = np.searchsorted(edges, lengths, side="right") - 1
    return StageBouts(
        n=len(mine),
        median_s=round(float(np.median(lengths)), 3),
        mean_s=round(float(lengths.mean()), 3),
        longest_s=round(float(lengths.max()), 3),
        lengths=tuple(np.bincount(bins, minlength=len(edges)).tolist()),
        first_s=round(mine[0].start - course.start, 3),
    )


def _transitions(course: Course) -> dict[str, dict[str, int]]:
    counted = Counter(course.transitions)
    return {a: {b: counted[a, b] for b in course.names if b != a} for a in course.names}


def _per_hour(course: Course) -> float | None:
    hours = sum(stage in course.names for stage in course.stages) * course.epoch_s / HOUR_S
    return len(course.transitions) / hours if hours else None


def _probability(record: Record) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for message in record.epochs:
        if message.stage in message.probabilities:
            found.setdefault(message.stage, []).append(message.probabilities[message.stage])
    return {name: float(np.mean(found[name])) for name in record.stages if name in found}


def _hours(course: Course, day: Day, shown: Sequence[str]) -> tuple[HourFigures, ...]:
    hours = day.hours(course.start, course.end)
    starts = np.array([hour.start for hour in hours])
    stages = np.array(course.stages)
    of = np.searchsorted(starts, course.middles, side="right") - 1
    begun: list[list[Bout]] = [[] for _ in hours]
    for bout in course.bouts:
        begun[int(np.searchsorted(starts, bout.start + 1e-6, side="right")) - 1].append(bout)
    return tuple(
        HourFigures(
            start=day.local(hour.start).isoformat(timespec="seconds"),
            zeitgeber=hour.zeitgeber,
            light=hour.light,
            length_s=round(hour.end - hour.start, 3),
            seconds=_seconds(stages[of == k], shown, course.epoch_s),
            bouts={name: sum(b.stage == name for b in begun[k]) for name in course.names},
        )
        for k, hour in enumerate(hours)
    )
