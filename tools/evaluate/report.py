"""What `hypnod evaluate` writes: JSON, a table, a CSV by subject."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from daemon.messages import Kind
from engines.bundle import Bundle
from models.recordings.scores import Scores, bootstrap, score
from models.recordings.writers import write_table
from tools.evaluate.evaluation import ALL, Case, Count, Evaluated, SubjectSource
from tools.measure import Machine, describe_machine
from tools.view.confusion import draw_confusion

Interval = tuple[float, float]

_FIGURES = {
    "kappa": "κ",
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "ece": "ECE",
    "brier": "Brier",
}


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
    """Each subject's epochs, of all its recordings."""
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
    results: tuple[Result, ...]
    sources: tuple[SubjectSource, ...] = ()
    """What was read as what."""
    date: str
    """Of the measurement, UTC."""
    machine: Machine
    """It was taken on."""


def report(evaluated: Evaluated, bundle: Bundle, data: str, left_out: Sequence[Path]) -> Evaluation:
    """Return all figures of an evaluation."""
    return Evaluation(
        data=data,
        recordings=evaluated.recordings,
        hours=evaluated.seconds / 3600,
        left_out=tuple(map(str, left_out)),
        bundle=bundle.manifest.name,
        model=bundle.hash[:12],
        engine=evaluated.engine,
        epoch_s=tuple(sorted({source.epoch_s for source in evaluated.sources})),
        sources=tuple(evaluated.sources),
        results=tuple(
            _result(case, count, bundle.spec.stages) for case, count in evaluated.counts.items()
        ),
        date=datetime.now(UTC).date().isoformat(),
        machine=describe_machine(),
    )


def _result(case: Case, count: Count, stages: Sequence[str]) -> Result:
    tallies = list(count.tallies.values())
    return Result(
        without=case.without,
        kind=case.kind,
        part=case.part,
        pooled=score(sum(tallies[1:], tallies[0]), stages),
        intervals=bootstrap(tallies, stages),
        subjects={name: score(found, stages) for name, found in count.tallies.items()},
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
    columns += [*_FIGURES, *(f"f1_{stage}" for stage in stages)]
    write_table(path, columns, _rows(evaluation))


def _rows(evaluation: Evaluation) -> Iterator[list[object]]:
    for result in evaluation.results:
        for name, scores in result.subjects.items():
            figures = [getattr(scores, figure) for figure in _FIGURES] + list(scores.f1.values())
            yield [
                *(name, " ".join(result.without), result.kind, result.part),
                *(scores.n_epochs, scores.n_unscored, scores.n_unscorable),
                *("" if value is None else f"{value:.6g}" for value in figures),
            ]


def print_evaluation(console: Console, evaluation: Evaluation) -> None:
    """Print the figures for a person."""
    for without, final in find(evaluation, "final").items():
        console.print(_figures([r for r in evaluation.results if r.without == without]))
        console.print(draw_confusion(final.pooled.stages, final.pooled.confusion))
        for reason, n in final.reasons.items():
            console.print(f"no stage for {n} × {reason}")
        console.print()
    subjects = len(evaluation.results[0].subjects)
    epochs = ", ".join(f"{epoch_s:g} s" for epoch_s in evaluation.epoch_s)
    console.print(
        f"{evaluation.data}: {subjects} subjects, {evaluation.recordings} recordings, "
        f"{evaluation.hours:.2f} h, epochs of {epochs}; {evaluation.bundle} {evaluation.model}, "
        f"{evaluation.engine}"
    )
    for line in in_words(evaluation.sources):
        console.print(line)
    for path in evaluation.left_out:
        console.print(f"left out, without a hypnogram: {path}")


def in_words(sources: Iterable[SubjectSource]) -> list[str]:
    """Say which channels were read how often."""
    read = Counter(
        ", ".join(f"{modality} = {label}" for modality, label in source.channels.items())
        for source in sources
    )
    return [f"read {n} × {channels}" for channels, n in read.items()]


def _figures(results: Sequence[Result]) -> Table:
    """Return the figures of one choice of modalities, a column for each kind and part."""
    titles = [r.kind if r.part == ALL else f"{r.kind}, first minute" for r in results]
    table = Table("", *titles, title=name_read(results[0].without), box=None, pad_edge=False)
    for figure, name in _FIGURES.items():
        table.add_row(name, *(_with_interval(r, figure) for r in results))
    for stage in results[0].pooled.stages:
        table.add_row(f"F1 {stage}", *(_with_interval(r, f"f1 {stage}") for r in results))
    table.add_row("epochs", *(str(r.pooled.n_epochs) for r in results))
    table.add_row("no stage", *(str(r.pooled.n_unscorable) for r in results))
    return table


def _with_interval(result: Result, figure: str) -> str:
    pooled = result.pooled
    stage = figure.removeprefix("f1 ")
    value = pooled.f1[stage] if stage in pooled.f1 else getattr(pooled, figure)
    interval = result.intervals[figure]
    spread = "" if interval is None else f" {interval[0]:.2f}–{interval[1]:.2f}"
    return "–" if value is None else f"{value:.3f}{spread}"


def find(evaluation: Evaluation, kind: Kind, part: str = ALL) -> Mapping[tuple[str, ...], Result]:
    """Return the results of a kind and part, by what was withheld."""
    found = (r for r in evaluation.results if (r.kind, r.part) == (kind, part))
    return {result.without: result for result in found}
