"""Powers of an epoch: of its EEG in bands and of its EMG, for people and dashboards to look at.

No stage is made of them. They are of the filtered signal in µV, before the running normalisation.
The spectrum that they come from is that of `models.signal.relative`, computed once for both.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.signal import windows

from models.spec import ModelSpec

BAND_EDGES_HZ = (
    *(0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5, 10.5),
    *(12.5, 14.5, 16.5, 20.5, 25.5, 30.5, 40.5, 55.5, 75.5, 100.0),
)
"""Edges of the bands of the EEG, Hz: each of the first ten holds one whole number of Hz."""
BANDS_HZ = {"delta": (0.5, 4.5), "theta": (5.5, 9.5), "sigma": (10.5, 16.5)}
"""Bands that are told by name, of whole bands, Hz."""
LEAST_DB = -60.0
"""Less is told as this, dB re 1 µV²: a thousandth of a µV."""

_DIGITS = 1

Floats = NDArray[np.float64]


class Powers:
    """Epochs with their spectra, each computed when it is first asked for.

    Args:
        epochs: (n_epochs, n_modalities, n_times), filtered, µV.
        sfreq: of their samples, Hz.
        usable: (n_epochs, n_modalities); the others, which may hold anything, are taken for zeros.
            Default: all are.
    """

    def __init__(
        self,
        epochs: NDArray[np.floating],
        sfreq: float,
        usable: NDArray[np.bool_] | None = None,
    ) -> None:
        if usable is not None:
            epochs = np.where(usable[..., None], epochs, np.float32(0))
        self._epochs = epochs.astype(np.float64)
        self._sfreq = sfreq
        self._spectra: dict[int, Floats] = {}

    @property
    def n(self) -> int:
        """How many epochs there are."""
        return len(self._epochs)

    def in_parts(self, n_parts: int) -> "Powers":
        """Return the powers of each epoch's equal parts, n × n_parts of them, epoch by epoch."""
        if n_parts == 1:
            return self
        n, n_modalities, n_times = self._epochs.shape
        parts = self._epochs.reshape(n, n_modalities, n_parts, n_times // n_parts).swapaxes(1, 2)
        return Powers(parts.reshape(n * n_parts, n_modalities, -1), self._sfreq)

    def samples(self, modality: int) -> Floats:
        """Return the samples of a modality, (n_epochs, n_times), µV."""
        return self._epochs[:, modality]

    def spectrum(self, modality: int) -> Floats:
        """Return a modality's power density, (n_epochs, n_times // 2 + 1), µV²/Hz."""
        if modality not in self._spectra:
            window = _window(self._epochs.shape[-1])
            spectrum = fft.rfft(self.samples(modality) * window, axis=-1)
            power = np.square(spectrum.real) + np.square(spectrum.imag)
            power *= 2.0 / (self._sfreq * np.square(window).sum())
            self._spectra[modality] = power
        return self._spectra[modality]

    def mean_square(self, modality: int) -> Floats:
        """Return a modality's power, (n_epochs,), µV²."""
        return np.asarray(np.square(self.samples(modality)).mean(axis=1))


class BandLevels:
    """What is told of the epochs of all subjects of a stream.

    Args:
        spec: the model that the epochs are conditioned for.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self._of = {name: i for i, name in enumerate(spec.modalities)}
        edges = np.array(_edges_below(spec.sfreq / 2)) * spec.epoch_s + 0.5  # bins reach half aside
        self._whole = edges.astype(int)
        self._part = edges - self._whole
        self._bin_hz = 1 / spec.epoch_s

    def __call__(self, powers: Powers, usable: NDArray[np.bool_]) -> Floats:
        """Return dB re 1 µV², to 0.1 dB; NaN where a modality is not usable, or there is none.

        Args:
            powers: of the epochs.
            usable: (n_subjects, n_modalities).

        Returns:
            (n_subjects, n_bands + 1): of the EEG's bands, as many as lie below half of the model's
            sampling rate, then of the EMG.
        """
        n_bands = len(self._whole) - 1
        found = np.full((len(usable), n_bands + 1), np.nan)
        if (eeg := self._of.get("eeg")) is not None:
            known = usable[:, eeg]
            found[known, :n_bands] = self._bands(powers.spectrum(eeg)[known])
        if (emg := self._of.get("emg")) is not None:
            known = usable[:, emg]
            found[known, n_bands] = powers.mean_square(emg)[known]
        decibels = 10 * np.log10(np.maximum(found, 10 ** (LEAST_DB / 10)))
        return np.asarray(np.round(decibels, _DIGITS))

    def _bands(self, density: Floats) -> Floats:
        """(n, n_bins) → power in each band, (n, n_bands), µV²; a bin at an edge counts in part."""
        below = np.cumsum(density, axis=1)
        below = np.concatenate([np.zeros((len(density), 1)), below], axis=1)
        padded = np.concatenate([density, np.zeros((len(density), 1))], axis=1)
        until = below[:, self._whole] + self._part * padded[:, self._whole]
        return np.asarray(np.diff(until, axis=1) * self._bin_hz)


def bands_hz(n_bands: int) -> list[tuple[float, float]]:
    """Return the edges of the first bands, as many as a message has, Hz."""
    return list(pairwise(BAND_EDGES_HZ[: n_bands + 1]))


def power_between(eeg_db: Sequence[float], edges_hz: tuple[float, float]) -> float:
    """Return the power between two of the bands' edges, dB re 1 µV²; NaN where it is not known.

    Args:
        eeg_db: of the first bands, as many as there are.
        edges_hz: Hz.
    """
    low, high = (BAND_EDGES_HZ.index(edge) for edge in edges_hz)
    if len(eeg_db) < high:
        return math.nan
    return 10 * math.log10(sum(10 ** (db / 10) for db in eeg_db[low:high]))


def _edges_below(hz: float) -> list[float]:
    return [edge for edge in BAND_EDGES_HZ if edge <= hz]


@lru_cache
def _window(n: int) -> Floats:
    return np.asarray(windows.hann(n, sym=False))
