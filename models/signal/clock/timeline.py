"""Where each sample lies in time: jitter smoothed, gaps found, nothing ever shifted.

Timestamps jitter and sampling rates drift, so between gaps the times are those of a
second-order tracker (phase and rate) of the timestamps. A sample that comes later than the
tracker allows starts a new run after a gap; one that comes earlier (a duplicate, a reordered
chunk, a clock set back) is dropped. Everything is a recursion over samples: how they were
chunked changes nothing.

A clock that was set is told from missing or repeated samples by their arrival, where the source
runs in real time (`pace.py`): a sample from the future means a clock set forward,
samples that stay late one set back. Then the times go on, by this machine's clock, and the
timestamps that follow are moved by what the clock was. Elsewhere a gap of any length up to a day
is believed, and 1.75 s of samples in a row from the past are a clock set back.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from models.signal.chunk import EARLIEST_S, LATEST_S, are_times
from models.signal.clock.pace import Pace

LONGEST_GAP_S = 86_400.0
"""A longer gap is a clock that was set, s."""

_TRACKING_S = 10.0  # time constant of the tracker
_CLOCK_RESET_S = 1.75  # this much in a row from the past is a clock set back, such as one by 2 s
_LATE_S = 0.5  # so does this much, over as long a time, where it can be told by their arrival
_SEAM_S = 1.0  # without a longer silence, no sample is missing where a clock was set
_BUNCH_S = 1.0  # a timestamp off by less than this may be one of a bunch


@dataclass(frozen=True, slots=True)
class SampleRun:
    """Consecutive samples of a chunk with no gap between them."""

    samples: slice
    """Which samples of the chunk."""
    times: NDArray[np.float64]
    """Their smoothed times, s."""
    after_gap: bool
    """Samples are missing before the first one."""


@dataclass(frozen=True, slots=True)
class _Tracked:
    """What the tracker says of samples, were all of them in one run."""

    residual: NDArray[np.float64]
    """Distance of their timestamps from the nominal grid, s."""
    error: NDArray[np.float64]
    """Distance of their timestamps from what was predicted, s."""
    times: NDArray[np.float64]
    """Their smoothed times, s."""
    zi: NDArray[np.float64]
    """The filter's state after them."""


class Timeline:
    """Tracks the timestamps of one stream.

    Args:
        sfreq: nominal sampling rate, Hz.
        jitter_s: largest distance of a timestamp from its tracked time.
    """

    def __init__(self, sfreq: float, jitter_s: float) -> None:
        self._dt = 1.0 / sfreq
        self._jitter_s = jitter_s
        n = _TRACKING_S * sfreq
        self._gain, rate_gain = 2.0 / n, 1.0 / n**2
        # The tracker as a filter of the timestamps' residuals: s += d + gain·e; d += rate_gain·e.
        self._b = np.array([self._gain, rate_gain - self._gain, 0.0])
        self._a = np.array([1.0, self._gain + rate_gain - 2.0, 1.0 - self._gain])
        self._reference = np.nan
        self._count = 0
        self._zi = np.zeros(2)
        self._clock_shift = 0.0
        self._behind = 0
        self._behind_since = np.nan
        self._after_gap = False
        self._max_behind = round(_CLOCK_RESET_S * sfreq)
        self.pace = Pace()
        """How timestamps and arrivals go together."""
        self._arrived = self._newest = np.nan
        self.strange = 0
        """Samples dropped in a row so far because their timestamps cannot be a time."""
        self.dropped = 0
        """Samples dropped so far because they came from the past, or at no time."""
        self.gaps = 0
        """Short gaps found so far: the samples after them were less than 1 s too late."""
        self.widest_gap = 0.0
        """The longest such gap, s."""

    @property
    def sfreq(self) -> float:
        """Sampling rate as tracked, Hz; nominal until there are samples."""
        return 1.0 / (self._dt + self.drift)

    @property
    def clock_shift(self) -> float:
        """What is added to timestamps, as the source's clock was set, s."""
        return self._clock_shift

    @property
    def last(self) -> float:
        """Time of the last accepted sample, s; NaN before the first."""
        return self._reference + (self._count - 1) * self._dt + self._residual

    def resume(self, before: "Timeline") -> None:
        """Go on where another timeline, of a source that has come back changed, ended."""
        self._clock_shift, self.pace = before.clock_shift, before.pace
        self.dropped, self.gaps, self.widest_gap = before.dropped, before.gaps, before.widest_gap
        if not np.isnan(before.last):
            self._start(before.last + self._dt)

    def recall(self, drift: float, clock_shift: float) -> None:
        """Begin with what another process had learnt of the same source; see `PipelineState`."""
        # s = -d: the next sample is predicted where a run begins, the ones after it at the rate.
        self._zi = np.array([0.0, drift * (1.0 - self._gain)])
        self._clock_shift = clock_shift

    @property
    def drift(self) -> float:
        """Tracked correction of the sampling interval, s, out of the filter's state.

        The state after a sample is z0 = (1 - gain)·(s + d) and z1 = -(1 - gain)·s.
        """
        return float(self._zi[0] + self._zi[1]) / (1.0 - self._gain)

    @property
    def _residual(self) -> float:
        """Tracked distance of the last sample from the nominal grid, s."""
        return -float(self._zi[1]) / (1.0 - self._gain)

    def place(self, timestamps: NDArray[np.float64], arrived: float) -> list[SampleRun]:
        """Return the runs of a chunk; samples in none of them were dropped.

        Args:
            timestamps: (n_samples,), on the source's clock, s.
            arrived: when they came, on this machine's clock, s.
        """
        runs: list[SampleRun] = []
        first = 0
        self._arrived = arrived
        good = are_times(timestamps)
        bad, times = np.flatnonzero(~good), timestamps[good]
        self._newest = float(times[-1]) if len(times) else 0.0
        while first < len(timestamps):
            if self._is_unusable(timestamps[first]):
                self._after_gap |= self._drop(float(timestamps[first]))
                first += 1
                continue
            if np.isnan(self._reference):
                self._start(float(timestamps[first]) + self._clock_shift)
            until = int(next(iter(bad[bad > first]), len(timestamps)))
            tracked = self._track(timestamps[first:until] + self._clock_shift)
            error = tracked.error
            off = np.flatnonzero(np.abs(error) > self._jitter_s)
            accepted = int(off[0]) if len(off) else len(error)
            if accepted:
                samples = slice(first, first + accepted)
                runs.append(SampleRun(samples, self._accept(tracked, accepted), self._after_gap))
                self._after_gap = False
            first += accepted
            if accepted < len(error) and error[accepted] > 0:
                self._after_gap |= self._skip(float(timestamps[first]), float(error[accepted]))
            elif accepted < len(error):
                self._after_gap |= self._drop(float(timestamps[first]))
                first += 1
        if runs:
            self.pace.observe(self.last, arrived)
        return runs

    def _is_unusable(self, timestamp: float) -> bool:
        """Whether it is no time, or not later than the last sample after others that were not."""
        if not EARLIEST_S <= timestamp <= LATEST_S:
            return True
        return self._behind > 0 and not timestamp + self._clock_shift > self.last + 0.5 * self._dt

    def _lead(self) -> float:
        """Return how far the chunk is ahead of its time, s; see Pace.

        Its newest sample tells: the others have waited for it.
        """
        return self.pace.lead(self._newest + self._clock_shift, self._arrived)

    def _skip(self, timestamp: float, late: float) -> bool:
        """Go to a sample that is `late`; return whether samples are missing before it.

        They are not where it is further ahead than time has passed: its clock was set forward.
        """
        gap, lead = timestamp + self._clock_shift - self.last, self._lead()
        if gap > LONGEST_GAP_S and lead <= 0:
            lead = gap
        if lead > 0 and gap - lead < _SEAM_S:
            self._clock_shift -= late
            return False
        if lead > 0:
            self._clock_shift -= lead
        elif late < _BUNCH_S:
            self.gaps += 1
            self.widest_gap = max(self.widest_gap, late)
        self._start(timestamp + self._clock_shift)
        return True

    def _start(self, timestamp: float) -> None:
        """Begin a run at a timestamp, keeping the tracked rate."""
        self.recall(self.drift, self._clock_shift)  # predicts `timestamp` for the next sample
        self._reference, self._count, self._behind = timestamp, 0, 0

    def _track(self, timestamps: NDArray[np.float64]) -> _Tracked:
        nominal = self._reference + (self._count + np.arange(len(timestamps))) * self._dt
        residual = timestamps - nominal
        smooth, zi = signal.lfilter(self._b, self._a, residual, zi=self._zi)
        error = (residual - smooth) / (1.0 - self._gain)
        return _Tracked(residual, error, nominal + smooth, zi)

    def _accept(self, tracked: _Tracked, n: int) -> NDArray[np.float64]:
        """Take the first n samples; return their times."""
        zi = tracked.zi
        if n < len(tracked.error):
            _, zi = signal.lfilter(self._b, self._a, tracked.residual[:n], zi=self._zi)
        self._zi = zi
        self._count += n
        self._behind = self.strange = 0
        return tracked.times[:n]

    def _drop(self, timestamp: float) -> bool:
        """Drop a sample from the past; return whether the clock was found to be set back.

        If it was, samples are taken to have come without a pause unless their arrival says
        otherwise, and later timestamps are moved by what the clock lost: the time grid goes on.
        """
        self.dropped += 1
        if not EARLIEST_S <= timestamp <= LATEST_S:
            self.strange += 1
            return False
        if self._behind == 0:
            self._behind_since = self._arrived
        self._behind += 1
        expected = self.last + self._behind * (self._dt + self.drift)
        back = expected - timestamp - self._clock_shift
        late = -self._lead()
        if not self._is_set_back(back, late):
            return False
        self._clock_shift += late if late - back > _SEAM_S else back
        self._start(timestamp + self._clock_shift + self._dt)
        return True

    def _is_set_back(self, back: float, late: float) -> bool:
        """Tell a clock set back from repeated samples: those come at once, not as time passes."""
        if not self.pace.is_real:
            return self._behind >= self._max_behind
        lasted = min(self._behind * self._dt, self._arrived - self._behind_since + self._dt)
        return lasted >= _LATE_S and late > 0.5 * back
