"""Tells timestamps that come in bunches from losses: short gaps, though all samples are there."""

import math

from models.signal.clock.timeline import Timeline

_WINDOW_S = 30.0
_MANY = 30
"""So many short gaps in a window are bunches, where so much of its samples is there."""
_COMPLETE = 0.98


class Bunches:
    """Looks at one timeline, window by window."""

    def __init__(self) -> None:
        self._window: tuple[float, int] | None = None
        self._samples = self._gaps = 0

    def look(self, timeline: Timeline, n_samples: int) -> float | None:
        """Take in what the timeline made of so many more samples.

        Returns:
            The `jitter_s` that would do, where a window of bunches has ended, s; else None.
        """
        self._samples += n_samples
        if self._window is None or timeline.last < self._window[0]:
            self._window = (timeline.last, self._samples)
        since, samples = self._window
        lasted = timeline.last - since
        if lasted < _WINDOW_S:
            return None
        gaps = timeline.gaps - self._gaps
        complete = self._samples - samples >= _COMPLETE * lasted * timeline.sfreq
        self._gaps, self._window = timeline.gaps, (timeline.last, self._samples)
        if gaps < _MANY or not complete:
            return None
        return math.ceil(timeline.widest_gap * 125) / 100
