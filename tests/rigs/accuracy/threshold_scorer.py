"""A scorer: it stages a mouse by thresholds of EMG and theta/delta, to hold a model against.

It scores by the rule of Benington et al. 1994 (Sleep 17(1):28-36, doi:10.1093/sleep/17.1.28)
without its sigma × theta criterion: an epoch is Wake where the EMG is loud; of the others, NREM
where delta outweighs theta; else REM, unless the animal was awake just before, for a mouse does
not go from Wake into REM: then it is quiet Wake. Both thresholds are those of Otsu 1979
(doi:10.1109/TSMC.1979.4310076) on the recording's own logarithms, that of theta/delta at least 1,
so it needs the whole recording and nobody's hand. It is a yardstick, not an expert.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.errors import RecordingError
from models.stages import UNKNOWN

EPOCH_S = 4
"""Seconds of an epoch, as experts score mice."""

DELTA_HZ = (1, 4)
"""Both edges included; a bin is 1 Hz wide."""
THETA_HZ = (6, 9)

_SMOOTHING = 20 // EPOCH_S  # epochs over which the median of theta/delta is taken
_BINS = 128  # of Otsu's histogram


@dataclass(frozen=True)
class Features:
    """What the scorer looks at, `(n,)` each, of consecutive epochs."""

    emg_uv: NDArray[np.float64]
    """Root mean square, µV."""
    delta: NDArray[np.float64]
    """Power of the EEG, µV²."""
    theta: NDArray[np.float64]

    def mean(self, n: int) -> "Features":
        """Return those of epochs `n` times as long; what does not fill one is left out."""

        def group(x: NDArray[np.float64]) -> NDArray[np.float64]:
            means: NDArray[np.float64] = x[: len(x) // n * n].reshape(-1, n).mean(axis=1)
            return means

        emg_uv = np.sqrt(group(self.emg_uv**2))
        return Features(emg_uv, group(self.delta), group(self.theta))

    @property
    def theta_delta(self) -> NDArray[np.float64]:
        """Power of theta over that of delta."""
        return np.asarray(self.theta / np.maximum(self.delta, 1e-12))


@dataclass(frozen=True)
class ThresholdScores:
    """The scorer's stages of a recording, and the thresholds that it found."""

    stages: tuple[str, ...]
    """One for each `EPOCH_S`; UNKNOWN where a second of it cannot be used."""
    emg_uv: float
    """Threshold of the EMG's root mean square, µV."""
    theta_delta: float
    """Threshold of theta over delta."""


def measure(epochs: NDArray[np.floating]) -> Features:
    """Return the features of conditioned epochs of 1 s.

    Args:
        epochs: (n, 2, n_times) EEG and EMG, filtered, µV.
    """
    n_times = epochs.shape[-1]
    window = np.hanning(n_times)
    spectrum = np.square(np.abs(np.fft.rfft(epochs[:, 0] * window)))
    power = 2 * spectrum / (n_times * np.square(window).sum())

    def band(hz: tuple[int, int]) -> NDArray[np.float64]:
        total: NDArray[np.float64] = power[:, hz[0] : hz[1] + 1].sum(axis=1)
        return total

    emg_uv = np.sqrt(np.square(epochs[:, 1], dtype=np.float64).mean(axis=-1))
    return Features(emg_uv, band(DELTA_HZ), band(THETA_HZ))


def score_by_thresholds(seconds: Features, usable: NDArray[np.bool_]) -> ThresholdScores:
    """Stage a mouse by thresholds.

    Args:
        seconds: features of epochs of 1 s.
        usable: (n,), whether both modalities can be used.

    Raises:
        RecordingError: no epoch of `EPOCH_S` can be used.
    """
    features = seconds.mean(EPOCH_S)
    n = len(features.emg_uv)
    there: NDArray[np.bool_] = np.all(usable[: n * EPOCH_S].reshape(-1, EPOCH_S), axis=1)
    if not there.any():
        raise RecordingError(
            f"expected at least one usable epoch of {EPOCH_S} s, found {len(usable)} s without one"
        )
    emg = np.log(np.maximum(features.emg_uv[there], 1e-3))
    ratio = np.log(np.maximum(features.theta_delta[there], 1e-3))
    ratio = ndimage.median_filter(ratio, _SMOOTHING, mode="nearest")
    loud_from = otsu(emg)
    theta_from = max(otsu(ratio[emg <= loud_from]), 0.0)  # it divides NREM too, without any REM
    found = iter(_decide(emg > loud_from, ratio > theta_from))
    return ThresholdScores(
        stages=tuple(next(found) if k else UNKNOWN for k in there),
        emg_uv=float(np.exp(loud_from)),
        theta_delta=float(np.exp(theta_from)),
    )


def otsu(values: NDArray[np.float64]) -> float:
    """Return the threshold that parts values into the two most compact groups (Otsu 1979)."""
    counts, edges = np.histogram(values, _BINS)
    centres = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    sums = np.cumsum(counts * centres)
    apart = sums[:-1] / np.maximum(below, 1) - (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    between = below * above * apart**2
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))  # an empty gap is a plateau
    return float(edges[1:-1][best].mean())


def _decide(loud: NDArray[np.bool_], theta: NDArray[np.bool_]) -> list[str]:
    stages: list[str] = []
    for is_loud, is_theta in zip(loud.tolist(), theta.tolist(), strict=True):
        asleep = bool(stages) and stages[-1] != "Wake"
        if is_loud or (is_theta and not asleep):
            stages.append("Wake")
        else:
            stages.append("REM" if is_theta else "NREM")
    return stages
