"""What a mouse's EEG and EMG do from second to second, given its stages.

Log band powers and log EMG follow the joint distribution of an expert-scored mouse
(`models.fit.signals`): by stage a mean and a covariance, split into what lasts and what
changes from one epoch to the next, and the course after a bout's onset and before its end. Each
`Animal` has its own version of them.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from models.simulator.bands import BANDS
from models.simulator.mouse.animal import Animal
from models.simulator.noise import Track, wander
from models.stages import MOUSE

SIGNALS_FILE = Path(__file__).with_name("signals.json")

COLUMNS = (*BANDS, "emg")
EMG = len(BANDS)
"""The column of the EMG, behind those of the bands."""

FLICKER_S = 1.0  # time constant of what changes from one epoch to the next
_SMOOTH_S = 0.8  # SD of a change of stage: it takes about three seconds
_QUIET_S = 25.0
_AROUSAL_S = 12  # Wake bouts up to here are movements, not rest

Table = tuple[tuple[float, ...], ...]


class SignalStatistics(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Joint distribution of log band powers and log EMG; every vector is in order of `COLUMNS`."""

    source: str
    """What this was fitted to."""
    n_epochs: dict[str, int]
    """Epochs used, by stage."""
    epoch_s: float
    """Their length, and the resolution of `onset` and `ending`, s."""
    mean: dict[str, tuple[float, ...]]
    """Mean log power, µV², and log EMG, by stage."""
    slow: dict[str, Table]
    """Covariance of what lasts longer than an epoch, by stage."""
    slow_s: dict[str, tuple[float, ...]]
    """Time constant of what lasts longer than an epoch, s, by stage."""
    fast: dict[str, Table]
    """Covariance of what changes from one epoch to the next, by stage: of the 4 s means."""
    onset: dict[str, dict[str, Table]]
    """Deviation from the mean in each of a bout's first epochs, by stage and stage before."""
    ending: dict[str, dict[str, Table]]
    """Deviation in each of a bout's last epochs, the last one first, by stage and stage after."""


@cache
def mouse_signals() -> SignalStatistics:
    """Return the packaged statistics, written by `models.fit.signals`."""
    return msgspec.json.decode(SIGNALS_FILE.read_bytes(), type=SignalStatistics)


@dataclass(frozen=True)
class Tracks:
    """What the signals follow, second by second."""

    stages: NDArray[np.float64]
    """(n_seconds, 3) share of each stage; between 0 and 1 around a change."""
    log_power: NDArray[np.float64]
    """(n_seconds, 5) log power of each band of `BANDS`, µV²."""
    log_emg: Track
    """(n_seconds,) log RMS of the muscle tone, µV."""
    activity: Track
    """(n_seconds,) movement in Wake from 0 (quiet) to about 1; 0 in sleep."""
    arousal: Track
    """(n_seconds,) `activity` as the EEG shows it: more where the animal is alert and still."""
    wandering: NDArray[np.float64]
    """(n_seconds, 5) log power by which each band strays from `log_power`, whatever the stage."""

    @property
    def log_rms(self) -> Track:
        """Log RMS of the EEG, µV, (n_seconds,)."""
        return np.asarray(0.5 * np.log(np.exp(self.log_power + self.wandering).sum(axis=1)))


def draw_tracks(
    rng: np.random.Generator,
    hypnogram: tuple[str, ...],
    animal: Animal,
) -> Tracks:
    """Draw one animal's band powers and muscle tone.

    Args:
        rng: the source of randomness.
        hypnogram: one stage per second.
        animal: whose signals these are.
    """
    statistics = mouse_signals()
    index = np.array([MOUSE.index(stage) for stage in hypnogram])
    means = animal_means(animal, statistics)
    course = means[index] + _course(index, statistics) * _contrasts(animal)
    values = ndimage.gaussian_filter1d(course, _SMOOTH_S, axis=0, mode="nearest")
    stages = smooth_stages(index)
    for s, stage in enumerate(MOUSE):
        values += stages[:, s, None] * _deviations(rng, len(index), stage, statistics, animal)
    values[:, :EMG] += animal.drift * wander(rng, len(index), 1200.0)[:, None]
    tone, sleep_tone = values[:, EMG], means[MOUSE.index("NREM"), EMG]
    rest = _rest(rng, index, animal)
    tone += rest * (sleep_tone + 0.15 + 0.2 * wander(rng, len(index), 4.0) - tone)
    lively = np.clip((tone - sleep_tone) / (means[MOUSE.index("Wake"), EMG] - sleep_tone), 0, 1.5)
    activity = lively * stages[:, MOUSE.index("Wake")]
    arousal = np.maximum(activity, _alertness(rng, stages, animal))
    powers = values[:, :EMG]
    _brighten(powers, stages, arousal, animal)
    total = np.log(np.exp(means[MOUSE.index("NREM"), :EMG]).sum())
    return Tracks(
        stages=stages,
        log_power=powers - total + 2 * np.log(animal.eeg_uv),
        log_emg=tone - sleep_tone + np.log(animal.emg_uv),
        activity=activity,
        arousal=arousal,
        wandering=_wandering(rng, len(index), animal),
    )


def _brighten(
    powers: NDArray[np.float64], stages: NDArray[np.float64], arousal: Track, animal: Animal
) -> None:
    """Add the theta and the fast activity that this animal's electrodes see, (n_seconds, 5)."""
    wake, _, rem = stages.T
    theta = animal.theta * (rem + 0.8 * arousal)
    powers[:, 1] += theta + 0.6 * animal.brightness * wake
    powers[:, 2:] += (animal.brightness * (wake + 0.7 * rem))[:, None]
    powers[:, 2] += 0.6 * theta


def smooth_stages(index: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the share of each stage, (n_seconds, 3), of the stages `index` of each second."""
    exact = (index[:, None] == np.arange(len(MOUSE))).astype(float)
    return np.asarray(ndimage.gaussian_filter1d(exact, _SMOOTH_S, axis=0, mode="nearest"))


def animal_means(animal: Animal, statistics: SignalStatistics) -> NDArray[np.float64]:
    """Return this animal's mean log powers and log EMG, (3 stages, 6)."""
    mean = np.array([statistics.mean[stage] for stage in MOUSE])
    centre = mean.mean(axis=0)
    return np.asarray(centre + (mean - centre) * _contrasts(animal) + np.array(animal.offsets))


def _contrasts(animal: Animal) -> NDArray[np.float64]:
    return np.array([animal.eeg_contrast] * EMG + [animal.emg_contrast])


def _course(index: NDArray[np.int64], statistics: SignalStatistics) -> NDArray[np.float64]:
    """Return the deviation after a bout's onset and before its end, (n_seconds, 6)."""
    n = len(index)
    out = np.zeros((n, len(COLUMNS)))
    starts = np.append(0, np.flatnonzero(np.diff(index)) + 1)
    ends = np.append(starts[1:], n)
    for bout, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        stage = MOUSE[index[start]]
        before = MOUSE[index[start - 1]] if bout else ""
        after = MOUSE[index[end]] if end < n else ""
        age = np.arange(end - start) + 0.5
        for tables, other, since in (
            (statistics.onset, before, age),
            (statistics.ending, after, age[::-1]),
        ):
            table = tables[stage].get(other)
            if table is not None:
                out[start:end] += _at_age(np.array(table), since / statistics.epoch_s)
    return out


def _at_age(table: NDArray[np.float64], epochs: Track) -> NDArray[np.float64]:
    """Interpolate a course, (n_epochs, 6), at `epochs` since its begin; it fades to 0."""
    faded = np.vstack([table, np.zeros(table.shape[1])])
    centres = np.arange(len(faded)) + 0.5
    return np.stack([np.interp(epochs, centres, column) for column in faded.T], axis=1)


def _deviations(
    rng: np.random.Generator, n: int, stage: str, statistics: SignalStatistics, animal: Animal
) -> NDArray[np.float64]:
    slow = _correlated(rng, n, np.array(statistics.slow_s[stage]), np.array(statistics.slow[stage]))
    # The mean over an epoch keeps only part of the variance of what is faster than it.
    ratio = FLICKER_S / statistics.epoch_s
    kept = 2 * ratio * (1 - ratio * (1 - np.exp(-1 / ratio)))
    fast = np.array(statistics.fast[stage]) / kept
    flicker = _correlated(rng, n, np.full(len(COLUMNS), FLICKER_S), fast)
    return animal.variability * (slow + flicker)


def _correlated(
    rng: np.random.Generator, n: int, time_constants: Track, covariance: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return stationary first-order processes of a common covariance, (n, k)."""
    decay = np.exp(-1.0 / time_constants)
    innovation = covariance * (1 - np.outer(decay, decay))
    steps = rng.standard_normal((n, len(decay))) @ _root(innovation).T
    steps[0] = _root(covariance) @ rng.standard_normal(len(decay))
    for k, d in enumerate(decay.tolist()):
        steps[:, k] = signal.lfilter([1.0], [1.0, -d], steps[:, k])
    return steps


def _root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0)))


def _rest(rng: np.random.Generator, index: NDArray[np.int64], animal: Animal) -> Track:
    """Return 1 where the animal rests awake, its muscles as calm as in NREM, else 0."""
    starts = np.append(0, np.flatnonzero(np.diff(index)) + 1)
    lengths = np.diff(np.append(starts, len(index)))
    long_enough = np.repeat(lengths > _AROUSAL_S, lengths)
    resting = (wander(rng, len(index), _QUIET_S) < animal.rest) & long_enough
    awake = index == MOUSE.index("Wake")
    return np.asarray(ndimage.gaussian_filter1d((resting & awake).astype(float), _SMOOTH_S))


def _alertness(rng: np.random.Generator, stages: NDArray[np.float64], animal: Animal) -> Track:
    """Return the activity that the EEG shows in alert spells of Wake, (n_seconds,)."""
    alert = wander(rng, len(stages), animal.alert_s) < animal.alert_lean
    smooth = ndimage.gaussian_filter1d(alert.astype(float), _SMOOTH_S, mode="nearest")
    return np.asarray(animal.alert * smooth * stages[:, MOUSE.index("Wake")])


def _wandering(rng: np.random.Generator, n: int, animal: Animal) -> NDArray[np.float64]:
    """Return how far each band strays, log power, (n, 5)."""
    return animal.wander * np.stack([wander(rng, n, s) for s in animal.wander_s], axis=1)
