"""A source's timestamps held against this machine's clock, by the arrival of its samples.

LSL says how the clock of the source's machine stands to this one's, but not whether the source
stamps by it: many stamp with Unix time, a clock of the device, or by counting. No sample comes
before its time, and none is kept for long on its way; so timestamps that say so are wrong, and what
they mean is told by the arrival of the samples (`pace.py`). Up to `LATE_S` samples are
believed to be late, and up to `OLD_S` a closed loop is told that they may be: the safe side.

Each connection is judged anew, and what contradicts is said once of each.
"""

import time

import numpy as np
from numpy.typing import NDArray

from models.errors import StreamError
from models.signal.chunk import are_times
from models.signal.clock.pace import Lateness, Pace
from models.signal.clock.timeline import Timeline

LATE_S = 1.0
"""Samples that are later than this have wrong timestamps."""
OLD_S = 2.0
"""But up to this they may also be that old."""
EARLY_S = 0.5
"""And so have those that come earlier than their time by more."""
SETTLED = 3
"""Windows of arrivals after which timestamps are judged by how they go on."""
_SAID = 2e-3
_DRIFT_S = 0.3
"""A clock that runs fast or slow by more, and has parted by more, is told of."""
_TRACKED_S = 30.0
_REFUSED = 0.1
"""A rate that is off by more cannot be staged: every frequency would be."""
_EVEN = 0.1
"""Of what a clock has parted by, how far single windows may lie off the line for it to be one."""
_AT_ONCE_S = 2.0
"""No live source sends a longer chunk: one that is longer was pushed at once."""
_SPACINGS, _MOST_SPACINGS = 32, 2048
"""So many first timestamps are looked at before a unit is judged, and in all."""
_MOST_EVEN = 0.98
"""So many of the first timestamps must be evenly spaced for their rate to be known by that."""
_UNIT = 10.0
"""Timestamps that are so many times too far apart, or all of them too near, are not in s."""
_UNIX_S = 86_400.0


class SourceClock:
    """How one source's timestamps stand to this machine's clock, and what contradicts them.

    Args:
        name: of the stream, for messages to people.
        settled: windows of arrivals after which rates are judged.
        window_s: of those windows; None for what suits a night.
    """

    def __init__(self, name: str, settled: int = SETTLED, window_s: float | None = None) -> None:
        self._name = name
        self._settled, self._window_s = settled, window_s
        self._lateness: Lateness | None = None
        self._last = -np.inf
        self.connect(sfreq=1.0)

    def connect(self, sfreq: float, *, is_live: bool = True) -> None:
        """Begin with a source that has been found.

        Args:
            sfreq: the rate that it declares, Hz.
            is_live: whether samples come as time passes; of what is played faster, timestamps are
                believed.
        """
        self._sfreq, self._is_live = sfreq, is_live
        self._pace = Pace(self._window_s)
        self._by_arrival = False
        self._said: set[str] = set()
        self._spacings: list[float] = []
        self._spaced_of: tuple[int, float | None] = (0, None)  # how many of them, and their rate
        self._last_stamp = np.nan
        self._began: float | None = None  # the time of the newest sample of the first chunk
        self._n = 0
        self.sfreq: float | None = None
        """The rate that samples come at, where it is not what their source says, Hz."""

    @property
    def is_settled(self) -> bool:
        """Whether enough has come from the connected source for its rates to be judged."""
        return self._pace.n_windows >= self._settled

    @property
    def is_contradicted(self) -> bool:
        """Whether something contradicts the timestamps of the connected source."""
        return bool(self._said - {"few"})  # which may have been a gap

    def offset(self, clock_offset: float) -> float:
        """Return what to add to a time of the stream's grid for this machine's clock, s.

        Args:
            clock_offset: the same by LSL, s.
        """
        if self._by_arrival and self._lateness is not None:
            return self._lateness.now
        return clock_offset

    def may_be_older(self, clock_offset: float) -> float:
        """Return by how much samples may be older than by `offset`, s.

        Args:
            clock_offset: to add to a timestamp for this machine's clock, by LSL, s.
        """
        if "offset" not in self._said:
            return 0.0
        late = self.offset(clock_offset) - clock_offset
        return late if 0 < late <= OLD_S else 0.0

    def check_unit(self, timestamps: NDArray[np.float64]) -> None:
        """Look at timestamps, (n_samples,) s, before anything is made of them.

        Raises:
            StreamError: they cannot be in s.
        """
        if len(self._spacings) >= _MOST_SPACINGS:
            return
        known = np.append(self._last_stamp, timestamps[are_times(timestamps)])
        self._last_stamp = float(known[-1])
        spacings = np.diff(known)
        self._spacings += spacings[np.isfinite(spacings)].tolist()
        if len(self._spacings) < _SPACINGS:
            return
        spacing = float(np.median(self._spacings))
        too_near = 0 < max(self._spacings) * self._sfreq < 1 / _UNIT  # in days, say; no bunches
        if spacing * self._sfreq > _UNIT or (too_near and len(self._spacings) >= _MOST_SPACINGS):
            raise StreamError(
                f"stream {self._name!r}: expected samples 1/{self._sfreq:g} s apart, as it declares"
                f", found timestamps {spacing:g} apart: are they in s? Let the source stamp with "
                "the LSL clock, or leave that to LSL"
            )

    def look(
        self, timeline: Timeline, timestamps: NDArray[np.float64], arrived: float, offset: float
    ) -> list[str]:
        """Take in a chunk that the timeline has placed; return what is now known to be wrong.

        Args:
            timeline: of the stream.
            timestamps: (n_samples,) of the chunk, s.
            arrived: when it came, on this machine's clock, s.
            offset: to add to a timestamp for this machine's clock, by LSL, s.

        Raises:
            StreamError: samples come at another rate than the source says.
        """
        if self._began is not None:
            self._n += len(timestamps)
        if not (self._is_live and timeline.last > self._last + 0.5 / self._sfreq):
            return []  # all of its samples were dropped
        self._last = timeline.last
        self._pace.observe(timeline.last, arrived)
        lateness = self._pace.lateness()
        if lateness is None:
            return []
        self._lateness = lateness
        oldest = float(timestamps[are_times(timestamps)][0])
        first = self._began is None
        said = self._look_at_offset(timeline, lateness, oldest, offset, first=first)
        if self._began is None:
            self._began = timeline.last
            return said
        return said + self._judge(timeline, lateness) + self._look_at_rate(timeline, lateness)

    def _look_at_offset(
        self, timeline: Timeline, lateness: Lateness, oldest: float, offset: float, *, first: bool
    ) -> list[str]:
        """Hold the timestamps against the arrival at the connection, and where it is steady."""
        if self._said & {"offset", "rate"} or not (first or self._pace.is_real):
            return []
        late, span = lateness.now - offset, timeline.last - oldest - timeline.clock_shift
        at_once = first and late + span >= -EARLY_S  # it may be: its oldest sample is over
        is_early = late < -EARLY_S and not (at_once and span > _AT_ONCE_S)
        self._by_arrival = late > LATE_S or is_early
        stamped = late + timeline.clock_shift
        if not self._by_arrival or (is_early and at_once) or -EARLY_S <= stamped <= LATE_S:
            return []  # the clock is right, or nothing is known yet, or it was set right
        if _runs_away(lateness):
            return self._say_rate(timeline.sfreq * (1 - lateness.slope), timeline.sfreq)
        return self._say_offset(stamped, is_unix=abs(oldest - time.time()) < _UNIX_S)

    def _say_offset(self, late: float, *, is_unix: bool) -> list[str]:
        what = f"{late:.1f} s behind" if late > LATE_S else f"{-late:.1f} s ahead of"
        goes = "utc and age_s go by the arrival of its samples"
        if LATE_S < late <= OLD_S:
            goes = "utc goes by the arrival of its samples, age_s counts them as that old"
        return self._say(
            "offset",
            f"its timestamps are {what} this machine's clock{', they are Unix time' * is_unix}: "
            f"{goes}; let the source stamp with the LSL clock",
        )

    def _look_at_rate(self, timeline: Timeline, lateness: Lateness) -> list[str]:
        """Hold the rate of the timestamps against that of arrival, and against what is declared."""
        said: list[str] = []
        spaced, is_tracked = self._spaced(), lateness.span_s > _TRACKED_S
        rate = spaced or timeline.sfreq
        if is_tracked and _runs_away(lateness):
            said += self._say_rate(rate * (1 - lateness.slope), rate)
        is_known = self.is_settled if spaced else self._pace.is_real
        if is_known and (spaced or is_tracked) and abs(rate / self._sfreq - 1) > _SAID:
            said += self._say(
                "declared",
                f"it declares {self._sfreq:g} Hz, its timestamps say {rate:.2f} Hz: "
                "filters and epochs are made for what it declares, and an epoch with too few "
                "samples has no stage; correct the rate at the source",
            )
        return said

    def _spaced(self) -> float | None:
        """Return the rate of the first timestamps where they are evenly spaced, Hz.

        A timeline is slow to track a rate, and slower where it masks what comes beside its own.
        """
        if self._spaced_of[0] != len(self._spacings) >= _SPACINGS:
            spacings = np.array(self._spacings)
            middle = float(np.median(spacings))
            even = spacings[np.abs(spacings - middle) < _REFUSED * middle]
            rate = 1 / float(even.mean()) if len(even) > _MOST_EVEN * len(spacings) else None
            self._spaced_of = len(spacings), rate
        return self._spaced_of[1]

    def _say_rate(self, arriving: float, stamped: float) -> list[str]:
        self._by_arrival = True
        return self._say(
            "rate",
            f"its samples arrive at {arriving:.2f} Hz, its timestamps say {stamped:.2f} Hz: they "
            f"would part by {abs(arriving / stamped - 1) * 480:.1f} min in 8 h; utc and age_s go "
            "by the arrival of its samples",
        )

    def _say(self, what: str, sentence: str) -> list[str]:
        if what in self._said:
            return []
        self._said.add(what)
        return [sentence]

    def _judge(self, timeline: Timeline, lateness: Lateness) -> list[str]:
        """Hold the first samples of a connection against the rate that their source declares.

        Raises:
            StreamError: they come at another rate, by their timestamps or by their arrival.
        """
        if self._began is None or len(self._spacings) < _SPACINGS:
            return []
        if not self._settled <= self._pace.n_windows < 2 * self._settled:
            return []
        stamped = self._n / max(timeline.last - self._began, 1e-9)
        arriving = stamped
        if lateness.is_even(_EVEN):
            arriving *= 1 - lateness.slope
        if _is_off(arriving, self._sfreq):
            self.sfreq = arriving
        if _is_off(stamped, self._sfreq):
            spacings = np.quantile(self._spacings, (0.1, 0.9)) * stamped
            if np.abs(spacings - 1).max() < _REFUSED:  # all alike: no samples are lost
                raise StreamError(
                    f"stream {self._name!r}: expected samples at the {self._sfreq:g} Hz that it "
                    f"declares, found them at {stamped:.1f} Hz: correct the rate at the source"
                )
            return self._say(
                "few",
                f"it declares {self._sfreq:g} Hz, {stamped:.1f} Hz come: samples are missing, or "
                "the rate is wrong",
            )
        if _is_off(arriving, stamped) and arriving > stamped:
            return self._say_rate(arriving, stamped)  # it may be played
        if _is_off(arriving, stamped):
            raise StreamError(
                f"stream {self._name!r}: expected samples at the {self._sfreq:g} Hz that its "
                f"timestamps say, found them arriving at {arriving:.1f} Hz: correct the rate at "
                "the source"
            )
        return []


def _runs_away(lateness: Lateness) -> bool:
    """Whether timestamps and arrivals part evenly, and by more than clocks do."""
    has_parted = abs(lateness.parted) > _DRIFT_S and lateness.is_even(_EVEN)
    return has_parted and abs(lateness.slope) > _SAID


def _is_off(rate: float, expected: float) -> bool:
    return abs(rate / expected - 1) > _REFUSED
