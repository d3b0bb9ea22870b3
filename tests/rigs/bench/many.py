"""Many subjects on the processor: how many in one call of the network, and on how many threads.

Every way of doing it takes its turn in every round, so that what disturbs one disturbs the others
too, and the ratios are of one round each. OpenVINO is no engine of hypnod; it takes part where
its package is installed, so that the choice of ONNX Runtime can be looked at again.
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from engines.bundle import Bundle
from engines.onnxruntime import open_session
from models.spec import ModelSpec
from tools.bench.engine import N_READ
from tools.shared.measure import Machine, describe_machine

SUBJECTS = {64: 21, 256: 9}
"""Subjects, and rounds of each."""
PER_CALL = (4, 8, 16, 32)
"""Tried beside all in one call."""
ORT, OPENVINO = "onnxruntime", "openvino f32"
_OUTPUTS = ("mixed", "token")

Feed = dict[str, NDArray[np.generic]]
Call = Callable[[Feed], Sequence[NDArray[np.float32]]]
"""One call of the network: probabilities and tokens of as many subjects as are fed."""


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """One way to stage some subjects, medians over all rounds."""

    engine: str
    subjects: int
    """Staged together."""
    threads: int
    per_call: int
    """Of them in one call of the network."""
    wall_ms: float
    """From the first call's beginning to the last one's end, ms."""
    cpu_ms: float
    """Processor time of all threads, ms."""
    wall_ratio: float
    """To all subjects in one call of ONNX Runtime on one thread, in the same round."""
    cpu_ratio: float
    max_abs_difference: float
    """Of a probability, from that."""


class ManyReport(msgspec.Struct, frozen=True, kw_only=True):
    """All ways, and what they were timed on."""

    machine: Machine
    model: str
    """First 12 digits of the bundle's SHA-256."""
    load: tuple[float, float]
    """Processes that wanted to run in the last minute, before and after."""
    rounds: dict[str, int]
    """By subjects."""
    ways: tuple[Way, ...]
    skipped: dict[str, str]
    """What was not measured, and why."""


@dataclass(frozen=True, slots=True)
class _Contender:
    engine: str
    threads: int
    per_call: int
    run: Call

    def stage(self, feed: Feed, n: int) -> NDArray[np.float32]:
        """Return the probabilities of n subjects, fed a part at a time."""
        parts = [slice(first, first + self.per_call) for first in range(0, n, self.per_call)]
        answers = [self.run({name: array[part] for name, array in feed.items()}) for part in parts]
        return np.concatenate([answer[0] for answer in answers])


def time_many(
    bundle: Bundle,
    threads: Sequence[int],
    subjects: Mapping[int, int] = SUBJECTS,
    tick: Callable[[float], None] = lambda _: None,
) -> ManyReport:
    """Time every way to stage many subjects.

    Args:
        bundle: the model.
        threads: numbers of threads; 1 has to be among them.
        subjects: how many, and how many rounds of each.
        tick: told the fraction that is done.
    """
    before = os.getloadavg()[0]
    networks = {(ORT, n): _open_onnxruntime(bundle.step_file, n, bundle.spec) for n in threads}
    skipped = {}
    if find_spec("openvino") is None:
        skipped[OPENVINO] = "not installed"
    else:
        networks |= {
            (OPENVINO, n): _open_openvino(bundle.step_file, n, bundle.spec) for n in threads
        }
    ways: list[Way] = []
    for done, (n, rounds) in enumerate(subjects.items()):
        contenders = [
            _Contender(engine, n_threads, per_call, run)
            for (engine, n_threads), run in networks.items()
            for per_call in (n, *(k for k in PER_CALL if k < n))
        ]
        ways += _compare(contenders, _feed(bundle.spec, n), n, rounds)
        tick((done + 1) / len(subjects))
    return ManyReport(
        machine=describe_machine(),
        model=bundle.hash[:12],
        load=(before, os.getloadavg()[0]),
        rounds={str(n): rounds for n, rounds in subjects.items()},
        ways=tuple(ways),
        skipped=skipped,
    )


def thread_counts(cores: int) -> list[int]:
    """Return 1, 2, 4, … and all cores."""
    return sorted({*(2**k for k in range(cores.bit_length())), cores})


def _compare(contenders: Sequence[_Contender], feed: Feed, n: int, rounds: int) -> Iterable[Way]:
    """Let everyone stage the same epochs once a round; the first contender is the measure."""
    answers = [contender.stage(feed, n) for contender in contenders]  # warms up, too
    spent = np.empty((rounds, len(contenders), 2))
    for k in range(rounds):
        for j in range(len(contenders)):
            i = (j + k) % len(contenders)  # nobody is always the first
            wall, cpu = time.perf_counter(), time.process_time()
            contenders[i].stage(feed, n)
            spent[k, i] = time.perf_counter() - wall, time.process_time() - cpu
    medians = 1e3 * np.median(spent, axis=0)
    ratios = np.median(spent / spent[:, :1], axis=0)
    for i, contender in enumerate(contenders):
        yield Way(
            engine=contender.engine,
            subjects=n,
            threads=contender.threads,
            per_call=contender.per_call,
            wall_ms=float(medians[i, 0]),
            cpu_ms=float(medians[i, 1]),
            wall_ratio=float(ratios[i, 0]),
            cpu_ratio=float(ratios[i, 1]),
            max_abs_difference=float(np.abs(answers[i] - answers[0]).max()),
        )


def _feed(spec: ModelSpec, n: int) -> Feed:
    """Return epochs and full context windows of n subjects, noise."""
    random, N, M = np.random.default_rng(0), spec.n_context, spec.n_modalities
    return {
        "epochs": random.standard_normal((n, M, spec.n_inputs), np.float32),
        "tokens": random.standard_normal((n, N - 1, *spec.token_shape), np.float32),
        "mask": np.ones((n, N, M), bool),
    }


def _open_onnxruntime(file: Path, threads: int, spec: ModelSpec) -> Call:
    session = open_session(file, threads)
    the_same = _same_for_all(spec)
    return lambda feed: session.run(_OUTPUTS, feed | the_same)


def _same_for_all(spec: ModelSpec) -> Feed:
    """Return the input that is not a subject's: the slots that the daemon reads."""
    return {"slots": np.arange(spec.n_context - N_READ, spec.n_context)}


def _open_openvino(file: Path, threads: int, spec: ModelSpec) -> Call:
    # Here, not above: it is not needed for anything else, and mostly not there.
    import openvino  # noqa: PLC0415

    # Unless told not to, it computes in bf16 where the processor can, and changes stages.
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    request = openvino.Core().compile_model(file, "CPU", options).create_infer_request()
    the_same = _same_for_all(spec)

    def run(feed: Feed) -> list[NDArray[np.float32]]:
        answers = request.infer(feed | the_same)
        return [answers[name].copy() for name in _OUTPUTS]

    return run


def draw(report: ManyReport) -> RenderableType:
    """Return the report for a terminal; the fastest way of each number of subjects is bold."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    columns = ("subjects", "engine", "threads", "in a call", "wall", "ratio", "CPU", "ratio")
    for column in columns:
        table.add_column(column, justify="left" if column == "engine" else "right")
    fastest = {
        n: min(w.wall_ms for w in report.ways if w.subjects == n)
        for n in {w.subjects for w in report.ways}
    }
    for w in report.ways:
        table.add_row(
            str(w.subjects),
            w.engine,
            str(w.threads),
            "all" if w.per_call == w.subjects else str(w.per_call),
            f"{w.wall_ms:.1f} ms",
            f"{w.wall_ratio:.2f}",
            f"{w.cpu_ms:.1f} ms",
            f"{w.cpu_ratio:.2f}",
            style="bold" if w.wall_ms == fastest[w.subjects] else None,
        )
    machine = report.machine
    about = Text(
        f"{machine.processor}, {machine.cores} cores, load {report.load[0]:.1f} before and "
        f"{report.load[1]:.1f} after",
        style="dim",
    )
    lines = [Text(f"{what}: {why}", "yellow") for what, why in report.skipped.items()]
    return Group(about, Text(), table, *lines)
