"""Simulated human sleep with ground truth: hypnogram, EEG, EOG, waves, artefacts.

Given the hypnogram (`hypnogram.py`), the brain goes to and fro between its states (`tracks.py`);
EEG and EOG have a background that follows them (`eeg.py`), waves of a shape (`waves.py`) and what
the eyes do (`eog.py`). Every subject is another person (`person.py`) with electrodes elsewhere
(`sites.py`). docs/simulator.md says how well this fits real people.
"""

import math
from dataclasses import dataclass

import numpy as np

from models.simulator.human import hypnogram
from models.simulator.human import wide as widened
from models.simulator.human.eeg import add_background
from models.simulator.human.eog import add_eyes, add_heart_and_mains
from models.simulator.human.person import Person
from models.simulator.human.tracks import draw_tracks
from models.simulator.human.waves import add_waves
from models.simulator.recording import (
    Event,
    SimulatedSubject,
    add_artefacts,
    draw_artefacts,
)
from models.simulator.simulation import Simulation
from models.stages import HUMAN, INITIAL

_QUIET_UV = 15.0  # what artefacts are measured against


@dataclass(frozen=True)
class SimulatedPerson(SimulatedSubject):
    """One person's EEG and EOG, and what is true about them."""

    modalities = ("eeg", "eog")
    stages = HUMAN
    prefix = INITIAL["human"]

    person: Person
    events: tuple[Event, ...]
    """Spindles, K-complexes, slow, vertex and sawtooth waves, eye movements, blinks, arousals, in
    order of onset."""

    def channel_names(self, number: int, n_subjects: int) -> tuple[str, ...]:
        """Return labels as a polysomnogram has them, of one of several people as of mice."""
        if n_subjects > 1:
            return super().channel_names(number, n_subjects)
        return self.person.eeg.label, self.person.eog.label


@dataclass(frozen=True, kw_only=True)
class SimulatedPeople(Simulation[SimulatedPerson]):
    """Some people, each with one EEG and one EOG; `every_stage`: at least 2 % of each.

    The channels of one person are labelled as those of a polysomnogram, such as EEG C3-M2 and
    EOG E1-M2; those of several EEG1, EOG1, EEG2, EOG2, and so on.
    """

    subject = SimulatedPerson
    sfreqs = (100.0, 100.0, 125.0, 128.0, 128.0, 200.0, 200.0, 250.0, 256.0, 256.0, 500.0, 512.0)
    default_sfreq = 128.0
    plural = "people"
    every_stage_from_h = 1.5

    sfreq: float = default_sfreq

    def _hypnogram(self, rng: np.random.Generator) -> tuple[str, ...]:
        if self.stages is not None:
            return tuple(self.stages)
        return hypnogram.draw_hypnogram(
            rng,
            math.ceil(self.duration_s),
            time_scale=self.time_scale,
            every_stage=self.every_stage,
            wide=self.wide,
        )

    def _simulate(self, seed: np.random.SeedSequence) -> SimulatedPerson:
        # One generator for each part, so that changing one leaves the others alone.
        rngs = [np.random.default_rng(s) for s in seed.spawn(10)]
        person = Person.draw(rngs[0])
        if self.wide:
            person = widened.widen(person, rngs[8])
        stages, sfreq = self._hypnogram(rngs[1]), self.sfreq
        tracks = draw_tracks(rngs[2], stages, person)
        data = np.zeros((round(self.duration_s * sfreq), 2), np.float32)
        add_background(data, rngs[3], tracks, person, sfreq)
        events = tracks.arousals + add_waves(data, rngs[4], tracks, person, sfreq)
        events += add_eyes(data, rngs[5], tracks, person, sfreq)
        add_heart_and_mains(data, rngs[6], tracks, person, sfreq)
        level_uv = dict.fromkeys(SimulatedPerson.modalities, _QUIET_UV)
        artefacts = draw_artefacts(
            rngs[7], tuple(level_uv), self.duration_s, self.artefacts_per_hour
        )
        add_artefacts(data, rngs[7], artefacts, level_uv, sfreq)
        if self.wide:
            for k, amplifier in enumerate(widened.draw_amplifiers(rngs[9], person.mains_hz)):
                data[:, k] = amplifier.record(data[:, k].astype(np.float64), sfreq, rngs[9])
        return SimulatedPerson(
            data, stages, artefacts, person, tuple(sorted(events, key=lambda e: e.onset_s))
        )
