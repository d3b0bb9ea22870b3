"""Epochs as their levels relative to the animal's own: what of a signal means the same everywhere.

Waveforms differ from one amplifier, electrode and animal to the next; that an animal's delta is
high for this animal, or its muscles quiet, does not. So a feature (see `RelativeSpec`) is held
against its running centre and spread in the same channel. These begin as the population's and give
way to the animal's own with its usable signal. An animal that is long in one stage becomes its own
measure, though. The 5th and the 95th percentile depend on the extremes alone, mean and SD on all
that it did, and where they differ they tell how long it was in which stage. The shares of bands may
be held against the population as well. Levels in µV are not: gains differ most. A second tells
little, so the net gets running means as well.

Every step is a recursion from epoch to epoch, so chunking cannot change a bit.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from statistics import NormalDist

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import fft, signal

from models.errors import SpecError
from models.relative_spec import RelativeSpec
from models.signal.conditioning import design_filter, interpolation_matrix, robust_sd
from models.signal.features import Powers
from models.signal.state import check_shapes
from models.spec import ModelSpec

_LEAST_SHARE = 1e-4  # of a band: filters and quantisation differ below
_LEAST_UV = 1e-3
_MOST_SDS = 5.0  # what the net sees, and by how much an epoch pulls the running mean at most
_LEAST_WEIGHT = 1e-30  # of the last seconds: after a long gap nothing is left of them
_LEAST_SD = 0.1  # of an animal's feature, in the population's SDs
_QUANTILE = 0.05  # and what lies so far from the other end
_NORMAL = NormalDist()
_QUANTILE_SDS = -_NORMAL.inv_cdf(_QUANTILE)  # from the middle, in a normal distribution
_DRAWN = 2.0  # times what the newest epoch weighs
_WHOLE = 4.0  # samples in a period of the highest edge: a stream that has so many lacks nothing
_TONE_HZ = 0.25  # apart, of the tones that try out what a slow stream lacks
_QUANTILE_DENSITY = _NORMAL.pdf(_QUANTILE_SDS)  # there, per SD

RELATIVE_FILES = {
    species: Path(__file__).with_name(f"{species}_relative.json") for species in ("mouse", "human")
}
"""By species."""

Floats = NDArray[np.float64]


@cache
def relative_of(species: str) -> RelativeSpec:
    """Return what a species' signals are held against, written by `models.fit.population`.

    Raises:
        SpecError: no population of this species was measured.
    """
    try:
        file = RELATIVE_FILES[species]
    except KeyError as error:
        raise SpecError(
            f"expected a species whose levels were measured, {' or '.join(RELATIVE_FILES)}, "
            f"found {species}: train it on samples"
        ) from error
    return msgspec.json.decode(file.read_bytes(), type=RelativeSpec)


class Relative:
    """What the net is given of the epochs of all subjects of one stream.

    Args:
        spec: a model with `relative`.
        n_subjects: subjects in the stream.
        hop_s: seconds between epochs.
        sfreq: of the stream, Hz; default: the model's own.

    Raises:
        SpecError: the spec has no `relative`.
    """

    def __init__(
        self, spec: ModelSpec, n_subjects: int, hop_s: float, sfreq: float | None = None
    ) -> None:
        if spec.relative is None:
            raise SpecError("expected a model that is given relative levels, found one of samples")
        self._spec, self._relative, self._hop_s = spec, spec.relative, hop_s
        frequency = fft.rfftfreq(spec.n_times // spec.relative.n_parts, 1 / spec.sfreq)
        self._bins = [np.searchsorted(frequency, edges) for edges in spec.relative.edges_hz]
        n = (n_subjects, spec.n_modalities, max(spec.relative.n_features))
        self._centre, self._scale = np.zeros(n[1:]), np.ones(n[1:])
        for m, (mean, sd) in enumerate(zip(spec.relative.mean, spec.relative.sd, strict=True)):
            self._centre[m, : len(mean)], self._scale[m, : len(sd)] = mean, sd
            self._centre[m, : spec.relative.n_bands[m]] += self._lacking(m, sfreq or spec.sfreq)
        own = spec.relative.own
        self._learners = [_BY_NAME[name] for name in (_BY_NAME if own == "both" else [own])]
        learnt = (*n[:2], len(self._learners) * n[2])
        self._mean, self._variance = np.zeros(learnt), np.ones(learnt)
        self._seen_s = np.zeros(n[:2])
        constants = np.array(spec.relative.recent_s)
        self._gain = (-np.expm1(-hop_s / constants)).astype(np.float32)
        n_levels = max(spec.relative.n_levels)
        self._recent = np.zeros((*n[:2], len(constants), n_levels), np.float32)
        self._recent_weight = np.zeros((*n[:2], len(constants)), np.float32)

    def __call__(
        self, powers: Powers, usable: NDArray[np.bool_], lost: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Return what the net is given; the usable epochs count in the running mean first.

        Args:
            powers: of an epoch of each subject.
            usable: (n_subjects, n_modalities); the others change nothing.
            lost: (n_subjects, n_modalities, n_parts), those that are flat or never came, for which
                the mean of the others stands. Default: none.

        Returns:
            (n_subjects, n_modalities, n_inputs): of each part, SDs from the animal's centre, by
            both kinds of centre one after the other if there are both, then, if they are given, of
            the bands' shares from the population's, zeros where a modality has fewer than another;
            then the same for each running mean.
        """
        parts = self.measure(powers.in_parts(self._relative.n_parts))
        parts = parts.reshape(len(usable), self._relative.n_parts, *parts.shape[1:])
        found = (parts.swapaxes(1, 2) - self._centre[:, None]) / self._scale[:, None]
        if lost is not None and lost.any():
            lost = (lost & ~lost.all(axis=-1, keepdims=True))[..., None]
            found = np.where(lost, found.mean(axis=2, keepdims=True, where=~lost), found)
        self._learn(found, usable)
        levels = np.zeros((*found.shape[:3], self._recent.shape[-1]), np.float32)
        for k, (mean, variance) in enumerate(self._learnt()):
            own = (found - mean[:, :, None]) / np.sqrt(variance + _LEAST_SD**2)[:, :, None]
            for m, n in enumerate(self._relative.n_features):
                levels[:, m, :, k * n : (k + 1) * n] = own[:, m, :, :n]
        sizes = zip(self._relative.n_own, self._relative.n_levels, strict=True)
        for m, (n, n_levels) in enumerate(sizes):
            levels[:, m, :, n:n_levels] = found[:, m, :, : n_levels - n]
        np.clip(levels, -_MOST_SDS, _MOST_SDS, out=levels)
        means = self._average(levels.mean(axis=2), usable)
        means = np.clip(means, -_MOST_SDS, _MOST_SDS)  # they may round up
        out = np.concatenate([levels, means], axis=2)
        return out.reshape(*usable.shape, self._spec.n_inputs)

    def measure(self, powers: Powers) -> Floats:
        """Return the features (n, n_modalities, most features) of epochs or of their parts."""
        out = np.tile(self._centre, (powers.n, 1, 1))  # what there is no feature for is usual
        for m, (bins, n) in enumerate(zip(self._bins, self._relative.n_features, strict=True)):
            found = _bands(powers.spectrum(m), bins) if len(bins) else _amplitudes(powers, m)
            out[:, m, :n] = found[:, :n]
        return out

    def _lacking(self, modality: int, sfreq: float) -> Floats | float:
        """Return by how much a stream's rate changes the log share of each band."""
        edges = self._relative.edges_hz[modality]
        enough = min(self._spec.sfreq, _WHOLE * edges[-1]) if edges else 0.0
        if sfreq >= enough:
            return 0.0
        slow, fast = (self._shares_at(modality, rate) for rate in (sfreq, enough))
        return slow - fast

    def _shares_at(self, modality: int, sfreq: float) -> Floats:
        """Return the log share of each band of the usual spectrum, sampled at a rate."""
        spec, edges = self._spec, np.array(self._relative.edges_hz[modality])
        n_in, n_parts = round(sfreq * spec.epoch_s), self._relative.n_parts
        tones = np.arange(edges[0] + _TONE_HZ / 2, sfreq / 2, _TONE_HZ)
        middle = np.sqrt(np.maximum(edges[:-1], _TONE_HZ) * edges[1:])
        usual = np.array(self._relative.mean[modality][: len(middle)]) - np.log(np.diff(edges))
        usual = np.exp(np.interp(np.log(tones), np.log(middle), usual))
        _, passed = signal.sosfreqz(design_filter(spec.bands[modality], sfreq), tones, fs=sfreq)
        heights = np.sqrt(usual) * np.abs(passed)
        phases = 2 * np.pi * tones[:, None] * np.arange(n_in) / sfreq
        waves = heights[:, None] * np.cos(phases + np.arange(len(tones))[:, None])  # no two in step
        matrix = interpolation_matrix(sfreq, spec.sfreq, n_in, spec.n_times)
        waves = waves if matrix is None else (matrix @ waves.T).T
        powers = Powers(waves[:, None], spec.sfreq).in_parts(n_parts)
        together = powers.spectrum(0).sum(axis=0, keepdims=True)
        return _bands(together, self._bins[modality])[0, :-1]

    def _gains(self, usable: NDArray[np.bool_]) -> Floats:
        """Count the usable epochs, and return how much the newest weighs, (n, M, 1)."""
        self._seen_s = np.where(usable, self._seen_s + self._hop_s, self._seen_s)
        weight = np.minimum(self._seen_s + self._relative.prior_s, self._relative.memory_s)
        return np.where(usable, self._hop_s / weight, 0.0)[..., None]

    def _learnt(self) -> Iterator[tuple[Floats, Floats]]:
        """Yield the animals' centres and squared spreads (n, M, features), as views, by kind."""
        n = self._mean.shape[-1] // len(self._learners)
        for first in range(0, self._mean.shape[-1], n):
            yield self._mean[..., first : first + n], self._variance[..., first : first + n]

    def _learn(self, found: Floats, usable: NDArray[np.bool_]) -> None:
        """Let the running centres and spreads follow; (n, M, n_parts, features)."""
        gain = self._gains(usable)
        for learn, learnt in zip(self._learners, self._learnt(), strict=True):
            for before, after in zip(learnt, learn(found, gain, *learnt), strict=True):
                np.copyto(before, after, where=gain > 0)  # rounding would change the others

    def _average(
        self, levels: NDArray[np.float32], usable: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Return the running means (n_subjects, n_modalities, n, n_levels); 0 before any level."""
        counted = np.where(usable[..., None], levels, np.float32(0))
        self._recent += self._gain[:, None] * (counted[:, :, None] - self._recent)
        self._recent_weight += self._gain * (usable[..., None] - self._recent_weight)
        weight = np.maximum(self._recent_weight, np.float32(_LEAST_WEIGHT))
        return np.asarray(self._recent / weight[..., None], np.float32)

    def state(self) -> dict[str, Floats]:
        """Return copies of the arrays that hold what was learnt of the animals.

        `mean` and `variance` are centre and squared spread.
        """
        return {
            "mean": self._mean.copy(),
            "variance": self._variance.copy(),
            "seen_s": self._seen_s.copy(),
        }

    def load_state(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Take what was learnt, the `state()` of the same spec and subjects.

        A channel of which nothing was seen begins with the population.

        Raises:
            SpecError: an array is missing or of another shape.
        """
        check_shapes("relative state", state, self.state())
        self._seen_s = np.array(state["seen_s"], np.float64)
        known = self._seen_s[..., None] > 0
        self._mean = np.where(known, np.asarray(state["mean"], np.float64), 0.0)
        self._variance = np.where(known, np.asarray(state["variance"], np.float64), 1.0)

    def recent(self) -> dict[str, NDArray[np.float32]]:
        """Return copies of the arrays, beside `state()`, that a restart needs to go on here."""
        return {"sum": self._recent.copy(), "weight": self._recent_weight.copy()}

    def load_recent(self, recent: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on from the last seconds, the `recent()` of the same spec and subjects.

        Raises:
            SpecError: an array is missing or of another shape.
        """
        check_shapes("recent levels", recent, self.recent())
        self._recent = np.array(recent["sum"], np.float32)
        self._recent_weight = np.array(recent["weight"], np.float32)


def _bands(density: Floats, bins: NDArray[np.intp]) -> Floats:
    """(n, n_bins) → log share of each band, and log power of all of them, (n, n_bands + 1)."""
    bands = np.add.reduceat(density[:, : bins[-1]], bins[:-1], axis=1)
    total = np.maximum(bands.sum(axis=1, keepdims=True), _LEAST_UV**2)
    shares = np.log(np.maximum(bands / total, _LEAST_SHARE))
    found: Floats = np.concatenate([shares, np.log(total)], axis=1)
    return found


def _amplitudes(powers: Powers, modality: int) -> Floats:
    """Return log RMS and log robust SD of a modality's epochs, (n, 2)."""
    rms = np.sqrt(powers.mean_square(modality))
    robust = robust_sd(powers.samples(modality))
    found: Floats = np.log(np.maximum(np.stack([rms, robust], axis=1), _LEAST_UV))
    return found


def _moments(found: Floats, gain: Floats, mean: Floats, variance: Floats) -> tuple[Floats, Floats]:
    """Return mean and variance after an epoch, (n, M, features)."""
    most = _MOST_SDS * np.sqrt(variance)[:, :, None]
    step = np.clip(found - mean[:, :, None], -most, most)
    square = np.square(step).mean(axis=2)
    return mean + gain * step.mean(axis=2), variance + gain * ((1 - gain) * square - variance)


def _quantiles(
    found: Floats, gain: Floats, middle: Floats, variance: Floats
) -> tuple[Floats, Floats]:
    """Return the middle of the 5th and the 95th percentile, and squared spread, after an epoch.

    Each end steps by what the epoch says of its percentile, over the density there, as if it were
    normal (Robbins & Monro 1951, doi:10.1214/aoms/1177729586). Both are drawn after an epoch beyond
    them: an animal may lie far from the population.
    """
    epoch, sd = found.mean(axis=2), np.sqrt(variance)
    low, high = (middle + side * _QUANTILE_SDS * sd for side in (-1.0, 1.0))
    step = gain * sd / _QUANTILE_DENSITY
    beyond = np.maximum(epoch - high, 0.0) - np.maximum(low - epoch, 0.0)
    drawn = np.minimum(_DRAWN * gain, 1.0) * beyond
    low = low + step * (_QUANTILE - (epoch < low)) + drawn
    high = high - step * (_QUANTILE - (epoch > high)) + drawn
    spread = (high - low) / (2 * _QUANTILE_SDS)
    return (low + high) / 2, np.square(np.maximum(spread, _LEAST_SD))


_BY_NAME: Mapping[str, Callable[[Floats, Floats, Floats, Floats], tuple[Floats, Floats]]] = {
    "moments": _moments,
    "quantiles": _quantiles,
}
"""What an animal's centre and spread may be, in the order in which both are given."""
