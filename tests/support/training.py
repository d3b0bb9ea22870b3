"""Subjects that are learnt in seconds, a lab's recordings, and what a training run tells."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from models.recordings.lab import LabOptions
from models.scored_epochs import ScoredEpochs
from models.simulator.mouse.simulate import SimulatedMice
from models.training.run import Pass
from models.training.train import Watcher
from tools.simulate import write_edf
from tools.train.command import TrainOptions


def easy_subject(seed: int, n_epochs: int = 240) -> ScoredEpochs:
    """Bouts of three stages that differ in the EEG's frequency and the EMG's amplitude."""
    rng = np.random.default_rng(seed)
    stages = np.repeat(rng.permutation(np.arange(n_epochs // 8) % 3), 8)
    t = np.arange(512) / 512
    eeg = np.sin(2 * np.pi * (np.array([20.0, 2.0, 7.0])[stages, None] * t + rng.random()))
    emg = rng.standard_normal((n_epochs, 512)) * np.array([3.0, 1.0, 0.3])[stages, None]
    epochs = np.stack([eeg, emg], axis=1).astype(np.float32)
    return ScoredEpochs(str(seed), epochs, stages, np.ones((n_epochs, 2), bool))


class Lines(Watcher):
    """Keeps what it is told, and interrupts the run after one pass if asked to."""

    def __init__(self, interrupt_after: int = 0, *, at_once: bool = False) -> None:
        self.passes: list[Pass] = []
        self.steps = 0
        self.before = 0
        self._interrupt_after = interrupt_after
        self._interrupt_at_once = at_once

    def resumed(self, n_passes: int) -> None:
        self.before = n_passes

    def step(self, done: int, total: int, loss: float) -> None:
        assert done <= total
        self.steps += 1
        if self._interrupt_after and len(self.passes) == self._interrupt_after:
            raise KeyboardInterrupt

    def passed(self, result: Pass) -> None:
        self.passes.append(result)
        if self._interrupt_at_once:
            raise KeyboardInterrupt


def write_mice(folder: Path, names: Sequence[str], seconds: int, sfreq: float) -> None:
    """Write a mouse to each `folder`/name.edf, with its stages inside."""
    for seed, name in enumerate(names):
        path = folder / f"{name}.edf"
        path.parent.mkdir(parents=True, exist_ok=True)
        mice = SimulatedMice(
            seed=seed, duration_s=seconds, sfreq=sfreq, time_scale=20, every_stage=True
        ).subjects()
        write_edf(path, mice, sfreq, 1)


def train_options(lab: Path, start: Path | None, out: Path, **changes: object) -> TrainOptions:
    """Return what `hypnod train lab --out out` asks for, on the processor, but for changes."""
    options = TrainOptions(
        dirs=(lab,),
        out=out,
        lab=LabOptions(),
        simulated=0,
        wide=False,
        hours=1.0,
        stop_by=(),
        start=start,
        leave_out=None,
        species=None,
        recipe="hypnod",
        context=16,
        patch=None,
        dropout=None,
        passes=2,
        patience=None,
        batch_size=None,
        learning_rate=None,
        seed=0,
        state=out.with_name("state"),
        report=out.with_name("report"),
        device="cpu",
        precision="float32",
        threads=1,
    )
    return msgspec.structs.replace(options, **changes)
