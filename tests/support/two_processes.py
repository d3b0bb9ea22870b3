"""A small training run as one of torchrun's processes: `… two_processes.py FOLDER`."""

import sys
from pathlib import Path

import numpy as np
import torch

from models.base import Model
from models.scored_epochs import ScoredEpochs
from models.training.devices import Device, open_device
from models.training.run import Pass
from models.training.train import TrainConfig, train
from tests.support.bundles import TINY, mouse_spec

SPEC = mouse_spec(4, dropout=0.0, **TINY)
CONFIG = TrainConfig(passes=2, batch_size=8, masks=False, seed=5)
"""Of windows that fill every batch, so that the mean of two halves is the mean of the whole."""


def draw_subject(seed: int) -> ScoredEpochs:
    """Return 17 windows of noise whose loudness tells the stage: 16 a pass."""
    rng = np.random.default_rng(seed)
    stages = rng.integers(3, size=17 * SPEC.n_context)
    loudness = np.array([3.0, 1.0, 0.3])[stages, None, None]
    epochs = (loudness * rng.standard_normal((len(stages), 2, 512))).astype(np.float32)
    return ScoredEpochs(str(seed), epochs, stages, np.ones((len(stages), 2), bool))


def run(device: Device, state: Path | None = None) -> tuple[Model, list[Pass]]:
    """Train, on two subjects, stopped by a third."""
    training, validation = [draw_subject(0), draw_subject(1)], [draw_subject(2)]
    return train(SPEC, training, validation, CONFIG, device, state=state)


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    with open_device("cpu", "float32") as opened:
        model, history = run(opened, folder / "state.pt")
        kappa = [each.kappa["mixed"] for each in history]
        torch.save((model.state_dict(), kappa), folder / f"{opened.rank}.pt")
