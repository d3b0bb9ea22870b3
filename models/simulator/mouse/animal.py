"""A simulated mouse and its electrodes: what differs from one animal to the next."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.simulator.noise import between

_N_STAGES, _N_COLUMNS = 3, 6  # Wake, NREM, REM; five bands and the EMG


@dataclass(frozen=True)
class Animal:
    """What differs from one animal and its electrodes to the next."""

    eeg_uv: float
    """RMS of the EEG in NREM, µV."""
    eeg_contrast: float
    """Differences of log band power between stages, over those of the fitted mouse."""
    emg_contrast: float
    """Differences of log muscle tone between stages, over those of the fitted mouse."""
    offsets: tuple[tuple[float, ...], ...]
    """Added to the log powers and log tone, by stage (Wake, NREM, REM) and column."""
    variability: float
    """Fluctuations within a stage, over those of the fitted mouse."""
    drift: float
    """SD with which the log power of all bands together drifts over the hours."""
    theta: float
    """Log power of theta in REM and active Wake beyond the fitted mouse's: over the hippocampus
    it is large, over frontal cortex small."""
    brightness: float
    """Log power above 4 Hz in Wake, and above 8 Hz in REM, beyond the fitted mouse's, whose sleep
    outshines its Wake up to 30 Hz; many electrodes see the opposite from 10 Hz on."""
    theta_hz: float
    """Theta frequency in REM, Hz."""
    theta_share: float
    """Height of the theta peak in REM over the spectrum below it."""
    slope: float
    """Exponent of the 1/f background."""
    delta_hz: float
    """Frequency of the slow waves' peak, Hz."""
    sigma: float
    """Height of the spindles' peak over the spectrum below it."""
    highpass_hz: float
    """Corner of the amplifier's and electrodes' high-pass, Hz."""
    lowpass_hz: float
    """Corner of the EEG amplifier's low-pass, Hz."""
    ripple: tuple[float, float, float]
    """Gain, log power, with which the site and reference bend the spectrum: three cosines."""
    skew: float
    """How much sharper troughs (negative) or crests are."""
    emg_uv: float
    """RMS of the muscle tone in NREM, µV."""
    emg_band_hz: tuple[float, float]
    """Where the muscles' spectrum begins and ends, Hz."""
    rest: float
    """Leaning to quiet Wake, with muscles as calm as in NREM; SDs from never (-3) to half (0)."""
    twitches: float
    """Twitches per second in REM."""
    movements: float
    """Sharp movements per second in active Wake."""
    heart_uv: float
    """Amplitude of the heart beats in the EMG, µV."""
    beat_s: float
    """Width of a beat's sharp wave, s."""
    heart_hz: float
    """Heart rate in NREM, Hz."""
    breath_uv: float
    """RMS of the breathing movement in the EMG, µV."""
    floor_uv: float
    """RMS of the amplifiers' and electrodes' noise, µV per 100 Hz of bandwidth."""
    mains_uv: float
    """Amplitude of the mains hum, µV."""
    mains_hz: float
    """Mains frequency, Hz."""
    leak: float
    """Fraction of the muscle signal that the EEG electrodes pick up."""
    cross: float
    """Fraction of the EEG that the EMG electrodes pick up."""
    wander: float = 0.0
    """SD with which each band's log power wanders on its own, whatever the stage."""
    wander_s: tuple[float, ...] = (60.0,) * (_N_COLUMNS - 1)
    """Time constant of that in each band, s."""
    alert: float = 0.0
    """Activity, of 1, that the EEG of alert spells of Wake shows though the muscles be calm."""
    alert_lean: float = 0.0
    """Leaning to alert spells; SDs from never (-3) to half (0) of Wake."""
    alert_s: float = 20.0
    """Time constant of alert spells, s."""

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Animal":
        """Draw an animal: from excellent electrodes to mediocre ones."""
        eeg_uv = 30.0 * _spread(rng, 0.5)
        emg_uv = 7.0 * _spread(rng, 0.5)
        site = rng.uniform(0.0, 1.0)  # from the scored mouse's electrode to beyond the raw mouse's
        low_hz = between(rng, 5.0, 100.0)
        return cls(
            eeg_uv=eeg_uv,
            eeg_contrast=1.2 * _spread(rng, 0.2),
            emg_contrast=1.2 * _spread(rng, 0.35),
            offsets=_draw_offsets(rng),
            variability=between(rng, 0.5, 1.15),
            drift=rng.uniform(0.05, 0.25),
            theta=max(0.0, 1.6 * site + rng.normal(0.0, 0.2)),
            brightness=1.1 * site + rng.normal(0.0, 0.2),
            theta_hz=rng.uniform(6.4, 8.2),
            theta_share=between(rng, 4.0, 20.0),
            slope=rng.uniform(1.4, 2.4),
            delta_hz=between(rng, 1.3, 3.2),
            sigma=between(rng, 0.2, 1.5),
            highpass_hz=between(rng, 0.1, 4.0),
            lowpass_hz=between(rng, 40.0, 400.0),
            ripple=_three(rng.normal(0.0, 0.2, 3)),
            skew=rng.normal(-0.05, 0.07),
            emg_uv=emg_uv,
            emg_band_hz=(low_hz, low_hz * between(rng, 5.0, 40.0)),
            rest=rng.uniform(-2.2, -0.6),
            twitches=rng.uniform(0.03, 0.3),
            movements=rng.uniform(0.02, 0.4),
            heart_uv=emg_uv * between(rng, 0.2, 9.0),
            beat_s=between(rng, 0.001, 0.003),
            heart_hz=rng.uniform(7.5, 11.0),
            breath_uv=emg_uv * between(rng, 0.1, 2.0),
            floor_uv=0.25 * emg_uv * between(rng, 0.15, 1.0),
            mains_uv=0.5 * _spread(rng, 1.0),
            mains_hz=float(rng.choice([50.0, 60.0])),
            leak=between(rng, 0.003, 0.15),
            cross=rng.uniform(0.0, 0.15),
        )

    @classmethod
    def plain(cls) -> "Animal":
        """Return the fitted mouse itself, with ideal electrodes."""
        return cls(
            eeg_uv=30.0,
            eeg_contrast=1.0,
            emg_contrast=1.0,
            offsets=((0.0,) * _N_COLUMNS,) * _N_STAGES,
            variability=1.0,
            drift=0.0,
            theta=0.0,
            brightness=0.0,
            theta_hz=7.3,
            theta_share=8.0,
            slope=1.9,
            delta_hz=2.0,
            sigma=0.6,
            highpass_hz=0.1,
            lowpass_hz=400.0,
            ripple=(0.0, 0.0, 0.0),
            skew=-0.05,
            emg_uv=8.0,
            emg_band_hz=(25.0, 350.0),
            rest=-4.0,
            twitches=0.1,
            movements=0.1,
            heart_uv=4.0,
            beat_s=0.0014,
            heart_hz=9.5,
            breath_uv=2.0,
            floor_uv=0.3,
            mains_uv=0.0,
            mains_hz=50.0,
            leak=0.0,
            cross=0.0,
        )


def _draw_offsets(rng: np.random.Generator) -> tuple[tuple[float, ...], ...]:
    """Draw how far each band, and each band in each stage, lies from the fitted mouse's."""
    per_band = np.append(rng.normal(0.0, 0.25, _N_COLUMNS - 1), 0.0)
    per_stage = rng.normal(0.0, 0.1, (_N_STAGES, _N_COLUMNS))
    return tuple(tuple(row) for row in (per_band + per_stage).tolist())


def _spread(rng: np.random.Generator, sd: float) -> float:
    return math.exp(rng.normal(0.0, sd))


def _three(values: NDArray[np.float64]) -> tuple[float, float, float]:
    return (float(values[0]), float(values[1]), float(values[2]))
