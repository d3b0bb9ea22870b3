"""What only those who work on hypnod ask of a machine: `python -m tests.rigs.bench.run`.

The cached context window of the papers' nets against recomputing it; each engine's step against
what the processor can do at most; and how to stage many subjects fastest.
"""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from engines.bundle import open_bundle
from engines.select import available_engines
from models.base import part_of
from models.recordings.writers import replacing
from tests.rigs.bench import many, steps
from tests.rigs.bench.full import time_cached_and_full
from tests.rigs.bench.many import ManyReport, thread_counts, time_many
from tests.rigs.bench.steps import StepReport, count_work_ratio, time_steps
from tests.support.bundles import make_bundle_of
from tools.shared.species import SpeciesOption

NETS = {("sdreamer", 16): 300, ("sdreamer", 64): 100, ("sleepdifformer", 20): 100}
"""The papers' nets, by model and epochs of the context window, and how often each is timed."""
GOAL_SPEEDUP = {("sdreamer", 16): 8.0, ("sleepdifformer", 20): 15.0}


class CacheTime(msgspec.Struct, frozen=True, kw_only=True):
    """A paper's net with random weights: one subject, mixed pathway, ONNX Runtime, 1 thread."""

    model: str
    n_context: int
    """Epochs of the context window."""
    cached_ms: float
    """Median time of a cached step, ms."""
    full_ms: float
    """The same of recomputing the whole window, in turns with the cached step, ms."""
    work_ratio: float
    """The same ratio in floating-point operations: what the speed-up can be."""

    @property
    def speedup(self) -> float:
        """How often the cached step fits into the full window's time."""
        return self.full_ms / self.cached_ms


class EngineReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `make bench` writes into bench-engines.json."""

    paper: tuple[CacheTime, ...]
    steps: StepReport
    many: ManyReport


def main(
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures here.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="See that it runs.")] = False,
    bundle: Annotated[Path | None, typer.Option(help="Default: the one shipped.")] = None,
    species: SpeciesOption = None,
) -> None:
    """Measure the engines on this computer, which should be idle."""
    console, opened = Console(), open_bundle(bundle, species)
    paper = time_paper(dict.fromkeys(NETS, 2) if quick else NETS)
    console.print(draw(paper))
    timed = time_steps(opened, _kinds(), tuple(sorted({1, os.cpu_count() or 1})), quick=quick)
    console.print(steps.draw(timed))
    subjects = dict.fromkeys(many.SUBJECTS, 1) if quick else many.SUBJECTS
    ways = time_many(opened, thread_counts(len(os.sched_getaffinity(0))), subjects)
    console.print(many.draw(ways))
    if json_file is not None:
        report = EngineReport(paper=paper, steps=timed, many=ways)
        with replacing(json_file) as draft:
            draft.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")


def time_paper(nets: Mapping[tuple[str, int], int]) -> tuple[CacheTime, ...]:
    """Time nets of the papers' sizes.

    Args:
        nets: how often each is timed, by model and epochs of its context window.
    """
    times = []
    for (model, n_context), n in nets.items():
        spec = part_of(model, "net").new_spec(n_context)
        with tempfile.TemporaryDirectory() as scratch:
            bundle = open_bundle(make_bundle_of(spec, Path(scratch)))
            cached, full = time_cached_and_full(bundle, n)
        times.append(
            CacheTime(
                model=model,
                n_context=n_context,
                cached_ms=1e3 * cached,
                full_ms=1e3 * full,
                work_ratio=count_work_ratio(spec),
            )
        )
    return tuple(times)


def draw(paper: Sequence[CacheTime]) -> Table:
    """Return the papers' nets for a terminal."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("net", "cached", "full window", "speed-up", "work ratio", "goal"):
        table.add_column(column, justify="right")
    for t in paper:
        goal = GOAL_SPEEDUP.get((t.model, t.n_context))
        table.add_row(
            f"{t.model}, {t.n_context} epochs",
            f"{t.cached_ms:.2f} ms",
            f"{t.full_ms:.2f} ms",
            f"{t.speedup:.1f} ×",
            f"{t.work_ratio:.1f} ×",
            f"{goal:g} × {'met' if t.speedup >= goal else 'missed'}" if goal else "",
        )
    return table


def _kinds() -> tuple[str, ...]:
    engines = available_engines().items()
    return tuple(kind for kind, what in engines if not what.startswith("not available"))


if __name__ == "__main__":
    typer.run(main)
