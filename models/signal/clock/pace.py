"""Whether a source runs in real time, and so whether a timestamp can be true.

A sample's lateness is its arrival on this machine's clock minus its timestamp. It varies with
every chunk, and leaps when a network or a program stood still, but its least value hardly moves
while the source's clock runs as it should: no sample comes before its time. A source that is
played faster, or pushed at once, has no such value, and its timestamps are simply believed.

A clock that runs fast or slow moves the least value evenly. What lies under all samples of the
last minutes is therefore a line: the edge, over the middle of them, of their lower hull (Moon,
Skelly & Towsley 1999, doi:10.1109/INFCOM.1999.749287).
"""

from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

_WINDOW_S = 4.0
_N_WINDOWS = 3
_N_KEPT = 150
"""Windows that the line is laid under: ten minutes."""
_FIRST_WINDOW_S = 0.5
"""Before there are enough windows, a leap is looked for among as many of these."""
_MOST = 0.8
_STEADY_S = 0.25
"""The least lateness of each of the last windows is this steady where the source runs in real
time."""
_TOLERANCE_S = 0.5
_DRIFT = 1e-3
"""Clocks may part by this much a second without a sample."""


class Lateness(NamedTuple):
    """The line under the lateness of all samples."""

    now: float
    """At the newest arrival, s."""
    slope: float
    """By so much it grows a second, s; below 0 where the timestamps run fast."""
    span_s: float
    """From the first window to the newest, s."""
    spread: float
    """How far above it the least lateness of most windows is at most, s."""

    @property
    def parted(self) -> float:
        """By how much it has grown, s."""
        return self.slope * self.span_s

    def is_even(self, part: float) -> bool:
        """Whether it has grown along the line, but for this part of it."""
        return self.spread < part * abs(self.parted)


class Pace:
    """Remembers the least lateness of one source's samples.

    Args:
        window_s: of which each has its least lateness, s; None for what suits a night.
    """

    def __init__(self, window_s: float | None = None) -> None:
        self._window_s = _WINDOW_S if window_s is None else window_s
        self._least: deque[tuple[float, float]] = deque(maxlen=_N_KEPT)
        self._first: deque[tuple[float, float]] = deque(maxlen=_N_WINDOWS)
        self._window: tuple[float, tuple[float, float]] | None = None
        self._line: tuple[float, Lateness] | None = None
        self._arrived = -float("inf")

    @property
    def is_real(self) -> bool:
        """Whether the source has run in real time for a while."""
        return _is_steady(self._last)

    @property
    def n_windows(self) -> int:
        """How many windows it remembers."""
        return len(self._least)

    @property
    def _last(self) -> list[float]:
        first = max(0, len(self._least) - _N_WINDOWS)
        return [self._least[i][1] for i in range(first, len(self._least))]

    def observe(self, time: float, arrived: float) -> None:
        """Take note of a sample of time `time` that came at `arrived`, both s."""
        sample = (arrived, arrived - time)
        if not arrived >= self._arrived:  # no clock does that: these are no arrivals
            self._least.clear()
            self._first.clear()
            self._window = self._line = None
        self._arrived = arrived
        if not self._first or arrived - self._first[-1][0] >= _FIRST_WINDOW_S:
            self._first.append(sample)
        else:
            self._first[-1] = (self._first[-1][0], min(self._first[-1][1], sample[1]))
        if self._window is None or arrived - self._window[0] > 2 * self._window_s:
            self._window = (arrived, sample)
            return
        since, least = self._window
        if arrived - since >= self._window_s:
            self._least.append(least)
            self._window, self._line = (arrived, sample), None
        else:
            self._window = (since, min(least, sample, key=lambda each: each[1]))

    def lead(self, time: float, arrived: float) -> float:
        """Return how far a sample is ahead of what its clock said until now, s.

        0 within the tolerance, and where nothing is known; negative where it is late.
        """
        last = self._last
        if len(last) < _N_WINDOWS:
            last = [least for _, least in self._first]
        if not _is_steady(last):
            return 0.0
        lead = min(last) - (arrived - time)
        tolerance = _TOLERANCE_S + _DRIFT * max(0.0, arrived - self._arrived)
        return 0.0 if abs(lead) < tolerance else lead

    def lateness(self) -> Lateness | None:
        """Return the line under all samples; None before the first."""
        if self._window is None:
            return None
        at, late = self._window[1]
        if self._line is not None:
            then, line = self._line
            now = line.now + line.slope * (self._arrived - then)
            if late >= now - line.slope * (self._arrived - at):
                return line._replace(now=now)
        line = _under([*self._least, (at, late)])
        self._line = (at, line)
        return line._replace(now=line.now + line.slope * (self._arrived - at))


def _is_steady(least: Sequence[float]) -> bool:
    return len(least) == _N_WINDOWS and max(least) - min(least) < _STEADY_S


def _under(points: Sequence[tuple[float, float]]) -> Lateness:
    """Return the line that lies under points and nearest to them, at the last one."""
    first, slope = points[0], 0.0
    hull: list[tuple[float, float]] = []
    for point in points:
        while len(hull) > 1 and _slope(hull[-2], point) <= _slope(hull[-2], hull[-1]):
            hull.pop()
        hull.append(point)
    middle = sum(arrived for arrived, _ in points) / len(points)
    for before, after in pairwise(hull):
        first, slope = before, _slope(before, after)
        if after[0] >= middle:
            break
    last = points[-1][0]
    above = sorted(late - first[1] - slope * (at - first[0]) for at, late in points)
    return Lateness(
        now=first[1] + slope * (last - first[0]),
        slope=slope,
        span_s=last - points[0][0],
        spread=above[int(_MOST * len(above))],
    )


def _slope(a: tuple[float, float], b: tuple[float, float]) -> float:
    return (b[1] - a[1]) / max(b[0] - a[0], 1e-9)
