"""Simulated subjects as a lab's scored recordings, and many of them as conditioned epochs."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np

from models.recordings.base import ArrayRecording
from models.recordings.hypnogram import Hypnogram
from models.recordings.lab import LabRecording, read_one
from models.scored_epochs import ScoredEpochs
from models.signal.montage import StreamChannels, SubjectChannels
from models.simulator.species import SIMULATORS
from models.spec import ModelSpec

FIRST_UNSEEN_SEED = 1_000_000
"""Seeds of simulated subjects from here on are for testing; no model is ever trained on them."""

Read = Callable[[LabRecording, ModelSpec], ScoredEpochs]
"""Reads a recording of one subject."""


def simulate_subject(
    species: str,
    seed: int,
    hours: float,
    sfreq: float,
    *,
    artefacts_per_hour: float = 6.0,
    every_stage: bool = False,
    wide: bool = False,
    stages: Sequence[str] | None = None,
) -> LabRecording:
    """Simulate one subject; see `Simulation`.

    Raises:
        RecordingError: a length or rate is out of range.
    """
    simulator = SIMULATORS[species]
    simulated = simulator(
        seed=seed,
        duration_s=3600 * hours,
        sfreq=sfreq,
        artefacts_per_hour=artefacts_per_hour,
        every_stage=every_stage,
        wide=wide,
        stages=stages,
    ).record()
    name = f"simulated-{seed}"
    recording = ArrayRecording.of_microvolts(name, simulated.ch_names, sfreq, simulated.data)
    own = f"{simulator.subject.prefix}1"
    channels = dict(zip(simulator.subject.modalities, simulated.ch_names, strict=True))
    subject = SubjectChannels(name=own, channels=channels)
    return LabRecording(
        name=name,
        stream=StreamChannels(name="simulated", subjects=(subject,), unit="uV"),
        subjects={own: name},
        hypnograms={own: Hypnogram.from_epochs(simulated.hypnograms[0], simulated.epoch_s)},
        scored_in="simulation",
        duration_s=recording.duration,
        open=lambda: recording,
    )


def draw_sfreq(species: str, seed: int) -> float:
    """Return the sampling rate of this seed's subject, Hz."""
    return float(np.random.default_rng([seed, 1]).choice(SIMULATORS[species].sfreqs))


def simulate_many(
    spec: ModelSpec,
    seeds: Sequence[int],
    hours: float,
    processes: int = 1,
    *,
    read: Read = read_one,
    wide: bool = False,
) -> Iterator[ScoredEpochs]:
    """Simulate one subject of the spec's species a seed, so many at once; read and pack it.

    Each is at one of its species' usual rates. From half an hour of mice on, and an hour and a
    half of people, three of four show every stage, since that time of many has no REM or no sleep
    at all; the fourth does what its species does. Artefacts stay in, with the true stage: those
    that the checks of quality find are masked, the others have to be lived with. `wide`: see
    `Simulation`.
    """
    simulate = partial(_simulate_one, spec, hours, read, wide)
    processes = min(processes, len(seeds))
    if processes <= 1:
        yield from map(simulate, seeds)
        return
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(simulate, seeds)


def _simulate_one(spec: ModelSpec, hours: float, read: Read, wide: bool, seed: int) -> ScoredEpochs:
    every_stage = hours >= SIMULATORS[spec.species].every_stage_from_h and seed % 4 != 0
    sfreq = draw_sfreq(spec.species, seed)
    subject = simulate_subject(spec.species, seed, hours, sfreq, every_stage=every_stage, wide=wide)
    return pack(read(subject, spec))


def pack(scored: ScoredEpochs) -> ScoredEpochs:
    """Return the epochs in half the memory; amplitudes keep three digits and a half."""
    return replace(scored, epochs=scored.epochs.astype(np.float16))
