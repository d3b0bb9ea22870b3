"""A simulation: what is asked for, checked, and the subjects that come of it."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

import numpy as np

from models.errors import RecordingError
from models.signal.chunk import MAX_SFREQ, MIN_SFREQ
from models.simulator.recording import SimulatedRecording, SimulatedSubject, gather

Subject = TypeVar("Subject", bound=SimulatedSubject)


@dataclass(frozen=True, kw_only=True)
class Simulation(ABC, Generic[Subject]):
    """Some subjects of a species; the same arguments give the same bits.

    Raises:
        RecordingError: an argument is out of range.
    """

    subject: ClassVar[type[SimulatedSubject]]
    """What is true of all of its subjects."""
    sfreqs: ClassVar[tuple[float, ...]]
    """Sampling rates that the species' labs use, the usual ones several times, Hz."""
    default_sfreq: ClassVar[float]
    """Of a recording that is asked for without one, Hz."""
    plural: ClassVar[str]
    """What several subjects are called."""
    every_stage_from_h: ClassVar[float]
    """Recordings from so long on mostly show every stage, h."""

    seed: int
    """Of everything random. Subject k does not depend on how many subjects there are, and neither
    its hypnogram nor what it is like on the sampling rate or the artefacts."""
    duration_s: float
    """Length, s."""
    sfreq: float
    """Sampling rate, from MIN_SFREQ to MAX_SFREQ, whole or not, Hz."""
    n_subjects: int = 1
    """Each with one channel a modality."""
    artefacts_per_hour: float = 0.0
    """Mean number of electrode pops and gross movements per channel, beside the movements that
    people make."""
    time_scale: float = 1.0
    """Divides every bout length. 1 is how the species sleeps; more packs a night into less, with
    bouts and transitions that are no longer its own."""
    every_stage: bool = False
    """Choose hypnograms with some of each stage: for short demonstrations, whose bouts are then a
    biased choice of real ones."""
    wide: bool = False
    """Let subjects, hypnograms and instruments differ as those of many labs do. Some recordings of
    mice have only one stage then, whatever `every_stage` says."""
    stages: Sequence[str] | None = None
    """Of each second, to be simulated in place of a drawn hypnogram."""

    def __post_init__(self) -> None:
        limits = (
            ("a sampling rate", self.sfreq, MIN_SFREQ, MAX_SFREQ, " Hz"),
            ("a length", self.duration_s, 1, math.inf, " s"),
            ("a number of subjects", self.n_subjects, 1, math.inf, ""),
            ("a rate of artefacts", self.artefacts_per_hour, 0, math.inf, " per hour"),
            ("a time scale", self.time_scale, 0.01, math.inf, ""),
        )
        for name, value, least, most, unit in limits:
            if not least <= value <= most:
                between = f"at least {least:g}" if most == math.inf else f"{least:g} to {most:g}"
                raise RecordingError(f"expected {name} of {between}{unit}, found {value:g}")
        if self.stages is None:
            return
        n_seconds, known = math.ceil(self.duration_s), self.subject.stages
        if len(self.stages) != n_seconds:
            raise RecordingError(
                f"expected a stage for each of {n_seconds} s, found {len(self.stages)}"
            )
        if strange := {*self.stages} - {*known}:
            raise RecordingError(
                f"expected stages of {', '.join(known)}, found {', '.join(sorted(strange))}"
            )

    def subjects(self) -> Iterator[Subject]:
        """Return the subjects one at a time, to keep only one in memory."""
        return map(self._simulate, np.random.SeedSequence(self.seed).spawn(self.n_subjects))

    def record(self) -> SimulatedRecording:
        """Return all subjects in one recording."""
        return gather(self.subjects(), self.n_subjects, self.sfreq)

    @abstractmethod
    def _simulate(self, seed: np.random.SeedSequence) -> Subject:
        """Return the subject of a seed."""
