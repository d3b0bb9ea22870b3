"""Hypnograms: stages over time, and the files that people keep them in.

EDF+ annotations, CSV, BIDS events.tsv, one stage a line, the sDREAMER lab's .mat.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from models.errors import RecordingError
from models.recordings.edf import read_edf_annotations
from models.recordings.mat import read_mat_scores
from models.recordings.open import Annotation, Recording, check_file
from models.stages import MOUSE, UNKNOWN, find_stage, from_indices, read_stage

_EXTENSIONS = (".edf", ".bdf", ".rec", ".csv", ".tsv", ".txt", ".mat")
_STAGE_COLUMNS = ("stage", "trial_type", "value")
_MICROAROUSAL = 3  # a fourth class of that lab's app; short wakefulness
_TOLERANCE_S = 1e-3  # onsets are written with milliseconds
_EPOCH_S = (0.25, 30.0)  # no scorer uses shorter or longer epochs
_NOBODY = "\0"  # a name that no subject has
_ENOUGH_BOUTS = 10  # for their common divisor not to be chance


@dataclass(frozen=True, eq=False)
class Hypnogram:
    """Stages over time, in order and without overlap.

    Args:
        onsets: (n,), from the recording's first sample, s.
        durations: (n,), s.
        stages: (n,) names of one stage set, or ART or UNKNOWN.

    Raises:
        RecordingError: a time is not finite or negative, or two stages overlap.
    """

    onsets: NDArray[np.float64]
    durations: NDArray[np.float64]
    stages: tuple[str, ...]

    def __post_init__(self) -> None:
        if not (np.isfinite(self.onsets).all() and np.isfinite(self.durations).all()):
            raise RecordingError("expected finite onsets and durations, found another number")
        if np.any(self.durations < 0):
            raise RecordingError(f"expected no duration below 0 s, found {self.durations.min():g}")
        overlap = self.onsets[:-1] + self.durations[:-1] - self.onsets[1:]
        if np.any(overlap > _TOLERANCE_S):
            at = float(self.onsets[1:][overlap > _TOLERANCE_S][0])
            raise RecordingError(f"expected one stage at a time, found two at {at:g} s")

    @classmethod
    def from_epochs(cls, stages: Sequence[str], epoch_s: float, onset: float = 0.0) -> Self:
        """Return the hypnogram of consecutive epochs, the first one at `onset`."""
        onsets = onset + np.arange(len(stages)) * np.float64(epoch_s)
        return cls(onsets, np.full(len(stages), float(epoch_s)), tuple(stages))

    @property
    def end(self) -> float:
        """When the last stage ends, s; 0 without stages."""
        return float(self.onsets[-1] + self.durations[-1]) if self.stages else 0.0

    @property
    def scored_end(self) -> float:
        """When the last stage other than UNKNOWN ends, s; 0 without one."""
        scored = [i for i, stage in enumerate(self.stages) if stage != UNKNOWN]
        return float(self.onsets[scored[-1]] + self.durations[scored[-1]]) if scored else 0.0

    @property
    def epoch_s(self) -> float | None:
        """Length of the epochs it was scored in, s; None where that cannot be seen.

        It is the length of the stages where all but the last have one; else the common divisor of
        their times, where there are ten or more.
        """
        lengths = self.durations[:-1]
        if len(lengths) == 0 or (len(lengths) < _ENOUGH_BOUTS and np.ptp(lengths) > _TOLERANCE_S):
            return None
        found = _common_divisor(np.concatenate([lengths, np.diff(self.onsets)]))
        return found if _EPOCH_S[0] <= found <= _EPOCH_S[1] else None

    def to_epochs(self, epoch_s: float, n_epochs: int) -> list[str]:
        """Return the stage that fills most of each epoch, UNKNOWN where most is unscored.

        Epoch k spans k × epoch_s to (k + 1) × epoch_s from the recording's first sample.
        """
        if not self.stages:
            return [UNKNOWN] * n_epochs
        edges = np.arange(n_epochs + 1) * epoch_s
        times = np.stack([self.onsets, self.onsets + self.durations], axis=1).ravel()
        names = sorted({*self.stages} - {UNKNOWN})
        scored = np.zeros((len(names) + 1, n_epochs))
        for i, name in enumerate(names):
            spent = np.cumsum(np.where(np.array(self.stages) == name, self.durations, 0.0))
            before = np.stack([np.concatenate([[0.0], spent[:-1]]), spent], axis=1).ravel()
            scored[i] = np.diff(np.interp(edges, times, before))
        scored[-1] = epoch_s - scored.sum(axis=0) - 1e-9  # a tie goes to the stage
        return [[*names, UNKNOWN][i] for i in scored.argmax(axis=0)]

    def merged(self) -> Self:
        """Return the same hypnogram with adjoining equal stages as one bout."""
        if not self.stages:
            return self
        ends = self.onsets + self.durations
        changes = np.array(self.stages[1:]) != np.array(self.stages[:-1])
        apart = self.onsets[1:] - ends[:-1] > _TOLERANCE_S
        first = np.flatnonzero(np.concatenate([[True], changes | apart]))
        last = np.append(first[1:] - 1, len(ends) - 1)
        onsets = self.onsets[first]
        return type(self)(onsets, ends[last] - onsets, tuple(self.stages[i] for i in first))


def read_hypnogram(
    path: Path,
    stages: Sequence[str],
    *,
    subject: str | None = None,
    epoch_s: float | None = None,
) -> Hypnogram:
    """Read a hypnogram by the file's extension.

    Args:
        path: EDF+ or BDF+ annotations, CSV or events.tsv with the columns onset, duration and
            stage (or trial_type, value), one stage a line, or a .mat with sleep_scores.
        stages: the stage set that its texts are read as.
        subject: whose stages, where a file holds those of several: annotations of the form
            "<subject> <stage>", or a column `subject`.
        epoch_s: length of an epoch in a file that does not say it (one stage a line), s.

    Raises:
        RecordingError: the file is missing, broken, or holds no (or overlapping) stages.
    """
    check_file(path, _EXTENSIONS)
    extension = path.suffix.lower()
    try:
        if extension == ".mat":
            return Hypnogram.from_epochs(_mat_stages(path, stages), epoch_s or 1.0)
        if extension in (".csv", ".tsv", ".txt"):
            return _read_table(path, stages, subject, epoch_s)
        return _from_annotations(read_edf_annotations(path), stages, subject)
    except RecordingError as error:
        text = str(error)
        raise RecordingError(text if text.startswith(str(path)) else f"{path}: {text}") from error
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise RecordingError(f"{path}: expected a readable hypnogram, found: {error}") from error


def read_hypnograms(
    path: Path,
    subjects: Sequence[str],
    stages: Sequence[str],
    recording: Recording,
    epoch_s: float | None,
) -> dict[str, Hypnogram]:
    """Return each subject's hypnogram in a file.

    The only subject of a recording takes the stages that a file ascribes to nobody.

    Raises:
        RecordingError: the file cannot be used, is of another length than the recording, or does
            not tell several subjects apart.
    """
    read = partial(read_hypnogram, path, stages, epoch_s=epoch_s)
    if len(subjects) == 1:
        found = [read(subject=subjects[0] if _reads(read, subjects[0]) else None)]
    elif _reads(read, _NOBODY):
        raise RecordingError(
            f"{path}: expected stages of each of {', '.join(subjects)}, found stages of nobody"
        )
    else:
        found = [read(subject=subject) for subject in subjects]
    for hypnogram in found:
        check_length(hypnogram, recording)
    return dict(zip(subjects, found, strict=True))


def _reads(read: Callable[..., Hypnogram], subject: str) -> bool:
    """Whether a file has stages for a subject; one that names none has them for everybody."""
    try:
        read(subject=subject)
    except RecordingError:
        return False
    return True


def check_length(hypnogram: Hypnogram, recording: Recording) -> None:
    """Raise RecordingError where a hypnogram is of another length than its recording.

    Less than one scored epoch may be missing at the end; what follows as UNKNOWN is ignored.
    """
    step = _common_divisor(np.concatenate([hypnogram.onsets, hypnogram.durations]))
    epoch_s = min(max(step, 2 * _TOLERANCE_S), _EPOCH_S[1])
    too_short = hypnogram.end <= recording.duration - epoch_s
    too_long = hypnogram.scored_end >= recording.duration + epoch_s
    if too_short or too_long:
        found = hypnogram.end if too_short else hypnogram.scored_end
        raise RecordingError(
            f"{recording.path}: expected a hypnogram of the recording's {recording.duration:g} s, "
            f"found one of {found:g} s"
        )


def _common_divisor(times: NDArray[np.float64]) -> float:
    """Return the longest time of which all are multiples, to the ms; 0 without times, s."""
    return float(np.gcd.reduce(np.round(times * 1000).astype(np.int64))) / 1000


def _from_annotations(
    annotations: Sequence[Annotation], stages: Sequence[str], subject: str | None
) -> Hypnogram:
    """Return the hypnogram in annotations; one without a duration lasts until the next."""
    prefix = f"{subject} " if subject else ""
    found = [
        (a, stage)
        for a in annotations
        if a.text.startswith(prefix)
        and a.text != prefix
        and (stage := find_stage(a.text[len(prefix) :], stages)) is not None
    ]
    if not found:
        texts = ", ".join(sorted({repr(a.text) for a in annotations})[:6]) or "none"
        whose = f" of subject {subject!r}" if subject else ""
        raise RecordingError(f"expected annotations that name stages{whose}, found {texts}")
    onsets = np.array([a.onset for a, _ in found])
    durations = np.array([a.duration for a, _ in found])
    until_next = np.append(np.diff(onsets), 0.0)
    durations = np.where(durations == 0, until_next, durations)
    return Hypnogram(onsets, durations, tuple(stage for _, stage in found))


def _mat_stages(path: Path, stages: Sequence[str]) -> list[str]:
    scores = read_mat_scores(path)
    if tuple(stages) != MOUSE:
        raise RecordingError(f"expected the stages {', '.join(MOUSE)} for a .mat, found {stages}")
    strange = scores[(scores < -1) | (scores > _MICROAROUSAL)]
    if len(strange):
        raise RecordingError(f"expected sleep_scores of -1 to {_MICROAROUSAL}, found {strange[0]}")
    return from_indices(np.where(scores == _MICROAROUSAL, 0, scores), stages)


def _read_table(
    path: Path, stages: Sequence[str], subject: str | None, epoch_s: float | None
) -> Hypnogram:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        lines = [line for line in stream.read().splitlines() if line.strip()]
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    header = [name.strip().lower() for name in next(csv.reader(lines, delimiter=delimiter), [])]
    if "onset" not in header:
        return _read_lines(lines, stages, epoch_s)
    column = next((name for name in _STAGE_COLUMNS if name in header), None)
    if column is None or "duration" not in header:
        raise RecordingError(
            f"expected the columns onset, duration and {' or '.join(_STAGE_COLUMNS)}, "
            f"found {', '.join(header)}"
        )
    rows = csv.DictReader(lines[1:], fieldnames=header, delimiter=delimiter, restval="")
    mine = [row for row in rows if _is_wanted(row, subject)]
    return _from_rows(mine, column, stages)


def _is_wanted(row: Mapping[str, str], subject: str | None) -> bool:
    """Leave out other subjects, and in hypnod's own files the live estimates."""
    if subject is not None and row.get("subject", subject) != subject:
        return False
    return row.get("kind") != "live"


def _from_rows(rows: list[dict[str, str]], column: str, stages: Sequence[str]) -> Hypnogram:
    """Return the hypnogram in a table's rows; only a column `stage` must hold stages alone."""
    onsets, durations, found = [], [], []
    for row in rows:
        read = read_stage if column == "stage" else find_stage
        stage = read(row[column], stages)
        if stage is None:
            continue
        try:
            onsets.append(float(row["onset"]))
            durations.append(float(row["duration"]))
        except ValueError as error:
            raise RecordingError(f"expected seconds, found: {error}") from error
        found.append(stage)
    if not found:
        raise RecordingError(f"expected rows that name stages, found none in {len(rows)} rows")
    order = np.argsort(onsets, kind="stable")
    stages_in_order = tuple(found[i] for i in order)
    return Hypnogram(np.array(onsets)[order], np.array(durations)[order], stages_in_order)


def _read_lines(lines: Sequence[str], stages: Sequence[str], epoch_s: float | None) -> Hypnogram:
    """Return the hypnogram in a file of one stage a line, perhaps under a title."""
    if lines and lines[0].strip().lower() == "stage":
        lines = lines[1:]
    if not lines:
        raise RecordingError("expected stages, found an empty file")
    names = [read_stage(line, stages) for line in lines]
    if epoch_s is None:
        raise RecordingError("expected columns onset and duration, or an epoch length to be given")
    return Hypnogram.from_epochs(names, epoch_s)
