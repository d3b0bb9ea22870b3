"""A simulated mouse: what differs between animals, and what one does beyond its stages."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal

Track = NDArray[np.float64]


@dataclass(frozen=True)
class Animal:
    """What differs from one animal and its electrodes to the next."""

    eeg_uv: float
    """RMS of the EEG in NREM, µV."""
    delta: float
    """Prominence of delta in NREM; 1 is typical."""
    theta: float
    """Prominence of theta in REM and active Wake; 1 is typical."""
    theta_hz: float
    """Theta frequency in REM, Hz."""
    slope: float
    """Exponent of the 1/f background."""
    emg_uv: float
    """RMS of the muscle tone in NREM, µV."""
    emg_snr: float
    """Tone in active Wake over tone in NREM."""
    atonia: float
    """Tone in REM over tone in NREM."""
    activity: float
    """Leaning to active (positive) or quiet (negative) Wake."""
    twitches: float
    """Twitches per second in REM."""
    heart_uv: float
    """Amplitude of the heart beats in the EMG, µV."""
    heart_hz: float
    """Heart rate in NREM, Hz."""
    floor_uv: float
    """RMS of the amplifier's and electrode's noise, µV per 100 Hz of bandwidth."""
    mains_uv: float
    """Amplitude of the mains hum, µV."""
    mains_hz: float
    """Mains frequency, Hz."""
    leak: float
    """Fraction of the muscle signal that the EEG electrodes pick up."""

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Animal":
        """Draw an animal: from excellent electrodes to mediocre ones."""
        eeg_uv = 35.0 * _spread(rng, 0.55)
        emg_uv = 8.0 * _spread(rng, 0.4)
        return cls(
            eeg_uv=eeg_uv,
            delta=_spread(rng, 0.35),
            theta=_spread(rng, 0.3),
            theta_hz=rng.uniform(6.8, 8.2),
            slope=rng.uniform(1.6, 2.2),
            emg_uv=emg_uv,
            emg_snr=math.exp(rng.uniform(math.log(2.5), math.log(12.0))),
            atonia=rng.uniform(0.55, 0.95),
            activity=rng.normal(0.3, 0.4),
            twitches=rng.uniform(0.05, 0.3),
            heart_uv=emg_uv * math.exp(rng.uniform(math.log(0.2), math.log(6.0))),
            heart_hz=rng.uniform(7.8, 9.5),
            floor_uv=0.03 * eeg_uv * _spread(rng, 0.5),
            mains_uv=0.5 * _spread(rng, 0.8),
            mains_hz=float(rng.choice([50.0, 60.0])),
            leak=rng.uniform(0.0, 0.06),
        )


def _spread(rng: np.random.Generator, sd: float) -> float:
    return math.exp(rng.normal(0.0, sd))


@dataclass(frozen=True)
class Behaviour:
    """What the animal does, second by second; every array is `(n_seconds,)`."""

    wake: Track
    """1 in Wake, else 0."""
    nrem: Track
    """1 in NREM, else 0."""
    rem: Track
    """1 in REM, else 0."""
    activity: Track
    """Movement in Wake from 0 (quiet) to 1 (active); 0 in sleep."""
    age_s: Track
    """Seconds since the bout began."""
    left_s: Track
    """Seconds until the bout ends."""
    into_rem: Track
    """1 in the NREM bouts that end in REM, else 0."""


def behave(rng: np.random.Generator, hypnogram: tuple[str, ...], animal: Animal) -> Behaviour:
    """Draw what the animal does beyond its stages: how much it moves, and when."""
    names = np.array(hypnogram)
    n = len(names)
    index = np.arange(n)
    starts = np.append(0, np.flatnonzero(names[1:] != names[:-1]) + 1)
    ends = np.append(starts[1:], n)
    bout = np.searchsorted(starts, index, side="right") - 1
    length_s, left_s = (ends - starts)[bout], (ends[bout] - index).astype(float)
    following = np.append(names[starts[1:]], "")[bout]
    wake = names == "Wake"
    activity = _sigmoid(2.0 * (animal.activity + wander(rng, n, 12.0)))
    # An arousal is a movement; before it falls asleep the animal calms down.
    activity = np.where(length_s <= 20, np.maximum(activity, 0.5), activity)
    activity = np.where(
        (length_s > 40) & (following == "NREM") & (left_s < 15), 0.4 * activity, activity
    )
    return Behaviour(
        wake=wake.astype(float),
        nrem=(names == "NREM").astype(float),
        rem=(names == "REM").astype(float),
        activity=activity * wake,
        age_s=(index - starts[bout]).astype(float),
        left_s=left_s,
        into_rem=((names == "NREM") & (following == "REM")).astype(float),
    )


def wander(rng: np.random.Generator, n: int, time_constant: float) -> Track:
    """Return n values of a stationary first-order random walk, mean 0 and SD 1."""
    decay = np.exp(-1.0 / time_constant)
    noise = rng.standard_normal(n) * np.sqrt(1.0 - decay**2)
    noise[0] /= np.sqrt(1.0 - decay**2)
    return np.asarray(signal.lfilter([1.0], [1.0, -decay], noise))


def _sigmoid(x: Track) -> Track:
    return 1.0 / (1.0 + np.exp(-x))
