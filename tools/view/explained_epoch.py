"""The panels of an explained decision that show its epoch: traces, attention, support, levels."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from models.spec import ModelSpec
from tools.explain.decision import Decision
from tools.explain.explanation import Explanation, Part
from tools.view.panels import BLUE, FAINT_INK, INK, ORANGE

_MOST_COLUMNS = 2400  # more samples than pixels are drawn as their extremes
_DARKEST = 0.55
_FOR, _AGAINST = "#2F6B3C", "#B03A2E"
"""Support for the stage, and against it."""


def draw_epoch(
    axes: dict[str, Axes],
    e: Explanation,
    d: Decision,
    spec: ModelSpec,
    traces: list[str],
    inside: list[str],
) -> None:
    """Draw the epoch's traces, shaded by attention, and what is told within it."""
    length = spec.epoch_s
    for modality in traces:
        axis = axes[modality]
        samples = d.microvolts[d.slot, spec.modalities.index(modality)]
        spans = [p for p in e.parts.get(modality, ()) if p.start_s is not None]
        if modality in inside:
            _shade(axis, spans)
        draw_trace(axis, samples, 0.0, length, 0.7)
        usable = d.estimate.validity[modality]
        ok = "" if usable == "ok" else f"\n{usable}"
        axis.set_ylabel(f"{modality.upper()} (µV){ok}", size=9, color=INK)
        if modality in inside:
            _draw_attention(axes[f"{modality} attention"], spans, modality)
    caption(axes[traces[0]], "the epoch", _shading(inside), 0.95)
    bottom = axes[traces[-1]]
    if inside:
        bottom = axes["support"]
        _draw_parts(bottom, e, inside)
    for modality in traces:
        for name in (modality, f"{modality} attention"):
            if name in axes:
                axes[name].set_xlim(0, length)
    bottom.set_xlim(0, length)
    bottom.tick_params(labelbottom=True)
    bottom.set_xlabel("time within the epoch (s)", size=9, color=INK)


def _shading(inside: list[str]) -> str:
    if inside:
        return "darker: more attention, each\nchannel from least to most"
    return "read as one piece: attention\ntells nothing within it"


def _draw_attention(axis: Axes, parts: list[Part], modality: str) -> None:
    """Draw attention as steps, with what differential attention amplified and suppressed."""
    edges = np.array([parts[0].start_s or 0.0, *(p.stop_s or 0.0 for p in parts)])
    weights = np.array([p.attention for p in parts])
    axis.stairs(weights, edges, baseline=None, color=INK, linewidth=1.2)
    if parts[0].undifferenced is None:
        axis.stairs(weights, edges, fill=True, color=BLUE, alpha=0.45)
        legend = "1: an even share"
    else:
        plain = np.array([p.undifferenced for p in parts], float)
        axis.stairs(plain, edges, baseline=None, color=FAINT_INK, linewidth=0.8, linestyle=":")
        more, less = np.maximum(weights, plain), np.minimum(weights, plain)
        axis.stairs(more, edges, baseline=plain, fill=True, color=BLUE, alpha=0.55)
        axis.stairs(less, edges, baseline=plain, fill=True, color=ORANGE, alpha=0.55)
        legend = (
            "dotted: the first softmax alone\nblue: amplified by the difference\n"
            "orange: suppressed by it"
        )
    axis.set_ylabel("attention", size=9, color=INK)
    caption(axis, f"where it looks in the {modality.upper()}", legend, 0.95)


def _shade(axis: Axes, parts: list[Part]) -> None:
    """Shade spans from the least attention of the epoch, white, to the most."""
    attention = [p.attention for p in parts]
    least, span = min(attention), max(max(attention) - min(attention), 1e-9)
    for part in parts:
        strength = _DARKEST * (part.attention - least) / span
        axis.axvspan(part.start_s or 0.0, part.stop_s or 0.0, color=BLUE, alpha=strength, lw=0)


def _draw_parts(axis: Axes, e: Explanation, inside: list[str]) -> None:
    """Draw the support of each span, a stem for each modality."""
    for i, modality in enumerate(inside):
        spans = [p for p in e.parts[modality] if p.start_s is not None]
        middles = np.array([((p.start_s or 0) + (p.stop_s or 0)) / 2 for p in spans])
        width = (spans[0].stop_s or 0) - (spans[0].start_s or 0)
        share = 0.8 * width / len(inside)
        draw_support(
            axis,
            middles + (i - (len(inside) - 1) / 2) * share,
            np.array([p.support for p in spans]),
            0.9 * share,
            hatch="" if i == 0 else "////",
        )
    axis.yaxis.set_label_position("left")
    axis.yaxis.tick_left()
    others = "" if len(inside) < 2 else f"; hatched: {', '.join(m.upper() for m in inside[1:])}"
    caption(
        axis,
        "which spans count",
        f"support: log-odds of {e.stage}\nlost when the span is taken out\n"
        f"{inside[0].upper()}{others}",
        0.95,
    )


def draw_bands(axis: Axes, e: Explanation) -> None:
    """Draw the support of each level, with how far from usual it is below its name."""
    support = np.array([b.support for b in e.bands])
    x = np.arange(len(e.bands), dtype=float)
    draw_support(axis, x, support, 1.3)
    axis.yaxis.set_label_position("left")
    axis.yaxis.tick_left()
    names = [f"{_short(b.name)}\n{round(b.level, 1) + 0.0:+.1f} SD" for b in e.bands]
    axis.set_xticks(x, names, size=8)
    axis.tick_params(labelbottom=True, bottom=False)
    axis.set_xlim(-0.6, len(e.bands) - 0.4)
    for modality in dict.fromkeys(b.modality for b in e.bands):
        mine = [i for i, b in enumerate(e.bands) if b.modality == modality]
        axis.text(
            *(mine[0] - 0.5, axis.get_ylim()[1], modality.upper()),
            size=9,
            weight="bold",
            color=INK,
            va="top",
        )
        axis.axvline(mine[-1] + 0.5, color=FAINT_INK, linewidth=0.5, linestyle=":")
    caption(
        axis,
        "which levels count",
        f"support: log-odds of {e.stage} lost\nwhen the level is as usual for\nthe subject; "
        "SD: how far it\nis from that now",
        0.95,
    )


def _short(name: str) -> str:
    return name.removesuffix(" Hz") if name.endswith(" Hz") else name.replace(" ", "\n", 1)


def draw_support(
    axis: Axes,
    x: NDArray[np.floating],
    support: NDArray[np.floating],
    width: float,
    hatch: str = "",
) -> None:
    """Draw a stem up for what speaks for the stage, down for what speaks against it."""
    colours = [_FOR if s >= 0 else _AGAINST for s in support.tolist()]
    axis.bar(
        x,
        support,
        0.5 * width,
        color="white" if hatch else colours,
        edgecolor=colours,
        hatch=hatch,
        linewidth=0.6 if hatch else 0,
    )
    axis.axhline(0, color=INK, linewidth=0.6)
    most = max(float(np.abs(support).max()), 0.05)
    low, high = min(1.15 * float(support.min()), -0.15 * most), 1.15 * most
    before = (0.0, 0.0) if len(axis.containers) == 1 else axis.get_ylim()
    axis.set_ylim(min(low, before[0]), max(high, before[1]))
    axis.set_ylabel("support", size=9, color=_FOR)
    axis.tick_params(labelsize=9, colors=INK)
    axis.spines[["top", "left"]].set_visible(False)


def draw_trace(
    axis: Axes, samples: NDArray[np.float32], start: float, stop: float, linewidth: float
) -> None:
    """Draw samples from start to stop; more than there are pixels as their extremes."""
    n = len(samples)
    x = np.linspace(start, stop, n, endpoint=False)
    if n > 2 * _MOST_COLUMNS:
        each = -(-n // _MOST_COLUMNS)
        padded = np.pad(samples, (0, -n % each), constant_values=np.nan).reshape(-1, each)
        low, high = np.fmin.reduce(padded, axis=1), np.fmax.reduce(padded, axis=1)
        x = np.linspace(start, stop, len(low), endpoint=False)
        axis.fill_between(x, low, high, color=INK, linewidth=0.2)
    else:
        axis.plot(x, samples, color=INK, linewidth=linewidth)
    known = samples[np.isfinite(samples)]
    most = float(np.percentile(np.abs(known), 99.8)) if len(known) else 1.0
    axis.set_ylim(-1.15 * most, 1.15 * most)


def caption(axis: Axes, title: str, text: str, y: float) -> None:
    """Say right of a panel what it shows."""
    kwargs: dict[str, Any] = {"transform": axis.transAxes, "va": "top", "color": INK}
    axis.text(1.065, y, title, size=9.5, weight="bold", **kwargs)
    axis.text(1.065, y, f"\n{text}", size=8.5, linespacing=1.3, **kwargs | {"color": FAINT_INK})
