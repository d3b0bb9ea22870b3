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
from numpy.typing import NDArray
from scipy import signal

from models.errors import RecordingError
from models.signal.chunk import MAX_SFREQ, MIN_SFREQ
from models.simulator.instrument import Instrument
from models.simulator.mouse import hypnogram
from models.simulator.mouse import wide as widened
from models.simulator.mouse.animal import Animal
from models.simulator.mouse.eeg import add_eeg
from models.simulator.mouse.emg import add_emg
from models.simulator.mouse.tracks import draw_tracks

MODALITIES = ("eeg", "emg")


@dataclass(frozen=True)
class Artefact:
    """A span in which one channel shows no sleep: electrode pop or gross movement."""

    onset_s: float
    duration_s: float
    modality: str


@dataclass(frozen=True)
class SimulatedSubject:
    """One animal's signals and what is true about them."""

    data: NDArray[np.float32]
    """(n_samples, 2) µV: EEG, EMG."""
    hypnogram: tuple[str, ...]
    """One stage per second."""
    artefacts: tuple[Artefact, ...]
    animal: Animal


@dataclass(frozen=True)
class SimulatedRecording:
    """Some animals in one recording, and what is true about them."""

    data: NDArray[np.float32]
    """(n_samples, n_subjects × 2) µV; columns EEG1, EMG1, EEG2, EMG2, …"""
    ch_names: tuple[str, ...]
    """EEG1, EMG1, EEG2, EMG2, …"""
    sfreq: float
    """Sampling rate, Hz."""
    epoch_s: float
    """Resolution of the hypnograms, 1 s."""
    hypnograms: tuple[tuple[str, ...], ...]
    """For each subject, one stage per `epoch_s`."""
    artefacts: tuple[tuple[Artefact, ...], ...]
    """For each subject, in order of onset."""


def channel_names(n_subjects: int) -> tuple[str, ...]:
    """Return the channels of a recording: EEG1, EMG1, EEG2, EMG2, and so on."""
    return tuple(f"{m.upper()}{k}" for k in range(1, n_subjects + 1) for m in MODALITIES)


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
    data = np.empty((round(duration_s * sfreq), 2 * n_subjects), np.float32)
    hypnograms, artefacts = [], []
    for k, subject in enumerate(subjects):
        data[:, 2 * k : 2 * k + 2] = subject.data
        hypnograms.append(subject.hypnogram)
        artefacts.append(subject.artefacts)
    return SimulatedRecording(
        data=data,
        ch_names=channel_names(n_subjects),
        sfreq=sfreq,
        epoch_s=1.0,
        hypnograms=tuple(hypnograms),
        artefacts=tuple(artefacts),
    )


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
) -> Iterator[SimulatedSubject]:
    """Return the subjects of `simulate_recording` one at a time, to keep only one in memory.

    Raises:
        RecordingError: an argument is out of range.
    """
    limits = (
        ("a sampling rate", sfreq, MIN_SFREQ, MAX_SFREQ, " Hz"),
        ("a length", duration_s, 1, math.inf, " s"),
        ("a number of subjects", n_subjects, 1, math.inf, ""),
        ("a rate of artefacts", artefacts_per_hour, 0, math.inf, " per hour"),
        ("a time scale", time_scale, 0.01, math.inf, ""),
    )
    for name, value, least, most, unit in limits:
        if not least <= value <= most:
            between = f"of at least {least:g}" if most == math.inf else f"of {least:g} to {most:g}"
            raise RecordingError(f"expected {name} {between}{unit}, found {value:g}")
    n_seconds = math.ceil(duration_s)
    if stages is not None and len(stages) != n_seconds:
        raise RecordingError(f"expected a stage for each of {n_seconds} s, found {len(stages)}")

    def draw(rng: np.random.Generator) -> Sequence[str]:
        if stages is not None:
            return stages
        of = widened.draw_hypnogram if wide else hypnogram.draw_hypnogram
        return of(rng, n_seconds, time_scale=time_scale, every_stage=every_stage)

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
) -> SimulatedSubject:
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
    artefacts = _draw_artefacts(rngs[5], duration_s, artefacts_per_hour)
    for artefact in artefacts:
        _add_artefact(data, rngs[5], artefact, animal, sfreq)
    if wide:
        data = Instrument.draw(rngs[7], animal.mains_hz).apply(data, sfreq, rngs[7])
    return SimulatedSubject(data, stages, artefacts, animal)


def _draw_artefacts(
    rng: np.random.Generator, duration_s: float, per_hour: float
) -> tuple[Artefact, ...]:
    artefacts = []
    for modality in MODALITIES:
        for onset_s in rng.uniform(
            0, duration_s, rng.poisson(per_hour * duration_s / 3600)
        ).tolist():
            length_s = min(1.0 + rng.exponential(2.0), duration_s - onset_s)
            artefacts.append(Artefact(round(onset_s, 3), round(length_s, 3), modality))
    return tuple(sorted(artefacts, key=lambda artefact: artefact.onset_s))


def _add_artefact(
    data: NDArray[np.float32],
    rng: np.random.Generator,
    artefact: Artefact,
    animal: Animal,
    sfreq: float,
) -> None:
    """Add an electrode pop (a jump that decays) or a gross movement (large slow swings)."""
    column = MODALITIES.index(artefact.modality)
    amplitude = rng.uniform(8, 25) * (animal.eeg_uv, 4 * animal.emg_uv)[column]
    start = round(artefact.onset_s * sfreq)
    samples = data[start : start + round(artefact.duration_s * sfreq), column]
    t = np.arange(len(samples)) / sfreq
    if rng.random() < 0.5:
        samples += amplitude * rng.choice([-1, 1]) * np.exp(-4.0 * t / artefact.duration_s)
        return
    swings = signal.sosfilt(
        signal.butter(2, [0.5, 12.0], "bandpass", fs=sfreq, output="sos"),
        rng.standard_normal(len(samples)) * np.sqrt(sfreq / 23.0),
    )
    samples += 0.5 * amplitude * swings * np.hanning(len(samples))
