"""The morning's report: one HTML file that needs nothing else, for a screen and for paper."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from models.recordings.writers import replacing
from models.stages import ART, COLOURS, UNKNOWN
from tools.night.figures import Figures
from tools.night.report import NightSummary
from tools.night.tested import tested
from tools.view.charts import add_overview, runs_of
from tools.view.clock import Clock
from tools.view.html import Element, add, add_table, encode, link, new_page
from tools.view.subject import (
    Subject,
    add_subject,
    anchor,
    in_hours,
    percent,
    remarks_on,
    sentence,
    shares_of,
)

STYLE = Path(__file__).with_name("report.css")
_WIDTH = 900
"""Spans that a night is shown in where all subjects are: about as many as it has points."""


def write_report(
    path: Path, subjects: Sequence[Subject], summary: NightSummary, clock: Clock
) -> None:
    """Write the report of a night.

    Args:
        path: the file.
        subjects: at least one.
        summary: of the night.
        clock: when it was, all subjects together.

    Raises:
        RecordingError: the place cannot be written to.
    """
    begin, end = (clock.day.local(moment) for moment in (clock.start, clock.end))
    title = f"Night of {begin:%Y-%m-%d}"
    page, body = new_page(title, STYLE.read_text("utf-8"))
    add(body, "h1", title)
    add(
        body,
        "p",
        f"{begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} ({clock.zone}), {summary.journal}",
    )
    rules = dict.fromkeys(each.figures.rule for each in subjects)
    for rule in rules:
        add(body, "p", f"Counted: {rule}.", class_="faint")
    ends = [m.model for s in subjects for m in (s.record.epochs[0], s.record.epochs[-1])]
    models = dict.fromkeys(ends)
    by = f"Staged by hypnod, model {', '.join(models)}; no expert has looked at it."
    for text in (by, *tested(models)):
        add(body, "p", text, class_="faint")
    for missing in summary.missing:
        add(body, "p", f"Damaged journal: {missing}", class_="warn")
    _cohort(body, subjects, clock)
    for restart in summary.restarts:
        at = f"{clock.day.at(restart['utc']):%m-%d %H:%M:%S}"
        text = f"{at}, stream {restart['stream']}: {restart['reason']}"
        add(body, "p", text, class_="faint")
    for subject in subjects:
        mine = [t for t in summary.triggers if t.subject == subject.record.subject]
        add_subject(body, subject, mine, clock)
    with replacing(path) as draft:
        draft.write_bytes(encode(page))


def _cohort(body: Element, subjects: Sequence[Subject], clock: Clock) -> None:
    courses = {
        s.record.subject: runs_of(s.course.stages, s.course.start, s.course.epoch_s, _WIDTH)
        for s in subjects
    }
    add_overview(body, courses, clock)
    stages = _stages(subjects)
    add_key(body, stages)
    rows = [_overall(subject, stages) for subject in subjects]
    columns = ["subject", "recorded", *stages, "no stage", "bouts", "to look at"]
    caption = f"Time in stage, and its share of staged time. {_rule(subjects)}"
    table = add_table(body, caption, columns, rows)
    for row in table.iter("tr"):
        row[-1].set("class", "words")
    if len(subjects) > 1:
        _means(body, subjects, stages)


def add_key(parent: Element, stages: Sequence[str]) -> None:
    """Append what the colours of stages, of ART and of UNKNOWN are."""
    key = add(parent, "p", class_="key")
    for stage in (*stages, ART, UNKNOWN):
        colour = COLOURS[stage].picture
        add(add(key, "span"), "i", style=f"background: {colour}").tail = f" {stage} "


def _overall(subject: Subject, stages: Sequence[str]) -> list[str | Element]:
    figures, name = subject.figures, subject.record.subject
    shares = shares_of(figures.seconds, subject.record.stages)
    times: list[str | Element] = [
        f"{in_hours(figures.seconds[s])}, {percent(shares[s])}" if s in shares else "–"
        for s in stages
    ]
    bouts = sum(each.n for each in figures.bouts.values())
    return [
        link(name, anchor(name)),
        in_hours(sum(figures.seconds.values())),
        *times,
        in_hours(_lost(figures)),
        str(bouts),
        "; ".join(remarks_on(subject)) or "–",
    ]


def _means(body: Element, subjects: Sequence[Subject], stages: Sequence[str]) -> None:
    """Tell means over subjects, each counting once."""
    spans = {"all": [s.figures.seconds for s in subjects]}
    lit = [s.figures for s in subjects if s.figures.light_s is not None]
    if lit:
        spans["light"] = [f.light_s or {} for f in lit]
        spans["dark"] = [f.dark_s or {} for f in lit]
    rows = []
    for name, found in spans.items():
        known = [shares for seconds in found if (shares := shares_of(seconds, stages))]
        cells = [mean_of([shares[stage] for shares in known]) for stage in stages]
        rows.append([name, str(len(known)), *cells])
    caption = "Share of staged time: mean ± SD over subjects, each counting once."
    add_table(body, f"{caption} {_rule(subjects)}", ["", "subjects", *stages], rows)


def mean_of(values: Sequence[float], say: Callable[[float], str] = percent) -> str:
    """Say a mean with its SD, which takes two at least."""
    if len(values) < 2:
        return ", ".join(map(say, values)) or "–"
    sd, _, _ = say(float(np.std(values, ddof=1))).partition(" ")  # the unit stands once
    return f"{say(float(np.mean(values)))} ± {sd}"


def _rule(subjects: Sequence[Subject]) -> str:
    rules = dict.fromkeys(each.figures.rule for each in subjects)
    return f"{sentence('; '.join(rules))}."


def _stages(subjects: Sequence[Subject]) -> list[str]:
    return list(dict.fromkeys(stage for s in subjects for stage in s.record.stages))


def _lost(figures: Figures) -> float:
    return figures.seconds[ART] + figures.seconds[UNKNOWN]
