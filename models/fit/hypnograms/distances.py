"""How far simulated mice are from real ones that they were not fitted to.

The yardstick is real too: the same distances between the mice that were fitted and those left
out, and between groups of the same sizes drawn at random from all mice, in each lab alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from models.fit.hypnograms.balance import simulate_like
from models.fit.hypnograms.scored_mice import (
    EPOCH_S,
    EPOCHS_PER_HOUR,
    MIN_HOURS_OF_COSINE,
    SOURCE,
    WAKE,
    MouseRecord,
    hours_of_day,
    start_hour,
    usual_wake,
    wake_of_hours,
)
from models.fit.hypnograms.splits import SPLIT_SEED, split_subjects
from models.recordings.bouts import find_runs
from models.simulator.mouse.hypnogram import KINDS, Statistics
from models.stages import MOUSE

_MICRO_AROUSAL = KINDS[0].most
_COHORTS = 1  # a seed apart from those of the fit


class Range(msgspec.Struct, frozen=True):
    """Of one distance, over cohorts or splits."""

    median: float
    low: float
    """2.5th percentile."""
    high: float
    """97.5th percentile."""


class Distance(msgspec.Struct, frozen=True):
    """One distance between two groups of mice."""

    simulated: Range
    """Simulated mice to those left out, over the cohorts."""
    fitted: float
    """The real mice that were fitted to those left out."""
    random: Range
    """Real mice to real mice, over the random splits."""
    share_farther: float
    """Of the random splits: those at least as far apart as the median simulated cohort."""


class Comparison(msgspec.Struct, frozen=True):
    """Simulated mice beside real ones."""

    source: str
    split_seed: int
    n_fitted: int
    """Mice fitted; those without a record of 2 h show nothing here, below likewise."""
    n_left_out: int
    n_cohorts: int
    """Simulated cohorts: each of records as long as those fitted, from the same hours on."""
    n_splits: int
    """Random splits of the real mice."""
    distances: dict[str, Distance]
    values: dict[str, dict[str, float]]
    """What the differences are between: mean of the simulated cohorts, fitted, left out."""


class Day(NamedTuple):
    """What a long record shows of its day: fractions of Wake, and how its hours differ."""

    rest: float
    activity: float
    deviation: float
    """Of the hours' fractions of Wake."""
    correlation: float
    """Of neighbouring hours, the usual fraction at that time of the day taken off."""


@dataclass(frozen=True)
class Measured:
    """What is measured of one record."""

    mouse: str
    bouts: dict[str, NDArray[np.float64]]
    """Log of the length in s of the whole bouts, by stage."""
    n_epochs: NDArray[np.int64]
    """(stages,) epochs of each."""
    n_transitions: int
    n_micro_arousals: int
    day: Day | None
    """Of a record of 20 h or more."""


@dataclass(frozen=True)
class Group:
    """What is compared of some mice."""

    bouts: dict[str, NDArray[np.float64]]
    """Log of the length in s of the whole bouts, by stage."""
    values: dict[str, float]
    """One number for all of their records, by name."""
    days: dict[str, NDArray[np.float64]]
    """(n_days,) fraction of the time in each stage in each record of 20 h or more."""


def measure_distances(
    records: Sequence[MouseRecord],
    labs: dict[str, str],
    statistics: Statistics,
    n_cohorts: int = 20,
    n_splits: int = 100,
) -> Comparison:
    """Compare simulated cohorts with the mice left out.

    Args:
        records: all records of the real mice.
        labs: lab by mouse, of all 92.
        statistics: fitted to the mice of the first part of `split_subjects(labs)`.
        n_cohorts: of simulated mice.
        n_splits: of the real mice, at random.
    """
    real_mice = [measure(record, statistics) for record in records]
    fitted_mice, left_out_mice = split_subjects(labs)
    fitted, left_out = (gather(real_mice, mice) for mice in split_subjects(labs))
    cohorts = []
    for n in range(n_cohorts):
        cohort = simulate_cohort(pick(records, fitted_mice), statistics, n)
        cohorts.append(gather([measure(record, statistics) for record in cohort]))
    simulated = [compare(cohort, left_out) for cohort in cohorts]
    random = [
        compare(*(gather(real_mice, mice) for mice in split_subjects(labs, seed)))
        for seed in range(n_splits)
    ]
    real = compare(fitted, left_out)
    return Comparison(
        source=SOURCE,
        split_seed=SPLIT_SEED,
        n_fitted=len(fitted_mice),
        n_left_out=len(left_out_mice),
        n_cohorts=n_cohorts,
        n_splits=n_splits,
        distances={
            name: _distance([d[name] for d in simulated], real[name], [d[name] for d in random])
            for name in real
        },
        values={
            name: {
                "simulated": round(float(np.mean([c.values[name] for c in cohorts])), 4),
                "fitted": round(fitted.values[name], 4),
                "left out": round(left_out.values[name], 4),
            }
            for name in fitted.values
        },
    )


def pick(records: Sequence[MouseRecord], mice: frozenset[str]) -> list[MouseRecord]:
    """Return the records of some mice."""
    return [record for record in records if record.mouse in mice]


def simulate_cohort(
    fitted: Sequence[MouseRecord], statistics: Statistics, number: int
) -> list[MouseRecord]:
    """Return simulated records as long as those fitted, from the same hours of the day on."""
    rng = np.random.default_rng([_COHORTS, number])
    return [
        simulate_like(rng, record, start_hour(record.codes, statistics.wake_by_hour), statistics)
        for record in fitted
    ]


def measure(record: MouseRecord, statistics: Statistics) -> Measured:
    """Return what is measured of a record; its day is found in it, simulated or real alike."""
    onsets, lengths = find_runs(record.codes)
    stages, epochs = record.codes[onsets[1:-1]], lengths[1:-1]
    return Measured(
        mouse=record.mouse,
        bouts={s: np.log(epochs[stages == i + 1] * EPOCH_S) for i, s in enumerate(MOUSE)},
        n_epochs=np.bincount(record.codes, minlength=len(MOUSE) + 1)[1:],
        n_transitions=len(onsets) - 1,
        n_micro_arousals=int(np.sum((stages == WAKE) & (epochs <= _MICRO_AROUSAL))),
        day=_measure_day(record, statistics) if record.hours >= MIN_HOURS_OF_COSINE else None,
    )


def _measure_day(record: MouseRecord, statistics: Statistics) -> Day:
    start = start_hour(record.codes, statistics.wake_by_hour)
    is_active = hours_of_day(record.codes, start) >= 12
    is_wake = record.codes == WAKE
    hourly = wake_of_hours(record.codes)
    hours = np.asarray(start + np.arange(len(hourly)), np.float64)
    unusual = hourly - usual_wake(hours, statistics.wake_by_hour)
    unusual -= unusual.mean()
    return Day(
        rest=float(is_wake[~is_active].mean()),
        activity=float(is_wake[is_active].mean()),
        deviation=float(hourly.std()),
        correlation=float(np.mean(unusual[1:] * unusual[:-1]) / unusual.var()),
    )


def gather(measured: Sequence[Measured], mice: frozenset[str] | None = None) -> Group:
    """Return what is compared of all records, or of those of some mice."""
    kept = [m for m in measured if mice is None or m.mouse in mice]
    days = [m for m in kept if m.day is not None]
    n_epochs = np.sum([m.n_epochs for m in kept], axis=0)
    hours = n_epochs / EPOCHS_PER_HOUR
    day = Day(*np.mean([m.day for m in days if m.day is not None], axis=0).tolist())
    sleep_hours = hours[1:].sum()
    return Group(
        bouts={s: np.concatenate([m.bouts[s] for m in kept]) for s in MOUSE},
        values={
            **{
                f"fraction of {s}": float(h / hours.sum())
                for s, h in zip(MOUSE, hours, strict=True)
            },
            "transitions per hour": float(sum(m.n_transitions for m in kept) / hours.sum()),
            "micro-arousals per hour of sleep": float(
                sum(m.n_micro_arousals for m in kept) / sleep_hours
            ),
            "Wake in the half of rest": day.rest,
            "Wake in the half of activity": day.activity,
            "deviation of hourly Wake": day.deviation,
            "correlation of Wake from hour to hour": day.correlation,
        },
        days={
            s: np.array([m.n_epochs[i] / m.n_epochs.sum() for m in days])
            for i, s in enumerate(MOUSE)
        },
    )


def compare(one: Group, other: Group) -> dict[str, float]:
    """Return the distances of two groups, by name."""
    distances = {}
    for stage in MOUSE:
        bouts = one.bouts[stage], other.bouts[stage]
        distances[f"{stage} bouts, Kolmogorov-Smirnov"] = _kolmogorov_smirnov(*bouts)
        distances[f"{stage} bouts, Wasserstein of log s"] = _wasserstein(*bouts)
    for name, value in one.values.items():
        distances[f"{name}, difference"] = abs(value - other.values[name])
    for stage in MOUSE:
        days = one.days[stage], other.days[stage]
        distances[f"{stage} of a day, Wasserstein over records"] = _wasserstein(*days)
    return distances


def _kolmogorov_smirnov(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    return float(stats.ks_2samp(x, y, method="asymp").statistic)


def _wasserstein(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    return float(stats.wasserstein_distance(x, y))


def _distance(simulated: list[float], fitted: float, random: list[float]) -> Distance:
    share = np.mean(np.array(random) >= np.median(simulated))
    return Distance(_range(simulated), round(fitted, 4), _range(random), round(float(share), 3))


def _range(values: list[float]) -> Range:
    low, median, high = np.percentile(values, [2.5, 50, 97.5]).round(4).tolist()
    return Range(median, low, high)
