"""Each engine's step by number of subjects, against what the processor can do at most.

The roofline: a step cannot be faster than its operations at the processor's peak, nor than its
bytes at the memory's. How near it comes says whether another engine could gain much.
"""

from math import prod

import msgspec
from rich.table import Table

from engines.bundle import Bundle
from models.base import part_of
from models.graphs import step_inputs, step_outputs
from models.spec import WEIGHTS_FILE, ModelSpec
from tests.rigs.bench.peak import Peak, measure_peak
from tools.bench.engine import N_READ, time_step
from tools.shared.measure import Machine, describe_machine

BATCHES = (1, 8, 64, 256)
_REPEATS, _QUICK_REPEATS = 240, 8
"""Subjects timed of each batch size, all repetitions together."""


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What one step of the mixed pathway has to do."""

    flops: float
    """Operations of one subject; a multiplication with an addition counts as two."""
    bytes_each: float
    """Read and written for one subject: its epochs, window and answers."""
    bytes_once: float
    """Read whatever the batch: the weights."""


class StepTime(msgspec.Struct, frozen=True, kw_only=True):
    """One engine with one batch."""

    engine: str
    """Name of the engine."""
    threads: int
    """Threads of a step; 0 on a GPU."""
    subjects: int
    """In one step."""
    ms: float
    """Median time of a step, ms."""
    bound_ms: float | None
    """The roofline: no step could be faster on this processor, ms; none for a GPU."""


class StepReport(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    machine: Machine
    model: str
    """First 12 digits of the bundle's SHA-256."""
    work: Work
    peaks: tuple[Peak, ...]
    steps: tuple[StepTime, ...]


def count_work(bundle: Bundle) -> Work:
    """Return what a cached step computes and moves, by its products of matrices.

    Raises:
        SpecError: there is no such model.
    """
    spec = bundle.spec
    encode, read = part_of(spec.model, "work").count_products(spec, N_READ)
    return Work(
        flops=2.0 * (encode + read),
        bytes_each=4.0 * sum(map(prod, _shapes(spec))),
        bytes_once=float((bundle.path / WEIGHTS_FILE).stat().st_size),
    )


def count_work_ratio(spec: ModelSpec) -> float:
    """Return the work of the whole window over that of the cached step.

    Raises:
        SpecError: there is no such model.
    """
    count = part_of(spec.model, "work").count_products
    (encode, read), (_, whole) = count(spec, N_READ), count(spec, spec.n_context)
    ratio: float = (spec.n_context * encode + whole) / (encode + read)
    return ratio


def time_steps(
    bundle: Bundle, kinds: tuple[str, ...], threads: tuple[int, ...], *, quick: bool = False
) -> StepReport:
    """Time every engine with every batch and number of threads.

    Args:
        bundle: the model.
        kinds: names of engines that are available here.
        threads: numbers of threads.
        quick: two small batches, a few times.
    """
    work, peaks = count_work(bundle), tuple(measure_peak(n) for n in threads)
    steps = [
        _time(bundle, kind, batch, peak, work, _QUICK_REPEATS if quick else _REPEATS)
        for kind in kinds
        for peak in ((None,) if kind.startswith("tensorrt") else peaks)
        for batch in (BATCHES[:2] if quick else BATCHES)
    ]
    return StepReport(
        machine=describe_machine(),
        model=bundle.hash[:12],
        work=work,
        peaks=peaks,
        steps=tuple(steps),
    )


def _time(
    bundle: Bundle, kind: str, batch: int, peak: Peak | None, work: Work, repeats: int
) -> StepTime:
    threads, bound_ms = 1, None
    if peak is not None:
        n_bytes = batch * work.bytes_each + work.bytes_once
        bound_ms = max(batch * work.flops / peak.gflops, n_bytes / peak.gb_per_s) / 1e6
        threads = peak.threads
    seconds = time_step(bundle, kind, batch, max(3, repeats // batch), threads)
    shown = threads if peak else 0
    return StepTime(engine=kind, threads=shown, subjects=batch, ms=1e3 * seconds, bound_ms=bound_ms)


def _shapes(spec: ModelSpec) -> tuple[tuple[int, ...], ...]:
    """Return what is read and written for one subject: epochs, window, probabilities, token."""
    step = step_inputs(spec) | step_outputs(spec, spec.pathways[:1], N_READ)
    return tuple(step[name].shape for name in ("epochs", "tokens", "mixed", "token"))


def draw(report: StepReport) -> Table:
    """Return the report for a terminal."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("engine", "threads", "subjects", "step", "each", "roofline", "of it"):
        table.add_column(column, justify="left" if column == "engine" else "right")
    for s in report.steps:
        table.add_row(
            s.engine,
            str(s.threads),
            str(s.subjects),
            f"{s.ms:.2f} ms",
            f"{s.ms / s.subjects:.3f} ms",
            f"{s.bound_ms:.2f} ms" if s.bound_ms else "",
            f"{100 * s.bound_ms / s.ms:.0f} %" if s.bound_ms else "",
        )
    return table
