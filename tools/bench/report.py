"""What `hypnod bench` found out, and how it stands to the goals."""

from collections.abc import Iterator

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tools.bench.journal import JournalCost
from tools.shared.measure import Machine, Percentiles

SUBJECTS = 64
TRIGGERED = (1, 16)
HOPS, HOP_SUBJECTS = (1, 4), 8
"""Epochs per usual live hop, and of how many subjects, where shorter hops are measured."""
GOAL_TRIGGER_MS = 15.0
GOAL_ABOVE_FLOOR_MS = 10.0
GOAL_CPU = 0.5


class TriggerCost(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What stands between the last sample of the deciding epoch and a pin."""

    pin_ms: Percentiles
    """From its end by its source's clock until `1` comes out of the serial port of `hypnod
    pulse`."""
    told_ms: Percentiles
    """The part of it after the estimate was composed: decision, journal, publisher, `hypnod
    pulse`."""
    floor_ms: Percentiles
    """At the same time on the same stream, until a subscriber hears of an epoch that nobody
    stages."""
    n: int
    """Pulses behind the percentiles."""


class HopCost(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What staging so often costs, 8 subjects in real time."""

    step_ms: float
    """Median time of one step of all of them, one thread, ms."""
    cpu: float
    """Computing time of the daemon per time."""
    latency_ms: Percentiles
    """From the arrival of the last sample at the daemon until the message is published, ms."""
    missed: int
    """Messages that never came."""


class BenchReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `hypnod bench --json FILE` writes."""

    step_ms: dict[str, float]
    """Median time of one step of the chosen engine by subjects in it, one thread, ms."""
    end_to_end_ms: Percentiles
    """One subject in real time: from the end of an epoch by its source's clock, when its last
    sample is handed to LSL, until a ZeroMQ subscriber has the live message, ms."""
    floor_ms: Percentiles
    """The same way at the same time through the daemon's own inlet and publisher in a process
    that computes nothing, ms."""
    above_floor_ms: Percentiles
    """The differences of these percentiles, ms."""
    n_latencies: int
    """Epochs behind the percentiles."""
    hops: dict[str, HopCost]
    """By seconds from one stage to the next."""
    triggers: dict[str, TriggerCost]
    """By subjects, an epoch of each four times per epoch length."""
    cpu_64_subjects: float
    """Computing time of the daemon per time with 64 subjects, 128 channels at 512 Hz, each staged
    once per epoch length."""
    latency_64_subjects_ms: Percentiles
    """Then, from the arrival of the last sample at the daemon until the message is published."""
    missed_64_subjects: int
    """Then, messages that never came."""
    cpu_64_subjects_unseen: float
    """Then, in another run, before and after somebody looks at the live signals of the subjects."""
    cpu_64_subjects_seen: float
    """While somebody looks at those of all of them: signals that nobody looks at cost nothing."""
    subjects_per_core: float
    """64 over `cpu_64_subjects`: subjects that one core sustains in real time."""
    rss_mb: float
    """Memory of the daemon with one subject, MB."""
    rss_64_subjects_mb: float
    """With 64 subjects, MB."""
    startup_s: float
    """From the daemon's start until it is ready, s."""
    journal: dict[str, JournalCost]
    """What the journal costs by subjects."""
    goals: dict[str, bool]
    """Whether each goal was met."""
    engine: str
    model: str
    """First 12 digits of the bundle's SHA-256."""
    quick: bool
    """True where fewer repetitions were made than figures that are told need."""
    machine: Machine
    took_s: float


def judge(above_floor: Percentiles, cpu: float, trigger: TriggerCost) -> dict[str, bool]:
    """Return whether each goal was met."""
    return {
        f"p99 within {GOAL_ABOVE_FLOOR_MS:g} ms above the floor": (
            above_floor.p99 <= GOAL_ABOVE_FLOOR_MS
        ),
        f"a trigger's p99 within {GOAL_TRIGGER_MS:g} ms above it, {TRIGGERED[-1]} subjects": (
            trigger.pin_ms.p99 - trigger.floor_ms.p99 <= GOAL_TRIGGER_MS
        ),
        f"{SUBJECTS} subjects in less than {GOAL_CPU:g} of a core": cpu < GOAL_CPU,
    }


def draw_report(report: BenchReport) -> RenderableType:
    """Return the report for a terminal."""
    r, m = report, report.machine
    about = Text(
        f"{m.processor}, {m.cores} cores, {m.memory_gb:g} GB, {m.system}, Python {m.python}\n"
        f"{r.engine}, model {r.model}" + (", quick: not figures to tell" if r.quick else ""),
        style="dim",
    )
    tables = (_draw_steps(r), _draw_way(r), _draw_hops(r), _draw_journal(r))
    parts: list[RenderableType] = [about, *tables, Group(*_draw_lines(r))]
    return Group(*(line for part in parts for line in (Text(), part)))


def _draw_steps(report: BenchReport) -> Table:
    table = _table("step by subjects, 1 thread", *report.step_ms)
    table.add_row("together", *(f"{step:.2f} ms" for step in report.step_ms.values()))
    table.add_row("each", *(f"{step / int(n):.2f} ms" for n, step in report.step_ms.items()))
    return table


def _draw_way(report: BenchReport) -> Table:
    table = _table("last sample due → received", "p50", "p95", "p99")
    rows = [
        (f"LSL → daemon → ZeroMQ, {report.n_latencies} epochs", report.end_to_end_ms),
        ("the same, not computing (floor)", report.floor_ms),
        ("above the floor", report.above_floor_ms),
    ]
    for n, cost in report.triggers.items():
        rows += [
            (f"LSL → daemon → pulse → serial, {n} subjects, {cost.n} pulses", cost.pin_ms),
            ("of it, from the estimate on", cost.told_ms),
            ("the floor of it", cost.floor_ms),
        ]
    for name, row in rows:
        table.add_row(name, *(f"{x:.2f} ms" for x in (row.p50, row.p95, row.p99)))
    return table


def _draw_hops(report: BenchReport) -> Table:
    table = _table(
        f"hop, {HOP_SUBJECTS} subjects", "step", "of a core", "published p50", "p99", "missed"
    )
    for hop_s, cost in report.hops.items():
        ms = (cost.latency_ms.p50, cost.latency_ms.p99)
        cells = (f"{cost.step_ms:.2f} ms", f"{100 * cost.cpu:.1f} %", *(f"{x:.1f} ms" for x in ms))
        table.add_row(f"{hop_s} s", *cells, str(cost.missed))
    return table


def _draw_journal(report: BenchReport) -> Table:
    table = _table("journal: one epoch of all subjects", *report.journal)
    costs = report.journal.values()
    rows = {
        "committed, fsync periodic: p50": [f"{cost.commit_ms.p50:.2f} ms" for cost in costs],
        "committed, fsync each: p50": [f"{cost.commit_fsync_ms.p50:.2f} ms" for cost in costs],
        "committed, fsync each: p99": [f"{cost.commit_fsync_ms.p99:.2f} ms" for cost in costs],
        "kept in the journal": [f"{cost.kept_kb:.1f} kB" for cost in costs],
    }
    for name, row in rows.items():
        table.add_row(name, *row)
    return table


def _draw_lines(report: BenchReport) -> Iterator[Text]:
    yield Text.assemble(
        (f"{SUBJECTS} subjects in real time  ", "dim"),
        f"{100 * report.cpu_64_subjects:.1f} % of one core, {report.rss_64_subjects_mb:.0f} MB, "
        f"published p99 {report.latency_64_subjects_ms.p99:.0f} ms after arrival, "
        f"{report.missed_64_subjects} missed",
    )
    yield Text.assemble(
        ("live signals              ", "dim"),
        f"nobody looks {100 * report.cpu_64_subjects_unseen:.1f} % of one core, somebody at all "
        f"{SUBJECTS} {100 * report.cpu_64_subjects_seen:.1f} %",
    )
    yield Text.assemble(("subjects per core         ", "dim"), f"{report.subjects_per_core:.0f}")
    yield Text.assemble(
        ("one subject               ", "dim"),
        f"{report.rss_mb:.0f} MB, ready {report.startup_s:.2f} s after its start",
    )
    yield Text()
    for goal, met in report.goals.items():
        yield Text(f"{'✔' if met else '✖'} {goal}", "green" if met else "bold red")


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for i, name in enumerate(columns):
        table.add_column(name, justify="right" if i else "left", no_wrap=True)
    return table
