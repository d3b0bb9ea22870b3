"""What recordings teach: the teacher's stages, where it is to be believed, and what each is for."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import msgspec
import numpy as np
from rich.progress import Progress

from engines.bundle import Bundle
from models.errors import RecordingError, SpeciesError
from models.recordings.channels import choose
from models.recordings.find import Found, find_recordings, hash_file
from models.recordings.open import check_match
from models.scored_epochs import ScoredEpochs
from models.species import contradict
from models.teacher import condition_and_teach, teacher_of
from models.training.simulated import pack
from models.training.splits import Split
from models.training.taught import read_whole, surely, uncontradicted, why_not
from models.weights import load_model
from tools.adapt.command import AdaptOptions
from tools.adapt.report import Taught


class Heard(NamedTuple):
    """One subject in one recording that the teacher is trusted in."""

    subject: str
    file: str
    """SHA-256."""
    lesson: ScoredEpochs
    """With the stages to learn."""
    sure: ScoredEpochs
    """With the stages that the teacher is sure of, whatever the net says."""


class Parts(NamedTuple):
    """What is for what."""

    learnt: list[ScoredEpochs]
    stopping: list[ScoredEpochs]
    held_out: list[ScoredEpochs]
    """With the stages that the teacher is sure of."""
    split: Split
    """The subjects."""
    described: str
    """What is held out, in words."""


class Hearing:
    """Asks the teacher.

    Args:
        options: of the run.
        bundle: that it begins with: what net and teacher contradict each other in teaches nothing.
        progress: shows how far it is.
    """

    def __init__(self, options: AdaptOptions, bundle: Bundle, progress: Progress) -> None:
        self.options, self.bundle, self.spec = options, bundle, bundle.spec
        self.progress = progress
        self.grammar, self.start = bundle.manifest.grammar, load_model(bundle.path)

    def _say(self, what: str) -> None:
        self.progress.console.print(what)

    def hear_all(self) -> tuple[list[Heard], tuple[Taught, ...]]:
        """Let the teacher stage every recording; raises RecordingError if it is trusted in none."""
        found = find_recordings(self.options.paths)
        check_match([each.recording for each in found], self.options.lab.match)
        shown = self.progress.track(found, description="teaching")
        pairs = [pair for each in shown for pair in self._hear(each)]
        heard = [each for _, each in pairs if each is not None]
        for taught, _ in pairs:
            if taught.left_out:
                self._say(f"left out {taught.recording}, {taught.subject}: {taught.left_out}")
        if not heard:
            raise RecordingError(
                "; ".join(f"{taught.recording}: {taught.left_out}" for taught, _ in pairs)
            )
        return heard, tuple(taught for taught, _ in pairs)

    def _hear(self, found: Found) -> Iterator[tuple[Taught, Heard | None]]:
        """Yield of each subject of a recording what the teacher is trusted in."""
        lab, file = self.options.lab, hash_file(found.recording)
        labels = {"eeg": lab.eeg, "emg": lab.emg, "eog": lab.eog}
        chosen = choose(found.recording, None, labels, (), self.spec, lab.match)
        for line in (*chosen.guess, *chosen.left_out):
            self._say(f"{found.recording}: {line}")
        recording = chosen.recording
        strange = contradict((*recording.ch_names, *recording.skipped), self.spec)
        if strange:
            raise SpeciesError(f"{found.recording}: {strange}")
        stream = msgspec.structs.replace(chosen.stream, unit=lab.unit)
        weights = teacher_of(self.spec.species)
        conditioned, taught_all = condition_and_teach(recording, stream, self.spec, weights)
        epochs, usable, _ = conditioned
        several = len(stream.subjects) > 1
        for i, (subject, taught) in enumerate(zip(stream.subjects, taught_all, strict=True)):
            name = f"{found.subject}/{subject.name}" if several else found.subject
            said = read_whole(self.start, epochs[i], usable[i], self.grammar)
            sure = surely(taught)
            stages = uncontradicted(sure, said)
            left_out = why_not(taught, said, usable[i], weights)
            lesson, all_sure = (
                pack(ScoredEpochs(name, epochs[i], each, usable[i])) for each in (stages, sure)
            )
            by_stage = {
                s: round(np.count_nonzero(stages == k) * self.spec.epoch_s)
                for k, s in enumerate(self.spec.stages)
            }
            there = usable[i][:, weights.needed_rows].all(axis=1)
            yield (
                Taught(
                    recording=str(found.recording),
                    subject=name,
                    channels=dict(subject.channels),
                    hours=round(float(there.sum()) * self.spec.epoch_s / 3600, 2),
                    seconds={} if left_out else by_stage,
                    left_out=left_out,
                    learnt=self.bundle.manifest.learnt_from.get(file),
                ),
                None if left_out else Heard(name, file, lesson, all_sure),
            )


def subjects_of(heard: Sequence[Heard]) -> list[str]:
    """Return the subjects, in order."""
    return sorted({each.subject for each in heard})


def check_several(heard: Sequence[Heard]) -> None:
    """Raise RecordingError where there is nobody to learn from while one subject is left out."""
    subjects = subjects_of(heard)
    if len(subjects) < 2:
        raise RecordingError(
            "--leave-one-subject-out: expected two subjects or more in whom the teacher is "
            f"trusted, found {subjects[0]} alone"
        )


def divide(heard: Sequence[Heard], seed: int) -> Parts:
    """Hold out a third: of the subjects where there are several, else of the time, the last."""
    subjects = subjects_of(heard)
    if len(subjects) > 1:
        shuffled = [subjects[i] for i in np.random.default_rng(seed).permutation(len(subjects))]
        return hold_out(heard, tuple(shuffled[: max(1, len(subjects) // 3)]))
    (subject,) = subjects
    return _parts(
        [cut(each.lesson, 0, 2 / 3) for each in heard],
        [cut(each.sure, 2 / 3, 1) for each in heard],
        Split((subject,), (), ()),
        f"the last third of {subject}",
    )


def hold_out(heard: Sequence[Heard], held: tuple[str, ...]) -> Parts:
    """Learn from all subjects but these."""
    learning = tuple(subject for subject in subjects_of(heard) if subject not in held)
    return _parts(
        [each.lesson for each in heard if each.subject in learning],
        [each.sure for each in heard if each.subject in held],
        Split(learning, held, ()),
        ", ".join(held),
    )


def _parts(
    lessons: Sequence[ScoredEpochs], held_out: list[ScoredEpochs], split: Split, described: str
) -> Parts:
    """Let the last quarter of each recording that is learnt from decide when to stop."""
    return Parts(
        [cut(each, 0, 3 / 4) for each in lessons],
        [cut(each, 3 / 4, 1) for each in lessons],
        held_out,
        split,
        described,
    )


def cut(subject: ScoredEpochs, first: float, stop: float) -> ScoredEpochs:
    """Return a part of a recording, by fractions of its epochs."""
    n = len(subject.epochs)
    part = slice(round(first * n), round(stop * n))
    return replace(
        subject,
        epochs=subject.epochs[part],
        stages=subject.stages[part],
        usable=subject.usable[part],
        looks=None,
    )
