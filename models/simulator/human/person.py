"""A simulated person: what differs from one to the next, most of it with age.

Amplitudes are those of C3-M2 and E1-M2; `sites.py` says what other derivations see.
"""

import math
from dataclasses import dataclass

import numpy as np

from models.simulator.bands import BANDS
from models.simulator.human.sites import EEG_SITES, EOG_SITES, Site
from models.simulator.noise import between

YOUNGEST, OLDEST = 5.0, 85.0


@dataclass(frozen=True)
class Person:
    """What differs from one person and their electrodes to the next."""

    age: float
    """Years."""
    eeg: Site
    """Where the EEG is recorded."""
    eog: Site
    """Where the EOG is recorded."""
    shared: float
    """Coherence, 0 to 1, of the background in EEG and EOG, over that of the sites."""
    level: float
    """Log power of the background beyond the typical."""
    stage_levels: tuple[float, ...]
    """The same of each stage (W, N1, N2, N3, REM) on its own."""
    slope_low: float
    """Added to the exponent of the 1/f background below 10 Hz."""
    slope_high: float
    """The same above 10 Hz."""
    contrast: float
    """Differences of the background between stages, over the typical."""
    variability: float
    """SD with which the log power of the background fluctuates within a stage."""
    alpha_hz: float
    """Frequency of the alpha rhythm, eyes closed; REM's is 1 to 2 Hz slower."""
    alpha_uv: float
    """RMS of alpha over the occiput with the eyes closed, µV."""
    rem_alpha: float
    """How much of it bursts in REM."""
    theta_uv: float
    """RMS of theta in N1, µV."""
    beta_uv: float
    """RMS of beta awake, µV."""
    slow_wave_uv: float
    """Peak to peak of a typical slow wave of N3, µV."""
    slow_wave_hz: float
    """Its frequency, Hz."""
    light: float
    """Slow waves of N2 over those of N3."""
    spindles: float
    """Spindles per minute of N2."""
    spindle_hz: float
    """Their frequency over the vertex, Hz."""
    spindle_uv: float
    """Their peak to peak, µV."""
    k_complexes: float
    """K-complexes per minute of N2."""
    vertex_waves: float
    """Vertex waves per minute of N1."""
    sawtooth: float
    """Trains of sawtooth waves per minute of REM."""
    rapid: float
    """Rapid eye movements per second of phasic REM."""
    phasic: float
    """Leaning of REM to be phasic; SDs."""
    eye_uv: float
    """Potential of a typical eye movement in the EOG, µV."""
    slow_eye_uv: float
    """RMS of slow rolling eye movements in N1, µV."""
    blink_uv: float
    """Potential of a blink in the EOG, µV."""
    blinks: float
    """Blinks per second, eyes open."""
    closed: float
    """Leaning to keep the eyes closed awake; SDs."""
    restless: float
    """Leaning to move awake; SDs."""
    muscle_uv: float
    """RMS of the muscle noise in the EEG, awake and still, µV."""
    sleeping_muscle: float
    """What of its amplitude is left in NREM; REM has half of that."""
    arousals: float
    """Arousals per hour of N2; other stages have more or fewer."""
    apnoea: float
    """Leaning to spells of arousals every half minute or so; SDs, -9 has none."""
    apnoea_s: float
    """Time between these, s."""
    heart_uv: float
    """R-wave in the channels, µV."""
    heart_hz: float
    """Heart rate asleep, Hz."""
    sweat_uv: float
    """RMS of the slow swings of sweating skin, µV."""
    drift_uv: float
    """RMS of the slow skin potentials that are always there, µV."""
    floor_uv: float
    """RMS of the amplifiers' and electrodes' noise, µV per 100 Hz of bandwidth."""
    mains_uv: float
    """Amplitude of the mains hum, µV."""
    mains_hz: float
    """Mains frequency, Hz."""
    tilt: tuple[float, ...] = (0.0,) * len(BANDS)
    """Log power of each band of the background beyond the typical, in all stages alike."""
    wander: float = 0.0
    """SD with which each band's log power wanders on its own, whatever the stage."""
    wander_s: tuple[float, ...] = (60.0,) * len(BANDS)
    """Time constant of that in each band, s."""

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Person":
        """Draw a person of any age with good or mediocre electrodes.

        Slow waves shrink with age and children's are large (Carrier et al. 2011, Eur J Neurosci
        33:758), spindles and K-complexes grow fewer and smaller (Purcell et al. 2017, Nat Commun
        8:15930; Crowley et al. 2002, doi:10.1046/j.1365-2869.2002.00293.x), alpha slows beyond
        middle age, arousals grow more. How widely people differ is chosen.
        """
        age = rng.uniform(YOUNGEST, OLDEST)
        older = (age - 20.0) / 10.0  # decades beyond 20
        alpha_hz = 10.3 - 0.15 * max(0.0, older - 2.0) + min(0.0, 1.2 * older)
        slow_wave_uv = float(np.clip(155.0 * math.exp(-0.13 * older), 80.0, 175.0))
        slow_wave_uv *= _spread(rng, 0.2)
        return cls(
            age=age,
            eeg=EEG_SITES[int(rng.integers(len(EEG_SITES)))],
            eog=EOG_SITES[int(rng.integers(len(EOG_SITES)))],
            shared=rng.uniform(0.6, 1.2),
            level=rng.normal(0.0, 0.35) - 0.05 * older,
            stage_levels=tuple(rng.normal(0.0, 0.12, 5).tolist()),
            slope_low=rng.normal(0.0, 0.15),
            slope_high=rng.normal(0.0, 0.3),
            contrast=rng.uniform(0.8, 1.2),
            variability=rng.uniform(0.15, 0.35),
            alpha_hz=float(np.clip(alpha_hz + rng.normal(0.0, 0.8), 7.5, 12.5)),
            alpha_uv=between(rng, 5.0, 20.0) if rng.random() < 0.88 else between(rng, 0.5, 4.0),
            rem_alpha=rng.uniform(0.0, 0.35),
            theta_uv=3.2 * _spread(rng, 0.3),
            beta_uv=2.5 * _spread(rng, 0.35),
            slow_wave_uv=slow_wave_uv,
            slow_wave_hz=between(rng, 0.75, 1.15),
            light=between(rng, 0.15, 0.35) * min(1.0, 120.0 / slow_wave_uv),
            spindles=5.0 * math.exp(-0.1 * older) * _spread(rng, 0.35),
            spindle_hz=float(np.clip(13.3 + 0.05 * older + rng.normal(0.0, 0.5), 11.8, 15.0)),
            spindle_uv=max(18.0, 42.0 * math.exp(-0.12 * older)) * _spread(rng, 0.25),
            k_complexes=1.6 * math.exp(-0.1 * older) * _spread(rng, 0.35),
            vertex_waves=between(rng, 0.3, 5.0),
            sawtooth=between(rng, 0.2, 2.5),
            rapid=between(rng, 0.4, 1.6),
            phasic=rng.normal(0.0, 0.5),
            eye_uv=between(rng, 60.0, 220.0),
            slow_eye_uv=between(rng, 15.0, 60.0),
            blink_uv=between(rng, 80.0, 350.0),
            blinks=between(rng, 0.1, 0.5),
            closed=rng.normal(0.2, 0.8),
            restless=rng.normal(-1.1, 0.4),
            muscle_uv=between(rng, 0.8, 5.0),
            sleeping_muscle=between(rng, 0.2, 0.7),
            arousals=10.0 * math.exp(0.1 * older) * _spread(rng, 0.4),
            apnoea=rng.normal(0.3, 0.7) if rng.random() < 0.2 else -9.0,
            apnoea_s=rng.uniform(25.0, 60.0),
            heart_uv=between(rng, 0.3, 12.0),
            heart_hz=rng.uniform(0.85, 1.25) + max(0.0, -0.25 * older),
            sweat_uv=between(rng, 30.0, 120.0) if rng.random() < 0.15 else 0.0,
            drift_uv=between(rng, 1.5, 12.0),
            floor_uv=between(rng, 0.3, 2.0),
            mains_uv=0.5 * _spread(rng, 1.0),
            mains_hz=float(rng.choice([50.0, 60.0])),
        )


def _spread(rng: np.random.Generator, sd: float) -> float:
    return math.exp(rng.normal(0.0, sd))
