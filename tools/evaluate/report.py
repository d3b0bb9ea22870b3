"""What `hypnod evaluate` writes: JSON, and a CSV by subject."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from daemon.messages import Kind
from engines.bundle import Bundle
from models.recordings.bouts import Course, describe_course
from models.recordings.hypnograms import account
from models.recordings.scores import Scores, bootstrap, score
from models.recordings.writers import write_table
from tools.evaluate.evaluation import ALL, Case, Count, Evaluated, SubjectSource
from tools.score.drift import DriftSummary, doubts, summarise
from tools.shared.measure import Machine, describe_machine

Interval = tuple[float, float]

FIGURES = {
    "kappa": "κ",
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "ece": "ECE",
    "brier": "Brier",
}
"""What is shown of all figures, by its name."""
_BOUTS = ("transitions_per_hour", "wake_to_rem_per_hour")
_DELAYS = ("median_s", "p90_s", "never")


class Result(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Figures of one case."""

    without: tuple[str, ...]
    """Modalities withheld: as if there were no such channel."""
    kind: Kind
    """`live`: at once; `final`: read again with right-hand context."""
    part: str
    """`all` epochs, or the `first_minute` after the start of each recording."""
    pooled: Scores
    """All subjects' epochs together."""
    intervals: dict[str, Interval | None]
    """95 % of a bootstrap over subjects, by the figure's name; null with fewer than two."""
    subjects: dict[str, Scores]
    """Each subject's epochs, of all its recordings; the worst first, by κ live of all epochs."""
    course: Course | None = None
    """How stages follow each other, in all subjects together; null of the first minute."""
    courses: dict[str, Course] = {}
    """Likewise of each subject, in the same order."""
    pathways: dict[str, int]
    """Epochs with an expert's stage, by what hypnod read them from."""
    reasons: dict[str, int]
    """Epochs with an expert's stage and none of hypnod's, by the reason."""


class Evaluation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `hypnod evaluate --json` prints."""

    data: str
    """What the figures are of: recordings that experts scored, or simulated mice."""
    recordings: int
    hours: float
    """Of all recordings, h."""
    left_out: tuple[str, ...]
    """Recordings without a hypnogram, left out by --skip-unscored."""
    bundle: str
    """Name of the model bundle."""
    model: str
    """First 12 digits of the bundle's SHA-256."""
    engine: str
    epoch_s: tuple[float, ...]
    """Lengths of the epochs compared, s."""
    hop_s: float | None = None
    """From one stage to the next, s; null: the model's epoch."""
    results: tuple[Result, ...]
    sources: tuple[SubjectSource, ...] = ()
    """What was read as what."""
    drift: dict[str, dict[str, DriftSummary]] = {}
    """How unlike the training animals each subject looked, by subject and modality, where it was
    known; of the first choice of modalities."""
    contradictions: tuple[str, ...] = ()
    """What speaks against the animals being such as the model was trained on."""
    date: str
    """Of the measurement, UTC."""
    machine: Machine
    """It was taken on."""


def report(evaluated: Evaluated, bundle: Bundle, data: str, left_out: Sequence[Path]) -> Evaluation:
    """Return all figures of an evaluation."""
    drift = summarise(evaluated.drift)
    orders = {
        case.without: _worst_first(count, bundle.spec.stages)
        for case, count in evaluated.counts.items()
        if (case.kind, case.part) == ("live", ALL)
    }
    return Evaluation(
        data=data,
        recordings=evaluated.recordings,
        hours=evaluated.seconds / 3600,
        left_out=tuple(map(str, left_out)),
        bundle=bundle.manifest.name,
        model=bundle.hash[:12],
        engine=evaluated.engine,
        epoch_s=tuple(sorted({source.epoch_s for source in evaluated.sources})),
        hop_s=None if evaluated.hop_s == bundle.spec.epoch_s else evaluated.hop_s,
        sources=tuple(evaluated.sources),
        results=tuple(
            _result(case, count, orders[case.without], bundle.spec.stages)
            for case, count in evaluated.counts.items()
        ),
        drift={name: dict(by_modality) for name, by_modality in drift.items()},
        contradictions=(*evaluated.contradictions, *doubts(drift)),
        date=datetime.now(UTC).date().isoformat(),
        machine=describe_machine(),
    )


def _worst_first(count: Count, stages: Sequence[str]) -> list[str]:
    """Return the subjects by κ, the lowest first; last those that have none."""
    kappas = {name: score(found, stages).kappa for name, found in count.tallies.items()}
    return sorted(kappas, key=lambda name: (kappas[name] is None, kappas[name] or 0.0))


def _result(case: Case, count: Count, order: Sequence[str], stages: Sequence[str]) -> Result:
    tallies, courses = list(count.tallies.values()), list(count.courses.values())
    return Result(
        without=case.without,
        kind=case.kind,
        part=case.part,
        pooled=score(sum(tallies[1:], tallies[0]), stages),
        intervals=bootstrap(tallies, stages),
        subjects={name: score(count.tallies[name], stages) for name in order},
        course=describe_course(sum(courses[1:], courses[0]), stages) if courses else None,
        courses={
            name: describe_course(count.courses[name], stages)
            for name in order
            if name in count.courses
        },
        pathways=dict(count.pathways),
        reasons=dict(count.reasons),
    )


def name_read(without: Sequence[str]) -> str:
    """Return which modalities were withheld, in words."""
    return f"without {' and '.join(without)}" if without else "as recorded"


def write_subjects(path: Path, evaluation: Evaluation) -> None:
    """Write a row for each subject and case.

    Raises:
        RecordingError: the place cannot be written to.
    """
    stages = evaluation.results[0].pooled.stages
    columns = ["subject", "without", "kind", "part", "epochs", "unscored", "unscorable"]
    columns += [*FIGURES, *(f"f1_{stage}" for stage in stages)]
    columns += [f"precision_{stage}" for stage in stages]
    columns += [f"{who}_{name}" for who in ("expert", "hypnod") for name in _BOUTS]
    columns += [f"{name}_{stage}" for stage in stages[1:] for name in _DELAYS]
    columns += ["learnt"]
    write_table(path, columns, _rows(evaluation))


def _rows(evaluation: Evaluation) -> Iterator[list[object]]:
    for result in evaluation.results:
        for name, scores in result.subjects.items():
            figures = [getattr(scores, figure) for figure in FIGURES]
            figures += [*scores.f1.values(), *scores.precision.values()]
            figures += _course_figures(result.courses.get(name), len(scores.stages))
            yield [
                *(name, " ".join(result.without), result.kind, result.part),
                *(scores.n_epochs, scores.n_unscored, scores.n_unscorable),
                *("" if value is None else f"{value:.6g}" for value in figures),
                learnt_in_words(evaluation, name),
            ]


def _course_figures(course: Course | None, n_stages: int) -> list[float | None]:
    """Return the columns of bouts and delays; empty ones of the first minute."""
    if course is None:
        return [None] * (2 * len(_BOUTS) + (n_stages - 1) * len(_DELAYS))
    bouts = [getattr(b, name) for b in (course.expert, course.hypnod) for name in _BOUTS]
    return bouts + [getattr(d, name) for d in course.delays.values() for name in _DELAYS]


def learnt_in_words(evaluation: Evaluation, subject: str) -> str:
    """Say what the bundle used a subject's recordings for; nothing where it never saw them."""
    learnt = {s.learnt for s in evaluation.sources if s.subject == subject and s.learnt}
    return ", ".join(sorted(learnt))


def in_words(sources: Iterable[SubjectSource]) -> list[str]:
    """Say which channels were read how often, and which labels of each hypnogram as what."""
    sources = tuple(sources)
    read = Counter(
        ", ".join(f"{modality} = {label}" for modality, label in source.channels.items())
        for source in sources
    )
    own = dict.fromkeys(path for source in sources for path in source.own)
    left_out: dict[str, list[str]] = {}
    for recording, lines in {s.recording: s.left_out for s in sources}.items():
        for line in lines:
            left_out.setdefault(line, []).append(recording)
    return [
        *(f"read {n} × {channels}" for channels, n in read.items()),
        *(f"{line}, in {' '.join(recordings)}" for line, recordings in left_out.items()),
        *(line for s in sources if s.read is not None for line in account.in_words(s.read)),
        *(f"not read, hypnod wrote it: {path}" for path in own),
    ]


def find(evaluation: Evaluation, kind: Kind, part: str = ALL) -> Mapping[tuple[str, ...], Result]:
    """Return the results of a kind and part, by what was withheld."""
    found = (r for r in evaluation.results if (r.kind, r.part) == (kind, part))
    return {result.without: result for result in found}
