"""Spectrogram of the EEG and loudness of the EMG, gathered piece by piece for a picture.

For the eye only: stages never depend on it.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from models.signal.features import bands_hz

_SEGMENT_S = 2.0
_WINDOW_S = 1.0  # 1 Hz resolution, three windows to a segment
_MAX_COLUMNS = 1500

Pulses = Mapping[str, Sequence[tuple[float, float, bool]]]
"""By rule: start and duration of each pulse, s, and whether it was sham."""


class Signals(Protocol):
    """What a picture shows of the signals, in equal steps of time."""

    @property
    def span_s(self) -> float:
        """Time that all columns cover, s."""
        ...

    @property
    def has_emg(self) -> bool:
        """Whether there was any usable EMG."""
        ...

    def spectrogram(self, top_hz: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return frequencies, Hz, and (n_columns, n_frequencies) dB re 1 µV²/Hz, NaN where none."""
        ...

    def emg_rms(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the columns' edges (n_columns + 1,), s, and the EMG's rms (n_columns,), µV."""
        ...


class Told:
    """The signals as the features of epochs tell them; see `models.signal.features`.

    Args:
        features: (n_hops, n_bands + 1), dB; NaN where they are not known.
        hop_s: from one to the next, s.
        most: columns at most; in a long night several hops make one.
    """

    def __init__(
        self, features: NDArray[np.floating], hop_s: float, most: int = _MAX_COLUMNS
    ) -> None:
        n_columns = -(-len(features) // max(1, -(-len(features) // most)))
        per_column = -(-len(features) // n_columns)
        padded = np.full((n_columns * per_column, features.shape[1]), np.nan)
        padded[: len(features)] = 10 ** (features.astype(np.float64) / 10)
        groups = padded.reshape(n_columns, per_column, -1)
        count = np.isfinite(groups).sum(axis=1)
        mean = np.nansum(groups, axis=1) / np.maximum(count, 1)
        self._power = np.where(count, mean, np.nan)
        self._step_s = per_column * hop_s

    @property
    def span_s(self) -> float:
        """Time that all columns cover, s."""
        return len(self._power) * self._step_s

    @property
    def has_eeg(self) -> bool:
        """Whether there was any usable EEG."""
        return bool(np.isfinite(self._power[:, :-1]).any())

    @property
    def has_emg(self) -> bool:
        """Whether there was any usable EMG."""
        return bool(np.isfinite(self._power[:, -1]).any())

    def spectrogram(self, top_hz: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return whole frequencies, Hz, and (n_columns, n_frequencies) dB re 1 µV²/Hz.

        Where a band is wider than 1 Hz each frequency in it has its mean density.
        """
        bands = np.array(bands_hz(self._power.shape[1] - 1))
        frequencies: NDArray[np.float64] = np.asarray(
            np.arange(1.0, min(top_hz, bands[-1, 1]) + 0.5), np.float64
        )
        of = np.searchsorted(bands[:, 0], frequencies, side="right") - 1
        density = self._power[:, of] / np.diff(bands, axis=1)[of, 0]
        return frequencies, np.asarray(10 * np.log10(density))

    def emg_rms(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the columns' edges (n_columns + 1,), s, and the EMG's rms (n_columns,), µV."""
        edges = np.asarray(np.arange(len(self._power) + 1) * self._step_s, np.float64)
        return edges, np.asarray(np.sqrt(self._power[:, -1]))


class Overview:
    """Gathers a recording's EEG spectrum and EMG rms in equal steps of time.

    Segments of 2 s that miss samples, or hold some that are not finite, are left out; in a long
    recording several make one column.

    Args:
        sfreq: sampling rate, Hz.
        duration_s: of the whole recording, s.
    """

    def __init__(self, sfreq: float, duration_s: float) -> None:
        self._sfreq = sfreq
        self._n = int(_SEGMENT_S * sfreq)
        self._n_window = int(_WINDOW_S * sfreq)
        n_segments = max(1, int(np.ceil(duration_s / _SEGMENT_S - 1e-9)))
        self._per_column = -(-n_segments // _MAX_COLUMNS)
        n_columns = -(-n_segments // self._per_column)
        self._window = signal.get_window("hann", self._n_window)
        step_hz = sfreq / self._n_window
        self._frequencies = np.arange(self._n_window // 2 + 1, dtype=np.float64) * step_hz
        self._power = np.zeros((n_columns, len(self._frequencies)))
        self._square = np.zeros(n_columns)
        self._count = np.zeros((n_columns, 2))
        self._times = np.zeros(0)
        self._data = np.zeros((0, 2))

    @property
    def span_s(self) -> float:
        """Time that all columns cover, s."""
        return len(self._power) * self._per_column * _SEGMENT_S

    def add(
        self, times: NDArray[np.floating], eeg: NDArray[np.floating], emg: NDArray[np.floating]
    ) -> None:
        """Take samples that follow those before.

        Args:
            times: (n,), since the recording's first sample, s.
            eeg: (n,), µV.
            emg: (n,), µV.
        """
        self._times = np.concatenate([self._times, times])
        self._data = np.concatenate([self._data, np.stack([eeg, emg], axis=1)])
        if len(self._times) == 0:
            return
        segment = np.floor((self._times + 0.5 / self._sfreq) / _SEGMENT_S).astype(np.int64)
        starts = np.flatnonzero(np.diff(segment, prepend=segment[0] - 1))
        for start, stop in pairwise(starts.tolist()):
            self._take(int(segment[start]), self._data[start:stop])
        self._times, self._data = self._times[starts[-1] :], self._data[starts[-1] :]
        if len(self._times) >= self._n:  # the last one of the recording may never be followed
            self._take(int(segment[-1]), self._data)
            self._times, self._data = self._times[:0], self._data[:0]

    def _take(self, segment: int, data: NDArray[np.float64]) -> None:
        column = segment // self._per_column
        if len(data) < self._n or not 0 <= column < len(self._power):
            return
        eeg, emg = (data[: self._n] - data[: self._n].mean(axis=0)).T
        usable = np.isfinite([eeg[0], emg[0]])
        self._count[column] += usable
        if usable[0]:
            self._power[column] += self._spectrum(eeg)
        if usable[1]:
            self._square[column] += np.mean(emg**2)

    def _spectrum(self, segment: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the power density of a segment (Welch's method), µV²/Hz.

        By hand, for scipy.signal.welch takes ten times as long for one short segment.
        """
        n = self._n_window
        windows = np.lib.stride_tricks.sliding_window_view(segment, n)[:: n // 2]
        power = np.square(np.abs(np.fft.rfft(windows * self._window))).mean(axis=0)
        scale = 2 / (self._sfreq * np.square(self._window).sum())
        return np.asarray(power * scale, np.float64)

    @property
    def has_emg(self) -> bool:
        """Whether there was any usable EMG."""
        return bool(self._count[:, 1].any())

    def spectrogram(self, top_hz: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return frequencies up to `top_hz`, and (n_columns, n_frequencies) dB re 1 µV²/Hz.

        The offset at 0 Hz is left out; columns without a usable segment are NaN.
        """
        shown = (self._frequencies > 0) & (self._frequencies <= top_hz)
        count = np.where(self._count[:, :1] > 0, self._count[:, :1], np.nan)
        power = self._power[:, shown] / count
        decibels: NDArray[np.float64] = 10 * np.log10(np.maximum(power, 1e-12))
        return self._frequencies[shown], decibels

    def emg_rms(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the columns' edges (n_columns + 1,), s, and the EMG's rms (n_columns,), µV."""
        edges = np.linspace(0.0, self.span_s, len(self._square) + 1)
        count = np.where(self._count[:, 1] > 0, self._count[:, 1], np.nan)
        return edges, np.asarray(np.sqrt(self._square / count))
