"""What `hypnod rehearse` prints and writes: a table, why there was no pulse, and JSON."""

import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

import msgspec
from rich.table import Table

from daemon.trigger.rulebook import Told
from daemon.trigger.sight import Sight
from models.recordings.hypnogram import Hypnogram
from tools.rehearse.judge import Verdict, judge
from tools.rehearse.rehearsal import PULSES, FoundPulse, as_if, play, pulses
from tools.shared.plain import plain_console

_MOST_REASONS = 4
_LISTED = 20
"""Pulses of a rule and subject that are printed; the JSON has all."""
_NUMBER = re.compile(r"(?<!\w)\d[\d.:]*")
"""No digit of a name, as of N2 and N3, which would be one reason."""


class PulseRow(msgspec.Struct, frozen=True, kw_only=True):
    """One pulse in the JSON."""

    start: float
    """From the recording's first sample, s."""
    duration: float
    """s."""
    sham: bool
    reason: str


class RuleReport(msgspec.Struct, frozen=True, kw_only=True):
    """One rule and subject in the JSON."""

    rule: str
    subject: str
    hours: float
    """Of the recording, h."""
    pulses: tuple[PulseRow, ...]
    idle_s: dict[str, float]
    """Why there was no pulse, and for how long, s; numbers in a reason are left out."""
    verdict: Verdict | None
    """Against the hypnogram, if there is one."""
    sensitivity: float | None = None
    precision: float | None = None
    false_per_hour: float | None = None
    median_delay_s: float | None = None


class Rehearsed(msgspec.Struct, frozen=True, kw_only=True):
    """One recording in the JSON."""

    file: str
    model: str
    """First 12 digits of the bundle's SHA-256."""
    hop_s: float
    age_s: float
    """How old each estimate was taken to be, s."""
    truth: str | None
    """Where the hypnogram is, if there is one."""
    remarks: tuple[str, ...]
    """What of the recording is not used, and what of the hypnogram was read as what."""
    rules: tuple[RuleReport, ...]


def without_numbers(reason: str) -> str:
    """Return a reason that is the same whatever the numbers in it are."""
    return _NUMBER.sub("…", reason)


def report_rules(
    told: Mapping[tuple[str, str], Sequence[Told]],
    sights: Sequence[Sight],
    truth: Mapping[str, Hypnogram],
    stages: Sequence[str],
) -> tuple[RuleReport, ...]:
    """Return what rules did in one recording, judged where the truth is known.

    Args:
        told: their decisions by rule and subject.
        sights: what they decided on; ends count from the recording's first sample.
        truth: by subject.
        stages: of the model.
    """
    rules = list({each[0].rule.name: each[0].rule for each in told.values()}.values())
    ideal = play(rules, as_if(sights, truth, stages)) if truth and told else {}
    rows = []
    for key, decisions in told.items():
        rule, subject = decisions[0].rule, key[1]
        mine, verdict = pulses(decisions), None
        if subject in truth:
            verdict = judge(rule, mine, pulses(ideal[key]), truth[subject])
        rows.append(report_rule(decisions, mine, verdict))
    return tuple(rows)


def report_rule(
    told: Sequence[Told], found: Sequence[FoundPulse], verdict: Verdict | None
) -> RuleReport:
    """Return what a rule did to one subject in one recording.

    Args:
        told: its decisions, one a hop.
        found: its pulses.
        verdict: against the truth.
    """
    hop_s = told[0].sight.hop_s
    idle: Counter[str] = Counter()
    for each in told:
        if each.decision.action not in PULSES:
            idle[without_numbers(f"{each.decision.action}: {each.decision.reason}")] += 1
    return RuleReport(
        rule=told[0].rule.name,
        subject=told[0].sight.subject,
        hours=len(told) * hop_s / 3600,
        pulses=tuple(
            PulseRow(
                start=round(p.start, 3),
                duration=round(p.end - p.start, 3),
                sham=p.sham,
                reason=p.reason,
            )
            for p in found
        ),
        idle_s={reason: n * hop_s for reason, n in idle.most_common()},
        verdict=verdict,
        sensitivity=None if verdict is None else verdict.sensitivity,
        precision=None if verdict is None else verdict.precision,
        false_per_hour=None if verdict is None else verdict.false_per_hour,
        median_delay_s=None if verdict is None else verdict.median_delay_s,
    )


def print_rehearsed(all_of: Sequence[Rehearsed], *, as_json: bool) -> None:
    """Print everything to standard output, for a machine or for a person."""
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(all_of)).decode() + "\n")
        return
    console = plain_console()
    for rehearsed in all_of:
        for remark in rehearsed.remarks:
            console.print(remark, soft_wrap=True, markup=False)
        console.print(f"{rehearsed.file}: what would have fired", soft_wrap=True, style="bold")
        console.print(draw_rules(rehearsed.rules))
        for rule in rehearsed.rules:
            for reason, seconds in list(rule.idle_s.items())[:_MOST_REASONS]:
                console.print(f"{rule.rule}, {rule.subject}: {seconds / 60:.1f} min {reason}")
            if rule.pulses:
                console.print(f"{rule.rule}, {rule.subject}: pulses, timed from the first sample")
            for line in _list(rule.pulses):
                console.print(line, soft_wrap=True, markup=False)
        if rehearsed.truth is None:
            console.print("no hypnogram to compare with: --hypnogram names one")


def _list(found: Sequence[PulseRow]) -> Iterator[str]:
    """Yield a line for each pulse, up to some."""
    for pulse in found[:_LISTED]:
        what, when = "sham" if pulse.sham else "on  ", timedelta(seconds=round(pulse.start))
        yield f"    {what} {when} {pulse.duration:.2f} s, {pulse.reason}"
    if len(found) > _LISTED:
        yield f"    … {len(found) - _LISTED} more, all of them with --json"


def draw_rules(rules: Sequence[RuleReport]) -> Table:
    """Return a table of rules and subjects, with the verdict where there is one."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for column in ("rule", "subject"):
        table.add_column(column, no_wrap=True)
    columns = ["pulses", "sham", "on, s"]
    if any(rule.verdict is not None for rule in rules):
        columns += ["hit", "right", "false/h", "delay, s"]
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for rule in rules:
        real = [p for p in rule.pulses if not p.sham]
        cells = [
            str(len(real)),
            str(len(rule.pulses) - len(real)),
            f"{sum(p.duration for p in real):.1f}",
        ]
        if rule.verdict is not None:
            cells += [
                _share(rule.verdict.hit, rule.verdict.wanted),
                _share(rule.verdict.right, rule.verdict.right + rule.verdict.false),
                _number(rule.false_per_hour),
                _number(rule.median_delay_s),
            ]
        table.add_row(rule.rule, rule.subject, *cells)
    return table


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole}" if whole else "–"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
