"""Hypnograms as people keep them: EDF+ or WFDB annotations, tables, a stage a line, .mat, XML."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from models.errors import RecordingError
from models.recordings.base import Annotation
from models.recordings.edf.reader import read_edf_annotations
from models.recordings.hypnogram import Hypnogram, check_length
from models.recordings.hypnograms.align import align
from models.recordings.hypnograms.annotations import read_annotations
from models.recordings.hypnograms.codes import in_words, open_book
from models.recordings.hypnograms.interpret import Legend, Scoring, interpret
from models.recordings.hypnograms.marks import (
    IsKnown,
    Marks,
    StageOf,
    consecutive,
    epoch_given,
)
from models.recordings.hypnograms.nsrr import read_nsrr
from models.recordings.hypnograms.tables.table import read_table
from models.recordings.hypnograms.wfdb import read_wfdb_marks
from models.recordings.mat import read_mat_scores
from models.recordings.open import Recording, check_file
from models.stages import MOUSE, UNKNOWN, find_stage

_TABLES = (".csv", ".tsv", ".txt")
_EXTENSIONS = (".edf", ".bdf", ".rec", *_TABLES, ".mat", ".xml", ".arousal")
_SDREAMER = "sdreamer"
_MICROAROUSAL = "3"
_REMEMBERED = 1024  # labels
_LONGEST_MICROAROUSAL_S = 15.0  # longer wakefulness is Wake


class _Annotated:
    """Annotations, read but not yet understood."""

    def __init__(
        self, annotations: Sequence[Annotation], start: datetime | None, flaws: Sequence[str]
    ) -> None:
        self._annotations = annotations
        self._start = start
        self._flaws = flaws

    def subjects(self, stage_of: StageOf) -> list[str]:
        """Return whose stages it says these are: those of `m1 Wake` and `m1 NREM`, no `LED R`."""
        marks = self.of(None).marks
        if any(stage_of(mark.label) for mark in marks):
            return []
        found: dict[str, set[str]] = {}
        spelt = set()
        for label, lasts in {(mark.label, mark.duration > 0) for mark in marks}:
            who, _, stage = label.rpartition(" ")
            if who and stage_of(stage):
                found.setdefault(who, set()).add(label)
                spelt |= {who} if lasts and len(stage) > 1 else set()
        several = {who for who, labels in found.items() if len(labels) > 1}
        return sorted(several | spelt if several else several)  # one may be awake all night

    def of(self, subject: str | None) -> Marks:
        """Return what it says of a subject; None: of nobody."""
        return replace(read_annotations(self._annotations, self._start, subject), flaws=self._flaws)


class _Table:
    """Rows or numbers by subject, read but not yet understood; None: they name nobody."""

    def __init__(self, by_subject: Mapping[str | None, Marks]) -> None:
        self._by_subject = by_subject

    def subjects(self, stage_of: StageOf) -> list[str]:
        """Return whose stages it says these are."""
        return [who for who in self._by_subject if who is not None]

    def all(self) -> list[Marks]:
        """Return what it says of everybody."""
        return [*self._by_subject.values()]

    def of(self, subject: str | None) -> Marks:
        """Return what it says of a subject; None: of the only one."""
        found = self._by_subject
        if subject in found:
            return found[subject]
        if len(found) == 1 and (subject is None or None in found):
            return next(iter(found.values()))
        whose = "one subject" if subject is None else f"the subject {subject!r}"
        raise RecordingError(
            f"expected stages of {whose}, found those of {', '.join(map(str, found))}"
        )


_File = _Annotated | _Table


def read_hypnogram(
    path: Path,
    stages: Sequence[str],
    *,
    subject: str | None = None,
    epoch_s: float | None = None,
) -> Hypnogram:
    """Read a hypnogram, whoever wrote it; see `read_scoring`."""
    legend = Legend(epoch_s=epoch_s)
    return read_scoring(path, stages, subject=subject, legend=legend).hypnogram


def read_scoring(
    path: Path,
    stages: Sequence[str],
    *,
    subject: str | None = None,
    legend: Legend | None = None,
) -> Scoring:
    """Read a hypnogram by the file's extension, and give account of it.

    Args:
        path: EDF+ or BDF+ annotations, a table (.csv, .tsv, .txt) of bouts or of one stage a
            line, a .mat with sleep_scores or labels, NSRR's or Profusion's .xml, or WFDB's
            .arousal.
        stages: the stage set that its labels are read as.
        subject: whose stages, where a file holds those of several: annotations of the form
            "<subject> <stage>", or a column `subject`.
        legend: what the file does not say itself.

    Raises:
        ConfigError: the legend names no code book.
        RecordingError: the file is missing, broken, holds no (or overlapping) stages, or labels
            beside them that are neither known nor ignored.
    """
    legend = legend or Legend()
    file = _open(path, stages, legend)
    return _read(path, file, stages, legend, subject)


def _read(
    path: Path, file: _File, stages: Sequence[str], legend: Legend, subject: str | None
) -> Scoring:
    try:
        return interpret(file.of(subject), stages, legend, str(path), subject)
    except RecordingError as error:
        raise _named(path, error) from error


def read_hypnograms(
    path: Path,
    subjects: Sequence[str],
    stages: Sequence[str],
    recording: Recording,
    legend: Legend,
    *,
    made_up: bool = False,
) -> dict[str, Scoring]:
    """Return what somebody, or hypnod, says of each subject of a recording.

    The only subject of a recording takes the stages that a file ascribes to nobody, or to one.

    Args:
        path: the hypnogram.
        subjects: whose stages.
        stages: the stage set that its labels are read as.
        recording: whose time it is laid on.
        legend: what the file does not say itself.
        made_up: nobody named the subjects; the file must not name others beside them.

    Raises:
        ConfigError: the legend names no code book.
        RecordingError: the file cannot be used, is of another length than the recording,
            or does not tell several subjects apart.
    """
    file = _open(path, stages, legend)
    named = file.subjects(_stages_by(legend, stages))
    found = {}
    for subject, whose in _whose(path, named, subjects, made_up=made_up).items():
        scoring = align(_read(path, file, stages, legend, whose), recording, legend)
        if scoring.open_end and scoring.hypnogram.end < recording.duration - 1:
            raise RecordingError(
                f"{path}: expected an end of the last stage, at {scoring.hypnogram.end:g} s, found "
                f"none in a recording of {recording.duration:g} s: give it a duration, or let a "
                "last 'unscored' end it"
            )
        check_length(scoring.hypnogram, recording)
        found[subject] = scoring
    return found


def _whose(
    path: Path, named: Sequence[str], subjects: Sequence[str], *, made_up: bool
) -> dict[str, str | None]:
    """Return by whose name each subject's stages stand in a file, None: by nobody's.

    Raises:
        RecordingError: the file does not say it.
    """
    others = [who for who in named if who not in subjects]
    known = len(named) > len(others) and not (made_up and others)
    if len(subjects) == 1 and len(named) < 2:
        return {subjects[0]: next(iter(named), None)}
    if known:
        return {subject: subject for subject in subjects}
    found = f"those of {', '.join(named)}" if named else "stages of nobody"
    options = " ".join(f"--subject {shlex.quote(who)}" for who in named[: len(subjects)])
    advice = f": say whose they are, as in hypnod score {options}, or keep those alone in the file"
    raise RecordingError(
        f"{path}: expected stages of {', '.join(subjects)}, found {found}{advice if named else ''}"
    )


def is_scored(path: Path, stages: Sequence[str], legend: Legend) -> bool:
    """Whether somebody scored it: some label is no UNKNOWN, or some annotation names a stage.

    Raises:
        ConfigError, RecordingError: it cannot be read.
    """
    file = _open(path, stages, legend)
    if isinstance(file, _Annotated):
        stage_of = _stages_by(legend, stages)
        plain = any(stage_of(mark.label) for mark in file.of(None).marks)
        return plain or bool(file.subjects(stage_of))
    labels = (mark.label for marks in file.all() for mark in marks.marks)
    return any(label != "-1" and find_stage(label, stages) != UNKNOWN for label in labels)


def _meaning(legend: Legend, stages: Sequence[str]) -> Callable[[str], str | None]:
    """Return what tells which stage a label is, ART or UNKNOWN; None: nothing that is known."""
    book = None if legend.codes is None else open_book(legend.codes, stages)

    @lru_cache(_REMEMBERED)
    def mean(label: str) -> str | None:
        return (None if book is None else book.read(label)) or find_stage(label, stages)

    return mean


def _stages_by(legend: Legend, stages: Sequence[str]) -> StageOf:
    """Return what tells which stage a label is, None: none, or ART or UNKNOWN."""
    mean = _meaning(legend, stages)

    def stage_of(label: str) -> str | None:
        return found if (found := mean(label)) in stages else None

    return stage_of


def _known_by(legend: Legend, stages: Sequence[str]) -> IsKnown:
    """Return what tells whether a label means something, be it that it is to be left out."""
    mean = _meaning(legend, stages)
    ignored = {label.strip().lower() for label in legend.ignore}
    return lambda label: label.lower() in ignored or mean(label) is not None


def is_own(path: Path) -> bool:
    """Whether hypnod wrote the stages in a file; what cannot be read is someone else's."""
    try:
        file = _open(path, MOUSE, Legend(epoch_s=1.0))
        found = [file.of(None)] if isinstance(file, _Annotated) else file.all()
    except RecordingError:
        return False
    return any(marks.staged_by is not None for marks in found)


def _open(path: Path, stages: Sequence[str], legend: Legend) -> _File:
    """Read a file by its extension.

    Raises:
        RecordingError: it is missing or broken.
    """
    check_file(path, _EXTENSIONS)
    try:
        if path.suffix.lower() == ".mat":
            return _Table({None: _read_mat(path, legend)})
        if path.suffix.lower() == ".xml":
            return _Table({None: read_nsrr(path)})
        if path.suffix.lower() == ".arousal":
            return _Table({None: read_wfdb_marks(path)})
        if path.suffix.lower() in _TABLES:
            known = _known_by(legend, stages)
            return _Table(read_table(path, legend.epoch_s, _stages_by(legend, stages), known))
        return _Annotated(*read_edf_annotations(path))
    except RecordingError as error:
        raise _named(path, error) from error
    except OSError as error:
        raise RecordingError(f"{path}: expected a readable hypnogram, found: {error}") from error


def _read_mat(path: Path, legend: Legend) -> Marks:
    """Return the numbers in a .mat; those of the sDREAMER lab's files say what they are.

    Raises:
        RecordingError: it has none, or they are not those of that lab and no book was named.
    """
    name, scores, flaws = read_mat_scores(path)
    own = name == "sleep_scores"
    length = legend.epoch_s or 1.0 if own else epoch_given(legend.epoch_s, f"the variable {name!r}")
    marks = consecutive(scores, length, [f"{name}({i})" for i in range(1, len(scores) + 1)])
    if own and legend.codes is None:
        _check_sdreamer(scores, length)
    return Marks(marks=marks, coded=_SDREAMER if own else None, flaws=flaws)


def _check_sdreamer(scores: Sequence[str], epoch_s: float) -> None:
    """Raise RecordingError where numbers are hardly those of the sDREAMER lab.

    It has Wake as 0, and a 3 is a microarousal; many labs count from 1.
    """
    runs = [(code, sum(1 for _ in run) * epoch_s) for code, run in groupby(scores)]
    longest = max((s for code, s in runs if code == _MICROAROUSAL), default=0.0)
    scored = {*scores} - {"", "-1"}
    found = ""
    if longest > _LONGEST_MICROAROUSAL_S:
        found = f"{longest:g} s of {_MICROAROUSAL} at a stretch"
    elif scored and "0" not in scored:
        found = f"{', '.join(sorted(scored))} and no 0"
    if found:
        raise RecordingError(
            f"expected sleep_scores of {in_words(_SDREAMER, MOUSE)}, found {found}: say what they "
            f"are, as in --codes accusleep ({in_words('accusleep', MOUSE)}), --codes "
            f"1=Wake,2=NREM,3=REM or --codes {_SDREAMER}"
        )


def _named(path: Path, error: RecordingError) -> RecordingError:
    text = str(error)
    return RecordingError(text if text.startswith(str(path)) else f"{path}: {text}")
