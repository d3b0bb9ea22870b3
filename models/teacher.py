"""The offline teacher: stages a finished recording as a whole, as no live model can.

Each second's levels (`models.signal.relative`) are centred and scaled over the whole recording, so
that they are relative to the animal's own, and averaged over the seconds around it. A multinomial
logistic regression, fitted to widened simulated mice (`models.fit.teacher`), says what each second
is; the grammar (`models.grammar`) says which stage follows which.

It needs a recording with sleep and Wake in it: of a single stage nothing is high or low.

M: modalities. F: levels of a modality. S: stages.
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
from models.recordings.as_stream import epochs_of
from models.recordings.open import Recording
from models.signal.features import Powers
from models.signal.montage import StreamChannels
from models.signal.relative import Relative
from models.spec import ModelSpec

NAME = "offline teacher"
MOUSE_FILE = Path(__file__).with_name("mouse_teacher.json")

_LEAST_SD = 0.05  # of a level over a recording, ln units: where nothing changes nothing is said

Floats = NDArray[np.float64]


class TeacherWeights(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was fitted."""

    source: str
    """The animals."""
    spec: ModelSpec
    """How a recording is filtered, cut and measured: `relative` names the levels."""
    spans_s: tuple[float, ...]
    """Each level counts as its means over so long, around the second, s."""
    coefficients: tuple[tuple[float, ...], ...]
    """(S, spans × M × F): of the scaled levels, in this order."""
    intercepts: tuple[float, ...]
    """(S,)"""
    power: float
    """What the evidence of a second is raised to before the grammar: seconds are not independent
    observations."""

    def __post_init__(self) -> None:
        if self.spec.relative is None:
            raise SpecError("teacher: expected a spec with relative levels, found one of samples")
        n = len(self.spans_s) * self.spec.n_modalities * max(self.spec.relative.n_features)
        shape = (len(self.spec.stages), n)
        if np.shape(self.coefficients) != shape or len(self.intercepts) != shape[0]:
            raise SpecError(
                f"teacher: expected coefficients of shape {shape}, "
                f"found {np.shape(self.coefficients)}"
            )


class Taught(NamedTuple):
    """What the teacher says of a recording of one subject, every second."""

    evidence: Floats
    """(n, S), of the second and those around it; NaN where nothing was usable."""
    probabilities: Floats
    """(n, S), given the whole recording and the grammar."""
    stages: NDArray[np.intp]
    """(n,), the most likely course as a whole, which need not be the likeliest stage of each
    second."""


@cache
def mouse_teacher() -> TeacherWeights:
    """Return the packaged teacher, written by `models.fit.teacher`."""
    return msgspec.json.decode(MOUSE_FILE.read_bytes(), type=TeacherWeights)


@cache
def teacher_hash() -> str:
    """Return the SHA-256 of the packaged teacher."""
    return hashlib.sha256(MOUSE_FILE.read_bytes()).hexdigest()


def check_modalities(stream: StreamChannels, spec: ModelSpec) -> None:
    """Raise RecordingError where a subject lacks a channel that the teacher reads."""
    for subject in stream.subjects:
        missing = [m for m in spec.modalities if m not in subject.channels]
        if missing:
            raise RecordingError(
                f"{subject.name}: expected {' and '.join(spec.modalities)} for the {NAME}, "
                f"found no {' and no '.join(missing)}"
            )


class Levels:
    """Collects the levels of a recording's subjects, epoch by epoch.

    Args:
        spec: the teacher's.
        n_subjects: in the recording.
    """

    def __init__(self, spec: ModelSpec, n_subjects: int) -> None:
        self._relative = Relative(spec, n_subjects, spec.epoch_s)
        self._sfreq = spec.sfreq
        self._found: list[Floats] = []
        self._usable: list[NDArray[np.bool_]] = []

    def add(self, microvolts: NDArray[np.float32], usable: NDArray[np.bool_]) -> None:
        """Take in an epoch of all subjects: (n_subjects, M, n_times) µV, (n_subjects, M)."""
        self._found.append(self._relative.measure(Powers(microvolts, self._sfreq)))
        self._usable.append(usable)

    def of(self, subject: int) -> tuple[Floats, NDArray[np.bool_]]:
        """Return what was measured of one subject, (n, M, F), and what is usable, (n, M)."""
        return np.stack([x[subject] for x in self._found]), np.stack(
            [x[subject] for x in self._usable]
        )


def teach(found: Floats, usable: NDArray[np.bool_], weights: TeacherWeights) -> Taught:
    """Stage a whole recording of one subject.

    Args:
        found: (n, M, F) levels, as `models.signal.relative.Relative.measure` gives them.
        usable: (n, M); the others are not looked at.
        weights: the teacher.
    """
    spec = weights.spec
    spans = [max(1, round(s / spec.epoch_s)) for s in weights.spans_s]
    said = around(found, usable, spans) @ np.array(weights.coefficients).T + weights.intercepts
    evidence = softmax(said, axis=1)
    evidence[~usable.any(axis=1)] = np.nan
    of_rates = Filter(grammar_of(weights.spec.species, weights.power, weights.power), spec.epoch_s)
    return Taught(evidence, of_rates.whole(evidence), of_rates.best_path(evidence))


def teach_recording(recording: Recording, stream: StreamChannels) -> list[Taught]:
    """Stage each subject of a recording; see `teach`.

    Raises:
        HypnodError: a modality is missing, or the recording does not fit its channels or unit.
    """
    weights = mouse_teacher()
    check_modalities(stream, weights.spec)
    n = len(stream.subjects)
    levels = Levels(weights.spec, n)
    for batch in epochs_of(recording, stream, weights.spec):
        levels.add(batch.microvolts, batch.usable)
    return [teach(*levels.of(i), weights) for i in range(n)]


def around(found: Floats, usable: NDArray[np.bool_], spans: list[int]) -> Floats:
    """Return levels relative to the recording's, averaged around each epoch, (n, spans × M × F).

    Args:
        found: (n, M, F).
        usable: (n, M): only these count; where there are none, a level is the usual one.
        spans: epochs.
    """
    n = len(found)
    there = usable[..., None]
    counted = np.maximum(usable.sum(axis=0), 1)[:, None]
    known = np.where(there, found, 0.0)
    mean = known.sum(axis=0) / counted
    off = np.where(there, found - mean, 0.0)
    scaled = off / np.sqrt(np.square(off).sum(axis=0) / counted + _LEAST_SD**2)
    sums = np.cumsum(np.concatenate([np.zeros_like(scaled[:1]), scaled]), axis=0)
    counts = np.cumsum(np.concatenate([np.zeros_like(there[:1]), there]), axis=0, dtype=np.int64)
    means = []
    for span in spans:
        first = np.clip(np.arange(n) - span // 2, 0, n)
        stop = np.clip(np.arange(n) - span // 2 + span, 0, n)
        means.append((sums[stop] - sums[first]) / np.maximum(counts[stop] - counts[first], 1))
    return np.stack(means, axis=1).reshape(n, -1)
