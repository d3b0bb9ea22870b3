"""What a simulation gives, whatever the species, and what is added in each alike."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import signal


@dataclass(frozen=True)
class Artefact:
    """A span in which one channel shows no sleep: electrode pop or gross movement."""

    onset_s: float
    duration_s: float
    modality: str


@dataclass(frozen=True)
class Event:
    """A wave, or a spell of them, that was put into the signals on purpose."""

    onset_s: float
    duration_s: float
    kind: str


@dataclass(frozen=True)
class SimulatedSubject:
    """One subject's signals and what is true about them."""

    modalities: ClassVar[tuple[str, ...]]
    """Of its channels, in order."""
    stages: ClassVar[tuple[str, ...]]
    """The stages that it can be in."""
    prefix: ClassVar[str]
    """Before its number in its name."""

    data: NDArray[np.float32]
    """(n_samples, n_modalities) µV."""
    hypnogram: tuple[str, ...]
    """One stage per second."""
    artefacts: tuple[Artefact, ...]
    """In order of onset."""

    def channel_names(self, number: int, n_subjects: int) -> tuple[str, ...]:
        """Return the labels of its channels as the `number`th of a recording's subjects."""
        return tuple(f"{modality.upper()}{number}" for modality in self.modalities)


@dataclass(frozen=True)
class SimulatedRecording:
    """Some subjects in one recording, and what is true about them."""

    data: NDArray[np.float32]
    """(n_samples, n_subjects × n_modalities) µV; all channels of a subject side by side."""
    ch_names: tuple[str, ...]
    """Label of each column."""
    sfreq: float
    """Sampling rate, Hz."""
    epoch_s: float
    """Resolution of the hypnograms, 1 s."""
    hypnograms: tuple[tuple[str, ...], ...]
    """For each subject, one stage per `epoch_s`."""
    artefacts: tuple[tuple[Artefact, ...], ...]
    """For each subject, in order of onset."""


def gather(
    subjects: Iterable[SimulatedSubject], n_subjects: int, sfreq: float
) -> SimulatedRecording:
    """Put subjects of one species into one recording."""
    data = np.empty((0, 0), np.float32)
    names: list[str] = []
    hypnograms, artefacts = [], []
    for k, subject in enumerate(subjects):
        n_samples, width = subject.data.shape
        if k == 0:
            data = np.empty((n_samples, n_subjects * width), np.float32)
        data[:, k * width : (k + 1) * width] = subject.data
        names += subject.channel_names(k + 1, n_subjects)
        hypnograms.append(subject.hypnogram)
        artefacts.append(subject.artefacts)
    return SimulatedRecording(
        data=data,
        ch_names=tuple(names),
        sfreq=sfreq,
        epoch_s=1.0,
        hypnograms=tuple(hypnograms),
        artefacts=tuple(artefacts),
    )


def draw_artefacts(
    rng: np.random.Generator, modalities: Sequence[str], duration_s: float, per_hour: float
) -> tuple[Artefact, ...]:
    """Draw, for each channel on its own, so many artefacts an hour on average."""
    artefacts = []
    for modality in modalities:
        for onset_s in rng.uniform(
            0, duration_s, rng.poisson(per_hour * duration_s / 3600)
        ).tolist():
            length_s = min(1.0 + rng.exponential(2.0), duration_s - onset_s)
            artefacts.append(Artefact(round(onset_s, 3), round(length_s, 3), modality))
    return tuple(sorted(artefacts, key=lambda artefact: artefact.onset_s))


def add_artefacts(
    data: NDArray[np.float32],
    rng: np.random.Generator,
    artefacts: Iterable[Artefact],
    level_uv: dict[str, float],
    sfreq: float,
) -> None:
    """Add electrode pops (jumps that decay) and gross movements (large slow swings) to `data`.

    Args:
        data: (n_samples, n_modalities) µV, in the order of `level_uv`.
        rng: the source of randomness.
        artefacts: which.
        level_uv: what each modality's channel has when it is quiet; artefacts are 8 to 25 times
            as large.
        sfreq: sampling rate, Hz.
    """
    column = {modality: k for k, modality in enumerate(level_uv)}
    for artefact in artefacts:
        amplitude = rng.uniform(8, 25) * level_uv[artefact.modality]
        start = round(artefact.onset_s * sfreq)
        stop = start + round(artefact.duration_s * sfreq)
        samples = data[start:stop, column[artefact.modality]]
        t = np.arange(len(samples)) / sfreq
        if rng.random() < 0.5:
            samples += amplitude * rng.choice([-1, 1]) * np.exp(-4.0 * t / artefact.duration_s)
            continue
        swings = signal.sosfilt(
            signal.butter(2, [0.5, 12.0], "bandpass", fs=sfreq, output="sos"),
            rng.standard_normal(len(samples)) * np.sqrt(sfreq / 23.0),
        )
        samples += 0.5 * amplitude * swings * np.hanning(len(samples))
