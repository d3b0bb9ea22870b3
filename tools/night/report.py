"""What `hypnod night` tells: the sessions of a journal, and the summary of a record."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from daemon.errors import JournalError
from daemon.journal.reader import JournalReader, Session
from models.signal.quality import OK
from models.stages import ART, UNKNOWN
from tools.night.figures import Figures
from tools.night.record import Record, Selection, read_restarts, to_iso
from tools.night.sleep import sleep_lines
from tools.night.stimuli import Stray
from tools.night.triggers import TriggerNight, print_triggers, read_triggers
from tools.shared.plain import plain_console
from tools.view.live import STAGE_STYLES


class SessionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the daemon."""

    id: str
    started: str
    """UTC, ISO 8601."""
    until: str | None
    """Onset of the last epoch, UTC, ISO 8601; null where there is none."""
    subjects: tuple[str, ...]
    """Those configured."""
    version: str
    """Of hypnod."""
    model_name: str
    model: str
    engine: str
    config: str
    """First 12 digits of the config's SHA-256."""


class SubjectNight(msgspec.Struct, frozen=True, kw_only=True):
    """One subject's record."""

    start: str
    """Onset of the first epoch, UTC, ISO 8601."""
    end: str
    """End of the last epoch, UTC, ISO 8601."""
    epochs: int
    """As they were staged."""
    epoch_s: float
    live_only: int
    """Epochs without a final estimate yet: their live one counts."""
    figures: Figures
    """Counted by its rule."""
    missing_s: dict[str, float]
    """Time without a stage, by the reason, s."""
    without_s: dict[str, float]
    """Time staged without a modality, by which and why, s."""
    latency_s: dict[str, float]
    """p50, p95 and p99 of the live estimates, s; empty where none was measured."""
    age_s: dict[str, float]
    """Likewise, of how long an epoch had been over when its live estimate was made."""
    sessions: list[str]
    """The runs of the daemon that it comes from."""


class NightSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON summary."""

    journal: str
    """The file."""
    selection: str
    restarts: list[dict[str, str]]
    """What restarts of the daemon were to the streams: utc, stream, reason."""
    subjects: dict[str, SubjectNight]
    missing: tuple[str, ...]
    """What of a damaged journal could not be read."""
    triggers: list[TriggerNight]
    """What each rule did to each subject."""
    strays: list[Stray]
    """When an echo line was high though no rule had decided so."""


def summarise_sessions(reader: JournalReader) -> list[SessionSummary]:
    """Return all runs of the daemon, oldest first.

    Raises:
        JournalError: the journal cannot be read.
    """
    return [_summarise_session(reader, session) for session in reader.sessions()]


def _summarise_session(reader: JournalReader, session: Session) -> SessionSummary:
    streams = json.loads(session.config).get("streams", [])
    subjects = [[subject["name"] for subject in stream["subjects"]] for stream in streams]
    # All subjects of a stream have the same epochs.
    spans = [reader.span_of(f"stage.{names[0]}.live", session.id) for names in subjects]
    ends = [last.utc for span in spans if span is not None for last in span[1:]]
    return SessionSummary(
        id=session.id,
        started=to_iso(session.started),
        until=to_iso(max(ends)) if ends else None,
        subjects=tuple(name for names in subjects for name in names),
        version=session.version,
        model_name=session.model_name,
        model=session.model,
        engine=session.engine,
        config=session.config_hash,
    )


def print_sessions(reader: JournalReader, *, as_json: bool) -> None:
    """Print the runs of the daemon, for a machine or for a person.

    Raises:
        JournalError: the journal cannot be read.
    """
    sessions = summarise_sessions(reader)
    if as_json:
        _print_json(sessions)
        return
    table = _table("session", "started", "last epoch")
    for column in ("subjects", "model"):
        table.add_column(column, overflow="fold")
    for each in sessions:
        until = "–" if each.until is None else _short(each.until)
        names = _shorten(each.subjects)
        table.add_row(each.id, _short(each.started), until, names, each.model_name)
    console = plain_console()
    console.print(reader.name, soft_wrap=True, style="bold")
    console.print(table)
    console.print("more: hypnod night --session last, or --since 18:00 for all since then")


def summarise(
    reader: JournalReader,
    selection: Selection,
    records: Sequence[Record],
    figures: Mapping[str, Figures],
) -> NightSummary:
    """Return what a machine might want to know of a night.

    Args:
        reader: of the journal.
        selection: which messages of it.
        records: that were read of them.
        figures: of each record, by subject.
    """
    triggers, strays = read_triggers(reader, selection, [record.subject for record in records])
    return NightSummary(
        journal=reader.name,
        selection=str(selection),
        restarts=[
            {"utc": m.utc, "stream": m.stream, "reason": m.reason}
            for m in read_restarts(reader, selection)
        ],
        subjects={r.subject: _summarise(r, figures[r.subject]) for r in records},
        missing=reader.missing,
        triggers=triggers,
        strays=strays,
    )


def _summarise(record: Record, figures: Figures) -> SubjectNight:
    return SubjectNight(
        start=to_iso(record.times[0]),
        end=to_iso(record.times[-1] + record.durations[-1]),
        epochs=len(record.epochs),
        epoch_s=record.epoch_s,
        live_only=record.n_live,
        figures=figures,
        missing_s=_missing(record),
        without_s=_without(record),
        latency_s=_centiles(record.latencies),
        age_s=_centiles(record.ages),
        sessions=record.sessions,
    )


def _centiles(values: NDArray[np.float64]) -> dict[str, float]:
    centiles = (50, 95, 99) if len(values) else ()
    return {f"p{p}": float(np.percentile(values, p)) for p in centiles}


def _missing(record: Record) -> dict[str, float]:
    """Return the time without a stage by reason, the longest first, s."""
    missing: defaultdict[str, float] = defaultdict(float)
    for message, duration in zip(record.epochs, record.durations.tolist(), strict=True):
        if message.stage in (ART, UNKNOWN):
            missing[f"{message.stage}: {message.reason or 'no reason told'}"] += duration
    for duration, restarted in record.holes():
        missing["the daemon did not run" if restarted else "no message"] += duration
    return _longest_first(missing)


def _without(record: Record) -> dict[str, float]:
    """Return the time staged without a modality, by which and why, the longest first, s."""
    without: defaultdict[str, float] = defaultdict(float)
    for message, duration in zip(record.epochs, record.durations.tolist(), strict=True):
        if message.stage not in (ART, UNKNOWN):
            for modality, found in message.validity.items():
                if found != OK:
                    without[f"{modality} {found}"] += duration
            for modality, lost_s in message.lost_s.items():
                without[f"{modality} lost within epochs"] += lost_s
    return _longest_first(without)


def _longest_first(times: Mapping[str, float]) -> dict[str, float]:
    longest = sorted(times.items(), key=lambda pair: -pair[1])
    return {why: round(time, 3) for why, time in longest}


def print_summary(summary: NightSummary, stages: Sequence[str], *, as_json: bool) -> None:
    """Print a summary, for a machine or for a person.

    Args:
        summary: of a night.
        stages: the stage set.
        as_json: for a machine.
    """
    if as_json:
        _print_json(summary)
        return
    console = plain_console()
    console.print(f"{summary.journal}, {summary.selection}", soft_wrap=True, style="bold")
    table = _table()
    table.add_column("subject", overflow="fold")
    for stage in (*stages, ART, UNKNOWN):
        table.add_column(stage, justify="right", style=STAGE_STYLES[stage], no_wrap=True)
    for name, each in summary.subjects.items():
        times = [_span(each.figures.seconds.get(stage, 0.0)) for stage in (*stages, ART, UNKNOWN)]
        table.add_row(name, *times)
    console.print(table)
    rules = dict.fromkeys(each.figures.rule for each in summary.subjects.values())
    console.print("\n".join(f"counted: {rule}" for rule in rules), style="dim")
    details = Table.grid(padding=(0, 2, 0, 0))
    for name, each in summary.subjects.items():
        for line in _details(each):
            details.add_row(name, line)
    for restart in summary.restarts:
        line = f"{_short(restart['utc'])} {restart['stream']}: {restart['reason']}"
        details.add_row("restart", line)
    console.print(details)
    print_triggers(console, summary.triggers, summary.strays)


def _details(each: SubjectNight) -> list[str]:
    lines = [f"from {_short(each.start)} to {_short(each.end)}"]
    bouts = [
        f"{b.n} × {stage} (median {b.median_s:g} s)" for stage, b in each.figures.bouts.items()
    ]
    if each.figures.sleep is not None:
        said = [f"{name} {text}" for name, text in sleep_lines(each.figures.sleep)]
        lines.append(f"sleep: {_below(said)}")
    lines.append(f"bouts: {_below(bouts) or 'none'}")
    for what, found in (("latency", each.latency_s), ("age", each.age_s)):
        times = [f"{p} {1000 * value:.1f} ms" for p, value in found.items()]
        lines.append(f"{what}: {', '.join(times) or 'not measured'}")
    missing = [f"{_span(time)} {why}" for why, time in each.missing_s.items()]
    lines.append(f"without a stage: {_below(missing) or 'nothing'}")
    without = [f"{_span(time)} {why}" for why, time in each.without_s.items()]
    if without:
        lines.append(f"staged without: {_below(without)}")
    if each.live_only:
        lines.append(f"{each.live_only} epochs have no final estimate: their live one counts")
    return lines


def _below(texts: Sequence[str]) -> str:
    """Put texts below each other, where a terminal would break them anywhere."""
    return ",\n  ".join(texts)


def check_journal(reader: JournalReader) -> None:
    """Raise JournalError where there is no journal to read."""
    if not reader.path.is_file():
        found = "a folder" if reader.path.is_dir() else "no such file"
        raise JournalError(f"{reader.path}: expected a journal, found {found}")
    if not reader.sessions():
        raise JournalError(f"{reader.path}: expected a journal with sessions, found none")


def _print_json(value: object) -> None:
    plain_console(soft_wrap=True).print(msgspec.json.format(msgspec.json.encode(value)).decode())


def _table(*columns: str) -> Table:
    """Return a table narrow enough for a terminal of 80 characters."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _shorten(names: Sequence[str]) -> str:
    few = ", ".join(names[:4])
    return few if len(names) <= 4 else f"{few} and {len(names) - 4} more"


def _span(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _short(iso: str) -> str:
    """Return a time as fits in a table: local, without the year."""
    return f"{datetime.fromisoformat(iso).astimezone():%m-%d %H:%M}"
