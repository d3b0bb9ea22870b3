"""The picture of the raw mouse: each scorer's stages, above the spectrogram and the EMG."""

from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image

from models.recordings.as_stream import CHUNK_S
from models.recordings.hypnogram import Hypnogram
from models.recordings.open import open_recording
from models.recordings.writers import replacing
from models.stages import COLOURS
from tests.rigs.accuracy.real_mouse import CHANNELS, Findings
from tests.rigs.accuracy.threshold_scorer import EPOCH_S
from tools.view.overview import Overview
from tools.view.panels import FAINT_INK, INK, draw_emg, draw_spectrogram

_MINUTE = 60.0
_MARK = "#C0392B"
_COLOURS = 64  # enough for the eye, and a third of the file
_HEIGHTS = {"strips": 2.2, "theta": 0.8, "spectrogram": 1.5, "emg": 0.9}


def draw_real_mouse(path: Path, recording: Path, found: Findings) -> None:
    """Write the picture as PNG.

    Raises:
        HypnodError: the recording cannot be read, or the place cannot be written to.
    """
    figure = Figure(figsize=(13, 7.6), facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        len(_HEIGHTS),
        1,
        height_ratios=list(_HEIGHTS.values()),
        left=0.15,
        right=0.93,
        top=0.88,
        bottom=0.07,
        hspace=0.14,
    )
    axes: dict[str, Axes] = {}
    for row, name in enumerate(_HEIGHTS):
        axis = figure.add_subplot(grid[row], sharex=next(iter(axes.values()), None))
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(colors=INK, labelsize=9, labelbottom=False)
        axes[name] = axis
    overview = _overview(recording)
    _draw_strips(axes["strips"], found)
    _draw_theta(axes["theta"], found)
    draw_spectrogram(axes["spectrogram"], overview, _MINUTE)
    draw_emg(axes["emg"], overview, _MINUTE)
    axes["emg"].set_xlim(0, found.report.duration_s / _MINUTE)
    axes["emg"].set_xlabel("time from the first sample (min)", color=INK)
    axes["emg"].tick_params(labelbottom=True)
    _write_titles(figure, found)
    drawn = BytesIO()
    figure.savefig(drawn, format="png", dpi=100)
    with replacing(path) as draft, Image.open(drawn) as image:
        image.convert("RGB").quantize(_COLOURS).save(draft, format="png", optimize=True)


def _overview(recording: Path) -> Overview:
    opened = open_recording(recording, list(CHANNELS.values()))
    overview = Overview(opened.sfreq, opened.duration)
    for data, times in opened.chunks(round(CHUNK_S * opened.sfreq)):
        overview.add(times, data[:, 0], data[:, 1])
    return overview


def _draw_strips(axis: Axes, found: Findings) -> None:
    """Draw a strip for each scorer."""
    for row, stages in enumerate(found.hypnograms.values()):
        bouts = Hypnogram.from_epochs(stages, EPOCH_S).merged()
        onsets, lengths = bouts.onsets / _MINUTE, bouts.durations / _MINUTE
        for stage in {*bouts.stages}:
            mine = np.array([s == stage for s in bouts.stages])
            spans = list(zip(onsets[mine], lengths[mine], strict=True))
            axis.broken_barh(spans, (-row, 0.7), facecolor=COLOURS[stage].picture, linewidth=0)
    n = len(found.hypnograms)
    axis.set_ylim(-n + 0.75, 0.8)
    axis.set_yticks([0.35 - row for row in range(n)], list(found.hypnograms))
    axis.tick_params(left=False, bottom=False)
    axis.spines[:].set_visible(False)


def _draw_theta(axis: Axes, found: Findings) -> None:
    ratio = found.features.theta_delta
    times = (np.arange(len(ratio)) + 0.5) * EPOCH_S / _MINUTE
    axis.semilogy(times, ratio, color="#5B5B5B", linewidth=0.8)
    axis.axhline(found.report.rule_theta_delta, color=_MARK, linewidth=0.8, linestyle="--")
    axis.set_yticks([0.5, 1, 2, 5, 10, 20], ["0.5", "1", "2", "5", "10", "20"])
    axis.minorticks_off()
    axis.set_ylabel("theta/delta", size=9, color=INK)


def _write_titles(figure: Figure, found: Findings) -> None:
    report = found.report
    title = f"A real mouse nobody has scored · {report.file}"
    figure.text(0.15, 0.965, title, size=13, weight="bold", color=INK, va="center")
    text = f"{report.bundle}  ·  epochs of {EPOCH_S} s"
    figure.text(0.15, 0.93, text, size=9.5, color=FAINT_INK, va="center")
    seen = {stage for stages in found.hypnograms.values() for stage in stages}
    handles = [Patch(color=c.picture, label=s) for s, c in COLOURS.items() if s in seen]
    figure.legend(
        handles=handles,
        loc="upper right",
        bbox_to_anchor=(0.93, 0.95),
        ncols=len(handles),
        frameon=False,
        fontsize=9,
    )
