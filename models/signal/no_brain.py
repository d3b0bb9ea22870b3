"""Whether there is a brain on the wire at all, which a net for sleep would never ask.

A lead that came off, an open input and an unplugged headstage give noise, and a net calls noise
some stage. Over ten seconds a mouse's EEG differs from noise in how its power is spread over 1 to
24 Hz, which is not smooth, and in how much that fluctuates: noise fluctuates by chance alone. So
the log powers of narrow bands are averaged with their variances, and a quadratic rule, fitted by
`models.fit.no_brain`, weighs both. Neither the level nor what lies above 24 Hz counts, since
amplifiers differ in them.

An EMG is noise itself, and in quiet sleep as steady as noise. So it is judged only while its
subject's EEG shows no brain: an EMG whose level does not fluctuate more than noise does is then
taken for a wire of the same unplugged headstage. One that fluctuates more is read on, since only
the EEG's electrode may be lost.

Every step is a recursion from epoch to epoch, so chunking cannot change a bit. Where the spectrum
jumps as steady noise never does, the averages begin anew: a lead that comes off has to be judged
by what comes after it.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from models.errors import SpecError
from models.signal.quality import NO_BRAIN, NO_SIGNAL, OK
from models.spec import ModelSpec

RULE_FILES = {"mouse": Path(__file__).with_name("mouse_no_brain.json")}
"""By species. People's quiet EEG is too near to pink noise to be told from it in ten seconds."""

_N_TAPERS = 3
_EEG_HZ = 100.0  # sampling is brought down to no less, which is enough for 24 Hz
_EMG_HZ = 200.0
_LOUD_HZ = (15.0, 90.0)  # where the EMG's level is taken
_LEAST_POWER = 1e-9  # µV²/Hz
_LEAST_VARIANCE = 1e-3  # of a log power
_SETTLED_S = 8.0  # of signal, before which nothing is said
_STEADY = 2.2  # an EMG that fluctuates by no more than so many times what noise does is steady
_ALIVE = 1.5  # and alive again at so many times that variance
_EEG_JUMP = 25.0  # sum of the bands' squared steps in log power that is no steady noise's
_EMG_JUMP = 0.7  # the same of the one band of the EMG

Floats = NDArray[np.float64]


class NoBrainRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A quadratic score of running band powers: above 0 rather a brain, below rather noise."""

    source: str
    """What it was fitted to."""
    edges_hz: tuple[float, ...]
    """Edges of the bands, rising, Hz."""
    memory_s: float
    """Time constant of the running means and variances, s."""
    lost_below: float
    """A brain is taken for lost where the score falls below."""
    found_above: float
    """And for found again where it rises above."""
    bias: float
    shape: tuple[float, ...]
    """Weight of each band's mean log power relative to the mean of all."""
    curvature: tuple[tuple[float, ...], ...]
    """Weight of the products of two of them, (n_bands, n_bands)."""
    fluctuation: tuple[float, ...]
    """Weight of the log variance of the level, then of each band relative to it."""

    def score(self, mean: Floats, variance: Floats) -> Floats:
        """Return the score of running (..., 1 + n_bands) means and variances; shape (...)."""
        shape = mean[..., 1:]
        bend = (shape @ np.array(self.curvature) * shape).sum(axis=-1)
        swing = log_variance(variance) @ np.array(self.fluctuation)
        found: Floats = self.bias + shape @ np.array(self.shape) + bend + swing
        return found


@cache
def read_rule(species: str) -> NoBrainRule | None:
    """Return the rule for a species, None where there is none."""
    path = RULE_FILES.get(species)
    return None if path is None else msgspec.json.decode(path.read_bytes(), type=NoBrainRule)


def log_variance(variance: Floats) -> Floats:
    """Return what the rule weighs of the variance of log powers."""
    return np.log(variance + _LEAST_VARIANCE)


class _Powers:
    """Power densities of pieces of about a second of each channel, by sine tapers.

    A sine taper is the difference of two shifts by half a bin, so one transform does for all
    (Riedel and Sidorenko, IEEE Trans. Signal Process. 43, 188, 1995).
    """

    def __init__(
        self, sfreq: float, epoch_s: float, least_hz: float, band_hz: tuple[float, float]
    ) -> None:
        self._n_pieces = max(1, round(epoch_s))
        self._every = max(1, int(sfreq // least_hz))
        self._n = round(sfreq * epoch_s) // self._n_pieces // self._every
        hz = np.arange((self._n - _N_TAPERS) // 2) * (self._n_pieces / epoch_s)
        found = np.flatnonzero((hz > band_hz[0] - 1e-6) & (hz < band_hz[1] - 1e-6))
        self.hz: Floats = hz[found]
        """(n_bins,)."""
        k = np.arange(1, _N_TAPERS + 1)[:, None]
        self._below, self._above = 2 * found - k, 2 * found + k
        self._turn = np.exp(0.5j * np.pi * k / self._n)
        self._scale = self._every / (sfreq * self._n * _N_TAPERS)

    def __call__(self, x: Floats) -> Floats:
        """(n_in, n_channels) → (n_pieces, n_channels, n_bins), µV²/Hz."""
        finite = np.isfinite(x)
        if not finite.all():
            n = np.maximum(finite.sum(axis=0), 1)
            x = np.where(finite, x, np.where(finite, x, 0.0).sum(axis=0) / n)
        used = x[: self._n_pieces * self._n * self._every].T
        slow = used.reshape(-1, self._n_pieces, self._n, self._every).mean(axis=3)
        slow = slow - slow.mean(axis=2, keepdims=True)
        found = fft.fft(slow, 2 * self._n, axis=2)
        tapered = found[..., self._below] * self._turn - found[..., self._above] / self._turn
        power = (np.square(tapered.real) + np.square(tapered.imag)).sum(axis=2)
        return np.asarray(power.swapaxes(0, 1) * self._scale + _LEAST_POWER)


class NoBrain:
    """The check of all subjects of one stream; `judge` makes it.

    Args:
        rule: what a brain is told from noise by.
        modalities: in the model's order; `eeg` is one of them.
        n_subjects: subjects of the stream.
        sfreq: sampling rate of the raw samples, Hz.
        epoch_s: length of an epoch, at least 1 s.
        hop_s: seconds between two epochs.
    """

    def __init__(
        self,
        rule: NoBrainRule,
        modalities: Sequence[str],
        n_subjects: int,
        sfreq: float,
        epoch_s: float,
        hop_s: float,
    ) -> None:
        self._rule, self._modalities = rule, tuple(modalities)
        self._hops = max(1, round(epoch_s / hop_s))  # epochs that overlap would count twice
        self._powers = {
            "eeg": _Powers(sfreq, epoch_s, _EEG_HZ, (rule.edges_hz[0], rule.edges_hz[-1])),
            "emg": _Powers(sfreq, epoch_s, _EMG_HZ, _LOUD_HZ),
        }
        edges = np.array(rule.edges_hz) - 1e-6
        self._first = np.searchsorted(self._powers["eeg"].hz, edges[:-1])
        self._n_bins = np.diff(np.append(self._first, len(self._powers["eeg"].hz)))
        self._piece_s = epoch_s / round(epoch_s)
        self._steady = _STEADY**2 / (len(self._powers["emg"].hz) * self._piece_s)
        self._averages = {
            "eeg": _Averages(n_subjects, len(rule.edges_hz), _EEG_JUMP),
            "emg": _Averages(n_subjects, 1, _EMG_JUMP),
        }

    def mark(self, raw: Floats, hop: int, reasons: NDArray[np.object_]) -> None:
        """Write `no_brain` over `ok` where it holds.

        Args:
            raw: (n_in, n_subjects × n_modalities), µV, NaN where missing.
            hop: the epoch's number in the grid.
            reasons: (n_subjects, n_modalities), of the other checks.
        """
        judged = [m for m in self._averages if m in self._modalities]
        lost = np.ones(len(reasons), bool)
        for modality in judged:
            column = self._modalities.index(modality)
            if hop % self._hops == 0:
                alive = np.all([reasons[:, column] != why for why in NO_SIGNAL], axis=0)
                self._learn(modality, raw[:, column :: len(self._modalities)], alive)
            lost &= self._averages[modality].lost
            reasons[lost & (reasons[:, column] == OK), column] = NO_BRAIN

    def _learn(self, modality: str, raw: Floats, alive: NDArray[np.bool_]) -> None:
        """Follow (n_in, n_subjects) of a modality, where it is alive; judge it."""
        averages, rule = self._averages[modality], self._rule
        eeg = modality == "eeg"
        for power in self._powers[modality](raw):
            found = self.bands(power) if eeg else np.log(power).mean(axis=1, keepdims=True)
            averages.follow(found, alive, self._piece_s, rule.memory_s)
        if eeg:
            score = rule.score(averages.mean, averages.variance)
            averages.decide(score < rule.lost_below, score > rule.found_above)
        else:
            averages.lost &= averages.seen_s >= _SETTLED_S  # muscles jump, steady noise does not
            variance = averages.variance[:, 0]
            averages.decide(variance < self._steady, variance > _ALIVE * self._steady)

    def bands(self, power: Floats) -> Floats:
        """Power of (n, n_bins) → mean log power, then each band's relative to it; (n, 1 + bands)."""
        bands = np.log(np.add.reduceat(power, self._first, axis=1) / self._n_bins)
        level = bands.mean(axis=1, keepdims=True)
        return np.asarray(np.concatenate([level, bands - level], axis=1))

    @property
    def averages(self) -> "_Averages":
        """What the EEG's rule is given."""
        return self._averages["eeg"]

    def state(self) -> Floats:
        """Return what a restart needs to go on exactly here, (n_subjects, n_values)."""
        return np.concatenate([a.state() for a in self._averages.values()], axis=1)

    def load_state(self, state: NDArray[np.generic]) -> None:
        """Go on from `state()` of as many subjects.

        Raises:
            SpecError: it is of another shape.
        """
        expected = self.state().shape
        if state.shape != expected:
            raise SpecError(f"no-brain state: expected shape {expected}, found {state.shape}")
        n = self._averages["eeg"].state().shape[1]
        for averages, part in zip(self._averages.values(), np.split(state, [n], axis=1), strict=True):
            averages.load_state(np.asarray(part, np.float64))


class _Averages:
    """Running means and variances of the features of one modality of all subjects."""

    def __init__(self, n_subjects: int, n_features: int, jump: float) -> None:
        self.mean: Floats = np.zeros((n_subjects, n_features))
        self.variance: Floats = np.zeros((n_subjects, n_features))
        self.seen_s: Floats = np.zeros(n_subjects)
        self.lost: NDArray[np.bool_] = np.zeros(n_subjects, bool)
        # The first feature is the mean of the bands that the others are relative to.
        self._weight = np.ones(n_features)
        self._weight[0] = max(1, n_features - 1)
        self._jump = jump

    def follow(
        self, found: Floats, alive: NDArray[np.bool_], piece_s: float, memory_s: float
    ) -> None:
        """Let them follow the features of a piece so long, s, anew where they jump."""
        step = found - self.mean
        jumped = alive & (np.square(step) @ self._weight > self._jump)
        self.seen_s = np.where(jumped, 0.0, self.seen_s) + np.where(alive, piece_s, 0.0)
        gain = np.where(alive, piece_s / np.clip(self.seen_s, piece_s, memory_s), 0.0)[:, None]
        self.mean = self.mean + gain * step
        self.variance = (1 - gain) * (self.variance + gain * np.square(step))

    def decide(self, lost: NDArray[np.bool_], found: NDArray[np.bool_]) -> None:
        """Change what is lost, where there was enough signal to say so."""
        settled = self.seen_s >= _SETTLED_S
        self.lost = np.where(settled, (self.lost & ~found) | lost, self.lost)

    def state(self) -> Floats:
        parts = (self.mean, self.variance, self.seen_s[:, None], self.lost[:, None])
        return np.concatenate(parts, axis=1)

    def load_state(self, state: Floats) -> None:
        n = self.mean.shape[1]
        self.mean, self.variance = state[:, :n].copy(), state[:, n : 2 * n].copy()
        self.seen_s, self.lost = state[:, -2].copy(), state[:, -1] > 0


def judge(spec: ModelSpec, n_subjects: int, sfreq: float, hop_s: float) -> NoBrain | None:
    """Return the check for a model's epochs; None for those that no rule can judge."""
    rule = read_rule(spec.species)
    if rule is None or "eeg" not in spec.modalities or spec.epoch_s < 1.0:
        return None
    return NoBrain(rule, spec.modalities, n_subjects, sfreq, spec.epoch_s, hop_s)
