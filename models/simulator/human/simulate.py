"""Simulated human sleep with ground truth: hypnogram, EEG, EOG, waves, artefacts.

Given the hypnogram (`hypnogram.py`), the brain goes to and fro between its states (`tracks.py`);
EEG and EOG have a background that follows them (`eeg.py`), waves of a shape (`waves.py`) and what
the eyes do (`eog.py`). Every subject is another person (`person.py`) with electrodes elsewhere
(`sites.py`). docs/simulator.md says how well this fits real people.
"""

import math
from collections.abc import Callable, Iterator, Sequence
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
    SimulatedRecording,
    SimulatedSubject,
    add_artefacts,
    check_arguments,
    draw_artefacts,
    gather,
)
from models.stages import HUMAN

_QUIET_UV = 15.0  # what artefacts are measured against


@dataclass(frozen=True)
class SimulatedPerson(SimulatedSubject):
    """One person's EEG and EOG, and what is true about them."""

    modalities = ("eeg", "eog")
    stages = HUMAN
    prefix = "p"

    person: Person
    events: tuple[Event, ...]
    """Spindles, K-complexes, slow, vertex and sawtooth waves, eye movements, blinks, arousals, in
    order of onset."""

    def channel_names(self, number: int, n_subjects: int) -> tuple[str, ...]:
        """Return labels as a polysomnogram has them, of one of several people as of mice."""
        if n_subjects > 1:
            return super().channel_names(number, n_subjects)
        return self.person.eeg.label, self.person.eog.label


def simulate_recording(
    *,
    seed: int,
    duration_s: float,
    sfreq: float = 128.0,
    n_subjects: int = 1,
    artefacts_per_hour: float = 0.0,
    time_scale: float = 1.0,
    every_stage: bool = False,
    wide: bool = False,
    stages: Sequence[str] | None = None,
) -> SimulatedRecording:
    """Simulate some people in one recording; the same arguments give the same bits.

    The channels of one person are labelled as those of a polysomnogram, such as EEG C3-M2 and
    EOG E1-M2; those of several EEG1, EOG1, EEG2, EOG2, and so on.

    Args:
        seed: of everything random. Subject k does not depend on how many subjects there are,
            and neither hypnogram nor person on the sampling rate or the artefacts.
        duration_s: length, s.
        sfreq: sampling rate, from MIN_SFREQ to MAX_SFREQ, whole or not, Hz.
        n_subjects: people, each with one EEG and one EOG.
        artefacts_per_hour: mean number of electrode pops and gross movements per channel, beside
            the movements that people make.
        time_scale: divides every bout length. 1 is how people sleep; more packs a night into
            less, with bouts and transitions that are no longer a person's.
        every_stage: choose hypnograms with at least 2 % of each stage.
        wide: let people, hypnograms and instruments differ as those of many labs do.
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
    sfreq: float = 128.0,
    n_subjects: int = 1,
    artefacts_per_hour: float = 0.0,
    time_scale: float = 1.0,
    every_stage: bool = False,
    wide: bool = False,
    stages: Sequence[str] | None = None,
) -> Iterator[SimulatedPerson]:
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
        known=HUMAN,
    )

    def draw(rng: np.random.Generator) -> Sequence[str]:
        if stages is not None:
            return stages
        return hypnogram.draw_hypnogram(
            rng,
            math.ceil(duration_s),
            time_scale=time_scale,
            every_stage=every_stage,
            wide=wide,
        )

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
) -> SimulatedPerson:
    # One generator for each part, so that changing one leaves the others alone.
    rngs = [np.random.default_rng(s) for s in seed.spawn(10)]
    person = Person.draw(rngs[0])
    if wide:
        person = widened.widen(person, rngs[8])
    stages = tuple(draw(rngs[1]))
    tracks = draw_tracks(rngs[2], stages, person)
    data = np.zeros((round(duration_s * sfreq), 2), np.float32)
    add_background(data, rngs[3], tracks, person, sfreq)
    events = tracks.arousals + add_waves(data, rngs[4], tracks, person, sfreq)
    events += add_eyes(data, rngs[5], tracks, person, sfreq)
    add_heart_and_mains(data, rngs[6], tracks, person, sfreq)
    level_uv = dict.fromkeys(SimulatedPerson.modalities, _QUIET_UV)
    artefacts = draw_artefacts(rngs[7], tuple(level_uv), duration_s, artefacts_per_hour)
    add_artefacts(data, rngs[7], artefacts, level_uv, sfreq)
    if wide:
        for k, amplifier in enumerate(widened.draw_amplifiers(rngs[9], person.mains_hz)):
            data[:, k] = amplifier.record(data[:, k].astype(np.float64), sfreq, rngs[9])
    return SimulatedPerson(
        data, stages, artefacts, person, tuple(sorted(events, key=lambda e: e.onset_s))
    )
