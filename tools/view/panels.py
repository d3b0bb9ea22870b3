"""The panels of a night's picture that show the signals and what could be used of them."""

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from models.signal.quality import OK
from models.stages import COLOURS
from tools.view.overview import Pulses, Signals

INK, FAINT_INK, GROUND = "#333333", "#666666", "#F1F1F1"
BLUE, ORANGE = COLOURS["NREM"].picture, COLOURS["Wake"].picture
"""For what is no stage: told apart with any colour vision."""

_TOP_HZ = 30.0
_USABLE, _UNUSABLE = "#A9C9A4", "#C0392B"


def stack_panels(
    figure: Figure,
    heights: Mapping[str, float],
    right: float,
    margins_inch: tuple[float, float],
    *,
    hspace: float,
    spaces: Sequence[str] = (),
    one_time: bool = False,
) -> dict[str, Axes]:
    """Return one panel under the other.

    Args:
        figure: to be drawn on.
        heights: of each panel, by what the figure's height is.
        right: where panels end, of the figure's width.
        margins_inch: above and below them.
        hspace: between two, of their mean height.
        spaces: heights that are left empty.
        one_time: all have the same time axis.
    """
    inch, (top, bottom) = figure.get_figheight(), margins_inch
    grid = figure.add_gridspec(
        len(heights),
        1,
        height_ratios=list(heights.values()),
        left=0.075,
        right=right,
        top=1 - top / inch,
        bottom=bottom / inch,
        hspace=hspace,
    )
    axes: dict[str, Axes] = {}
    for row, name in enumerate(heights):
        if name in spaces:
            continue
        shared = next(iter(axes.values()), None) if one_time else None
        axis = figure.add_subplot(grid[row], sharex=shared)
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines[["left", "bottom"]].set_color(INK)
        axis.tick_params(colors=INK, labelsize=9, labelbottom=False)
        axes[name] = axis
    return axes


def draw_pulses(axis: Axes, pulses: Pulses, unit_s: float) -> None:
    """Draw a row for each rule: what was on filled, what was sham hollow."""
    for row, spans in enumerate(pulses.values()):
        for start, duration, sham in spans:
            axis.broken_barh(
                [(start / unit_s, duration / unit_s)],
                (-row - 0.4, 0.8),
                facecolor="none" if sham else INK,
                edgecolor=INK,
                linewidth=0.7,  # however short, it is seen
            )
    axis.set_ylim(-len(pulses) + 0.5, 0.5)
    axis.set_yticks([-row for row in range(len(pulses))], list(pulses))
    axis.tick_params(left=False, labelleft=False, labelright=True)
    axis.spines["left"].set_visible(False)


def draw_quality(
    axis: Axes, quality: Mapping[str, Sequence[str]], hop_s: float, unit_s: float
) -> None:
    """Draw a strip for each modality: green where it could be used, red where not."""
    for row, reasons in enumerate(quality.values()):
        at = 0
        spans: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
        for reason, run in groupby(reasons):
            n = len(list(run))
            if reason:
                spans[reason == OK].append((at * hop_s / unit_s, n * hop_s / unit_s))
            at += n
        for usable, colour in ((True, _USABLE), (False, _UNUSABLE)):
            axis.broken_barh(spans[usable], (-row - 0.4, 0.8), facecolor=colour, linewidth=0)
    axis.set_ylim(-len(quality) + 0.5, 0.5)
    axis.set_yticks([-row for row in range(len(quality))], [name.upper() for name in quality])
    axis.tick_params(left=False)
    axis.spines["left"].set_visible(False)


def draw_spectrogram(axis: Axes, overview: Signals, unit_s: float) -> None:
    """Draw the EEG's power over time and frequency, up to 30 Hz."""
    frequencies, decibels = overview.spectrogram(_TOP_HZ)
    known = decibels[np.isfinite(decibels)]
    low, high = np.percentile(known, [5, 99.5]) if len(known) else (0.0, 1.0)
    half_hz = (frequencies[1] - frequencies[0]) / 2
    axis.set_facecolor(GROUND)
    image = axis.imshow(
        decibels.T,
        origin="lower",
        aspect="auto",
        extent=(0, overview.span_s / unit_s, frequencies[0] - half_hz, frequencies[-1] + half_hz),
        vmin=low,
        vmax=high,
        cmap="magma",
        interpolation="bilinear",
    )
    axis.set_ylabel("EEG (Hz)", size=9, color=INK)
    axis.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    bar = axis.inset_axes((1.012, 0.05, 0.011, 0.9))
    figure = axis.get_figure(root=True)
    colours = figure.colorbar(image, cax=bar) if figure is not None else None
    if colours is not None:
        colours.set_label("dB re 1 µV²/Hz", size=8.5, color=INK)
        colours.outline.set_visible(False)
        bar.tick_params(labelsize=8, colors=INK)


def draw_emg(axis: Axes, overview: Signals, unit_s: float) -> None:
    """Draw the EMG's amplitude over time."""
    edges, rms = overview.emg_rms()
    known = rms[rms > 0]
    low, high = np.percentile(known, [1, 99.8]) if len(known) else (1.0, 10.0)
    low, high = 0.7 * low, 1.3 * high
    axis.set_yscale("log")
    steps = np.append(rms, rms[-1:])
    axis.fill_between(edges / unit_s, low, steps, step="post", color="#5B5B5B", linewidth=0)
    axis.set_ylim(low, high)
    axis.yaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5), numticks=6))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.set_ylabel("EMG rms (µV)", size=9, color=INK)
