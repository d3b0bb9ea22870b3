"""How unlike the animals that a model was trained on an animal looks, without any label.

An animal is summarised by slow averages over its usable epochs, per modality: how the power is
spread over eight bands, how peaked the amplitudes are, and how much the epochs differ in
amplitude. The averages forget with the time constant of the running normaliser, so that
the stages of half an hour average out. A `Reference` knows mean and covariance of those summaries
over the training animals; the drift measure is the Mahalanobis distance from them, in units of
the distance that 99 % of animals keep which the reference was not made of. It changes no stage.

Before a third of the time constant one stage may be most of what was seen, which alone takes an
ordinary animal to the limit or somewhat beyond. So until then the measure is told only where it is
extreme, which no stage of an ordinary animal makes it, and that from the first minute on.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.signal import windows

from models.errors import RecordingError
from models.scored_epochs import ScoredEpochs
from models.signal.state import check_shapes
from models.spec import ModelSpec, Reference

MIN_ANIMALS = 3
"""Fewer do not tell how animals differ."""
LIMIT = 1.0
"""Beyond it an animal looks unlike the training animals."""
EXTREME = 3.0
"""Beyond it the measure is told early."""
EARLY_S = 60.0
"""Usable signal after which an extreme one is told, s."""

_N_BANDS = 8
_LOWEST_HZ = 1.0
_LEAST_POWER = 1e-4  # of all bands' power: filters and quantisation differ below
_LEAST_AMPLITUDE = 1e-6  # in amplitudes; flat epochs are not usable anyway
_LEAST_SD = 0.05  # of a summary over animals, natural logarithms
_LEAST_SHRINKAGE = 0.01  # keeps the covariance invertible, whatever the animals
_KNOWN_AFTER = 1 / 3  # of the time constant, usable signal
_EVERY = 1 / 6  # of the time constant, between two summaries of a training animal
_QUANTILE = 0.99
_DIGITS = 6
_N_EXPLAINED = 2

Floats = NDArray[np.float64]


class Drift:
    """The drift measure of all subjects of one stream.

    Args:
        spec: the model the epochs are conditioned for.
        reference: what the animals that it was trained on look like.
        n_subjects: subjects in the stream.
        hop_s: seconds between epochs; default: `spec.epoch_s`.
    """

    def __init__(
        self, spec: ModelSpec, reference: Reference, n_subjects: int, hop_s: float | None = None
    ) -> None:
        self._reference = reference
        self._mean = np.array(reference.mean)
        self._precision = np.linalg.inv(np.array(reference.covariance))
        self._limit = np.array(reference.limit)
        self._summary = _Summary(spec, self._mean.shape[1], n_subjects, hop_s or spec.epoch_s)

    def update(self, looks: Floats, usable: NDArray[np.bool_]) -> Floats:
        """Take in an epoch of every subject.

        Args:
            looks: what `Looks` says of the epochs.
            usable: (n_subjects, n_modalities); the others change nothing.

        Returns:
            See `distance`.
        """
        self._summary.update(looks, usable)
        return self.distance

    @property
    def distance(self) -> Floats:
        """(n_subjects, n_modalities); 1 at the limit, NaN before there was enough to see.

        Enough is a third of the time constant of usable signal, and `EARLY_S` where the measure is
        beyond `EXTREME`; see the module.
        """
        found = _distance(self._summary.value - self._mean, self._precision) / self._limit
        early = (self._summary.seen_s >= EARLY_S) & (found > EXTREME)
        return np.where(self._summary.known | early, found, np.nan)

    def explain(self, subject: int, modality: int) -> str:
        """Say in what a subject differs most, for a person."""
        variance = np.diagonal(np.array(self._reference.covariance[modality]))
        found = self._summary.value[subject, modality]
        z = (found - self._mean[modality]) / np.sqrt(variance)
        edges = self._reference.edges_hz[modality]
        names = [f"power at {low:.3g} to {high:.3g} Hz" for low, high in pairwise(edges)]
        names += ["peakedness of the amplitudes", "difference in amplitude between epochs"]
        most = np.argsort(-np.abs(z))[:_N_EXPLAINED].tolist()
        return ", ".join(f"{names[i]}: {z[i]:+.1f} SD" for i in most)

    def state(self) -> dict[str, Floats]:
        """Return copies of the arrays that a restart needs to go on exactly here."""
        return {"averages": self._summary.averages.copy(), "seen_s": self._summary.seen_s.copy()}

    def load_state(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on from `state()` of a measure of the same spec, reference and subjects.

        Raises:
            SpecError: an array is missing or of another shape.
        """
        check_shapes("drift state", state, self.state())
        self._summary.averages = np.array(state["averages"], np.float64)
        self._summary.seen_s = np.array(state["seen_s"], np.float64)


def unlike(times: float, why: str) -> str:
    """Say that an animal is beyond the limit.

    Args:
        times: its drift.
        why: what `Drift.explain` says.
    """
    return f"looks unlike what the model was trained on, {times:.2f} times the limit ({why})"


def fit_reference(subjects: Sequence[ScoredEpochs], spec: ModelSpec) -> Reference:
    """Learn what training animals look like.

    The covariance is that of summaries every few minutes, animals weighing the same, shrunk
    towards its diagonal as far as the number of animals calls for (Ledoit & Wolf 2004,
    doi:10.1016/S0047-259X(03)00096-4). The limit is what 99 % of the animals keep at their
    farthest, each held against a reference that was made without it.

    Args:
        subjects: at least `MIN_ANIMALS`, with a third of `spec.normaliser_s` of usable signal.
        spec: the model they are conditioned for.

    Raises:
        RecordingError: there are fewer.
    """
    edges = tuple(band_edges(spec, m) for m in range(spec.n_modalities))
    by_name: dict[str, list[Floats]] = {}
    for subject in subjects:
        by_name.setdefault(subject.name, []).append(_summaries(subject, spec))
    animals = [np.concatenate(parts) for parts in by_name.values()]
    fits, limits = [], []
    for m, modality in enumerate(spec.modalities):
        known = [a[np.isfinite(a[:, m, 0]), m] for a in animals]
        known = [a for a in known if len(a)]
        if len(known) < MIN_ANIMALS:
            raise RecordingError(
                f"expected at least {MIN_ANIMALS} animals with "
                f"{spec.normaliser_s * _KNOWN_AFTER / 60:g} min of usable {modality}, "
                f"found {len(known)}"
            )
        fits.append(_fit(known))
        limits.append(_limit(known))
    return Reference(
        n_animals=len(animals),
        edges_hz=edges,
        mean=tuple(_rounded(mean) for mean, _ in fits),
        covariance=tuple(tuple(_rounded(row) for row in covariance) for _, covariance in fits),
        limit=_rounded(np.array(limits)),
    )


def band_edges(spec: ModelSpec, modality: int) -> tuple[float, ...]:
    """Return the edges of the bands of a modality, log-spaced over its filter's pass band, Hz."""
    band = spec.bands[modality]
    low, high = max(band.highpass_hz, _LOWEST_HZ), min(band.lowpass_hz, spec.sfreq / 2)
    return _rounded(np.geomspace(low, high, _N_BANDS + 1))


class Looks:
    """What is averaged of an epoch: log share of each band, log peakedness, log rms and its square.

    Peakedness is rms over mean absolute amplitude (Geary 1935, doi:10.2307/2332693, inverted).

    Args:
        spec: the model the epochs are conditioned for.
        reference: whose bands are wanted; None: those that one would be fitted with.
    """

    def __init__(self, spec: ModelSpec, reference: Reference | None = None) -> None:
        own = tuple(band_edges(spec, m) for m in range(spec.n_modalities))
        edges_hz = own if reference is None else reference.edges_hz
        self._window = windows.hann(spec.n_times, sym=False).astype(np.float32)
        frequency = fft.rfftfreq(spec.n_times, 1 / spec.sfreq)[:, None]
        self._bands = np.stack(
            [(frequency >= e[:-1]) & (frequency < e[1:]) for e in map(np.array, edges_hz)]
        ).astype(np.float32)

    def __call__(self, epochs: NDArray[np.float32]) -> Floats:
        """(…, n_modalities, n_times) → (…, n_modalities, n_bands + 3)."""
        spectrum = fft.rfft(epochs * self._window, axis=-1)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        bands = (power[..., None, :] @ self._bands)[..., 0, :].astype(np.float64)
        share = bands / np.maximum(bands.sum(-1, keepdims=True), _LEAST_AMPLITUDE)
        rms = np.sqrt(np.square(epochs).mean(-1, dtype=np.float64))
        log_rms = np.log(np.maximum(rms, _LEAST_AMPLITUDE))
        mean = np.abs(epochs).mean(-1, dtype=np.float64)
        peakedness = log_rms - np.log(np.maximum(mean, _LEAST_AMPLITUDE))
        others = np.stack([peakedness, log_rms, np.square(log_rms)], axis=-1)
        return np.concatenate([np.log(np.maximum(share, _LEAST_POWER)), others], axis=-1)


class _Summary:
    """Exponentially forgetting averages of features; all epochs weigh the same at first."""

    def __init__(self, spec: ModelSpec, n_features: int, n_subjects: int, hop_s: float) -> None:
        self._forget_s = spec.normaliser_s
        self._hop_s = hop_s
        self.averages = np.zeros((n_subjects, spec.n_modalities, n_features + 1))
        self.seen_s = np.zeros((n_subjects, spec.n_modalities))
        """Usable signal that they were made of, at most the time constant, s."""

    def update(self, features: Floats, usable: NDArray[np.bool_]) -> None:
        """Take in the features of an epoch, (n_subjects, n_modalities, n_bands + 3)."""
        self.seen_s += np.where(usable, self._hop_s, 0.0)
        np.minimum(self.seen_s, self._forget_s, out=self.seen_s)
        gain = np.where(usable, self._hop_s / np.maximum(self.seen_s, self._hop_s), 0.0)
        self.averages += gain[..., None] * (features - self.averages)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether enough was seen."""
        return self.seen_s >= self._forget_s * _KNOWN_AFTER

    @property
    def value(self) -> Floats:
        """(n_subjects, n_modalities, n_bands + 2): bands, peakedness, log SD of log rms."""
        variance = self.averages[..., -1] - np.square(self.averages[..., -2])
        spread = 0.5 * np.log(np.maximum(variance, _LEAST_POWER))
        return np.concatenate([self.averages[..., :-2], spread[..., None]], axis=-1)


def _summaries(subject: ScoredEpochs, spec: ModelSpec) -> Floats:
    """Return the summary every few minutes, (n, n_modalities, n_features); NaN before it is known.

    The last one is that of the end, however long the recording.
    """
    summary = _Summary(spec, _N_BANDS + 2, 1, spec.epoch_s)
    every = max(1, round(spec.normaliser_s * _EVERY / spec.epoch_s))
    if subject.looks is None:
        raise RecordingError(f"{subject.name}: expected epochs with their looks, found none")
    n = len(subject.looks)
    found = []
    for k in range(n):
        summary.update(subject.looks[k : k + 1], subject.usable[k : k + 1])
        if (k + 1) % every == 0 or k + 1 == n:
            found.append(np.where(summary.known[..., None], summary.value, np.nan)[0])
    return np.stack(found) if found else np.empty((0, spec.n_modalities, _N_BANDS + 2))


def _fit(animals: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Return mean and shrunk covariance of the summaries, each (n, n_features), of animals."""
    from sklearn.covariance import ledoit_wolf_shrinkage  # noqa: PLC0415 - training alone has it

    each = np.concatenate(animals)
    weight = np.concatenate([np.full(len(a), 1 / len(a) / len(animals)) for a in animals])
    mean = weight @ each
    sd = np.maximum(np.sqrt(weight @ np.square(each - mean)), _LEAST_SD)
    z = (each - mean) / sd
    shrinkage = ledoit_wolf_shrinkage(np.stack([(a.mean(0) - mean) / sd for a in animals]))
    correlation = (1 - max(shrinkage, _LEAST_SHRINKAGE)) * (z.T * weight) @ z
    correlation = (correlation + correlation.T) / 2  # to the last bit
    np.fill_diagonal(correlation, 1.0)
    return mean, correlation * np.outer(sd, sd)


def _limit(animals: Sequence[Floats]) -> float:
    """Return the distance that 99 % of the animals keep at their farthest, each one held out."""
    farthest = []
    for i, animal in enumerate(animals):
        mean, covariance = _fit([*animals[:i], *animals[i + 1 :]])
        precision = np.asarray(np.linalg.inv(covariance), np.float64)
        farthest.append(_distance(animal - mean, precision).max())
    return float(np.quantile(farthest, _QUANTILE))


def _distance(difference: Floats, precision: Floats) -> Floats:
    """(…, n_features) and (…, n_features, n_features) → Mahalanobis distance, (…)."""
    square = np.einsum("...f,...fg,...g->...", difference, precision, difference)
    return np.asarray(np.sqrt(square), np.float64)


def _rounded(values: Floats) -> tuple[float, ...]:
    return tuple(float(f"{value:.{_DIGITS}g}") for value in values)
