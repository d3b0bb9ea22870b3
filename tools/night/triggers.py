"""The triggers in a record: every pulse, when it was decided and on how old an estimate."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec
from rich.console import Console

from daemon.journal.reader import JournalReader
from daemon.messages import TriggerMessage
from tools.measure import percentiles
from tools.night.record import Selection, to_iso
from tools.rehearse.report import without_numbers


class PulseTold(msgspec.Struct, frozen=True, kw_only=True):
    """A pulse that was told; what the hardware did with it is not known here."""

    start: str
    """When it was decided, UTC, ISO 8601."""
    duration_s: float
    """Until the last time to live was over or something else was told, s."""
    sham: bool
    latency_s: float | None
    """From the end of the epoch until its live estimate was composed, s."""
    reason: str


class TriggerNight(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule did to a subject."""

    rule: str
    subject: str
    pulses: tuple[PulseTold, ...]
    refused: dict[str, int]
    """Decisions that were refused, by the reason without its numbers."""


def read_triggers(
    reader: JournalReader, selection: Selection, subjects: Sequence[str]
) -> list[TriggerNight]:
    """Return what the rules did to subjects.

    Raises:
        JournalError: the journal cannot be read.
    """
    nights = []
    for subject in subjects:
        told = (entry.message for entry in selection.read(reader, f"trigger.{subject}"))
        by_rule: dict[str, list[TriggerMessage]] = defaultdict(list)
        for message in told:
            if isinstance(message, TriggerMessage):
                by_rule[message.rule].append(message)
        for rule, messages in by_rule.items():
            refused = Counter(without_numbers(m.reason) for m in messages if m.action == "refused")
            nights.append(
                TriggerNight(
                    rule=rule,
                    subject=subject,
                    pulses=tuple(_pulses(messages)),
                    refused=dict(refused.most_common()),
                )
            )
    return nights


def print_triggers(console: Console, nights: Sequence[TriggerNight]) -> None:
    """Print what rules did: a line for each, then one for every pulse."""
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
                f"{pulse.duration_s:.2f} s, latency {late}, {pulse.reason}"
            )
        console.print("\n".join(lines), soft_wrap=True)


def _pulses(messages: Iterable[TriggerMessage]) -> list[PulseTold]:
    """Return the pulses in a rule's decisions about one subject, in their order."""
    pulses: dict[tuple[str, int], list[float]] = {}
    firsts: dict[tuple[str, int], TriggerMessage] = {}
    open_until: tuple[str, int] | None = None
    for message in messages:
        now = datetime.fromisoformat(message.published_utc).timestamp()
        if open_until is not None:  # whatever is told now, the time to live before ends here
            pulses[open_until][1] = min(pulses[open_until][1], now)
            open_until = None
        if message.pulse is not None:
            key = (message.session, message.pulse)
            firsts.setdefault(key, message)
            start = pulses.get(key, [now])[0]
            pulses[key] = [start, now + message.ttl_s]
            open_until = key
    return [
        PulseTold(
            start=to_iso(start),
            duration_s=round(end - start, 3),
            sham=firsts[key].action == "sham",
            latency_s=firsts[key].age_s,
            reason=firsts[key].reason,
        )
        for key, (start, end) in pulses.items()
    ]


def _clock(iso: str) -> str:
    return f"{datetime.fromisoformat(iso).astimezone():%m-%d %H:%M:%S}"
