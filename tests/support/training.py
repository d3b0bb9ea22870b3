"""Subjects that are learnt in seconds, and what a training run tells."""

import numpy as np

from models.subject import Subject
from models.train import Watcher
from models.train_run import Pass


def easy_subject(seed: int, n_epochs: int = 240) -> Subject:
    """Bouts of three stages that differ in the EEG's frequency and the EMG's amplitude."""
    rng = np.random.default_rng(seed)
    stages = np.repeat(rng.permutation(np.arange(n_epochs // 8) % 3), 8)
    t = np.arange(512) / 512
    eeg = np.sin(2 * np.pi * (np.array([20.0, 2.0, 7.0])[stages, None] * t + rng.random()))
    emg = rng.standard_normal((n_epochs, 512)) * np.array([3.0, 1.0, 0.3])[stages, None]
    epochs = np.stack([eeg, emg], axis=1).astype(np.float32)
    return Subject(str(seed), epochs, stages, np.ones((n_epochs, 2), bool))


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
