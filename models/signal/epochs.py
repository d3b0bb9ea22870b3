"""Cuts epochs on a time grid, from the samples' times and never by counting samples."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# A sample belongs to the epoch whose onset is at most this part of a sampling interval later.
# Not one half: at rates such as 512.5 Hz half-sample ties would be decided by rounding errors.
_TIE_BREAK = 0.382


@dataclass(frozen=True, slots=True)
class CutEpoch:
    """One epoch of all channels of a stream."""

    hop: int
    """Counts the points of the grid from 0."""
    onset: float
    """Time of the grid point, on the source's clock, s."""
    raw: NDArray[np.float64]
    """(n_in, n_channels), µV; NaN where missing or not finite."""
    filtered: NDArray[np.float32]
    """(n_in, n_channels), µV; 0 where missing."""
    settling: NDArray[np.bool_]
    """(n_in, n_channels), see `Conditioner.filter`; False where missing."""
    missing: NDArray[np.bool_]
    """(n_in,), the samples that never came."""
    arrived: float | None
    """When the last sample arrived, local clock, s; None where it never did."""


@dataclass(frozen=True, slots=True)
class _Samples:
    """Consecutive samples in the buffer, maybe with gaps between their runs."""

    times: NDArray[np.float64]
    run: NDArray[np.int64]
    raw: NDArray[np.float64]
    filtered: NDArray[np.float32]
    settling: NDArray[np.bool_]
    arrived: NDArray[np.float64]

    def since(self, first: int) -> "_Samples":
        return _Samples(*(getattr(self, name)[first:] for name in self.__slots__))


class EpochBuffer:
    """Keeps samples until the epochs they belong to are complete.

    The grid starts at the first sample and has a point every `hop_s`; an epoch is `n_in`
    samples long. Every grid point gives exactly one epoch, in order, whatever is missing.

    Args:
        sfreq: nominal sampling rate, Hz.
        n_in: samples of an epoch at that rate.
        hop_s: distance of grid points, s.
        n_channels: channels of all subjects.
    """

    def __init__(self, sfreq: float, n_in: int, hop_s: float, n_channels: int) -> None:
        self._dt = 1.0 / sfreq
        self._n_in = n_in
        self._hop_s = hop_s
        self._n_channels = n_channels
        self._origin = np.nan
        self._next = 0
        self._run = 0
        self._blocks: list[_Samples] = []
        self._n_buffered = 0
        self._latest = -np.inf

    def resume(self, origin: float, hop: int) -> None:
        """Take up a grid in the middle; forget all samples.

        Args:
            origin: time of point 0, s; NaN begins a new grid, at the first sample.
            hop: the point whose epoch is cut next.
        """
        self._origin, self._next = origin, hop
        self._blocks, self._n_buffered, self._latest = [], 0, -np.inf

    @property
    def origin(self) -> float:
        """Time of point 0 of the grid, s; NaN before the first sample."""
        return self._origin

    @property
    def next_hop(self) -> int:
        """The point whose epoch is cut next."""
        return self._next

    def append(
        self,
        times: NDArray[np.float64],
        raw: NDArray[np.float64],
        filtered: NDArray[np.float32],
        settling: NDArray[np.bool_],
        *,
        after_gap: bool,
        arrived: float,
    ) -> None:
        """Add the samples of one run; `times` (n,), the other arrays (n, n_channels)."""
        if np.isnan(self._origin):
            self._origin = float(times[0]) - self._next * self._hop_s
        self._run += after_gap
        run = np.full(len(times), self._run)
        came = np.full(len(times), arrived)
        self._blocks.append(_Samples(times, run, raw, filtered, settling, came))
        self._n_buffered += len(times)
        self._latest = float(times[-1])

    def pop(self, overdue: float = -np.inf) -> Iterator[CutEpoch]:
        """Yield the epochs that are complete, or that end before the time `overdue`.

        An epoch that was yielded is done with: samples that come for it later are not used, and
        whoever stops halfway finds the rest at the next call.
        """
        while not np.isnan(self._origin):
            if not (self._may_be_complete() or self._end <= overdue):
                return
            samples = self._joined()
            first = int(np.searchsorted(samples.times, self._begin))
            samples = samples.since(first)
            whole = self._is_whole(samples)
            if not (whole or self._end <= max(overdue, self._latest)):
                return
            cut = self._whole(samples) if whole else self._with_gaps(samples)
            self._next += 1
            self._drop_before(samples)
            yield cut

    @property
    def _onset(self) -> float:
        return self._origin + self._next * self._hop_s

    @property
    def _begin(self) -> float:
        """The time from which samples belong to the next epoch."""
        return self._onset - _TIE_BREAK * self._dt

    @property
    def _end(self) -> float:
        return self._begin + self._n_in * self._dt

    def _may_be_complete(self) -> bool:
        """Cheap test that spares joining the blocks at every chunk."""
        return self._n_buffered >= self._n_in or self._latest >= self._end

    def _joined(self) -> _Samples:
        if not self._blocks:
            shape = (0, self._n_channels)
            none = np.zeros(0)
            return _Samples(
                none,
                np.zeros(0, np.int64),
                np.zeros(shape),
                np.zeros(shape, np.float32),
                np.zeros(shape, bool),
                none,
            )
        if len(self._blocks) > 1:
            columns = (
                np.concatenate([getattr(block, name) for block in self._blocks])
                for name in _Samples.__slots__
            )
            self._blocks = [_Samples(*columns)]
        return self._blocks[0]

    def _drop_before(self, samples: _Samples) -> None:
        """Forget the samples before the next epoch."""
        rest = samples.since(int(np.searchsorted(samples.times, self._begin)))
        self._blocks = [rest] if len(rest.times) else []
        self._n_buffered = len(rest.times)

    def _is_whole(self, samples: _Samples) -> bool:
        """Whether `n_in` samples without a gap start at the epoch's onset."""
        n = self._n_in
        return (
            len(samples.times) >= n
            and samples.run[0] == samples.run[n - 1]
            and samples.times[0] < self._begin + 1.5 * self._dt
        )

    def _whole(self, samples: _Samples) -> CutEpoch:
        n = self._n_in
        return CutEpoch(
            hop=self._next,
            onset=self._onset,
            raw=samples.raw[:n],
            filtered=samples.filtered[:n],
            settling=samples.settling[:n],
            missing=np.zeros(n, bool),
            arrived=float(samples.arrived[n - 1]),
        )

    def _with_gaps(self, samples: _Samples) -> CutEpoch:
        """Put what samples there are in their places."""
        place = np.round((samples.times - self._onset) / self._dt).astype(np.int64)
        kept = (place >= 0) & (place < self._n_in) & (samples.times < self._end)
        place = place[kept]
        raw = np.full((self._n_in, self._n_channels), np.nan)
        raw[place] = samples.raw[kept]
        filtered = np.zeros((self._n_in, self._n_channels), np.float32)
        filtered[place] = samples.filtered[kept]
        settling = np.zeros((self._n_in, self._n_channels), bool)
        settling[place] = samples.settling[kept]
        there = np.zeros(self._n_in, bool)
        there[place] = True
        return CutEpoch(
            hop=self._next,
            onset=self._onset,
            raw=raw,
            filtered=filtered,
            settling=settling,
            missing=~there,
            arrived=float(samples.arrived[kept][-1]) if there[-1] else None,
        )
