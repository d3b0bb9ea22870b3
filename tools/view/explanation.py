"""The picture of what a decision rests on: attention and support, on the traces."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from models.recordings.writers import replacing
from models.signal.quality import MISSING
from models.spec import ModelSpec
from models.stages import COLOURS
from tools.explain.decision import Decision
from tools.explain.explanation import Explanation
from tools.view.explained_epoch import caption, draw_bands, draw_epoch, draw_support, draw_trace
from tools.view.panels import BLUE, FAINT_INK, GROUND, INK, stack_panels

_LONG_S = 600.0
_FEW = 32  # epochs of a window are told apart
_LEAST_NAMED = 0.04  # of the window: a shorter run has no room for its name


def plot_explanation(
    path: Path, explanation: Explanation, decision: Decision, spec: ModelSpec
) -> None:
    """Write the picture of a decision as PNG.

    Raises:
        RecordingError: the place cannot be written to.
    """
    figure = draw_explanation(explanation, decision, spec)
    with replacing(path) as draft:
        figure.savefig(draft, format="png", dpi=150)


def draw_explanation(explanation: Explanation, decision: Decision, spec: ModelSpec) -> Figure:
    """Return the picture of a decision: its window above, its epoch and its levels below."""
    e = explanation
    validity = decision.estimate.validity
    traces = [m for m in spec.modalities if validity.get(m, MISSING) != MISSING]
    inside = [m for m in traces if len(e.parts.get(m, ())) > 1]
    heights = {"strip": 0.28, "window": 1.0, "over": 0.9, "gap": 0.55}
    for modality in traces:
        heights |= {modality: 1.25}
        if modality in inside:
            heights |= {f"{modality} attention": 0.7}
    if inside:
        heights |= {"support": 0.8}
    if e.bands:
        heights |= {"space": 0.6, "bands": 1.5}
    figure = Figure(figsize=(13, 1.6 + 1.1 * sum(heights.values())), facecolor="white")
    FigureCanvasAgg(figure)
    spaces = ("gap", "space")
    axes = stack_panels(figure, heights, 0.795, (0.95, 0.6), hspace=0.14, spaces=spaces)
    _draw_window(axes, e, decision, spec)
    draw_epoch(axes, e, decision, spec, traces, inside)
    if e.bands:
        draw_bands(axes["bands"], e)
    _write_titles(figure, e)
    return figure


def _write_titles(figure: Figure, e: Explanation) -> None:
    inch = figure.get_figheight()
    title = f"Why {e.stage} at {e.when}?  ·  {e.subject} · {e.file}"
    said = ", ".join(f"{stage} {p:.2f}" for stage, p in e.probabilities.items())
    own = ", ".join(f"{stage} {p:.2f}" for stage, p in e.evidence.items())
    below = f"{e.model}, {e.kind}, {e.pathway}  ·  probabilities {said}  ·  the net's own {own}"
    figure.text(0.075, 1 - 0.3 / inch, title, size=13, weight="bold", color=INK, va="center")
    figure.text(0.075, 1 - 0.57 / inch, below, size=9.5, color=FAINT_INK, va="center")


def _draw_window(axes: dict[str, Axes], e: Explanation, d: Decision, spec: ModelSpec) -> None:
    """Draw stages, EEG, attention and support over the window's epochs."""
    N, unit_s, unit = spec.n_context, *_unit(spec.context_s)
    edges = (np.arange(N + 1) - d.slot) * spec.epoch_s / unit_s
    width = spec.epoch_s / unit_s
    strip, trace, over = axes["strip"], axes["window"], axes["over"]
    for x, slot in zip(edges[:-1], e.window, strict=True):
        colour = COLOURS[slot.stage].picture if slot.stage else GROUND
        masked = not any(slot.valid.values())
        strip.broken_barh(
            [(x, width)],
            (0, 1),
            facecolor=GROUND if masked else colour,
            edgecolor="white",
            linewidth=0.6 if N <= _FEW else 0.0,
            hatch="////" if masked else None,
        )
    for stage, first, last in _runs([slot.stage for slot in e.window]):
        if (last - first) / N > _LEAST_NAMED:
            middle = (edges[first] + edges[last]) / 2
            strip.text(middle, 0.47, stage, ha="center", va="center", size=8, color="white")
    strip.set_ylim(0, 1)
    strip.set_yticks([])
    strip.spines[:].set_visible(False)
    strip.tick_params(bottom=False)
    eeg = spec.modalities.index("eeg")
    draw_trace(trace, d.microvolts[:, eeg].ravel(), edges[0], edges[-1], 0.4)
    trace.set_ylabel("EEG (µV)", size=9, color=INK)
    _mark_own(trace, width)
    middles = edges[:-1] + width / 2
    shares = 100 * np.array([slot.attention for slot in e.window])
    over.bar(middles, shares, 0.9 * width, color=BLUE, alpha=0.45, linewidth=0)
    over.set_ylabel("attention (%)", size=9, color=BLUE)
    over.set_ylim(0, 1.15 * max(shares.max(), 1e-6))
    support = np.array([slot.support for slot in e.window])
    beside = over.twinx()
    draw_support(beside, middles, support, 0.5 * width)
    _share_zero(over, beside)
    _mark_own(over, width)
    for axis in (strip, trace, over):
        axis.set_xlim(edges[0], edges[-1])
    over.tick_params(labelbottom=True)
    over.set_xlabel(f"time from the epoch's beginning ({unit})", size=9, color=INK)
    caption(strip, "the context window", "its stages, and its EEG", 0.3)
    caption(
        over,
        "which epochs count",
        "bars: attention of the epoch\nto each epoch of its window\nstems: support, log-odds lost\n"
        "when that epoch is masked",
        0.95,
    )


def _runs(stages: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """Yield each stage that lasts, with the first slot and the one after the last."""
    at = 0
    for stage, run in groupby(stages):
        n = len(list(run))
        yield stage, at, at + n
        at += n


def _share_zero(left: Axes, right: Axes) -> None:
    """Put the zeros of two axes, of which the left one begins there, at the same height."""
    low, high = right.get_ylim()
    top = left.get_ylim()[1]
    left.set_ylim(top * low / high, top)
    left.set_yticks([t for t in left.get_yticks() if 0 <= t <= top])


def _mark_own(axis: Axes, width: float) -> None:
    axis.axvspan(0, width, facecolor="none", edgecolor=INK, linewidth=1.0, zorder=3)


def _unit(span_s: float) -> tuple[float, str]:
    return (60.0, "min") if span_s >= _LONG_S else (1.0, "s")
