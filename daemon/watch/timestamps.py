"""Counts and logs gaps, losses and clock sets in a source's timestamps; epochs do not show them."""

import math
from collections import deque
from collections.abc import Callable

import structlog

from daemon.metrics import Metrics
from models.signal.clock.bunches import Bunches
from models.signal.clock.timeline import Timeline

log = structlog.get_logger()

_REMIND_S = 600.0
_SET_S = 0.1
"""A clock that was set by less is not logged, s."""
_SETS, _SETS_S = 6, 60.0
"""A clock that was set so often within so many s does not run, and that is said instead."""


class TimestampWatch:
    """Counts and logs dropped samples, clock sets and bunches of one stream's timeline.

    Args:
        stream: its name.
        jitter_s: as configured.
        metrics: has the counters.
        note: publishes a sentence and journals it.
    """

    def __init__(
        self, stream: str, jitter_s: float, metrics: Metrics, note: Callable[[str], None]
    ) -> None:
        self._stream = stream
        self._jitter_s = jitter_s
        self._metrics = metrics
        self._note = note
        self._dropped = 0
        self._gaps = 0
        self._shift = 0.0
        self._sets: deque[float] = deque(maxlen=_SETS)
        self._told = -math.inf
        self._bunches = Bunches()
        self._reminded = -math.inf

    def look(self, timeline: Timeline, n_samples: int) -> None:
        """Take in what the timeline found in so many more samples."""
        metrics, stream = self._metrics, self._stream
        metrics.dropped.labels(stream).inc(timeline.dropped - self._dropped)
        self._dropped = timeline.dropped
        metrics.timestamp_gaps.labels(stream).inc(timeline.gaps - self._gaps)
        self._gaps = timeline.gaps
        by_s = self._shift - timeline.clock_shift
        if abs(by_s) > _SET_S:
            metrics.clock_sets.labels(stream).inc()
            self._tell_of_set(by_s, timeline.last)
        self._shift = timeline.clock_shift
        needed_s = self._bunches.look(timeline, n_samples)
        if needed_s is not None and timeline.last - self._reminded > _REMIND_S:
            self._reminded = timeline.last
            self._tell_of_bunches(needed_s)

    def _tell_of_set(self, by_s: float, at: float) -> None:
        """Say that the clock was set, unless it is again and again."""
        self._sets.append(at)
        if len(self._sets) < _SETS or at - self._sets[0] > _SETS_S:
            log.warning(
                "the source's clock was set; the time grid goes on", stream=self._stream, by=by_s
            )
            self._note(f"the source's clock was set by {by_s:+.3f} s; the time grid goes on")
        elif at - self._told > _REMIND_S:
            self._told = at
            log.warning("the source's clock is set again and again", stream=self._stream)
            self._note(
                f"the source's clock was set {_SETS} times within {_SETS_S:g} s: its timestamps do "
                "not go with time, and most samples are masked; let the source stamp with the LSL "
                "clock, in s"
            )

    def _tell_of_bunches(self, needed_s: float) -> None:
        """Say that samples are masked that are not missing."""
        log.warning(
            "samples come in bunches wider than jitter_s, and are masked",
            stream=self._stream,
            jitter_s=self._jitter_s,
            needed_s=needed_s,
        )
        self._note(
            f"samples come in bunches wider than jitter_s = {self._jitter_s:g} s and are "
            f"masked; jitter_s = {needed_s:g} would do"
        )
