"""The drawings of the report: SVG, on the clock's and zeitgeber time."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby
from typing import NamedTuple

import numpy as np
from matplotlib.image import imsave
from numpy.typing import NDArray

from models.recordings.hypnogram import Hypnogram
from models.signal.drift import LIMIT
from models.stages import COLOURS, UNKNOWN
from tools.view.clock import Clock
from tools.view.html import Element, add, add_wide
from tools.view.night import vertical_order
from tools.view.overview import Told

WIDTH = 1000
_LEFT, _RIGHT = 62, 22
_LANE, _BAR = 20, 9  # of a stage in the hypnogram: distance, thickness
_ROW = 17  # of a subject in the overview of all
_TOP_HZ = 30.0


class Hourly(NamedTuple):
    """A bar of a chart of hours."""

    name: str
    light: float | None
    """Share of it that is light; None: not known."""
    shares: Mapping[str, float]
    """Of the hour, by stage."""


@dataclass(frozen=True)
class _Frame:
    """A drawing with a time axis."""

    svg: Element
    clock: Clock
    height: float

    def x(self, moment: float) -> float:
        """Return where a Unix time is."""
        share = (moment - self.clock.start) / (self.clock.end - self.clock.start)
        return _LEFT + share * (WIDTH - _LEFT - _RIGHT)

    def bar(self, start: float, end: float, y: float, height: float, class_: str) -> None:
        """Fill a span of time."""
        x, right = self.x(start), self.x(end)
        add(self.svg, "rect", class_=class_, **_box(x, y, right - x, height))

    def name(self, text: str, y: float) -> None:
        """Write what a row is."""
        add(self.svg, "text", text, class_="name", x=_LEFT - 6, y=f"{y:g}", text_anchor="end")


def add_overview(
    parent: Element, courses: Mapping[str, Sequence[tuple[str, float, float]]], clock: Clock
) -> None:
    """Draw all subjects' stages below each other.

    Args:
        parent: where to.
        courses: by subject, runs of a stage: its name, start and end, Unix time, s.
        clock: of all of them.
    """
    bottom = 22 + _ROW * len(courses)
    frame = _frame(parent, clock, bottom, "stages of all subjects over the night")
    for row, (subject, runs) in enumerate(courses.items()):
        y = 22 + _ROW * row
        frame.name(_short(subject), y + 11)
        for stage, spans in _by_stage(runs):
            path = "".join(f"M{frame.x(a):.1f} {y + 7:g}H{frame.x(b):.1f}" for a, b in spans)
            _stroke(frame.svg, path, stage, 13)


def add_night(
    parent: Element,
    stages: Sequence[str],
    runs: Sequence[tuple[str, float, float]],
    clock: Clock,
    signals: tuple[float, Told] | None,
) -> None:
    """Draw one subject's hypnogram, and its spectrogram and EMG where there are any.

    Args:
        parent: where to.
        stages: the stage set.
        runs: of a stage, ART or UNKNOWN: its name, start and end, Unix time, s.
        clock: of the night.
        signals: when they begin, Unix time, s, and what they are.
    """
    order = vertical_order(stages)
    low = 26 + _LANE * len(order)
    has_emg = signals is not None and signals[1].has_emg  # people have none
    bottom = low + (0 if signals is None else 148 if has_emg else 104)
    what = "hypnogram, spectrogram of the EEG" + " and level of the EMG" * has_emg
    frame = _frame(parent, clock, bottom, what)
    for start, end in clock.dark:
        frame.bar(start, end, 22, low - 22, "shade")
    _hypnogram(frame, order, runs, low)
    if signals is not None:
        _spectrogram(frame, *signals, low + 8)
        if has_emg:
            _emg(frame, *signals, low + 108)


def add_drift(
    parent: Element, times: NDArray[np.float64], drift: NDArray[np.float64], clock: Clock
) -> None:
    """Draw how unlike the training animals a subject looked, with the limit."""
    frame = _frame(parent, clock, 82, "drift over the night")
    top = max(1.5 * LIMIT, float(np.nanmax(drift)))
    for value in (0.0, LIMIT, top):
        frame.name(f"{value:.1f}", 84 - 58 * value / top)
    y = 80 - 58 * LIMIT / top
    add(frame.svg, "path", class_="limit", d=f"M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}")
    every = max(1, len(drift) // 600)
    path = ""
    for known, run in groupby(
        zip(times[::every].tolist(), drift[::every].tolist(), strict=True),
        lambda pair: np.isfinite(pair[1]),
    ):
        if known:
            points = [f"{frame.x(t):.1f} {80 - 58 * value / top:.1f}" for t, value in run]
            path += "M" + "L".join(points)
    add(frame.svg, "path", class_="drift", d=path)


def add_hours(parent: Element, hours: Sequence[Hourly], stages: Sequence[str]) -> None:
    """Draw a stacked bar for each hour: how much of it was in which stage."""
    order = [*reversed(vertical_order(stages))]
    svg = _svg(parent, 190, "share of each stage by hour")
    width = (WIDTH - _LEFT - _RIGHT) / max(len(hours), 1)
    for share in (0, 0.5, 1):
        y = 150 - 130 * share
        add(svg, "text", f"{100 * share:g} %", x=_LEFT - 6, y=f"{y + 4:g}", text_anchor="end")
        add(svg, "path", class_="axis", d=f"M{_LEFT} {y:g}H{WIDTH - _RIGHT}")
    for k, hour in enumerate(hours):
        x, y = _LEFT + k * width, 150.0
        for stage in order:
            height = 130 * hour.shares.get(stage, 0.0)
            y -= height
            box = _box(x + 1, y, max(width - 2, 1), height)
            add(svg, "rect", fill=COLOURS[stage].picture, **box)
        if hour.light is not None:
            lit = width * hour.light
            add(svg, "rect", class_="night", **_box(x, 154, width, 6))
            add(svg, "rect", class_="day", **_box(x, 154, lit, 6))
        if k % max(1, -(-len(hours) // 24)) == 0:
            add(svg, "text", hour.name, x=f"{x + width / 2:.1f}", y=176, text_anchor="middle")


def _hypnogram(
    frame: _Frame,
    order: Sequence[str],
    runs: Sequence[tuple[str, float, float]],
    low: float,
) -> None:
    level = {stage: 36 + _LANE * i for i, stage in enumerate(order)}
    for stage, y in level.items():
        frame.name(stage, y + 4)
    path, before = "", None
    for stage, start, end in runs:
        if stage not in level:
            frame.bar(start, end, 22, low - 22, "lost")
            before = None
            continue
        x, y = frame.x(start), level[stage]
        path += f"M{x:.1f} {before}V{y}" if before is not None else ""
        before = y
    add(frame.svg, "path", class_="thread", d=path)
    for stage, spans in _by_stage(runs):
        if stage in level:
            y = level[stage]
            path = "".join(f"M{frame.x(a):.1f} {y}H{frame.x(b):.1f}" for a, b in spans)
            _stroke(frame.svg, path, stage, _BAR)


def _spectrogram(frame: _Frame, start: float, signals: Told, y: float) -> None:
    frequencies, decibels = signals.spectrogram(_TOP_HZ)
    known = decibels[np.isfinite(decibels)]
    low, high = np.percentile(known, [5, 99.5]) if len(known) else (0.0, 1.0)
    file = BytesIO()
    shown = np.ma.masked_invalid(decibels.T[::-1])
    imsave(file, shown, cmap="magma", vmin=low, vmax=high, format="png")
    x, right = frame.x(start), frame.x(start + signals.span_s)
    box = _box(x, y, right - x, 90)
    data = base64.b64encode(file.getvalue()).decode()
    add(frame.svg, "rect", class_="panel", **box)
    source = f"data:image/png;base64,{data}"
    add(frame.svg, "image", preserveAspectRatio="none", href=source, **box)
    for hz in (0, 10, 20, 30):
        at = y + 90 - 90 * hz / frequencies[-1]
        add(frame.svg, "text", str(hz), x=_LEFT - 6, y=f"{at + 4:.1f}", text_anchor="end")
    add(frame.svg, "text", "EEG, Hz", class_="name", x=2, y=f"{y + 48:g}")


def _emg(frame: _Frame, start: float, signals: Told, y: float) -> None:
    edges, rms = signals.emg_rms()
    known = rms[rms > 0]
    frame.name("EMG", y + 22)
    if len(known) == 0:
        return
    low, high = np.log(np.percentile(known, [1, 99.8]) * [0.7, 1.3])
    heights = np.clip((np.log(np.maximum(rms, 1e-6)) - low) / (high - low), 0, 1) * 36
    path = ""
    for a, b, height in zip(edges, edges[1:], heights.tolist(), strict=False):
        if np.isfinite(height):
            x, right = frame.x(start + a), frame.x(start + b)
            path += f"M{x:.1f} {y + 38:g}V{y + 38 - height:.1f}H{right:.1f}V{y + 38:g}"
    add(frame.svg, "path", class_="emg", d=path)


def _frame(parent: Element, clock: Clock, bottom: float, name: str) -> _Frame:
    """Begin a drawing: light and dark above, the clock below."""
    frame = _Frame(_svg(parent, bottom + 24, name), clock, bottom)
    if clock.day.has_lights:
        frame.bar(clock.start, clock.end, 14, 6, "day")
        for start, end in clock.dark:
            frame.bar(start, end, 14, 6, "night")
    for moment, text in clock.zeitgeber_marks:
        add(frame.svg, "text", text, x=f"{frame.x(moment):.1f}", y=10, text_anchor="middle")
    add(frame.svg, "path", class_="axis", d=f"M{_LEFT} {bottom + 4:g}H{WIDTH - _RIGHT}")
    for moment, text in clock.marks:
        x = f"{frame.x(moment):.1f}"
        add(frame.svg, "path", class_="axis", d=f"M{x} {bottom + 4:g}v4")
        add(frame.svg, "text", text, x=x, y=f"{bottom + 20:g}", text_anchor="middle")
    return frame


def _svg(parent: Element, height: float, name: str) -> Element:
    view = f"0 0 {WIDTH} {height:g}"
    return add(add_wide(parent, name), "svg", viewBox=view, role="img", aria_label=name)


def _box(x: float, y: float, width: float, height: float) -> dict[str, str]:
    box = {"x": x, "y": y, "width": width, "height": height}
    return {name: f"{value:.1f}" for name, value in box.items()}


def _stroke(svg: Element, path: str, stage: str, width: float) -> None:
    colour = COLOURS[stage].picture
    add(svg, "path", d=path, stroke=colour, stroke_width=width, fill="none")


def _by_stage(
    runs: Sequence[tuple[str, float, float]],
) -> list[tuple[str, list[tuple[float, float]]]]:
    found: dict[str, list[tuple[float, float]]] = {}
    for stage, start, end in runs:
        if stage:
            found.setdefault(stage, []).append((start, end))
    return list(found.items())


def runs_of(
    stages: Sequence[str], start: float, epoch_s: float, most: int | None = None
) -> list[tuple[str, float, float]]:
    """Return runs of equal stages: name, start and end, Unix time, s; "" is left as it is.

    Args:
        stages: of consecutive epochs.
        start: of the first, Unix time, s.
        epoch_s: length of the epochs, s.
        most: with more epochs the stage that fills most of each of so many spans is taken.
    """
    if most is not None and len(stages) > most:
        longer_s = len(stages) * epoch_s / most
        known = [stage or UNKNOWN for stage in stages]
        stages = Hypnogram.from_epochs(known, epoch_s).to_epochs(longer_s, most)
        epoch_s = longer_s
    found, at = [], 0
    for stage, run in groupby(stages):
        n = len([*run])
        found.append((stage, start + at * epoch_s, start + (at + n) * epoch_s))
        at += n
    return found


def _short(name: str) -> str:
    return name if len(name) <= 8 else f"{name[:7]}…"


def add_lengths(
    parent: Element, names: Sequence[str], lengths: Mapping[str, Sequence[int]]
) -> None:
    """Draw how many bouts of each stage are how long.

    Args:
        parent: where to.
        names: of the lengths.
        lengths: bouts of each, by stage.
    """
    svg = _svg(parent, 130, "bouts by length")
    width = (WIDTH - _LEFT - _RIGHT) / len(names)
    most = max(max(counts) for counts in lengths.values())
    for k, name in enumerate(names):
        x, bar = _LEFT + k * width, 0.8 * width / len(lengths)
        for i, (stage, counts) in enumerate(lengths.items()):
            height = 80 * counts[k] / most
            left = x + 0.1 * width + i * bar
            box = _box(left, 100 - height, bar, height)
            add(svg, "rect", fill=COLOURS[stage].picture, **box)
            if counts[k]:
                at = {"x": f"{left + bar / 2:.1f}", "y": f"{96 - height:.1f}"}
                add(svg, "text", str(counts[k]), text_anchor="middle", **at)
        add(svg, "text", name, x=f"{x + width / 2:.1f}", y=118, text_anchor="middle")
    add(svg, "path", class_="axis", d=f"M{_LEFT} 100H{WIDTH - _RIGHT}")
