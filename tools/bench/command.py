"""`hypnod bench`: how fast it is here, and how that stands to the goals."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from daemon.stager import hops_per_epoch
from engines.bundle import Bundle, open_bundle
from engines.select import open_engine
from models.recordings.writers import replacing
from tools.bench.daemon import (
    Latencies,
    Load,
    Tick,
    Views,
    measure_latency,
    measure_load,
    measure_startup,
    measure_views,
)
from tools.bench.engine import time_step
from tools.bench.journal import measure_journal
from tools.bench.report import (
    HOP_SUBJECTS,
    HOPS,
    SUBJECTS,
    TRIGGERED,
    BenchReport,
    HopCost,
    TriggerCost,
    draw_report,
    judge,
)
from tools.bench.trigger import measure_trigger
from tools.daemon_process import ChildError
from tools.shared.measure import Percentiles, describe_machine, percentiles
from tools.shared.species import BundleOption, SpeciesOption


@dataclass(frozen=True)
class _Effort:
    """How long to measure."""

    steps: dict[str, int]
    """Steps by subjects."""
    latency_s: float
    load_s: float
    hop_s: float
    """For each hop, and for each spell with and without somebody who looks."""
    trigger_s: float
    """For each number of subjects."""
    starts: int
    ticks: int
    """Epochs written to a journal."""


_FULL = _Effort({"1": 300, "8": 100, "64": 20}, 75.0, 30.0, 20.0, 60.0, 5, 400)
_QUICK = _Effort({"1": 3, "8": 2, "64": 1}, 3.0, 2.0, 2.0, 2.0, 1, 8)


def bench(
    bundle: BundleOption = None,
    species: SpeciesOption = None,
    engine: Annotated[str, typer.Option(help="Engine; `hypnod doctor` lists them.")] = "auto",
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures here.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="See that it runs; the figures mean little.")
    ] = False,
) -> None:
    """Measure **latency, speed and appetite** on this computer, which should be idle.

    - one step by number of subjects
    - the way of one subject in real time: `hypnod replay` in one process, daemon in another, ZeroMQ
      subscriber in a third, against the same way without computing (the floor), at the same time
    - 8 subjects at a hop of a second (of people 5 s), and of a quarter of it: cost and latency
    - the journal, committed before an epoch is published, on the disk of the temporary folder
    - from the last sample to the pin of a simulated board, through daemon and `hypnod pulse`
    - 64 subjects in real time, with and without somebody who looks at their live signals
    - how soon a daemon is ready

    Takes about seven minutes. LSL is confined to the bench, and ports are free ones.

        hypnod bench --json bench.json
    """
    console = Console()
    began = time.monotonic()
    opened = open_bundle(bundle, species)
    effort = _QUICK if quick else _FULL
    with tempfile.TemporaryDirectory(prefix="hypnod-bench-") as scratch, _Steps(console) as steps:
        report = _measure(opened, engine, effort, Path(scratch), steps, quick=quick, began=began)
    console.print(draw_report(report))
    if json_file is not None:
        with replacing(json_file) as draft:
            draft.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")


class _Steps:
    """A progress bar for each thing that is measured."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console
        )

    @contextmanager
    def step(self, name: str, total: float | None = None) -> Iterator[Tick]:
        """Show a bar while something is measured."""
        task: TaskID = self._progress.add_task(name, total=total)
        yield lambda done: self._progress.update(task, completed=min(done, total or done))
        self._progress.update(task, total=total or 1, completed=total or 1)
        self._progress.stop_task(task)

    def __enter__(self) -> "_Steps":
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()


def _measure(
    bundle: Bundle,
    engine: str,
    effort: _Effort,
    scratch: Path,
    steps: _Steps,
    *,
    quick: bool,
    began: float,
) -> BenchReport:
    with steps.step("steps of 1, 8 and 64 subjects"):
        step_ms = {k: 1e3 * time_step(bundle, engine, int(k), n) for k, n in effort.steps.items()}
    with steps.step("journal"):
        journal = {
            str(n): measure_journal(bundle.spec, n, effort.ticks, scratch) for n in (1, SUBJECTS)
        }
    latencies, load, views, startup_s = _watch_daemons(bundle, engine, effort, scratch, steps)
    hops = _measure_hops(bundle, engine, effort, scratch, steps)
    triggers = _measure_triggers(bundle, engine, effort, scratch, steps)
    end_to_end, floor = _percentiles(latencies.daemon), _percentiles(latencies.floor)
    above = Percentiles(
        *(getattr(end_to_end, p) - getattr(floor, p) for p in Percentiles.__struct_fields__)
    )
    with open_engine(bundle, engine, n_rows=1) as opened:
        description = opened.description
    return BenchReport(
        step_ms=step_ms,
        end_to_end_ms=end_to_end,
        floor_ms=floor,
        above_floor_ms=above,
        n_latencies=len(latencies.daemon),
        hops=hops,
        triggers=triggers,
        cpu_64_subjects=load.cpu,
        latency_64_subjects_ms=_percentiles(load.latencies),
        missed_64_subjects=load.missed,
        cpu_64_subjects_unseen=views.nobody,
        cpu_64_subjects_seen=views.all,
        subjects_per_core=SUBJECTS / load.cpu,
        rss_mb=latencies.rss_bytes / 1e6,
        rss_64_subjects_mb=load.rss_bytes / 1e6,
        startup_s=startup_s,
        journal=journal,
        goals=judge(above, load.cpu, triggers[str(TRIGGERED[-1])]),
        engine=description,
        model=bundle.hash[:12],
        quick=quick,
        machine=describe_machine(),
        took_s=time.monotonic() - began,
    )


def _watch_daemons(
    bundle: Bundle, engine: str, effort: _Effort, scratch: Path, steps: _Steps
) -> tuple[Latencies, Load, Views, float]:
    folders = [scratch / name for name in ("latency", "load", "views", "startup")]
    for folder in folders:
        folder.mkdir()
    with steps.step("latency of one subject in real time, and its floor", effort.latency_s) as tick:
        latencies = measure_latency(bundle, engine, effort.latency_s, folders[0], tick)
    with steps.step(f"{SUBJECTS} subjects in real time", effort.load_s) as tick:
        load = measure_load(bundle, engine, SUBJECTS, effort.load_s, folders[1], tick)
    with steps.step("the same, looked at or not", 3 * effort.hop_s) as tick:
        views = measure_views(bundle, engine, SUBJECTS, effort.hop_s, folders[2], tick)
    with steps.step("start"):
        startup_s = measure_startup(bundle, engine, effort.starts, folders[3])
    return latencies, load, views, startup_s


def _measure_hops(
    bundle: Bundle, engine: str, effort: _Effort, scratch: Path, steps: _Steps
) -> dict[str, HopCost]:
    found = {}
    for n in HOPS:
        hop_s, folder = bundle.spec.live_hop_s / n, scratch / f"hop-{n}"
        folder.mkdir()
        hops = hops_per_epoch(hop_s, bundle.spec)
        step = time_step(bundle, engine, HOP_SUBJECTS, effort.steps["8"], hops_per_epoch=hops)
        with steps.step(f"{HOP_SUBJECTS} subjects, a hop of {hop_s:g} s", effort.hop_s) as tick:
            load = measure_load(bundle, engine, HOP_SUBJECTS, effort.hop_s, folder, tick, n)
        found[f"{hop_s:g}"] = HopCost(
            step_ms=1e3 * step,
            cpu=load.cpu,
            latency_ms=_percentiles(load.latencies),
            missed=load.missed,
        )
    return found


def _measure_triggers(
    bundle: Bundle, engine: str, effort: _Effort, scratch: Path, steps: _Steps
) -> dict[str, TriggerCost]:
    found = {}
    for n in TRIGGERED:
        folder = scratch / f"trigger-{n}"
        folder.mkdir()
        with steps.step(f"triggers of {n} subjects in real time", effort.trigger_s) as tick:
            times = measure_trigger(bundle, engine, n, effort.trigger_s, folder, tick)
        found[str(n)] = TriggerCost(
            pin_ms=_percentiles(times.pin),
            told_ms=_percentiles(times.told),
            floor_ms=_percentiles(times.floor),
            n=len(times.pin),
        )
    return found


def _percentiles(seconds: Sequence[float]) -> Percentiles:
    """Return percentiles, in ms, of times of which there must be some.

    Raises:
        ChildError: there is none.
    """
    found = percentiles(seconds)
    if found is None:
        raise ChildError(
            "expected live stages and pulses within the time of measuring, found none; is the "
            "machine busy?"
        )
    return found
