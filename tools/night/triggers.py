"""The triggers in a record: every pulse, how it was decided, and what became of it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
from rich.console import Console

from daemon.journal.reader import JournalReader
from daemon.messages import TriggerMessage
from tools.night.record import Selection, to_iso
from tools.night.stimuli import OutputDid, Seen, Stimuli, Stray
from tools.rehearse.report import without_numbers
from tools.shared.measure import percentiles

_LISTED = 20
"""Strays that are printed; the JSON has all."""


class PulseTold(msgspec.Struct, frozen=True, kw_only=True):
    """A pulse that was told, and what became of it."""

    start: str
    """When it was decided, UTC, ISO 8601."""
    duration_s: float
    """Until the last time to live was over or something else was told, s."""
    sham: bool
    latency_s: float | None
    """From the end of the epoch until its live estimate was composed, s."""
    reason: str
    done: tuple[OutputDid, ...] | None
    """What outputs did; null: the config has none."""
    seen: Seen | None
    """What the echo line saw; null: nothing, or the subject has none."""
    has_echo: bool
    """Whether it has one."""


class TriggerNight(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule did to a subject."""

    rule: str
    subject: str
    pulses: tuple[PulseTold, ...]
    refused: dict[str, int]
    """Decisions that were refused, by the reason without its numbers."""


class _Span(NamedTuple):
    """A pulse in a rule's decisions, Unix time, s."""

    start: float
    end: float
    first: TriggerMessage


def read_triggers(
    reader: JournalReader, selection: Selection, subjects: Sequence[str]
) -> tuple[list[TriggerNight], list[Stray]]:
    """Return what the rules did to subjects, and what was seen that none of them had decided.

    Raises:
        JournalError: the journal cannot be read.
    """
    nights: list[TriggerNight] = []
    strays: list[Stray] = []
    for subject in subjects:
        stimuli = Stimuli(reader, selection, subject)
        told = (entry.message for entry in selection.read(reader, f"trigger.{subject}"))
        by_rule: dict[str, list[TriggerMessage]] = defaultdict(list)
        for message in told:
            if isinstance(message, TriggerMessage):
                by_rule[message.rule].append(message)
        spans = {rule: list(_spans(messages)) for rule, messages in by_rule.items()}
        for rule, messages in by_rule.items():
            refused = Counter(without_numbers(m.reason) for m in messages if m.action == "refused")
            nights.append(
                TriggerNight(
                    rule=rule,
                    subject=subject,
                    pulses=tuple(_pulse(span, stimuli) for span in spans[rule]),
                    refused=dict(refused.most_common()),
                )
            )
        real = [s for each in spans.values() for s in each if s.first.action == "on"]
        until = max((_when(m) for each in by_rule.values() for m in each), default=0.0)
        strays += stimuli.strays([(span.start, span.end) for span in real], until)
    return nights, strays


def print_triggers(
    console: Console, nights: Sequence[TriggerNight], strays: Sequence[Stray]
) -> None:
    """Print what rules did: a line for each, then one for every pulse; then what none decided."""
    for night in nights:
        real = [p for p in night.pulses if not p.sham]
        latencies = [p.latency_s for p in night.pulses if p.latency_s is not None]
        on_s, n_sham = sum(p.duration_s for p in real), len(night.pulses) - len(real)
        lines = [
            f"{night.subject}  {night.rule}: {len(real)} pulses, {on_s:.1f} s, {n_sham} sham",
        ]
        if (found := percentiles(latencies)) is not None:
            lines[0] += f"; latency p50 {found.p50:.1f} ms, p99 {found.p99:.1f} ms"
        lines += [f"    refused {n} × {reason}" for reason, n in night.refused.items()]
        for pulse in night.pulses:
            late = "–" if pulse.latency_s is None else f"{1000 * pulse.latency_s:.1f} ms"
            lines.append(
                f"    {'sham' if pulse.sham else 'on  '} {_clock(pulse.start)} "
                f"{pulse.duration_s:.2f} s, latency {late}, "
                + "; ".join((pulse.reason, *_fate(pulse)))
            )
        console.print("\n".join(lines), soft_wrap=True)
    if strays:
        lines = [f"echo lines were high {len(strays)} times though no rule had decided so:"]
        for stray in strays[:_LISTED]:
            lasted = "to the end" if stray.duration_s is None else f"for {stray.duration_s:.2f} s"
            lines.append(f"    {stray.subject}  {_clock(stray.start)} {lasted}")
        if len(strays) > _LISTED:
            lines.append(f"    … {len(strays) - _LISTED} more")
        console.print("\n".join(lines), soft_wrap=True)


def _spans(messages: Iterable[TriggerMessage]) -> Iterator[_Span]:
    """Yield the pulses in a rule's decisions about one subject, in their order."""
    spans: dict[tuple[str, int], _Span] = {}
    open_until: tuple[str, int] | None = None
    for message in messages:
        now = _when(message)
        if open_until is not None:  # whatever is told now, the time to live before ends here
            span = spans[open_until]
            spans[open_until] = span._replace(end=min(span.end, now))
            open_until = None
        if message.pulse is not None:
            key = (message.session, message.pulse)
            span = spans.get(key, _Span(now, now, message))
            spans[key] = span._replace(end=now + message.ttl_s)
            open_until = key
    yield from spans.values()


def _when(message: TriggerMessage) -> float:
    """Return when it was decided, Unix time, s."""
    return datetime.fromisoformat(message.published_utc).timestamp()


def _pulse(span: _Span, stimuli: Stimuli) -> PulseTold:
    first, sham = span.first, span.first.action == "sham"
    done = stimuli.done((first.rule, first.session, first.pulse or 0), span.start)
    return PulseTold(
        start=to_iso(span.start),
        duration_s=round(span.end - span.start, 3),
        sham=sham,
        latency_s=first.age_s,
        reason=first.reason,
        done=done if done or stimuli.has_outputs(first.session) else None,
        seen=None if sham else stimuli.seen(span.start, span.end),
        has_echo=stimuli.has_echo(first.session),
    )


def _fate(pulse: PulseTold) -> Iterator[str]:
    """Yield in words what became of a pulse."""
    if pulse.done == ():
        yield "no output told of it"
    for each in pulse.done or ():
        times = [f"{'marked' if pulse.sham else 'on'} {_late(each.on_s)}"]
        times += [] if pulse.sham else [f"off {_late(each.off_s)}"]
        yield f"{each.driver} {', '.join(times)}"
    if pulse.seen is not None:
        yield f"seen {_late(pulse.seen.high_s)} to {_late(pulse.seen.low_s)}"
    elif pulse.has_echo and not pulse.sham:
        yield "NOT SEEN on its echo line"


def _late(seconds: float | None) -> str:
    return "–" if seconds is None else f"{1000 * seconds:+.1f} ms"


def _clock(iso: str) -> str:
    return f"{datetime.fromisoformat(iso).astimezone():%m-%d %H:%M:%S}"
