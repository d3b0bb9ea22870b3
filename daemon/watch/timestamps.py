"""Counts and logs gaps, losses and clock sets in a source's timestamps; epochs do not show them."""

import math
from collections.abc import Callable

import structlog

from daemon.metrics import Metrics
from models.signal.bunches import Bunches
from models.signal.timeline import Timeline

log = structlog.get_logger()

_REMIND_S = 600.0
_SET_S = 0.1
"""A clock that was set by less is not logged, s."""


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
            log.warning("the source's clock was set; the time grid goes on", stream=stream, by=by_s)
            self._note(f"the source's clock was set by {by_s:+.3f} s; the time grid goes on")
        self._shift = timeline.clock_shift
        needed_s = self._bunches.look(timeline, n_samples)
        if needed_s is not None and timeline.last - self._reminded > _REMIND_S:
            self._reminded = timeline.last
            self._tell_of_bunches(needed_s)

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
