"""The picture of a night: hypnogram, hypnodensity, spectrogram and EMG on one time axis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from models.recordings.hypnogram import Hypnogram
from models.recordings.writers import replacing
from models.stages import ART, COLOURS, UNKNOWN
from tools.view.clock import Clock, draw_clock, draw_light
from tools.view.overview import Pulses, Signals
from tools.view.panels import (
    FAINT_INK,
    GROUND,
    INK,
    draw_emg,
    draw_pulses,
    draw_quality,
    draw_spectrogram,
    stack_panels,
)

_FAINT = "#D9D9D9"
_MAX_COLUMNS = 3000  # more would be thinner than a pixel
_MINUTES_UP_TO_S = 3 * 3600.0


@dataclass(frozen=True, kw_only=True)
class Night:
    """What the picture shows of one subject."""

    title: str
    """Subject and file."""
    subtitle: str = ""
    """Model, agreement: one line."""
    stages: tuple[str, ...]
    """The stage set."""
    hop_s: float
    """From one epoch's onset to the next one's, s."""
    hypnogram: Sequence[str]
    """The stage of each epoch."""
    probabilities: NDArray[np.floating]
    """(n_epochs, n_stages); NaN where there are none."""
    overview: Signals | None = None
    """The signals."""
    clock: Clock | None = None
    """When it was; None: time counts from the first sample."""
    quality: Mapping[str, Sequence[str]] | None = None
    """For each modality what could be used of each epoch: `ok`, why not, or "" without a record."""
    reference: Sequence[str] | None = None
    """The stage of each epoch according to someone else."""
    reference_name: str = "expert"
    """Who."""
    pulses: Pulses | None = None
    """What triggers did, or would have done."""


def plot_night(path: Path, night: Night) -> None:
    """Write the picture of a night as PNG.

    Raises:
        RecordingError: the place cannot be written to.
    """
    figure = draw_night(night)
    with replacing(path) as draft:
        figure.savefig(draft, format="png", dpi=150)


def draw_night(night: Night) -> Figure:
    """Return the picture of a night."""
    heights = _heights(night)
    figure = Figure(figsize=(13, 1.5 + 1.45 * sum(heights.values())), facecolor="white")
    FigureCanvasAgg(figure)
    axes = stack_panels(figure, heights, 0.835, (0.85, 0.55), hspace=0.16, one_time=True)
    unit_s, unit = _time_unit(len(night.hypnogram) * night.hop_s)
    if night.clock is not None and night.clock.day.has_lights:
        draw_light(axes["light"], night.clock, unit_s)
    _draw_hypnogram(axes["hypnogram"], night, unit_s)
    _draw_hypnodensity(axes["hypnodensity"], night, unit_s)
    if night.reference is not None:
        _draw_strip(axes["reference"], night.reference, night, unit_s)
    if night.pulses:
        draw_pulses(axes["pulses"], night.pulses, unit_s)
    if night.quality is not None:
        draw_quality(axes["quality"], night.quality, night.hop_s, unit_s)
    if night.overview is not None:
        draw_spectrogram(axes["spectrogram"], night.overview, unit_s)
    if night.overview is not None and night.overview.has_emg:
        draw_emg(axes["emg"], night.overview, unit_s)
    bottom = list(axes.values())[-1]
    bottom.set_xlim(0, len(night.hypnogram) * night.hop_s / unit_s)
    bottom.tick_params(labelbottom=True)
    if night.clock is None:
        bottom.set_xlabel(f"time from the first sample ({unit})", color=INK)
    else:
        draw_clock(bottom, night.clock, unit_s)
    _write_titles(figure, night)
    return figure


def _heights(night: Night) -> dict[str, float]:
    """Return the panels from top to bottom, and how high each is."""
    heights = {"hypnogram": 1.5, "hypnodensity": 1.2}
    if night.reference is not None:
        heights = {"reference": 0.22} | heights
    if night.pulses:
        heights = {"pulses": 0.2 * len(night.pulses)} | heights
    if night.clock is not None and night.clock.day.has_lights:
        heights = {"light": 0.12} | heights
    if night.quality is not None:
        heights |= {"quality": 0.3 * len(night.quality)}
    if night.overview is not None:
        heights |= {"spectrogram": 1.6}
    if night.overview is not None and night.overview.has_emg:
        heights |= {"emg": 0.9}
    return heights


def _write_titles(figure: Figure, night: Night) -> None:
    inch = figure.get_figheight()
    figure.text(0.075, 1 - 0.3 / inch, night.title, size=13, weight="bold", color=INK, va="center")
    figure.text(0.075, 1 - 0.57 / inch, night.subtitle, size=9.5, color=FAINT_INK, va="center")


def _draw_hypnogram(axis: Axes, night: Night, unit_s: float) -> None:
    """Draw a thin line through a thick bar for each bout; what is unscored is hatched."""
    bouts = Hypnogram.from_epochs(night.hypnogram, night.hop_s).merged()
    order = vertical_order(night.stages)
    level = {stage: len(order) - 1 - i for i, stage in enumerate(order)}
    onsets, ends = bouts.onsets / unit_s, (bouts.onsets + bouts.durations) / unit_s
    heights = np.array([level.get(stage, np.nan) for stage in bouts.stages])
    times = np.stack([onsets, ends], axis=1).ravel()
    axis.plot(times, heights.repeat(2), color="#9A9A9A", linewidth=0.6, zorder=1)
    for stage in order:
        mine = np.array([s == stage for s in bouts.stages], bool)
        y = np.full(int(mine.sum()), level[stage])
        segments = np.stack([[onsets[mine], y], [ends[mine], y]]).transpose(2, 0, 1)
        lines = LineCollection(
            list(segments), colors=COLOURS[stage].picture, linewidths=6, capstyle="butt", zorder=2
        )
        axis.add_collection(lines)
    _hatch_unscored(axis, bouts, unit_s, (-0.5, len(order)))
    axis.set_ylim(-0.5, len(order) - 0.5)
    axis.set_yticks([level[stage] for stage in order], order)
    for label, stage in zip(axis.get_yticklabels(), order, strict=True):
        label.set_color(COLOURS[stage].picture)
        label.set_fontweight("bold")
    axis.grid(axis="y", color=_FAINT, linewidth=0.6)
    axis.set_axisbelow(True)
    _write_shares(axis, night)


def _write_shares(axis: Axes, night: Night) -> None:
    """List how much of the night was what, right of the hypnogram."""
    shown = [*vertical_order(night.stages), ART, UNKNOWN]
    n = max(len(night.hypnogram), 1)
    counts = [(stage, sum(s == stage for s in night.hypnogram)) for stage in shown]
    present = [(s, count) for s, count in counts if count or s in night.stages]
    for i, (stage, count) in enumerate(present):
        y = 0.95 - 0.9 * i / max(len(present) - 1, 3)
        minutes = count * night.hop_s / 60
        time = f"{minutes / 60:.1f} h" if minutes >= 180 else f"{minutes:.1f} min"
        rows = (
            (1.012, stage, COLOURS[stage].picture, "bold", "left"),
            (1.138, f"{100 * count / n:.1f} %", INK, "normal", "right"),
            (1.212, time, FAINT_INK, "normal", "right"),
        )
        for x, text, colour, weight, side in rows:
            axis.text(
                *(x, y, text),
                transform=axis.transAxes,
                size=8.5,
                va="center",
                ha=side,
                color=colour,
                weight=weight,
            )


def _hatch_unscored(axis: Axes, bouts: Hypnogram, unit_s: float, span: tuple[float, float]) -> None:
    for stage, hatch in ((ART, "////"), (UNKNOWN, "....")):
        spans = [
            (onset / unit_s, duration / unit_s)
            for onset, duration, name in zip(
                bouts.onsets, bouts.durations, bouts.stages, strict=True
            )
            if name == stage
        ]
        axis.broken_barh(
            spans,
            (span[0], span[1] - span[0]),
            facecolor=GROUND,
            edgecolor=COLOURS[stage].picture,
            hatch=hatch,
            linewidth=0,
            zorder=0.5,
        )


def _draw_strip(axis: Axes, stages: Sequence[str], night: Night, unit_s: float) -> None:
    bouts = Hypnogram.from_epochs(stages, night.hop_s).merged()
    for stage in {*bouts.stages}:
        spans = [
            (onset / unit_s, duration / unit_s)
            for onset, duration, name in zip(
                bouts.onsets, bouts.durations, bouts.stages, strict=True
            )
            if name == stage
        ]
        axis.broken_barh(spans, (0, 1), facecolor=COLOURS[stage].picture, linewidth=0)
    axis.set_ylim(0, 1)
    axis.set_yticks([0.5], [night.reference_name])
    axis.tick_params(left=False, bottom=False)
    axis.spines[:].set_visible(False)


def _draw_hypnodensity(axis: Axes, night: Night, unit_s: float) -> None:
    """Stack the probabilities, averaged where an epoch would be thinner than a pixel."""
    density, width_s = _thin_out(np.asarray(night.probabilities, np.float64), night.hop_s)
    edges = np.arange(len(density) + 1) * width_s / unit_s
    top = np.zeros(len(density))
    for i, stage in reversed([*enumerate(night.stages)]):
        bottom, top = top, top + density[:, i]
        axis.fill_between(
            edges,
            np.append(bottom, bottom[-1:]),
            np.append(top, top[-1:]),
            step="post",
            color=COLOURS[stage].picture,
            linewidth=0,
        )
    bouts = Hypnogram.from_epochs(night.hypnogram, night.hop_s).merged()
    _hatch_unscored(axis, bouts, unit_s, (0, 1))
    axis.set_ylim(0, 1)
    axis.set_yticks([0, 0.5, 1], ["0", "½", "1"])
    axis.set_ylabel("probability", size=9, color=INK)


def _thin_out(values: NDArray[np.float64], hop_s: float) -> tuple[NDArray[np.float64], float]:
    """Average neighbouring rows until they fit the picture's width; return their new hop too."""
    factor = max(1, -(-len(values) // _MAX_COLUMNS))
    rows = -(-len(values) // factor)
    padded = np.full((rows * factor, values.shape[1]), np.nan)
    padded[: len(values)] = values
    groups = padded.reshape(rows, factor, -1)
    count = np.isfinite(groups).sum(axis=1)
    mean = np.nansum(groups, axis=1) / np.where(count, count, 1)
    return np.where(count, mean, np.nan), hop_s * factor


def vertical_order(stages: Sequence[str]) -> list[str]:
    """Return the stages from top to bottom: REM sits between wakefulness and deeper sleep."""
    rest = [stage for stage in stages[1:] if stage != "REM"]
    return [stages[0], "REM", *rest]


def _time_unit(duration_s: float) -> tuple[float, str]:
    return (60.0, "min") if duration_s <= _MINUTES_UP_TO_S else (3600.0, "h")
