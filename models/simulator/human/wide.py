"""Widened people and instruments: what archives show beyond people with good electrodes.

The spreads are chosen, not fitted, and for the reason of the mice's (docs/simulator.md): a net
that has seen one making of signals takes its powers for laws.
"""

from dataclasses import replace

import numpy as np

from models.simulator.bands import BANDS
from models.simulator.human.person import Person
from models.simulator.instrument import Amplifier, rarely
from models.simulator.noise import between


def widen(person: Person, rng: np.random.Generator) -> Person:
    """Return the person with fainter contrasts, wandering bands and other electrodes."""
    return _other_electrodes(_other_waves(_other_background(person, rng), rng), rng)


def _other_background(person: Person, rng: np.random.Generator) -> Person:
    """Tilt the spectrum, let its bands wander, and make the stages more alike."""
    if rng.random() < 0.6:
        person = replace(person, tilt=tuple(rng.normal(0.0, 0.35, len(BANDS)).tolist()))
    if rng.random() < 0.5:
        time_constants = tuple(between(rng, 10.0, 600.0) for _ in BANDS)
        person = replace(person, wander=rng.uniform(0.0, 0.7), wander_s=time_constants)
    if rng.random() < 0.5:
        person = replace(person, contrast=person.contrast * rng.uniform(0.6, 1.1))
    levels = np.array(person.stage_levels) + rng.normal(0.0, 0.2, len(person.stage_levels))
    return replace(person, stage_levels=tuple(levels.tolist()))


def _other_waves(person: Person, rng: np.random.Generator) -> Person:
    """Change how many waves there are and how large, from none to many."""
    if rng.random() < 0.25:
        person = replace(person, alpha_uv=between(rng, 0.3, 40.0))
    if rng.random() < 0.3:
        person = replace(person, spindle_uv=person.spindle_uv * between(rng, 0.3, 2.0))
    if rng.random() < 0.3:
        person = replace(person, spindles=person.spindles * between(rng, 0.2, 2.0))
    if rng.random() < 0.3:
        person = replace(person, k_complexes=person.k_complexes * between(rng, 0.2, 2.5))
    if rng.random() < 0.3:
        person = replace(person, slow_wave_uv=person.slow_wave_uv * between(rng, 0.6, 1.6))
    if rng.random() < 0.2:
        person = replace(person, light=between(rng, 0.15, 0.6))
    if rng.random() < 0.2:
        person = replace(person, rapid=person.rapid * between(rng, 0.2, 2.0))
    return person


def _other_electrodes(person: Person, rng: np.random.Generator) -> Person:
    """Let the electrodes see more or less of eyes, muscles, heart and skin."""
    if rng.random() < 0.2:
        person = replace(person, eye_uv=person.eye_uv * between(rng, 0.2, 2.0))
    if rng.random() < 0.2:
        person = replace(person, blink_uv=person.blink_uv * between(rng, 0.2, 2.0))
    if rng.random() < 0.2:
        person = replace(person, muscle_uv=person.muscle_uv * between(rng, 0.3, 4.0))
    if rng.random() < 0.15:
        person = replace(person, sleeping_muscle=rng.uniform(0.5, 1.0))
    if rng.random() < 0.15:
        person = replace(person, heart_uv=person.heart_uv * between(rng, 1.0, 4.0))
    if rng.random() < 0.2:
        person = replace(person, drift_uv=person.drift_uv * between(rng, 1.0, 4.0))
    if rng.random() < 0.15:
        person = replace(person, shared=rng.uniform(0.0, 1.6))
    return person


def draw_amplifiers(rng: np.random.Generator, mains_hz: float) -> tuple[Amplifier, Amplifier]:
    """Draw what records EEG and EOG on a grid of `mains_hz`: alike but for gain and noise.

    Corners are those of polysomnographs (AASM: 0.3 to 35 Hz at the least) and of archives that
    were filtered again. One in six has both wires the other way round; one in ten has a scale of
    its own, up to 30 times too small or too large.
    """
    lowpass = (between(rng, 25.0, 100.0), int(rng.integers(1, 7))) if rng.random() < 0.6 else None
    highpass_hz = between(rng, 0.05, 0.8) if rng.random() < 0.7 else None
    notch = bool(rng.random() < 0.25)
    turned = -1.0 if rng.random() < 1 / 6 else 1.0
    scale = between(rng, 1 / 30, 30.0) if rng.random() < 0.1 else 1.0
    limit = between(rng, 6.0, 40.0) if rng.random() < 0.1 else None
    step = rarely(rng, 0.15) * between(rng, 0.01, 0.15)
    eeg, eog = (
        Amplifier(
            gain=turned * scale * between(rng, 0.5, 2.0),
            lowpass=lowpass,
            highpass_hz=highpass_hz,
            noise=rarely(rng, 0.15) * between(rng, 0.05, 0.5),
            pink=bool(rng.random() < 0.5),
            hum=rarely(rng, 0.1) * between(rng, 0.05, 1.0),
            mains_hz=mains_hz,
            notch=notch,
            offset=rarely(rng, 0.05) * rng.normal(0.0, 5.0),
            limit=limit,
            step=step,
        )
        for _ in range(2)
    )
    return eeg, eog
