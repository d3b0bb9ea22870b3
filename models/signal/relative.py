"""Epochs as their levels relative to the animal's own: what of a signal means the same everywhere.

Waveforms differ from one amplifier, electrode and animal to the next; that an animal's delta is
high for this animal, or its muscles quiet, does not. So a feature (see `RelativeSpec`) is held
against its running mean and SD in the same channel. These begin as the population's and give way
to the animal's own within seconds of usable signal. Levels in µV are not given: gains differ most.

Every step is a recursion from epoch to epoch, so chunking cannot change a bit.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.signal import windows

from models.errors import SpecError
from models.spec import ModelSpec, RelativeSpec

_LEAST_SHARE = 1e-4  # of a band: filters and quantisation differ below
_LEAST_UV = 1e-3
_MAD_TO_SD = 1.4826  # of a normal distribution
_MOST_SDS = 5.0  # what the net sees, and by how much an epoch pulls the running mean at most
_LEAST_SD = 0.1  # of an animal's feature, in the population's SDs

MOUSE_FILE = Path(__file__).with_name("mouse_relative.json")

Floats = NDArray[np.float64]


@cache
def mouse_relative() -> RelativeSpec:
    """Return what a mouse's EEG and EMG are held against, written by `models.fit.population`."""
    return msgspec.json.decode(MOUSE_FILE.read_bytes(), type=RelativeSpec)


class Relative:
    """What the net is given of the epochs of all subjects of one stream.

    Args:
        spec: a model with `relative`.
        n_subjects: subjects in the stream.
        hop_s: seconds between epochs.

    Raises:
        SpecError: the spec has no `relative`.
    """

    def __init__(self, spec: ModelSpec, n_subjects: int, hop_s: float) -> None:
        if spec.relative is None:
            raise SpecError("expected a model that is given relative levels, found one of samples")
        self._spec, self._relative, self._hop_s = spec, spec.relative, hop_s
        self._window = windows.hann(spec.n_times, sym=False)
        frequency = fft.rfftfreq(spec.n_times, 1 / spec.sfreq)
        self._bins = [np.searchsorted(frequency, edges) for edges in spec.relative.edges_hz]
        n = (n_subjects, spec.n_modalities, max(spec.relative.n_features))
        self._centre, self._scale = np.zeros(n[1:]), np.ones(n[1:])
        for m, (mean, sd) in enumerate(zip(spec.relative.mean, spec.relative.sd, strict=True)):
            self._centre[m, : len(mean)], self._scale[m, : len(sd)] = mean, sd
        self._mean, self._variance = np.zeros(n), np.ones(n)
        self._seen_s = np.zeros(n[:2])

    def __call__(
        self, epochs: NDArray[np.float32], usable: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Return what the net is given; the usable epochs count in the running mean first.

        Args:
            epochs: (n_subjects, n_modalities, n_times), filtered, µV.
            usable: (n_subjects, n_modalities); the others change nothing.

        Returns:
            (n_subjects, n_modalities, n_inputs): SDs from the animal's mean; zeros where a modality
            has fewer features than another.
        """
        known = np.where(usable[..., None], epochs, np.float32(0))  # the others may hold anything
        found = (self.measure(known) - self._centre) / self._scale
        self._learn(found, usable)
        own = (found - self._mean) / np.sqrt(self._variance + _LEAST_SD**2)
        return np.clip(own, -_MOST_SDS, _MOST_SDS).astype(np.float32)

    def measure(self, epochs: NDArray[np.float32]) -> Floats:
        """Return the features (n_subjects, n_modalities, most features) of filtered epochs, µV."""
        out = np.tile(self._centre, (len(epochs), 1, 1))  # what there is no feature for is usual
        for m, (bins, n) in enumerate(zip(self._bins, self._relative.n_features, strict=True)):
            x = epochs[:, m].astype(np.float64)
            out[:, m, :n] = self._bands(x, bins) if len(bins) else _amplitudes(x)
        return out

    def _bands(self, x: Floats, bins: NDArray[np.intp]) -> Floats:
        """(n, n_times) → log share of each band, and log power of all of them, (n, n_bands + 1)."""
        spectrum = fft.rfft(x * self._window, axis=-1)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        power *= 2.0 / (self._spec.sfreq * np.square(self._window).sum())
        bands = np.add.reduceat(power[:, : bins[-1]], bins[:-1], axis=1)
        total = np.maximum(bands.sum(axis=1, keepdims=True), _LEAST_UV**2)
        shares = np.log(np.maximum(bands / total, _LEAST_SHARE))
        found: Floats = np.concatenate([shares, np.log(total)], axis=1)
        return found

    def _learn(self, found: Floats, usable: NDArray[np.bool_]) -> None:
        """Let the animals' running means and variances follow."""
        self._seen_s = np.where(usable, self._seen_s + self._hop_s, self._seen_s)
        weight = np.minimum(self._seen_s + self._relative.prior_s, self._relative.memory_s)
        gain = np.where(usable, self._hop_s / weight, 0.0)[..., None]
        most = _MOST_SDS * np.sqrt(self._variance)
        step = np.clip(found - self._mean, -most, most)
        self._mean = self._mean + gain * step
        self._variance = self._variance + gain * ((1 - gain) * np.square(step) - self._variance)

    def state(self) -> dict[str, Floats]:
        """Return copies of the arrays that a restart needs to go on exactly here."""
        return {
            "mean": self._mean.copy(),
            "variance": self._variance.copy(),
            "seen_s": self._seen_s.copy(),
        }

    def load_state(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on from `state()` of the same spec and subjects.

        A channel of which nothing was seen begins with the population.

        Raises:
            SpecError: an array is missing or of another shape.
        """
        for name, array in self.state().items():
            found = state[name].shape if name in state else "nothing"
            if found != array.shape:
                raise SpecError(
                    f"relative state {name!r}: expected shape {array.shape}, found {found}"
                )
        self._seen_s = np.array(state["seen_s"], np.float64)
        known = self._seen_s[..., None] > 0
        self._mean = np.where(known, np.asarray(state["mean"], np.float64), 0.0)
        self._variance = np.where(known, np.asarray(state["variance"], np.float64), 1.0)


def _amplitudes(x: Floats) -> Floats:
    """(n, n_times) → log RMS and log robust SD, (n, 2)."""
    rms = np.sqrt(np.square(x).mean(axis=1))
    robust = _MAD_TO_SD * np.median(np.abs(x), axis=1)
    found: Floats = np.log(np.maximum(np.stack([rms, robust], axis=1), _LEAST_UV))
    return found
