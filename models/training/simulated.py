"""Simulated mice as a lab's scored recordings, and many of them as conditioned epochs."""

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
from models.simulator.mouse.simulate import MODALITIES, simulate_recording
from models.spec import ModelSpec

FIRST_UNSEEN_SEED = 1_000_000
"""Seeds of simulated mice from here on are for testing; no model is ever trained on them."""
SFREQS = (128.0, 200.0, 250.0, 256.0, 400.0, 500.0, 512.0, 512.0, 512.0, 1000.0, 1024.0, 2000.0)
"""Sampling rates that simulated mice are drawn from; most labs of the paper's kind use 512 Hz."""

Read = Callable[[LabRecording, ModelSpec], ScoredEpochs]
"""Reads a recording of one subject."""


def simulate_mouse(
    seed: int,
    hours: float,
    sfreq: float,
    *,
    artefacts_per_hour: float = 6.0,
    every_stage: bool = False,
    wide: bool = False,
    stages: Sequence[str] | None = None,
) -> LabRecording:
    """Simulate a mouse; see `simulate_recording`.

    Raises:
        RecordingError: a length or rate is out of range.
    """
    mouse = simulate_recording(
        seed=seed,
        duration_s=3600 * hours,
        sfreq=sfreq,
        artefacts_per_hour=artefacts_per_hour,
        every_stage=every_stage,
        wide=wide,
        stages=stages,
    )
    name = f"simulated-{seed}"
    recording = ArrayRecording.of_microvolts(name, mouse.ch_names, sfreq, mouse.data)
    subject = SubjectChannels(
        name="m1", channels=dict(zip(MODALITIES, mouse.ch_names, strict=True))
    )
    return LabRecording(
        name=name,
        stream=StreamChannels(name="simulated", subjects=(subject,), unit="uV"),
        subjects={"m1": name},
        hypnograms={"m1": Hypnogram.from_epochs(mouse.hypnograms[0], mouse.epoch_s)},
        scored_in="simulation",
        duration_s=recording.duration,
        open=lambda: recording,
    )


def draw_sfreq(seed: int) -> float:
    """Return the sampling rate of this seed's mouse, Hz."""
    return float(np.random.default_rng([seed, 1]).choice(SFREQS))


def simulate_many(
    spec: ModelSpec,
    seeds: Sequence[int],
    hours: float,
    processes: int = 1,
    *,
    read: Read = read_one,
    wide: bool = False,
) -> Iterator[ScoredEpochs]:
    """Simulate one mouse a seed, so many at once, each at a rate of `SFREQS`; read and pack it.

    From half an hour on, three of four mice show every stage, since that time of many has no REM
    or no sleep at all; the fourth does what mice do. Artefacts stay in, with the true stage: those
    that the checks of quality find are masked, the others have to be lived with. `wide`: see
    `simulate_recording`.
    """
    simulate = partial(_simulate_one, spec, hours, read, wide)
    processes = min(processes, len(seeds))
    if processes <= 1:
        yield from map(simulate, seeds)
        return
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(simulate, seeds)


def _simulate_one(spec: ModelSpec, hours: float, read: Read, wide: bool, seed: int) -> ScoredEpochs:
    every_stage = hours >= 0.5 and seed % 4 != 0
    mouse = simulate_mouse(seed, hours, draw_sfreq(seed), every_stage=every_stage, wide=wide)
    return pack(read(mouse, spec))


def pack(scored: ScoredEpochs) -> ScoredEpochs:
    """Return the epochs in half the memory; amplitudes keep three digits and a half."""
    return replace(scored, epochs=scored.epochs.astype(np.float16))
