"""Simulated nights beside real ones that they were not fitted to, and beside how experts differ.

All nights are looked at in epochs of 30 s. Cohorts are of as many nights as were left out, so that
their range has the chance in it of which nights happened to be left out.
"""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.fit.hypnograms.scored_people import (
    EPOCH_S,
    EPOCHS_PER_HOUR,
    SOURCE,
    Night,
    datasets_of,
)
from models.fit.hypnograms.splits import SPLIT_SEED, split_subjects
from models.recordings.bouts import find_runs
from models.simulator.human.history import REM, REM_GAP, WAKE
from models.simulator.human.hypnogram import Nights, draw_night
from models.stages import HUMAN

N_COHORTS = 20

_COHORTS = 1  # a seed apart from those of others
_BOUT_LEVELS = (0.25, 0.5, 0.9)
_MOST_HOURS = 8
_MIN = EPOCH_S / 60

Stages = NDArray[np.integer]


class Range(msgspec.Struct, frozen=True):
    """Of one number."""

    median: float
    low: float
    high: float


class Compared(msgspec.Struct, frozen=True):
    """One number of each group of nights."""

    drawn: Range
    """Over the cohorts; low and high are the 2.5th and 97.5th percentile."""
    fitted: float
    left_out: float
    scorers: Range
    """Over the five experts of the 80 nights of DOD-H and DOD-O, each alone; lowest, highest."""


class Comparison(msgspec.Struct, frozen=True):
    """Simulated nights beside real ones."""

    source: str
    split_seed: int
    n_fitted: int
    """Nights."""
    n_left_out: int
    n_cohorts: int
    values: dict[str, Compared]


def compare(nights: Sequence[Night], drawn_from: Nights | None = None) -> Comparison:
    """Compare cohorts of simulated nights with the nights left out.

    Args:
        nights: all real ones.
        drawn_from: fitted to the first part of the split; default: what is packaged.
    """
    fitted, left_out = (
        [night for night in nights if night.person in people]
        for people in split_subjects(datasets_of(list(nights)))
    )
    cohorts = [
        measure(draw_cohort(len(left_out), number, drawn_from)) for number in range(N_COHORTS)
    ]
    by_five = [night.scorers for night in nights if len(night.scorers)]
    scorers = [measure([night[k] for night in by_five]) for k in range(len(by_five[0]))]
    real, other = (measure([night.stages for night in each]) for each in (fitted, left_out))
    return Comparison(
        source=SOURCE,
        split_seed=SPLIT_SEED,
        n_fitted=len(fitted),
        n_left_out=len(left_out),
        n_cohorts=N_COHORTS,
        values={
            name: Compared(
                drawn=_range([c[name] for c in cohorts], (50, 2.5, 97.5)),
                fitted=round(real[name], 4),
                left_out=round(other[name], 4),
                scorers=_range([s[name] for s in scorers], (50, 0, 100)),
            )
            for name in real
        },
    )


def draw_cohort(n: int, number: int, drawn_from: Nights | None = None) -> list[Stages]:
    """Return so many simulated nights, scored by majority in epochs of 30 s."""
    rng = np.random.default_rng([_COHORTS, number])
    return [score_epochs(draw_night(rng, drawn_from)) for _ in range(n)]


def score_epochs(seconds: Stages) -> Stages:
    """Return the stage that each 30 s have most of, (n_epochs,); of as many the one that is first.

    A last epoch that is not full is left out.
    """
    n = int(EPOCH_S)
    epochs = seconds[: len(seconds) // n * n].reshape(-1, n)
    counts = (epochs[:, :, None] == epochs[:, None, :]).sum(axis=2)
    return np.take_along_axis(epochs, counts.argmax(axis=1)[:, None], 1)[:, 0]


def measure(nights: Sequence[Stages]) -> dict[str, float]:
    """Return what is compared of some nights, by name."""
    asleep = [_sleep_of(night) for night in nights]
    return {
        **_measure_shares(nights, asleep),
        **_measure_bouts(asleep),
        **_measure_transitions(asleep),
        **_measure_course(nights, asleep),
    }


def _sleep_of(night: Stages) -> Stages:
    """Return the epochs from sleep onset to the last one of sleep."""
    found = np.flatnonzero(night > WAKE)
    return night[found[0] : found[-1] + 1]


def _shares(stages: Stages) -> NDArray[np.float64]:
    counts = np.bincount(stages[stages >= 0], minlength=len(HUMAN))
    return np.asarray(counts / max(1, counts.sum()))


def _measure_shares(nights: Sequence[Stages], asleep: Sequence[Stages]) -> dict[str, float]:
    """Return shares of the recording and of each hour since sleep onset, and how nights differ."""
    by_night = np.array([_shares(night) for night in nights])
    values = {f"share of {s}": by_night[:, k].mean() for k, s in enumerate(HUMAN)}
    values |= {f"share of {s}, SD of nights": by_night[:, k].std() for k, s in enumerate(HUMAN)}
    for hour in range(_MOST_HOURS):
        parts = [s[hour * EPOCHS_PER_HOUR : (hour + 1) * EPOCHS_PER_HOUR] for s in asleep]
        shares = _shares(np.concatenate(parts))
        values |= {f"share of {s} in hour {hour + 1}": shares[k] for k, s in enumerate(HUMAN)}
    return {name: float(value) for name, value in values.items()}


def _measure_bouts(asleep: Sequence[Stages]) -> dict[str, float]:
    """Return quantiles of the length of the bouts of each stage, min."""
    lengths: list[list[int]] = [[] for _ in HUMAN]
    for stages in asleep:
        onsets, epochs = find_runs(stages)
        for stage, n in zip(stages[onsets].tolist(), epochs.tolist(), strict=True):
            if stage >= 0:
                lengths[stage].append(n)
    return {
        f"{s} bouts, {level:.0%} are no longer, min": float(np.quantile(lengths[k], level)) * _MIN
        for (k, s), level in product(enumerate(HUMAN), _BOUT_LEVELS)
    }


def _measure_transitions(asleep: Sequence[Stages]) -> dict[str, float]:
    """Return where stages go when they end, and how often they do."""
    pairs = np.zeros((len(HUMAN) + 1,) * 2)  # the last is UNSCORED, -1
    for stages in asleep:
        np.add.at(pairs, (stages[:-1], stages[1:]), 1)
    pairs = pairs[:-1, :-1] * (1 - np.eye(len(HUMAN)))
    chances = pairs / np.maximum(1, pairs.sum(axis=1, keepdims=True))
    by_night = [np.sum(np.diff(s) != 0) / len(s) * EPOCHS_PER_HOUR for s in asleep]
    return {
        "transitions per hour": float(np.mean(by_night)),
        "transitions per hour, SD of nights": float(np.std(by_night)),
        **{
            f"{s} ends in {other}": float(chances[i, j])
            for (i, s), (j, other) in product(enumerate(HUMAN), repeat=2)
            if i != j
        },
    }


def _measure_course(nights: Sequence[Stages], asleep: Sequence[Stages]) -> dict[str, float]:
    """Return latencies, sleep efficiency and the cycle of REM."""
    periods = [_find_rem_periods(stages) for stages in asleep]
    latency = [np.argmax(night > WAKE) * _MIN for night in nights]
    rem_latency = [np.argmax(s == REM) * _MIN for s in asleep if (s == REM).any()]
    efficiency = [np.mean(night[night >= 0] > WAKE) for night in nights]
    cycles = np.concatenate([np.diff(onsets) for onsets, _ in periods]) * _MIN
    lengths = np.concatenate([ends - onsets for onsets, ends in periods]) * _MIN
    awake = [np.sum(s == WAKE) * _MIN for s in asleep]
    values: dict[str, Sequence[float] | NDArray[np.float64]] = {
        "sleep latency, min": latency,
        "REM latency, min": rem_latency,
        "wake after sleep onset, min": awake,
        "REM cycle, onset to onset, min": cycles,
        "REM period, min": lengths,
    }
    return {
        "sleep efficiency": float(np.mean(efficiency)),
        "sleep efficiency, SD of nights": float(np.std(efficiency)),
        "REM periods a night": float(np.mean([len(onsets) for onsets, _ in periods])),
        **{
            f"{name}, {level}": float(np.quantile(found, q))
            for (name, found), (level, q) in product(
                values.items(), (("quartile", 0.25), ("median", 0.5), ("3rd quartile", 0.75))
            )
        },
    }


def _find_rem_periods(stages: Stages) -> tuple[Stages, Stages]:
    """Return onset and end of each REM period, in epochs; less than `REM_GAP` ends none."""
    found = np.flatnonzero(stages == REM)
    after, before = np.diff(found, prepend=-np.inf), np.diff(found, append=np.inf)
    return found[after > REM_GAP], found[before > REM_GAP] + 1


def _range(values: Sequence[float], levels: tuple[float, float, float]) -> Range:
    return Range(*np.percentile(values, levels).round(4).tolist())


def format_table(comparison: Comparison) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = ["| | drawn | fitted | left out | five experts |", "|---|---|---|---|---|"]
    for name, found in comparison.values.items():
        drawn = f"{found.drawn.median:.3g} ({found.drawn.low:.3g} to {found.drawn.high:.3g})"
        scorers = f"{found.scorers.low:.3g} to {found.scorers.high:.3g}"
        lines.append(
            f"| {name} | {drawn} | {found.fitted:.3g} | {found.left_out:.3g} | {scorers} |"
        )
    return lines


def write_report(nights: Sequence[Night], folder: Path) -> None:
    """Write the comparison as JSON, and print its table."""
    comparison = compare(nights)
    text = msgspec.json.format(msgspec.json.encode(comparison), indent=1)
    (folder / "simulator-nights.json").write_bytes(text + b"\n")
    print("\n".join(format_table(comparison)))  # noqa: T201 - the command's answer
