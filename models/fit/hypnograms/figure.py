"""The picture of simulated beside real hypnograms."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.fit.hypnograms.distances import (
    Comparison,
    Group,
    gather,
    measure,
    pick,
    simulate_cohort,
)
from models.fit.hypnograms.scored_mice import (
    MIN_HOURS_OF_COSINE,
    WAKE,
    MouseRecord,
    hours_of_day,
    start_hour,
)
from models.fit.hypnograms.splits import split_subjects
from models.simulator.mouse.hypnogram import Statistics
from models.stages import MOUSE

_COLOURS = {"simulated": "#d95f02", "fitted": "#7a7a7a", "left out": "#1b1b1b"}


def draw_figure(
    comparison: Comparison,
    records: Sequence[MouseRecord],
    labs: dict[str, str],
    statistics: Statistics,
    path: Path,
) -> None:
    """Write a PNG: bout lengths, the day, the variation between mice, and the distances."""
    fitted, left_out = (pick(records, mice) for mice in split_subjects(labs))
    groups = {
        "fitted": fitted,
        "left out": left_out,
        "simulated": simulate_cohort(fitted, statistics, 0),
    }
    measured = {
        name: gather([measure(record, statistics) for record in group])
        for name, group in groups.items()
    }
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    axes = figure.subplots(2, 3, width_ratios=(3, 3, 3))
    for axis, stage in zip(axes[0], MOUSE, strict=True):
        _draw_bouts(axis, measured, stage)
    axes[0, 0].legend(frameon=False, fontsize=8)
    _draw_day(axes[1, 0], groups, statistics)
    _draw_variation(axes[1, 1], measured)
    _draw_distances(axes[1, 2], comparison)
    figure.savefig(path, dpi=100)


def _draw_bouts(axis: Axes, measured: dict[str, Group], stage: str) -> None:
    for name, group in measured.items():
        lengths = np.sort(np.exp(group.bouts[stage]))
        shares = np.arange(1, len(lengths) + 1) / len(lengths)
        kept = np.unique(np.linspace(0, len(lengths) - 1, 2000).astype(int))
        axis.step(lengths[kept], shares[kept], where="post", color=_COLOURS[name], label=name)
    axis.set(xscale="log", xlabel=f"{stage} bout (s)", ylabel="share not longer")


def _draw_day(axis: Axes, groups: dict[str, list[MouseRecord]], statistics: Statistics) -> None:
    for name, records in groups.items():
        days = []
        for record in records:
            if record.hours >= MIN_HOURS_OF_COSINE:
                start = start_hour(record.codes, statistics.wake_by_hour)
                hours = hours_of_day(record.codes, start).astype(int)
                wake = np.bincount(hours, record.codes == WAKE, minlength=24)
                days.append(wake / np.maximum(1, np.bincount(hours, minlength=24)))
        axis.stairs(np.mean(days, axis=0), range(25), color=_COLOURS[name])
    axis.set(xlabel="hour of the mouse's day", ylabel="Wake", ylim=(0, 1), xticks=range(0, 25, 6))


def _draw_variation(axis: Axes, measured: dict[str, Group]) -> None:
    rng = np.random.default_rng(0)
    for i, (name, group) in enumerate(measured.items()):
        for k, stage in enumerate(MOUSE):
            fractions = group.days[stage]
            x = k + 0.25 * (i - 1) + rng.uniform(-0.08, 0.08, len(fractions))
            axis.scatter(x, fractions, s=6, color=_COLOURS[name], linewidths=0)
    axis.set(xticks=range(3), xticklabels=MOUSE, ylabel="fraction of a record of a day")


def _draw_distances(axis: Axes, comparison: Comparison) -> None:
    """Draw each distance in units of the median one between random groups of real mice."""
    for i, distance in enumerate(comparison.distances.values()):
        unit = distance.random.median
        axis.plot(
            [distance.random.low / unit, distance.random.high / unit], [i, i], color="#bbbbbb", lw=5
        )
        axis.plot(distance.simulated.median / unit, i, "o", ms=4, color=_COLOURS["simulated"])
        axis.plot(distance.fitted / unit, i, "|", ms=7, color=_COLOURS["left out"])
    axis.set(xlabel="distance, 1 = between real groups", xlim=(0, None))
    axis.set_yticks(range(len(comparison.distances)), list(comparison.distances), fontsize=6)
    axis.invert_yaxis()
