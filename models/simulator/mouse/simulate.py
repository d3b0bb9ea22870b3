"""Simulated mouse sleep with ground truth: hypnogram, EEG, EMG, artefacts.

The hypnogram is semi-Markov with the statistics of expert-scored mice
(`hypnogram.py`). Given it, band powers and muscle tone follow the joint distribution of a scored
mouse (`tracks.py`), EEG and EMG follow these (`eeg.py`, `emg.py`), and every subject is another
animal with other electrodes (`animal.py`). docs/simulator.md says how well this fits real mice.
"""

import math
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
    SimulatedSubject,
    add_artefacts,
    draw_artefacts,
)
from models.simulator.simulation import Simulation
from models.stages import INITIAL, MOUSE


@dataclass(frozen=True)
class SimulatedMouse(SimulatedSubject):
    """One mouse's EEG and EMG, and what is true about them."""

    modalities = ("eeg", "emg")
    stages = MOUSE
    prefix = INITIAL["mouse"]

    animal: Animal


def channel_names(n_subjects: int) -> tuple[str, ...]:
    """Return the channels of a recording: EEG1, EMG1, EEG2, EMG2, and so on."""
    modalities = SimulatedMouse.modalities
    return tuple(f"{m.upper()}{k}" for k in range(1, n_subjects + 1) for m in modalities)


@dataclass(frozen=True, kw_only=True)
class SimulatedMice(Simulation[SimulatedMouse]):
    """Some mice, each with one EEG and one EMG; `every_stage`: at least 5 % of each."""

    subject = SimulatedMouse
    sfreqs = (128.0, 200.0, 250.0, 256.0, 400.0, 500.0, *(512.0,) * 3, 1000.0, 1024.0, 2000.0)
    default_sfreq = 512.0
    plural = "mice"
    every_stage_from_h = 0.5

    sfreq: float = default_sfreq

    def _hypnogram(self, rng: np.random.Generator) -> tuple[str, ...]:
        if self.stages is not None:
            return tuple(self.stages)
        draw = widened.draw_hypnogram if self.wide else hypnogram.draw_hypnogram
        n_seconds = math.ceil(self.duration_s)
        return draw(rng, n_seconds, time_scale=self.time_scale, every_stage=self.every_stage)

    def _simulate(self, seed: np.random.SeedSequence) -> SimulatedMouse:
        # One generator for each part, so that changing one leaves the others alone.
        rngs = [np.random.default_rng(s) for s in seed.spawn(8)]
        animal = Animal.draw(rngs[0])
        if self.wide:
            animal = widened.widen(animal, rngs[6])
        stages = self._hypnogram(rngs[1])
        tracks = draw_tracks(rngs[2], stages, animal)
        data = np.zeros((round(self.duration_s * self.sfreq), 2), np.float32)
        add_eeg(data[:, 0], rngs[3], tracks, animal, self.sfreq)
        add_emg(data, rngs[4], tracks, animal, self.sfreq)
        level_uv = {"eeg": animal.eeg_uv, "emg": 4 * animal.emg_uv}
        artefacts = draw_artefacts(
            rngs[5], tuple(level_uv), self.duration_s, self.artefacts_per_hour
        )
        add_artefacts(data, rngs[5], artefacts, level_uv, self.sfreq)
        if self.wide:
            instrument = Instrument.draw(rngs[7], animal.mains_hz)
            data = turn_up(instrument.apply(data, self.sfreq, rngs[7]), self.sfreq)
        return SimulatedMouse(data, stages, artefacts, animal)
