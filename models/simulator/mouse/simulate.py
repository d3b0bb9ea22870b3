"""Simulated mouse sleep with ground truth: hypnogram, EEG, EMG, artefacts.

The hypnogram is semi-Markov with the statistics of expert-scored mice
(`hypnogram.py`). Given it, band powers and muscle tone follow the joint distribution of a scored
mouse (`tracks.py`), EEG and EMG follow these (`eeg.py`, `emg.py`), and every subject is another
animal with other electrodes (`animal.py`). docs/simulator.md says how well this fits real mice.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from models.simulator.instrument import Instrument, turn_up
from models.simulator.mouse import hypnogram
from models.simulator.mouse import wide as widened
from models.simulator.mouse.animal import Animal
from models.simulator.mouse.eeg import add_eeg
from models.simulator.mouse.emg import add_emg
from models.simulator.mouse.tracks import draw_tracks
from models.simulator.recording import (
    SimulatedRecording,
    SimulatedSubject,
    add_artefacts,
    check_arguments,
    draw_artefacts,
    gather,
)
from models.stages import MOUSE


@dataclass(frozen=True)
class SimulatedMouse(SimulatedSubject):
    """One mouse's EEG and EMG, and what is true about them."""

    modalities = ("eeg", "emg")
    stages = MOUSE
    prefix = "m"

    animal: Animal


def channel_names(n_subjects: int) -> tuple[str, ...]:
    """Return the channels of a recording: EEG1, EMG1, EEG2, EMG2, and so on."""
    modalities = SimulatedMouse.modalities
    return tuple(f"{m.upper()}{k}" for k in range(1, n_subjects + 1) for m in modalities)


def simulate_recording(
    *,
    seed: int,
    duration_s: float,
    sfreq: float = 512.0,
    n_subjects: int = 1,
    artefacts_per_hour: float = 0.0,
    time_scale: float = 1.0,
    every_stage: bool = False,
    wide: bool = False,
    stages: Sequence[str] | None = None,
) -> SimulatedRecording:
    """Simulate some animals in one recording; the same arguments give the same bits.

    Args:
        seed: of everything random. Subject k does not depend on how many subjects there are,
            and neither hypnogram nor animal on the sampling rate or the artefacts.
        duration_s: length, s.
        sfreq: sampling rate, from MIN_SFREQ to MAX_SFREQ, whole or not, Hz.
        n_subjects: animals, each with one EEG and one EMG.
        artefacts_per_hour: mean number of electrode pops and gross movements per channel.
        time_scale: divides every bout length. 1 is how mice sleep; more packs a night into
            minutes, with bouts and transitions that are no longer a mouse's.
        every_stage: draw hypnograms until one contains at least 5 % of each stage: for
            short demonstrations, whose bouts are then a biased choice of real ones.
        wide: let animals, hypnograms and instruments differ as those of many labs do
            (`wide.py`, `models.simulator.instrument`). Some recordings have only one stage
            then, whatever `every_stage` says.
        stages: of each second, to be simulated in place of a drawn hypnogram.

    Raises:
        RecordingError: an argument is out of range.
    """
    subjects = iterate_subjects(
        seed=seed,
        duration_s=duration_s,
        sfreq=sfreq,
        n_subjects=n_subjects,
        artefacts_per_hour=artefacts_per_hour,
        time_scale=time_scale,
        every_stage=every_stage,
        wide=wide,
        stages=stages,
    )
    return gather(subjects, n_subjects, sfreq)


def iterate_subjects(
    *,
    seed: int,
    duration_s: float,
    sfreq: float = 512.0,
    n_subjects: int = 1,
    artefacts_per_hour: float = 0.0,
    time_scale: float = 1.0,
    every_stage: bool = False,
    wide: bool = False,
    stages: Sequence[str] | None = None,
) -> Iterator[SimulatedMouse]:
    """Return the subjects of `simulate_recording` one at a time, to keep only one in memory.

    Raises:
        RecordingError: an argument is out of range.
    """
    check_arguments(
        duration_s=duration_s,
        sfreq=sfreq,
        n_subjects=n_subjects,
        artefacts_per_hour=artefacts_per_hour,
        time_scale=time_scale,
        stages=stages,
        known=MOUSE,
    )

    def draw(rng: np.random.Generator) -> Sequence[str]:
        if stages is not None:
            return stages
        of = widened.draw_hypnogram if wide else hypnogram.draw_hypnogram
        return of(rng, math.ceil(duration_s), time_scale=time_scale, every_stage=every_stage)

    return (
        _simulate_subject(s, duration_s, sfreq, artefacts_per_hour, draw, wide)
        for s in np.random.SeedSequence(seed).spawn(n_subjects)
    )


def _simulate_subject(
    seed: np.random.SeedSequence,
    duration_s: float,
    sfreq: float,
    artefacts_per_hour: float,
    draw: Callable[[np.random.Generator], Sequence[str]],
    wide: bool,
) -> SimulatedMouse:
    # One generator for each part, so that changing one leaves the others alone.
    rngs = [np.random.default_rng(s) for s in seed.spawn(8)]
    animal = Animal.draw(rngs[0])
    if wide:
        animal = widened.widen(animal, rngs[6])
    stages = tuple(draw(rngs[1]))
    tracks = draw_tracks(rngs[2], stages, animal)
    data = np.zeros((round(duration_s * sfreq), 2), np.float32)
    add_eeg(data[:, 0], rngs[3], tracks, animal, sfreq)
    add_emg(data, rngs[4], tracks, animal, sfreq)
    level_uv = {"eeg": animal.eeg_uv, "emg": 4 * animal.emg_uv}
    artefacts = draw_artefacts(rngs[5], tuple(level_uv), duration_s, artefacts_per_hour)
    add_artefacts(data, rngs[5], artefacts, level_uv, sfreq)
    if wide:
        instrument = Instrument.draw(rngs[7], animal.mains_hz)
        data = turn_up(instrument.apply(data, sfreq, rngs[7]), sfreq)
    return SimulatedMouse(data, stages, artefacts, animal)
