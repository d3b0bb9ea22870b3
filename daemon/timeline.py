"""Where each sample lies in time: jitter smoothed, gaps found, nothing ever shifted.

Timestamps jitter and sampling rates drift, so between gaps the times are those of a
second-order tracker (phase and rate) of the timestamps. A sample that comes later than the
tracker allows starts a new run after a gap; one that comes earlier (a duplicate, a reordered
chunk, a clock set back) is dropped. Everything is a recursion over samples: how they were
chunked changes nothing.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal

_TRACKING_S = 10.0  # time constant of the tracker
_CLOCK_RESET_S = 2.0  # this much data in a row from the past means that the clock was set back


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive samples of a chunk with no gap between them."""

    samples: slice
    """Which samples of the chunk."""
    times: NDArray[np.float64]
    """Their smoothed times, s."""
    after_gap: bool
    """Samples are missing before the first one."""


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
        self._max_behind = round(_CLOCK_RESET_S * sfreq)
        self.dropped = 0
        """Samples dropped so far because they came from the past."""

    @property
    def sfreq(self) -> float:
        """Sampling rate as tracked, Hz; nominal until there are samples."""
        return 1.0 / (self._dt + self._drift)

    @property
    def _drift(self) -> float:
        """Tracked correction of the sampling interval, s, out of the filter's state.

        The state after a sample is z0 = (1 - gain)·(s + d) and z1 = -(1 - gain)·s.
        """
        return float(self._zi[0] + self._zi[1]) / (1.0 - self._gain)

    @property
    def _residual(self) -> float:
        """Tracked distance of the last sample from the nominal grid, s."""
        return -float(self._zi[1]) / (1.0 - self._gain)

    def place(self, timestamps: NDArray[np.float64]) -> list[Run]:
        """Return the runs of a chunk; samples in none of them were dropped.

        Args:
            timestamps: (n_samples,), on the source's clock, s.
        """
        runs: list[Run] = []
        first, after_gap = 0, False
        while first < len(timestamps):
            if np.isnan(self._reference):
                self._start(timestamps[first])
            if self._behind and self._is_past(timestamps[first]):
                after_gap |= self._drop(timestamps[first])
                first += 1
                continue
            residual, error = self._track(timestamps[first:] + self._clock_shift)
            off = np.flatnonzero(~(np.abs(error) <= self._jitter_s))
            accepted = int(off[0]) if len(off) else len(error)
            if accepted:
                samples = slice(first, first + accepted)
                runs.append(Run(samples, self._accept(residual[:accepted]), after_gap))
                after_gap = False
            first += accepted
            if accepted == len(error):
                break
            if error[accepted] > self._jitter_s:
                self._start(timestamps[first] + self._clock_shift)
                after_gap = True
            else:
                after_gap |= self._drop(timestamps[first])
                first += 1
        return runs

    def _is_past(self, timestamp: float) -> bool:
        """Whether a timestamp is not later than the last accepted sample's."""
        last = self._reference + (self._count - 1) * self._dt + self._residual
        return not timestamp + self._clock_shift > last + 0.5 * self._dt

    def _start(self, timestamp: float) -> None:
        """Begin a run at a timestamp, keeping the tracked rate."""
        drift = 0.0 if np.isnan(self._reference) else self._drift
        self._reference, self._count, self._behind = timestamp, 0, 0
        # Predict exactly `timestamp` for the next sample: s = -d before it.
        self._zi = np.array([0.0, drift * (1.0 - self._gain)])

    def _track(
        self, timestamps: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return residuals from the nominal grid and errors of the tracker's predictions."""
        nominal = self._reference + (self._count + np.arange(len(timestamps))) * self._dt
        residual = timestamps - nominal
        smooth, _ = signal.lfilter(self._b, self._a, residual, zi=self._zi)
        return residual, (residual - smooth) / (1.0 - self._gain)

    def _accept(self, residual: NDArray[np.float64]) -> NDArray[np.float64]:
        nominal = self._reference + (self._count + np.arange(len(residual))) * self._dt
        smooth, self._zi = signal.lfilter(self._b, self._a, residual, zi=self._zi)
        self._count += len(residual)
        self._behind = 0
        times: NDArray[np.float64] = nominal + smooth
        return times

    def _drop(self, timestamp: float) -> bool:
        """Drop a sample from the past; return whether the clock was found to be set back.

        If it was, samples are taken to have come without a pause, and later timestamps are
        moved by what the clock lost: the time grid goes on.
        """
        self.dropped += 1
        self._behind += 1
        if self._behind < self._max_behind or not np.isfinite(timestamp):
            return False
        residual = self._residual + self._behind * self._drift
        expected = self._reference + (self._count - 1 + self._behind) * self._dt + residual
        self._clock_shift = expected - timestamp
        self._start(expected + self._dt)
        return True
