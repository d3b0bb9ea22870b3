"""Whether a source runs in real time, and so whether a timestamp can be true.

A sample's lateness is its arrival on this machine's clock minus its timestamp. It varies with
every chunk, and leaps when a network or a program stood still, but its least value hardly moves
while the source's clock runs as it should: no sample comes before its time. A source that is
played faster, or pushed at once, has no such value, and its timestamps are simply believed.
"""

from collections import deque

_WINDOW_S = 4.0
_N_WINDOWS = 3
_STEADY_S = 0.25
"""The least lateness of each of the last windows is this steady where the source runs in real
time."""
_TOLERANCE_S = 0.5
_DRIFT = 1e-3
"""Clocks may part by this much a second without a sample."""


class Pace:
    """Remembers the least lateness of one source's samples."""

    def __init__(self) -> None:
        self._least: deque[float] = deque(maxlen=_N_WINDOWS)
        self._window: tuple[float, float] | None = None
        self._arrived = -float("inf")

    @property
    def is_real(self) -> bool:
        """Whether the source has run in real time for a while."""
        known = len(self._least) == _N_WINDOWS
        return known and max(self._least) - min(self._least) < _STEADY_S

    def observe(self, time: float, arrived: float) -> None:
        """Take note of a sample of time `time` that came at `arrived`, both s."""
        lateness = arrived - time
        if not arrived >= self._arrived:  # no clock does that: these are no arrivals
            self._least.clear()
            self._window = None
        self._arrived = arrived
        if self._window is None or arrived - self._window[0] > 2 * _WINDOW_S:
            self._window = (arrived, lateness)
            return
        since, least = self._window
        if arrived - since >= _WINDOW_S:
            self._least.append(least)
            self._window = (arrived, lateness)
        else:
            self._window = (since, min(least, lateness))

    def lead(self, time: float, arrived: float) -> float:
        """Return how far a sample is ahead of what its clock said until now, s.

        0 within the tolerance, and where nothing is known; negative where it is late.
        """
        if not self.is_real:
            return 0.0
        lead = min(self._least) - (arrived - time)
        tolerance = _TOLERANCE_S + _DRIFT * max(0.0, arrived - self._arrived)
        return 0.0 if abs(lead) < tolerance else lead
