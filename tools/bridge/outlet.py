"""Blocks of samples as an LSL stream, stamped by the numbers that their source gave them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import cheby1, sosfilt, sosfilt_zi

from daemon.lsl.library import load_pylsl
from models.signal.chunk import MAX_SFREQ
from tools.bridge.openephys import Block

_DECIMATED_HZ = 1000.0
_STEER_S, _STEP_S = 10.0, 1e-3
"""Every 10 s the clock is steered by at most 1 ms: 100 ppm, more than any crystal is off."""
_PAUSE_S = 1.0
"""Where all blocks of 10 s are off by more, the source stood still without counting."""


class SampleClock:
    """When a sample was taken, on this machine's LSL clock, from its number.

    The block that was delayed least tells how the two relate; gaps in the numbers stay gaps. A
    number lower than the last one begins anew: the acquisition was started again.

    Args:
        sfreq: samples that are numbered in a second, Hz.
    """

    def __init__(self, sfreq: float) -> None:
        self._sfreq = sfreq
        self._next = -1
        self._offset = self._least = 0.0
        self._steer_at = 0.0

    def stamp(self, first: int, n_samples: int, arrived: float) -> tuple[float, bool]:
        """Return when a block's first sample was taken, and whether it follows the last block.

        Args:
            first: number of its first sample.
            n_samples: how many there are.
            arrived: when it came, on this machine's LSL clock, s.
        """
        follows = first == self._next
        offset = arrived - (first + n_samples) / self._sfreq
        if first < self._next or self._next < 0:
            self._offset, self._least, self._steer_at = offset, np.inf, arrived + _STEER_S
        self._next = first + n_samples
        self._least = min(self._least, offset - self._offset)
        if arrived >= self._steer_at:
            step = np.inf if abs(self._least) > _PAUSE_S else _STEP_S
            self._offset += float(np.clip(self._least, -step, step))
            self._least, self._steer_at = np.inf, arrived + _STEER_S
        return self._offset + first / self._sfreq, follows


class SampleOutlet:
    """An LSL stream of Open Ephys' samples, in µV, with the labels CH1, CH2, ….

    What is faster than hypnod stages is low-passed, causally, and given out at some 1000 Hz.

    Args:
        name: of the LSL stream.
        source_id: that of the LSL stream.
        block: the first one, which is not sent: it says what the stream is like.
    """

    def __init__(self, name: str, source_id: str, block: Block) -> None:
        self.layout, self.channels = block.layout, block.channels
        sfreq = block.layout.sample_rate
        self._every = int(sfreq // _DECIMATED_HZ) if sfreq > MAX_SFREQ else 1
        self.sfreq = sfreq / self._every
        self._clock = SampleClock(sfreq)
        self._sos = cheby1(8, 0.05, 0.8 / self._every, output="sos")
        self._settled = sosfilt_zi(self._sos)[:, :, None]  # by a constant 1
        self._state: NDArray[np.float64] | None = None
        self._outlet = _open(name, source_id, self.channels, self.sfreq)

    def push(self, block: Block, arrived: float) -> int:
        """Send a block of this stream, and return how many samples that are.

        Args:
            block: of the layout and channels that this stream has.
            arrived: when it came, on this machine's LSL clock, s.
        """
        began, follows = self._clock.stamp(block.first, len(block.data), arrived)
        data, at = self._decimate(block, follows=follows)
        if len(at):
            times = began + at / self.layout.sample_rate
            self._outlet.push_chunk(np.ascontiguousarray(data, np.float32), times.tolist())
        return len(at)

    def _decimate(
        self, block: Block, *, follows: bool
    ) -> tuple[NDArray[np.floating[Any]], NDArray[np.intp]]:
        """Return the samples that are sent, and where in the block they are."""
        at = np.arange(-block.first % self._every, len(block.data), self._every)
        if self._every == 1:
            return block.data, at
        data = block.data.astype(np.float64)
        lost = np.isnan(data).any(axis=0)
        if self._state is None or not follows:
            self._state = self._settled * data[0]
        unsettled = np.isnan(self._state).any(axis=(0, 1)) & ~lost
        self._state[..., unsettled] = (self._settled * data[0])[..., unsettled]
        filtered, self._state = sosfilt(self._sos, data, axis=0, zi=self._state)
        return filtered[at], at

    def close(self) -> None:
        """Take the stream off the network."""
        del self._outlet


def _open(name: str, source_id: str, channels: tuple[int, ...], sfreq: float) -> Any:
    lsl = load_pylsl()
    info = lsl.StreamInfo(name, "EEG", len(channels), sfreq, lsl.cf_float32, source_id)
    described = info.desc().append_child("channels")
    for number in channels:
        channel = described.append_child("channel")
        channel.append_child_value("label", f"CH{number + 1}")
        channel.append_child_value("unit", "microvolts")
        channel.append_child_value("type", "EEG")
    return lsl.StreamOutlet(info)
