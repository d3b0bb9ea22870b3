"""The time of a night on the clock and since lights on: where marks go, what they say."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.axes._secondary_axes import SecondaryAxis

from tools.shared.day import Day
from tools.view.panels import FAINT_INK, INK

MOST_MARKS = 13
_MINUTES = (1, 5, 10, 30, 60, 120, 180, 360, 720, 1440)

LIGHT, DARK = "#FBE9A9", "#3C4250"
"""Of the bar that shows when it was light; told apart without colours too."""


@dataclass(frozen=True, kw_only=True)
class Clock:
    """When a night was."""

    day: Day
    start: float
    """Unix time of its first epoch, s."""
    end: float
    """Of its last one's end, s."""

    @property
    def marks(self) -> list[tuple[float, str]]:
        """Moments that the clock's axis names, Unix time, s, and their names."""
        found: list[float] = []
        for minutes in _MINUTES:
            found = self.day.marks(self.start, self.end, minutes)
            if len(found) <= MOST_MARKS:
                break
        return [(moment, f"{self.day.local(moment):%H:%M}") for moment in found]

    @property
    def zeitgeber_marks(self) -> list[tuple[float, str]]:
        """Likewise of the hours since lights on, not more often than every hour."""
        if not self.day.has_lights:
            return []
        _, *hours = self.day.hours(self.start, self.end)  # the first one had begun before
        every = next(n for n in (1, 2, 3, 6, 12, len(hours)) if len(hours) / n <= MOST_MARKS)
        return [(h.start, f"ZT{h.zeitgeber}") for h in hours if (h.zeitgeber or 0) % every == 0]

    @property
    def zone(self) -> str:
        """Name of the zone; of both, where the clock is put forward or back in between."""
        names = (self.day.local(moment).tzname() or "" for moment in (self.start, self.end))
        return ", then ".join(dict.fromkeys(names))

    @property
    def dark(self) -> list[tuple[float, float]]:
        """When it was dark, starts and ends, Unix time, s."""
        if not self.day.has_lights:
            return []
        ends = [self.start, *(t for span in self.day.lights(self.start, self.end) for t in span)]
        ends.append(self.end)
        return [(a, b) for a, b in zip(ends[::2], ends[1::2], strict=True) if a < b]


def draw_clock(bottom: Axes, clock: Clock, unit_s: float) -> None:
    """Name the time of day under the lowest panel."""
    _mark(bottom, clock.marks, clock.start, unit_s)
    bottom.set_xlabel(f"time of day ({clock.zone})", color=INK)


def draw_light(axis: Axes, clock: Clock, unit_s: float) -> None:
    """Draw when it was light, with zeitgeber time above."""
    width = (clock.end - clock.start) / unit_s
    axis.broken_barh([(0, width)], (0, 1), facecolor=LIGHT, linewidth=0)
    dark = [((a - clock.start) / unit_s, (b - a) / unit_s) for a, b in clock.dark]
    axis.broken_barh(dark, (0, 1), facecolor=DARK, linewidth=0)
    axis.set_ylim(0, 1)
    axis.set_yticks([])
    axis.spines[:].set_visible(False)
    axis.tick_params(bottom=False)
    above = axis.secondary_xaxis("top")
    _mark(above, clock.zeitgeber_marks, clock.start, unit_s)
    above.spines[:].set_visible(False)
    above.tick_params(labelsize=8, colors=FAINT_INK, length=2, pad=1)


def _mark(
    axis: Axes | SecondaryAxis, marks: Sequence[tuple[float, str]], start: float, unit_s: float
) -> None:
    axis.set_xticks([(t - start) / unit_s for t, _ in marks], [name for _, name in marks])
