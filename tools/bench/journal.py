"""What the journal costs: a tick of the daemon, committed before it is published.

A tick writes a live and a final estimate of every subject and what a restart goes on from. It is
written to a disk, and disks differ: TMPDIR chooses the one that is measured.
"""

import time
from pathlib import Path

import msgspec
import numpy as np

from daemon.config import JournalConfig
from daemon.journal.file import companions
from daemon.journal.sync import sync
from daemon.journal.tick import RestartPoint
from daemon.journal.writer import Journal
from daemon.lsl.inlet import Clocks
from daemon.messages import Kind, StageMessage
from daemon.metrics import Metrics
from daemon.restart.point import encode_arrays, encode_state
from models.signal.state import Adaptation, PipelineState
from models.spec import ModelSpec
from tools.bench.message import make_message
from tools.shared.measure import Percentiles, percentiles


class JournalCost(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a tick of the daemon costs, and what the journal takes."""

    commit_ms: Percentiles
    """To commit a tick, on disk within 5 s (`fsync = "periodic"`), ms."""
    commit_fsync_ms: Percentiles
    """To have it on disk before it is published (`fsync = "each"`), ms."""
    sync_ms: Percentiles
    """To bring 4 s of ticks to the disk, in a thread of its own, ms."""
    log_kb: float
    """Written to the write-ahead log by a tick, kB."""
    kept_kb: float
    """That stay in the journal of a tick, kB."""


def measure_journal(spec: ModelSpec, n_subjects: int, n_ticks: int, folder: Path) -> JournalCost:
    """Write ticks of an epoch of 1 s of so many subjects.

    Args:
        spec: the model, which decides what a restart needs.
        n_subjects: in one stream.
        n_ticks: to measure; each way of writing takes as many.
        folder: where to; it must be on the disk that is meant.
    """
    path = folder / "bench.sqlite"
    times: dict[str, list[float]] = {"periodic": [], "each": []}
    syncs: list[float] = []
    log_bytes = 0
    tick = 0
    for how, taken in times.items():
        config = JournalConfig(path=str(path), fsync="each" if how == "each" else "periodic")
        with Journal(config, Metrics()) as journal:
            sync(path)
            for _ in range(n_ticks):
                messages, points = _compose(spec, n_subjects, tick)
                started = time.perf_counter()
                journal.write(messages, points)
                taken.append(time.perf_counter() - started)
                tick += 1
                if tick % 4 == 0:
                    log_bytes = path.with_name(path.name + "-wal").stat().st_size
                    syncs.append(sync(path))
    kept = path.stat().st_size
    for file in companions(path):
        file.unlink(missing_ok=True)
    return JournalCost(
        commit_ms=_told(times["periodic"]),
        commit_fsync_ms=_told(times["each"]),
        sync_ms=_told(syncs),
        log_kb=log_bytes / 4 / 1e3,
        kept_kb=kept / tick / 1e3,
    )


def _told(seconds: list[float]) -> Percentiles:
    told = percentiles(seconds)
    if told is None:
        raise ValueError("expected at least one time, found none")
    return told


def _compose(
    spec: ModelSpec, n_subjects: int, tick: int
) -> tuple[list[StageMessage], list[RestartPoint]]:
    kinds: tuple[Kind, ...] = ("live", "final")
    onset = 1e5 + 0.123456 + tick
    messages = [
        make_message(f"m{i:02d}", tick, kind, tick, onset, spec.stages, spec.modalities)
        for i in range(n_subjects)
        for kind in kinds
    ]
    shape = (n_subjects, spec.n_modalities)
    levels = np.full(shape, 3.21)
    features = np.full((*shape, 13), 3.21)
    learnt = Adaptation(
        levels, levels, np.full((*shape, 11), 3.21), levels, features, features, levels
    )
    recent = {
        "sum": np.full((*shape, 3, 25), 3.21, np.float32),
        "weight": np.ones((*shape, 3), np.float32),
        "wires": np.full((n_subjects, 37), 3.21),
        "lead_off": np.full((n_subjects, 60), 3.21),
    }
    state = PipelineState(1e5 + 0.123, tick + 1, 1e5 + tick, 1e-9, 0.0, learnt, recent)
    arrays = {
        "tokens": np.random.default_rng(tick).random((n_subjects, *spec.token_shape), np.float32),
        "mask": np.ones(shape, bool),
        "belief": np.full((n_subjects, 2, len(spec.stages)), 0.3),
        "reading": np.full((n_subjects, len(spec.pathways), 5, len(spec.stages)), 0.3, np.float32),
    }
    data = encode_state("0" * 16, spec.sfreq, 0, Clocks(0.1, 1.7e9), spec.epoch_s, state)
    slot = tick % spec.n_context
    return messages, [RestartPoint("bench", tick, slot, data, encode_arrays(arrays))]
