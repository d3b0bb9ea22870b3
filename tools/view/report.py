"""The morning's report: one HTML file that needs nothing else, for a screen and for paper."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from models.recordings.writers import replacing
from models.signal.drift import LIMIT
from models.stages import ART, COLOURS, UNKNOWN
from tools.day import HOUR_S
from tools.night.counting import Course
from tools.night.figures import LENGTHS_S, Figures
from tools.night.record import Record
from tools.night.report import NightSummary, SubjectNight
from tools.night.triggers import TriggerNight
from tools.view.charts import Hourly, add_drift, add_hours, add_night, add_overview, runs_of
from tools.view.clock import Clock
from tools.view.html import Element, add, add_table, encode, link, new_page
from tools.view.overview import Told

_STYLE = Path(__file__).with_name("report.css")
_WIDTH = 900
"""Spans that a night is shown in where all subjects are: about as many as it has points."""
_MOST_LOST = 0.05
"""With more of its time without a stage a subject is to be looked at."""
_MOST_PULSES = 200

Shares = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What the report shows of a subject."""

    record: Record
    course: Course
    told: SubjectNight
    signals: Told | None

    @property
    def figures(self) -> Figures:
        """Its figures."""
        return self.told.figures


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
    page, body = new_page(title, _STYLE.read_text("utf-8"))
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
    by = f"Staged by hypnod, model {', '.join(dict.fromkeys(ends))}; no expert has looked at it."
    add(body, "p", by, class_="faint")
    for missing in summary.missing:
        add(body, "p", f"Damaged journal: {missing}", class_="warn")
    _cohort(body, subjects, clock)
    for restart in summary.restarts:
        at = f"{clock.day.at(restart['utc']):%m-%d %H:%M:%S}"
        text = f"{at}, stream {restart['stream']}: {restart['reason']}"
        add(body, "p", text, class_="faint")
    for subject in subjects:
        _subject(body, subject, summary, clock)
    with replacing(path) as draft:
        draft.write_bytes(encode(page))


def _cohort(body: Element, subjects: Sequence[Subject], clock: Clock) -> None:
    courses = {
        s.record.subject: runs_of(s.course.stages, s.course.start, s.course.epoch_s, _WIDTH)
        for s in subjects
    }
    add_overview(body, courses, clock)
    stages = _stages(subjects)
    key = add(body, "p", class_="key")
    for stage in (*stages, ART, UNKNOWN):
        colour = COLOURS[stage].picture
        add(add(key, "span"), "i", style=f"background: {colour}").tail = f" {stage} "
    rows = [_overall(subject, stages) for subject in subjects]
    columns = ["subject", "recorded", *stages, "no stage", "bouts", "to look at"]
    caption = f"Time in stage, and its share of staged time. {_rule(subjects)}"
    table = add_table(body, caption, columns, rows)
    for row in table.iter("tr"):
        row[-1].set("class", "words")
    if len(subjects) > 1:
        _means(body, subjects, stages)


def _overall(subject: Subject, stages: Sequence[str]) -> list[str | Element]:
    figures, name = subject.figures, subject.record.subject
    shares = _shares(figures.seconds, subject.record.stages)
    times: list[str | Element] = [
        f"{_hours(figures.seconds[s])}, {_percent(shares[s])}" if s in shares else "–"
        for s in stages
    ]
    bouts = sum(each.n for each in figures.bouts.values())
    return [
        link(name, _anchor(name)),
        _hours(sum(figures.seconds.values())),
        *times,
        _hours(_lost(figures)),
        str(bouts),
        "; ".join(_remarks(subject)) or "–",
    ]


def _remarks(subject: Subject) -> list[str]:
    """Return what a person should look at first."""
    figures, told, found = subject.figures, subject.told, []
    whole = subject.course.end - subject.course.start
    if (lost := sum(told.missing_s.values())) > _MOST_LOST * whole:
        found.append(f"{_percent(lost / whole)} without a stage: {next(iter(told.missing_s))}")
    if figures.drift_most is not None and figures.drift_most > LIMIT:
        found.append(f"drift {figures.drift_most:.1f}, beyond 1 for {_hours(figures.drift_s)}")
    return found


def _means(body: Element, subjects: Sequence[Subject], stages: Sequence[str]) -> None:
    """Tell means over subjects, each counting once."""
    spans = {"all": [s.figures.seconds for s in subjects]}
    lit = [s.figures for s in subjects if s.figures.light_s is not None]
    if lit:
        spans["light"] = [f.light_s or {} for f in lit]
        spans["dark"] = [f.dark_s or {} for f in lit]
    rows = []
    for name, found in spans.items():
        known = [shares for seconds in found if (shares := _shares(seconds, stages))]
        cells = [_mean([shares[stage] for shares in known]) for stage in stages]
        rows.append([name, str(len(known)), *cells])
    caption = "Share of staged time: mean ± SD over subjects, each counting once."
    add_table(body, f"{caption} {_rule(subjects)}", ["", "subjects", *stages], rows)


def _mean(shares: Sequence[float]) -> str:
    """Say a mean with its SD, which takes two at least."""
    if len(shares) < 2:
        return ", ".join(map(_percent, shares)) or "–"
    return f"{_percent(float(np.mean(shares)))} ± {100 * float(np.std(shares, ddof=1)):.1f}"


def _subject(body: Element, subject: Subject, summary: NightSummary, clock: Clock) -> None:
    record, told, figures, course = subject.record, subject.told, subject.figures, subject.course
    section = add(body, "section")
    add(section, "h2", record.subject, id=_anchor(record.subject))
    begin, end = (clock.day.local(moment) for moment in (course.start, course.end))
    add(
        section,
        "p",
        f"{begin:%Y-%m-%d %H:%M:%S} to {end:%m-%d %H:%M:%S}, {told.epochs} epochs, "
        f"one every {record.hop_s:g} s",
        class_="faint",
    )
    for remark in _remarks(subject):
        add(section, "p", remark, class_="warn")
    if told.live_only:
        text = f"{told.live_only} epochs have no final estimate yet: their live one counts."
        add(section, "p", text, class_="faint")
    signals = None if subject.signals is None else (course.start, subject.signals)
    runs = runs_of(course.stages, course.start, course.epoch_s)
    add_night(section, record.stages, runs, clock, signals)
    _hourly(section, subject)
    _times(section, subject)
    pair = add(section, "div", class_="pair")
    _bouts(add(pair, "div"), subject)
    _lengths(add(pair, "div"), subject)
    pair = add(section, "div", class_="pair")
    _transitions(add(pair, "div"), subject)
    _missing(add(pair, "div"), subject)
    _decisions(section, [t for t in summary.triggers if t.subject == record.subject], clock)
    if figures.drift_most is not None:
        add(section, "h3", "Drift")
        text = "How unlike the training animals it looked; 99 % of such animals stay below 1."
        add(section, "p", text, class_="faint")
        add_drift(section, record.times, record.drift, clock)


def _hourly(section: Element, subject: Subject) -> None:
    figures, stages = subject.figures, subject.record.stages
    hours = [
        Hourly(
            h.start[11:16] if h.zeitgeber is None else f"ZT{h.zeitgeber}",
            h.light,
            {s: h.seconds[s] / h.length_s for s in stages},
        )
        for h in figures.hours
    ]
    add(section, "h3", "By hour")
    add_hours(section, hours, stages)
    rows = [
        [
            h.start[11:16],
            "–" if h.zeitgeber is None else f"ZT{h.zeitgeber}",
            "–" if h.light is None else _percent(h.light),
            *(_minutes(h.seconds[s]) for s in (*stages, ART, UNKNOWN)),
            str(sum(h.bouts.values())),
        ]
        for h in figures.hours
    ]
    details = add(section, "details")
    add(details, "summary", "as a table")
    caption = f"Minutes in stage; bouts that begin. {_capital(figures.rule)}."
    columns = ["hour", "zeitgeber", "light", *stages, ART, UNKNOWN, "bouts"]
    add_table(details, caption, columns, rows)


def _times(parent: Element, subject: Subject) -> None:
    figures, stages = subject.figures, subject.record.stages
    spans = {"all": figures.seconds, "light": figures.light_s, "dark": figures.dark_s}
    known = {name: seconds for name, seconds in spans.items() if seconds is not None}
    rows = []
    for stage in (*stages, ART, UNKNOWN):
        cells = []
        for seconds in known.values():
            share = _shares(seconds, stages).get(stage)
            cells.append(_hours(seconds[stage]) + ("" if share is None else f", {_percent(share)}"))
        certain = figures.probability.get(stage)
        rows.append([stage, *cells, "–" if certain is None else f"{certain:.2f}"])
    caption = (
        "Time in stage, share of staged time, and the mean probability of a stage in the epochs "
        "that were staged so: so many of them are right, as far as the model is calibrated. "
        f"{_capital(figures.rule)}."
    )
    add_table(parent, caption, ["", *known, "probability"], rows)


def _bouts(parent: Element, subject: Subject) -> None:
    figures = subject.figures
    rows = [
        [
            stage,
            str(b.n),
            *(f"{s:.1f} s" for s in (b.mean_s, b.median_s, b.longest_s)),
            _clock(b.first_s),
        ]
        for stage, b in figures.bouts.items()
    ]
    columns = ["", "bouts", "mean", "median", "longest", "first after"]
    add_table(parent, f"Bouts. {_capital(figures.rule)}.", columns, rows)


def _lengths(parent: Element, subject: Subject) -> None:
    figures = subject.figures
    edges = [f"{low:g}–{high:g} s" for low, high in pairwise(LENGTHS_S)]
    edges.append(f"{LENGTHS_S[-1]:g} s on")
    rows = [
        [edge, *(str(b.lengths[k]) for b in figures.bouts.values())] for k, edge in enumerate(edges)
    ]
    caption = f"Bouts by length. {_capital(figures.rule)}."
    add_table(parent, caption, ["", *figures.bouts], rows)


def _transitions(parent: Element, subject: Subject) -> None:
    figures = subject.figures
    rows = [
        [a, *("" if a == b else str(to[b]) for b in figures.transitions)]
        for a, to in figures.transitions.items()
    ]
    a_hour = figures.transitions_per_hour
    caption = "Transitions from (row) to (column)"
    caption += "" if a_hour is None else f", {a_hour:.1f} an hour of staged time"
    add_table(parent, f"{caption}. {_capital(figures.rule)}.", ["", *figures.transitions], rows)
    if figures.rem_after_s is not None:
        add(parent, "p", f"First REM {_clock(figures.rem_after_s)} after the first sleep.")


def _missing(parent: Element, subject: Subject) -> None:
    rows = [[why, _clock(seconds)] for why, seconds in subject.told.missing_s.items()]
    add_table(parent, "Time without a stage, and why", ["", "time"], rows or [["nothing", ""]])


def _decisions(section: Element, nights: Sequence[TriggerNight], clock: Clock) -> None:
    for night in nights:
        add(section, "h3", f"Trigger {night.rule}")
        real = [p for p in night.pulses if not p.sham]
        on_s = sum(p.duration_s for p in real)
        text = f"{len(real)} pulses, {on_s:.1f} s, and {len(night.pulses) - len(real)} sham"
        refused = [f"refused {n} × {why}" for why, n in night.refused.items()]
        add(section, "p", "; ".join([text, *refused]))
        if night.pulses:
            _pulses(section, night, clock)


def _pulses(section: Element, night: TriggerNight, clock: Clock) -> None:
    details = add(section, "details")
    add(details, "summary", "every pulse")
    rows = [
        [
            f"{clock.day.at(p.start):%m-%d %H:%M:%S}",
            "sham" if p.sham else "on",
            f"{p.duration_s:.2f} s",
            "–" if p.latency_s is None else f"{1000 * p.latency_s:.1f} ms",
            p.reason,
        ]
        for p in night.pulses[:_MOST_PULSES]
    ]
    more = len(night.pulses) - len(rows)
    caption = "Decided when, for how long, how late, why"
    caption += f"; {more} more are in the JSON" if more else ""
    table = add_table(details, caption, ["decided", "", "for", "latency", "why"], rows)
    table.set("class", "words")


def _rule(subjects: Sequence[Subject]) -> str:
    rules = dict.fromkeys(each.figures.rule for each in subjects)
    return f"{_capital('; '.join(rules))}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _stages(subjects: Sequence[Subject]) -> list[str]:
    return list(dict.fromkeys(stage for s in subjects for stage in s.record.stages))


def _shares(seconds: Shares, stages: Sequence[str]) -> dict[str, float]:
    """Return the share of each stage in the time with one; nothing without any."""
    staged = sum(seconds.get(stage, 0.0) for stage in stages)
    return {stage: seconds.get(stage, 0.0) / staged for stage in stages} if staged else {}


def _lost(figures: Figures) -> float:
    return figures.seconds[ART] + figures.seconds[UNKNOWN]


def _anchor(subject: str) -> str:
    """Return a name that an address can have, whatever the subject's is."""
    return "subject-" + subject.encode().hex()


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _hours(seconds: float) -> str:
    return f"{seconds / HOUR_S:.2f} h"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f}" if seconds else "0"


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
