"""One subject's part of the report, and the words that all of it is written in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from models.signal.drift import LIMIT
from models.signal.quality import OK
from models.stages import ART, UNKNOWN
from tools.night.counting import Course
from tools.night.figures import Figures
from tools.night.record import Record
from tools.night.report import SubjectNight
from tools.night.sleep import sleep_lines
from tools.night.triggers import TriggerNight
from tools.shared.day import HOUR_S
from tools.view.charts import Hourly, add_drift, add_hours, add_lengths, add_night, runs_of
from tools.view.clock import Clock
from tools.view.html import Element, add, add_table
from tools.view.overview import Told

_MOST_LOST = 0.05
"""With more of its time without a stage, or staged without a signal, it is to be looked at."""
_MOST_PULSES = 200


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


def add_subject(
    body: Element, subject: Subject, triggers: Sequence[TriggerNight], clock: Clock
) -> None:
    """Append a subject's section.

    Args:
        body: of the page.
        subject: whose.
        triggers: what rules did to it.
        clock: of the night, all subjects together.
    """
    record, told, figures, course = subject.record, subject.told, subject.figures, subject.course
    section = add(body, "section")
    add(section, "h2", record.subject, id=anchor(record.subject))
    begin, end = (clock.day.local(moment) for moment in (course.start, course.end))
    add(
        section,
        "p",
        f"{begin:%Y-%m-%d %H:%M:%S} to {end:%m-%d %H:%M:%S}, {told.epochs} epochs, "
        f"one every {record.epoch_s:g} s",
        class_="faint",
    )
    for remark in remarks_on(subject):
        add(section, "p", remark, class_="warn")
    if told.live_only:
        text = f"{told.live_only} epochs have no final estimate yet: their live one counts."
        add(section, "p", text, class_="faint")
    signals = None if subject.signals is None else (course.start, subject.signals)
    runs = runs_of(course.stages, course.start, course.epoch_s)
    add_night(section, record.stages, runs, clock, signals)
    _hourly(section, subject)
    _times(section, subject)
    _sleep(section, subject)
    _bouts(section, subject)
    _lengths(section, subject)
    pair = add(section, "div", class_="pair")
    _transitions(add(pair, "div"), subject)
    _missing(add(pair, "div"), subject)
    _decisions(section, triggers, clock)
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
            "–" if h.light is None else percent(h.light),
            *(_minutes(h.seconds[s]) for s in (*stages, ART, UNKNOWN)),
            str(sum(h.bouts.values())),
        ]
        for h in figures.hours
    ]
    details = add(section, "details")
    add(details, "summary", "as a table")
    caption = f"Minutes in stage; bouts that begin. {sentence(figures.rule)}."
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
            share = shares_of(seconds, stages).get(stage)
            cells.append(
                in_hours(seconds[stage]) + ("" if share is None else f", {percent(share)}")
            )
        certain = figures.probability.get(stage)
        rows.append([stage, *cells, "–" if certain is None else f"{certain:.2f}"])
    caption = (
        "Time in stage, share of staged time, and the mean probability of a stage in the epochs "
        "that were staged so: so many of them are right, as far as the model is calibrated. "
        f"{sentence(figures.rule)}."
    )
    add_table(parent, caption, ["", *known, "probability"], rows)


def _sleep(parent: Element, subject: Subject) -> None:
    figures = subject.figures
    if figures.sleep is None:
        return
    caption = "Sleep, from the first epoch of the record to its last, of all epochs, bouts or not."
    add_table(parent, caption, ["", ""], [list(line) for line in sleep_lines(figures.sleep)])


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
    add_table(parent, f"Bouts. {sentence(figures.rule)}.", columns, rows)


def _lengths(parent: Element, subject: Subject) -> None:
    figures = subject.figures
    if not figures.bouts:
        return
    edges = [f"{low:g}–{high:g} s" for low, high in pairwise(figures.lengths_s)]
    edges.append(f"{figures.lengths_s[-1]:g} s on")
    add(parent, "p", f"Bouts by length. {sentence(figures.rule)}.", class_="faint")
    add_lengths(parent, edges, {stage: b.lengths for stage, b in figures.bouts.items()})


def _transitions(parent: Element, subject: Subject) -> None:
    figures = subject.figures
    rows = [
        [a, *("" if a == b else str(to[b]) for b in figures.transitions)]
        for a, to in figures.transitions.items()
    ]
    a_hour = figures.transitions_per_hour
    caption = "Transitions from (row) to (column)"
    caption += "" if a_hour is None else f", {a_hour:.1f} an hour of staged time"
    add_table(parent, f"{caption}. {sentence(figures.rule)}.", ["", *figures.transitions], rows)
    if figures.sleep is None and figures.rem_after_s is not None:
        add(parent, "p", f"First REM {_clock(figures.rem_after_s)} after the first sleep.")


def _missing(parent: Element, subject: Subject) -> None:
    told = subject.told
    rows = [[why, _clock(seconds)] for why, seconds in told.missing_s.items()]
    add_table(parent, "Time without a stage, and why", ["", "time"], rows or [["nothing", ""]])
    rows = [[why, _clock(seconds)] for why, seconds in told.without_s.items()]
    if rows:
        add_table(parent, "Time staged without a signal, and why", ["", "time"], rows)


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


def remarks_on(subject: Subject) -> list[str]:
    """Return what a person should look at first."""
    figures, told, found = subject.figures, subject.told, []
    whole = subject.course.end - subject.course.start
    found += without_stage(told.missing_s, whole)
    if figures.drift_most is not None and figures.drift_most > LIMIT:
        found.append(f"drift {figures.drift_most:.1f}, beyond 1 for {in_hours(figures.drift_s)}")
    staged = [m for m in subject.record.epochs if m.stage in subject.record.stages]
    for modality in subject.record.modalities:
        off = sum(m.validity.get(modality, OK) != OK for m in staged)
        if off > _MOST_LOST * len(staged):
            found.append(
                f"{modality.upper()} unusable in {percent(off / len(staged))} of staged time"
            )
    return found


def without_stage(missing_s: Mapping[str, float], whole_s: float) -> list[str]:
    """Say that much of a time has no stage, and why most of that has none; else nothing.

    Args:
        missing_s: by reason, s.
        whole_s: the time, s.
    """
    lost = sum(missing_s.values())
    if lost <= _MOST_LOST * whole_s:
        return []
    return [
        f"{percent(lost / whole_s)} without a stage: {max(missing_s, key=missing_s.__getitem__)}"
    ]


def sentence(text: str) -> str:
    """Return a text as a sentence begins."""
    return text[:1].upper() + text[1:]


def shares_of(seconds: Mapping[str, float], stages: Sequence[str]) -> dict[str, float]:
    """Return the share of each stage in the time with one; nothing without any."""
    staged = sum(seconds.get(stage, 0.0) for stage in stages)
    return {stage: seconds.get(stage, 0.0) / staged for stage in stages} if staged else {}


def anchor(subject: str) -> str:
    """Return a name that an address can have, whatever the subject's is."""
    return "subject-" + subject.encode().hex()


def percent(share: float) -> str:
    """Say a share."""
    return f"{100 * share:.1f} %"


def in_hours(seconds: float) -> str:
    """Say a time."""
    return f"{seconds / HOUR_S:.2f} h"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f}" if seconds else "0"


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
