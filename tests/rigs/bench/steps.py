"""Each engine's step by number of subjects, against what the processor can do at most.

The roofline: a step cannot be faster than its operations at the processor's peak, nor than its
bytes at the memory's. How near it comes says whether another engine could gain much.
"""

from math import prod

import msgspec
from rich.table import Table

from engines.bundle import Bundle
from models.errors import SpecError
from models.spec import WEIGHTS_FILE, ModelSpec
from tests.rigs.bench.peak import Peak, measure_peak
from tools.bench.engine import time_step
from tools.measure import Machine, describe_machine

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
    """Return what a cached step of sDREAMER computes and moves, by its products of matrices.

    Raises:
        SpecError: the bundle is of another architecture.
    """
    spec = bundle.spec
    encode, read = _count_products(spec)
    return Work(
        flops=2.0 * (encode + read),
        bytes_each=4.0 * sum(map(prod, _shapes(spec))),
        bytes_once=float((bundle.path / WEIGHTS_FILE).stat().st_size),
    )


def count_work_ratio(spec: ModelSpec) -> float:
    """Return the work of the whole window over that of the cached step.

    Raises:
        SpecError: the model is of another architecture.
    """
    encode, read = _count_products(spec)
    return (spec.n_context * encode + read) / (encode + read)


def _count_products(spec: ModelSpec) -> tuple[int, int]:
    """Return the multiplications of encoding one epoch, and of reading a window."""
    if spec.model != "sdreamer":
        raise SpecError(f"work: expected a model sdreamer, found {spec.model}")
    M, N, D, S = spec.n_modalities, spec.n_context, spec.token_size, len(spec.stages)
    a = {"patch_size": 16, "ffn_size": 512, "epoch_layers": 2, "sequence_layers": 3}
    a |= {"head_size": 256} | {k: int(v) for k, v in spec.architecture.items()}
    p, H = a["patch_size"], a["head_size"]
    L = spec.n_times // p + 1

    def block(tokens: int, matrices: int) -> int:
        """Multiplications of a transformer block: qkv and output, experts, attention."""
        return tokens * (4 * D * D + matrices * D * a["ffn_size"] + 2 * tokens * D)

    separate = bool(spec.architecture.get("separate_epochs"))  # gated experts, no projection
    epoch = a["epoch_layers"] * block(L, 3 if separate else 2) + (0 if separate else D * D)
    encode = M * ((L - 1) * (p * D + D * D) + epoch)
    sequence = a["sequence_layers"] * block(M * N, 2) + N * M * D * D
    return encode, sequence + N * (D * H + H * S)


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
    M, N, D = spec.n_modalities, spec.n_context, spec.token_size
    return (M, spec.n_times), (N - 1, M, D), (N, len(spec.stages)), (M, D)


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
