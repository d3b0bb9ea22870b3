"""An evaluation for a person; the tables of bouts and animals are the picture's too."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from models.recordings.bouts import Bouts, Course
from models.spec import LearntAs
from tools.evaluate.evaluation import ALL
from tools.evaluate.report import (
    FIGURES,
    Evaluation,
    Result,
    find,
    in_words,
    learnt_in_words,
    name_read,
)
from tools.score.drift import say
from tools.view.confusion import draw_confusion

_NONE = "–"
_PAST: dict[LearntAs, str] = {
    "trained": "the bundle was trained on it",
    "stopped on": "the bundle's training was stopped by it",
}


class Rows(NamedTuple):
    """A table as people read it; the first column is text."""

    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


def print_evaluation(console: Console, evaluation: Evaluation) -> None:
    """Print the figures for a person."""
    for without, final in find(evaluation, "final").items():
        console.print(_figures([r for r in evaluation.results if r.without == without]))
        console.print(draw_confusion(final.pooled.stages, final.pooled.confusion))
        for reason, n in final.reasons.items():
            console.print(f"no stage for {n} × {reason}")
        for rows in (bouts_table(evaluation, without), animals_table(evaluation, without)):
            console.print(_as_table(rows))
        console.print()
    subjects = len(evaluation.results[0].subjects)
    epochs = ", ".join(f"{epoch_s:g} s" for epoch_s in evaluation.epoch_s)
    hop = "" if evaluation.hop_s is None else f", a hop of {evaluation.hop_s:g} s"
    console.print(
        f"{evaluation.data}: {subjects} subjects, {evaluation.recordings} recordings, "
        f"{evaluation.hours:.2f} h, epochs of {epochs}{hop}; {evaluation.bundle} "
        f"{evaluation.model}, {evaluation.engine}"
    )
    for line in in_words(evaluation.sources):
        console.print(line)
    for line in remarks(evaluation):
        console.print(line)


def remarks(evaluation: Evaluation) -> list[str]:
    """Say what else a reader of the figures has to know."""
    learnt = [
        f"{source.recording}: {_PAST[source.learnt]}, its figures flatter"
        for source in evaluation.sources
        if source.learnt is not None
    ]
    far = {
        name: by_modality
        for name, by_modality in evaluation.drift.items()
        if any(drift.why is not None for drift in by_modality.values())
    }
    left_out = (f"left out, without a hypnogram: {path}" for path in evaluation.left_out)
    return [*dict.fromkeys(learnt), *say(far), *evaluation.contradictions, *left_out]


def bouts_table(evaluation: Evaluation, without: tuple[str, ...]) -> Rows:
    """Return how stages follow each other: the expert's, live and final."""
    live, final = (find(evaluation, kind)[without].course for kind in ("live", "final"))
    if live is None or final is None:
        return Rows(("",), [])
    each = (final.expert, live.hypnod, final.hypnod)
    rows = [
        ("transitions an hour", *(_digits(b.transitions_per_hour) for b in each)),
        ("Wake → REM an hour", *(_digits(b.wake_to_rem_per_hour) for b in each)),
        *((f"{stage} bouts × mean s", *(_bouts(b, stage) for b in each)) for stage in each[0].n),
    ]
    for stage in live.delays:
        both = [course.delays[stage] for course in (live, final)]
        times = [f"{_digits(d.median_s)}, {_digits(d.p90_s)}" for d in both]
        rows.append((f"{stage} called after s, median, 90 %", "", *times))
        rows.append((f"{stage} bouts never called", "", *(_percent(d.never) for d in both)))
    return Rows(("", "expert", "live", "final"), rows)


def animals_table(evaluation: Evaluation, without: tuple[str, ...]) -> Rows:
    """Return the figures of every animal, the worst first.

    Two figures in a cell are live and final, three the expert's, live and final.
    """
    live, final = (find(evaluation, kind)[without] for kind in ("live", "final"))
    rows: list[tuple[str, ...]] = []
    for name in live.subjects:
        one, other = live.subjects[name], final.subjects[name]
        of_live, of_final = live.courses[name], final.courses[name]
        delay, learnt = of_live.delays["REM"], learnt_in_words(evaluation, name)
        rows.append(
            (
                f"{name} ({learnt})" if learnt else name,
                f"{_digits(one.kappa, 2)} {_digits(other.kappa, 2)}",
                f"{_digits(one.precision['REM'], 2)} {_digits(other.precision['REM'], 2)}",
                f"{_digits(delay.median_s)} s, {_percent(delay.never)}",
                _three(of_live, of_final, "transitions_per_hour"),
                _three(of_live, of_final, "wake_to_rem_per_hour"),
                *_drift(evaluation, name),
            )
        )
    columns = ("worst first", "κ", "REM precision", "REM late, never", "transitions/h")
    return Rows((*columns, "Wake→REM/h", "drift", "above 1"), rows)


def _three(live: Course, final: Course, figure: str) -> str:
    return " ".join(_digits(getattr(b, figure)) for b in (final.expert, live.hypnod, final.hypnod))


def _drift(evaluation: Evaluation, name: str) -> tuple[str, str]:
    """Return each modality's median, and the share of the time above the limit."""
    found = evaluation.drift.get(name, {})
    medians = (f"{modality} {_digits(drift.median, 2)}" for modality, drift in found.items())
    beyond = (_percent(drift.beyond) for drift in found.values())
    return ", ".join(medians) or _NONE, ", ".join(beyond) or _NONE


def _bouts(bouts: Bouts, stage: str) -> str:
    return f"{bouts.n[stage]} × {_digits(bouts.mean_s[stage])}"


def _percent(share: float | None) -> str:
    return _NONE if share is None else f"{100 * share:.0f} %"


def _digits(value: float | None, places: int = 1) -> str:
    return _NONE if value is None else f"{value:.{places}f}"


def _as_table(rows: Rows) -> Table:
    table = Table(box=None, pad_edge=False)
    for k, column in enumerate(rows.columns):
        table.add_column(column, no_wrap=k == 0)
    for row in rows.rows:
        table.add_row(*row)
    return table


def _figures(results: Sequence[Result]) -> Table:
    """Return the figures of one choice of modalities, a column for each kind and part."""
    titles = [r.kind if r.part == ALL else f"{r.kind}, first minute" for r in results]
    table = Table("", *titles, title=name_read(results[0].without), box=None, pad_edge=False)
    for figure, name in FIGURES.items():
        table.add_row(name, *(_with_interval(r, figure) for r in results))
    for stage in results[0].pooled.stages:
        table.add_row(f"F1 {stage}", *(_with_interval(r, f"f1 {stage}") for r in results))
    for stage in results[0].pooled.stages:
        figure = f"precision {stage}"
        table.add_row(figure, *(_with_interval(r, figure) for r in results))
    table.add_row("epochs", *(str(r.pooled.n_epochs) for r in results))
    table.add_row("no stage", *(str(r.pooled.n_unscorable) for r in results))
    return table


def _with_interval(result: Result, figure: str) -> str:
    name, _, stage = figure.partition(" ")
    found = getattr(result.pooled, name)
    value = found[stage] if stage else found
    interval = result.intervals[figure]
    spread = "" if interval is None else f" {interval[0]:.2f}–{interval[1]:.2f}"
    return "–" if value is None else f"{value:.3f}{spread}"
