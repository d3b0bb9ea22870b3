"""The offline teacher: stages a finished recording as a whole, as no live model can.

Each epoch's levels (`models.signal.relative`) are centred and scaled over the whole recording, so
that they are relative to the subject's own, and averaged over the epochs around it. A multinomial
logistic regression, fitted to widened simulated subjects (`models.fit.teacher`), says what each
epoch is; the grammar (`models.grammar`) says which stage follows which. A long epoch's levels are
measured in parts: their mean, and how far the parts differ, which spindles and slow waves tell by.

It needs a recording with sleep and Wake in it: of a single stage nothing is high or low.

M: modalities. F: levels of a modality. P: parts of an epoch. S: stages.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from models.errors import RecordingError, SpecError
from models.grammar import Filter, grammar_of
from models.recordings.as_stream import Conditioned, condition, epochs_of
from models.recordings.open import Recording
from models.relative_spec import RelativeSpec
from models.signal.features import Powers
from models.signal.montage import StreamChannels
from models.signal.pipeline import EpochBatch
from models.signal.relative import Relative
from models.spec import ModelSpec
from models.stages import SPECIES

NAME = "offline teacher"
TEACHER_FILES = {
    species: Path(__file__).with_name(f"{species}_teacher.json") for species in SPECIES
}
"""The packaged teachers by species."""

_LEAST_SD = 0.05  # of a level over a recording, ln units: where nothing changes nothing is said
_LEAST_SPREAD = 0.1  # within an epoch, ln units: below it is noise

Floats = NDArray[np.float64]


class Regression(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an epoch is, by some modalities."""

    modalities: tuple[str, ...]
    """That it reads, in the spec's order."""
    coefficients: tuple[tuple[float, ...], ...]
    """(S, spans × modalities × F): of the scaled levels, in this order."""
    intercepts: tuple[float, ...]
    """(S,)"""


class TeacherWeights(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was fitted."""

    source: str
    """The subjects."""
    spec: ModelSpec
    """How a recording is filtered, cut and measured: `relative` names the levels."""
    spans_s: tuple[float, ...]
    """Each level counts as its means over so long, around the epoch, s."""
    regressions: tuple[Regression, ...]
    """The first reads all modalities; of the others the first one that reads what is usable."""
    power: float
    """What the evidence of an epoch is raised to before the grammar: epochs are not independent
    observations."""

    def __post_init__(self) -> None:
        if self.spec.relative is None:
            raise SpecError("teacher: expected a spec with relative levels, found one of samples")
        if not self.regressions or self.regressions[0].modalities != self.spec.modalities:
            raise SpecError("teacher: expected a first regression that reads all modalities")
        for each in self.regressions:
            n = len(self.spans_s) * len(each.modalities) * n_levels(self.spec.relative)
            shape = (len(self.spec.stages), n)
            if np.shape(each.coefficients) != shape or len(each.intercepts) != shape[0]:
                raise SpecError(
                    f"teacher: expected coefficients of shape {shape}, "
                    f"found {np.shape(each.coefficients)}"
                )

    @property
    def needed_rows(self) -> list[int]:
        """Where those that are needed stand among the modalities."""
        return [self.spec.modalities.index(m) for m in self.needed]

    @property
    def needed(self) -> tuple[str, ...]:
        """Modalities that every regression reads: without them it says nothing."""
        return tuple(
            m
            for m in self.spec.modalities
            if all(m in each.modalities for each in self.regressions)
        )


class Taught(NamedTuple):
    """What the teacher says of each epoch of a recording of one subject."""

    evidence: Floats
    """(n, S), of the epoch and those around it; NaN where nothing was usable."""
    probabilities: Floats
    """(n, S), given the whole recording and the grammar."""
    stages: NDArray[np.intp]
    """(n,), the most likely course as a whole, which need not be the likeliest stage of each
    epoch."""


@cache
def teacher_of(species: str) -> TeacherWeights:
    """Return the packaged teacher of a species, written by `models.fit.teacher`."""
    return msgspec.json.decode(TEACHER_FILES[species].read_bytes(), type=TeacherWeights)


@cache
def teacher_hash(species: str) -> str:
    """Return the SHA-256 of the packaged teacher of a species."""
    return hashlib.sha256(TEACHER_FILES[species].read_bytes()).hexdigest()


def check_modalities(stream: StreamChannels, weights: TeacherWeights) -> None:
    """Raise RecordingError where a subject lacks a channel that the teacher needs."""
    for subject in stream.subjects:
        missing = [m for m in weights.needed if m not in subject.channels]
        if missing:
            raise RecordingError(
                f"{subject.name}: expected {' and '.join(weights.needed)} for the {NAME}, "
                f"found no {' and no '.join(missing)}"
            )


def n_levels(relative: RelativeSpec) -> int:
    """Return how many levels of a modality the teacher measures of an epoch, F."""
    return max(relative.n_features) * (1 if relative.n_parts == 1 else 2)


class Levels:
    """Collects the levels of a recording's subjects, epoch by epoch.

    Args:
        spec: the teacher's.
        n_subjects: in the recording.
    """

    def __init__(self, spec: ModelSpec, n_subjects: int) -> None:
        self._relative = Relative(spec, n_subjects, spec.epoch_s)
        self._sfreq = spec.sfreq
        self._n_parts = 1 if spec.relative is None else spec.relative.n_parts
        self._found: list[Floats] = []
        self._usable: list[NDArray[np.bool_]] = []

    def add(self, microvolts: NDArray[np.float32], usable: NDArray[np.bool_]) -> None:
        """Take in an epoch of all subjects: (n_subjects, M, n_times) µV, (n_subjects, M)."""
        powers = Powers(microvolts, self._sfreq).in_parts(self._n_parts)
        parts = self._relative.measure(powers)
        self._found.append(parts.reshape(len(usable), self._n_parts, *parts.shape[1:]))
        self._usable.append(usable)

    def of(self, subject: int) -> tuple[Floats, NDArray[np.bool_]]:
        """Return what was measured of one subject, (n, M, F), and what is usable, (n, M)."""
        parts = np.stack([x[subject] for x in self._found])
        found = parts.mean(axis=1)
        if self._n_parts > 1:
            found = np.concatenate([found, np.log(parts.std(axis=1) + _LEAST_SPREAD)], axis=-1)
        return found, np.stack([x[subject] for x in self._usable])


def teach(found: Floats, usable: NDArray[np.bool_], weights: TeacherWeights) -> Taught:
    """Stage a whole recording of one subject.

    Args:
        found: (n, M, F), as `Levels` gives them.
        usable: (n, M); the others are not looked at.
        weights: the teacher, of the subject's species.
    """
    spec = weights.spec
    spans = [max(1, round(s / spec.epoch_s)) for s in weights.spans_s]
    levels = around(scaled(found, usable), usable, spans)
    read = [[spec.modalities.index(m) for m in each.modalities] for each in weights.regressions]
    said = [
        levels[:, :, rows].reshape(len(levels), -1) @ np.array(each.coefficients).T
        + each.intercepts
        for rows, each in zip(read, weights.regressions, strict=True)
    ]
    first = np.argmax([usable[:, rows].all(axis=1) for rows in read], axis=0)  # 0 where none fits
    evidence = softmax(np.stack(said)[first, np.arange(len(levels))], axis=1)
    evidence[~usable.any(axis=1)] = np.nan
    of_rates = Filter(grammar_of(weights.spec.species, weights.power, weights.power), spec.epoch_s)
    return Taught(evidence, of_rates.whole(evidence), of_rates.best_path(evidence))


def teach_recording(
    recording: Recording, stream: StreamChannels, weights: TeacherWeights
) -> list[Taught]:
    """Stage each subject of a recording; see `teach`.

    Raises:
        HypnodError: a modality is missing, or the recording does not fit its channels or unit.
    """
    check_modalities(stream, weights)
    n = len(stream.subjects)
    levels = Levels(weights.spec, n)
    for batch in epochs_of(recording, stream, weights.spec):
        levels.add(batch.microvolts, batch.usable)
    return [teach(*levels.of(i), weights) for i in range(n)]


def condition_and_teach(
    recording: Recording, stream: StreamChannels, spec: ModelSpec, weights: TeacherWeights
) -> tuple[Conditioned, list[Taught]]:
    """Return what a net is given of a recording, and how its subjects are staged; see `teach`.

    A net that reads the teacher's signal, as the shipped ones do, is given it as it is measured.

    Raises:
        HypnodError: a modality is missing, or the recording does not fit its channels or unit.
    """
    if _signal_of(spec) != _signal_of(weights.spec):
        return condition(recording, stream, spec), teach_recording(recording, stream, weights)
    check_modalities(stream, weights)
    n = len(stream.subjects)
    levels = Levels(weights.spec, n)

    def measure(batch: EpochBatch) -> None:
        levels.add(batch.microvolts, batch.usable)

    conditioned = condition(recording, stream, spec, measure)
    return conditioned, [teach(*levels.of(i), weights) for i in range(n)]


def _signal_of(spec: ModelSpec) -> tuple[object, ...]:
    """Return all that a recording's signal and what is usable of it depend on."""
    n_parts = 1 if spec.relative is None else spec.relative.n_parts
    return spec.species, spec.modalities, spec.bands, spec.sfreq, spec.epoch_s, n_parts


def scaled(found: Floats, usable: NDArray[np.bool_]) -> Floats:
    """Return levels relative to the recording's own, (n, M, F), 0 where they are not usable.

    Args:
        found: (n, M, F).
        usable: (n, M): only these count.
    """
    out = np.zeros_like(found)
    for m, there in enumerate(usable.T):
        if there.any():
            known = found[there, m]
            spread = np.sqrt(known.var(axis=0) + _LEAST_SD**2)
            out[there, m] = (known - known.mean(axis=0)) / spread
    return out


def around(levels: Floats, usable: NDArray[np.bool_], spans: list[int]) -> Floats:
    """Return levels averaged over the epochs around each, (n, spans, M, F).

    Args:
        levels: (n, M, F), 0 where they are not usable.
        usable: (n, M): only these count; where there are none, a level is the usual one.
        spans: epochs.
    """
    n = len(levels)
    there = usable[..., None]
    sums = np.cumsum(np.concatenate([np.zeros_like(levels[:1]), levels]), axis=0)
    counts = np.cumsum(np.concatenate([np.zeros_like(there[:1]), there]), axis=0, dtype=np.int64)
    means = []
    for span in spans:
        first = np.clip(np.arange(n) - span // 2, 0, n)
        stop = np.clip(np.arange(n) - span // 2 + span, 0, n)
        means.append((sums[stop] - sums[first]) / np.maximum(counts[stop] - counts[first], 1))
    return np.stack(means, axis=1)
