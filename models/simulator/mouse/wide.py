"""Widened animals and hypnograms: what real labs' mice show beyond the two that were fitted.

The spreads are chosen, not fitted: they take in what one lab's mouse or another's showed and the
animals of `Animal.draw` did not. docs/simulator.md says why.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.simulator.bands import BANDS
from models.simulator.mouse import hypnogram
from models.simulator.mouse.animal import Animal
from models.simulator.noise import between
from models.stages import MOUSE

_DELTA = list(BANDS).index("delta")
_NREM = MOUSE.index("NREM")

_ONE_STAGE = 0.06
"""Share of recordings with a single stage."""
_LONG_BEGIN = 0.15
"""Share of recordings that begin with a long stretch of one stage."""
_BEGIN_S = (60.0, 1500.0)


def widen(animal: Animal, rng: np.random.Generator) -> Animal:
    """Return the animal with fainter contrasts, wandering bands and other electrodes."""
    return _other_electrodes(_other_brain(_fainter(animal, rng), rng), rng)


def _fainter(animal: Animal, rng: np.random.Generator) -> Animal:
    """Make what tells the stages apart fainter: the EMG of Wake from 1.15 times that of NREM up."""
    if rng.random() < 0.15:
        animal = replace(animal, emg_contrast=between(rng, 0.15, 1.8))
    if rng.random() < 0.6:
        animal = replace(animal, eeg_contrast=animal.eeg_contrast * rng.uniform(0.3, 1.0))
    if rng.random() < 0.15:
        animal = replace(animal, rest=rng.uniform(-2.2, 0.0))
    if rng.random() < 0.8:
        time_constants = tuple(between(rng, 10.0, 400.0) for _ in BANDS)
        animal = replace(animal, wander=rng.uniform(0.0, 2.0), wander_s=time_constants)
    return animal


def _other_brain(animal: Animal, rng: np.random.Generator) -> Animal:
    """Change theta, delta and spindles."""
    if rng.random() < 0.15:
        animal = replace(
            animal,
            alert=rng.uniform(0.2, 1.3),
            alert_lean=rng.normal(0.0, 0.7),
            alert_s=between(rng, 5.0, 60.0),
        )
    if rng.random() < 0.6:
        animal = replace(animal, offsets=_tilted(animal.offsets, rng.normal(0.0, 0.7, len(BANDS))))
    if rng.random() < 0.25:
        animal = replace(animal, offsets=_less_delta(animal.offsets, rng.uniform(0.0, 0.8)))
    if rng.random() < 0.3:
        animal = replace(animal, theta_share=between(rng, 1.5, 20.0))
    if rng.random() < 0.2:
        animal = replace(animal, theta=animal.theta * rng.uniform(0.0, 0.5))
    if rng.random() < 0.3:
        animal = replace(animal, sigma=between(rng, 0.02, 3.0))
    return animal


def _tilted(
    offsets: tuple[tuple[float, ...], ...], by: NDArray[np.float64]
) -> tuple[tuple[float, ...], ...]:
    """Add to the log power of each band, in all stages alike."""
    table = np.array(offsets)
    table[:, : len(by)] += by
    return tuple(tuple(row) for row in table.tolist())


def _less_delta(
    offsets: tuple[tuple[float, ...], ...], less: float
) -> tuple[tuple[float, ...], ...]:
    """Lower the log power of delta in NREM."""
    table = np.array(offsets)
    table[_NREM, _DELTA] -= less
    return tuple(tuple(row) for row in table.tolist())


def _other_electrodes(animal: Animal, rng: np.random.Generator) -> Animal:
    """Let the electrodes see more of the heart, the breath and each other."""
    if rng.random() < 0.15:
        animal = replace(animal, heart_uv=animal.heart_uv * between(rng, 1.0, 3.0))
    if rng.random() < 0.15:
        animal = replace(animal, breath_uv=animal.breath_uv * between(rng, 1.0, 3.0))
    if rng.random() < 0.1:
        animal = replace(animal, cross=rng.uniform(0.0, 0.6))
    return animal


def draw_hypnogram(
    rng: np.random.Generator,
    duration_s: int,
    *,
    time_scale: float = 1.0,
    every_stage: bool = False,
) -> tuple[str, ...]:
    """Draw a hypnogram that may have only one stage, or begin with a long stretch of one.

    `every_stage` holds for the hypnograms that are as usual, and for what a long stretch at the
    beginning displaces; see `models.simulator.mouse.hypnogram.draw_hypnogram`.

    Raises:
        RecordingError: `every_stage` was not reached, since `duration_s` is too short.
    """
    luck = rng.random()
    if luck < _ONE_STAGE:
        return (str(rng.choice(MOUSE, p=(0.7, 0.25, 0.05))),) * duration_s
    stages = hypnogram.draw_hypnogram(
        rng, duration_s, time_scale=time_scale, every_stage=every_stage
    )
    if luck >= _ONE_STAGE + _LONG_BEGIN:
        return stages
    first = "Wake" if rng.random() < 0.65 else "NREM"
    length = round(between(rng, *_BEGIN_S) / time_scale)
    if first == "Wake" and stages[0] == "REM":  # mice do not go from one to the other
        first = "NREM"
    return ((first,) * length + stages)[:duration_s]
