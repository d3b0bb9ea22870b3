"""What a training run writes: OUT-report.json and its table."""

from collections.abc import Sequence

import msgspec
from rich.table import Table

from models.recordings.scores import Scores
from models.spec import MIXED, Grammar
from tools.evaluate.evaluation import SubjectSource
from tools.shared.plain import plain_console

Parts = dict[str, tuple[str, ...]]


class PassReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One pass through the training subjects."""

    number: int
    """From 1; 0: the bundle that was fine-tuned."""
    loss: float | None
    """Mean over its steps; none of pass 0."""
    kappa: dict[str, float]
    """Validation κ by pathway, read live."""
    accuracy: dict[str, float]
    """Validation accuracy by pathway, read live."""


class SeedReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One of several seeds that the same was trained from."""

    seed: int
    taken: int
    """Which pass."""
    stopped_by: float
    """κ of that pass on the subjects that stop the training, live, mixed: the highest is taken."""
    scores: dict[str, Scores]
    """All test subjects' epochs together, by pathway and reading."""


class TrainReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All about a training run, as OUT-report.json has it."""

    data: str
    """What it was trained on."""
    command: str
    """What was typed."""
    device: str
    """Where it was trained, in which precision."""
    minutes: float
    """It took, min; of an interrupted run the last part."""
    config: dict[str, object]
    """How it was trained."""
    split: Parts
    """Names of the subjects that the bundle learned from, stopped by and was tested on."""
    sources: tuple[SubjectSource, ...]
    """What was read as what: channels, hypnograms, and the epochs they were scored in."""
    tested: str
    """On whom the figures are, and of epochs of which length."""
    history: tuple[PassReport, ...]
    """Of the net in the bundle."""
    temperatures: dict[str, float]
    """By pathway, what its logits are divided by."""
    grammar: Grammar | None
    """What stages are taken from beside the net's answers, in the figures too; null: nothing."""
    scores: dict[str, Scores]
    """All test subjects' epochs together, by pathway and reading."""
    subjects: dict[str, dict[str, Scores]]
    """The same of each test subject."""
    seeds: tuple[SeedReport, ...] = ()
    """All that were tried, where they were several; `config` names the one in the bundle."""
    datasets: dict[str, dict[str, Scores]] = {}
    """The same of each dataset, where one was left out in turn."""


def print_report(report: TrainReport) -> None:
    """Print the figures of the test, pooled and by subject."""
    columns = ("reading", "accuracy", "macro-F1", "κ", "ECE")
    table = Table(*columns, title=f"{report.tested}; {report.data}")
    for name, s in report.scores.items():
        table.add_row(name, *map(digits, (s.accuracy, s.macro_f1, s.kappa, s.ece)))
    parts = report.datasets or report.subjects
    if len(parts) > 1:
        live = {name: by_reading["mixed live"] for name, by_reading in parts.items()}
        table.add_section()
        for name, s in live.items():
            table.add_row(name, *map(digits, (s.accuracy, s.macro_f1, s.kappa, s.ece)))
    if report.datasets:
        figures = [(s.accuracy, s.macro_f1, s.kappa, s.ece) for s in live.values()]
        means = map(_mean, zip(*figures, strict=True))
        table.add_row("mean of the datasets", *map(digits, means))
    plain_console().print(table)
    if report.seeds:
        _print_seeds(report)


def _print_seeds(report: TrainReport) -> None:
    """Print what each seed gave; the test decides nothing."""
    columns = ("seed", "κ on what stops it", "κ in the test, live", "final")
    table = Table(*columns, title="seeds; the highest κ on what stops it is in the bundle")
    for each in report.seeds:
        mark = " ←" if each.seed == report.config["seed"] else ""
        tested = [s.kappa for name, s in each.scores.items() if name.startswith(MIXED)]
        table.add_row(f"{each.seed}{mark}", *map(digits, (each.stopped_by, *tested)))
    plain_console().print(table)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def digits(value: float | None) -> str:
    """Return a figure as people read it."""
    return "–" if value is None else f"{value:.3f}"
