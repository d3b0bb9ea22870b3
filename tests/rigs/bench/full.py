"""The whole window recomputed from its epochs: what the cached step is measured against."""

import tempfile
from pathlib import Path

import numpy as np
import onnx
from torch import Tensor, nn

from engines.bundle import Bundle
from engines.onnxruntime import open_session
from engines.parity import random_epochs
from engines.select import open_engine
from models.base import Model
from models.graphs import Port
from models.training.export import trace
from models.weights import load_model
from tools.bench.engine import N_READ, time_in_turns


class _Full(nn.Module):
    """Encode and read the whole window, by the first pathway."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, epochs: Tensor, mask: Tensor) -> Tensor:
        tokens = self.model.encode(epochs, mask)
        (mixed,) = self.model.read(tokens, mask, self.model.spec.pathways[:1])
        return mixed.softmax(-1)


def export_full(model: Model, path: Path) -> None:
    """Write the graph of the whole window, epochs and mask → probabilities of all slots."""
    spec = model.spec
    N, M = spec.n_context, spec.n_modalities
    ports = {"epochs": Port((N, M, spec.n_inputs)), "mask": Port((N, M), np.bool_)}
    onnx.save(trace(_Full(model), ports, spec.pathways[:1]), path)


def time_cached_and_full(bundle: Bundle, n: int) -> tuple[float, float]:
    """Return the median times of a cached step and of the full window, in turns, s.

    One subject, mixed pathway, ONNX Runtime on one thread. The cached step is the engine's
    `step()` with all that it does around the network; the full window is the network alone.

    Args:
        bundle: the net.
        n: how often each is timed.
    """
    with (
        tempfile.TemporaryDirectory() as scratch,
        open_engine(bundle, "onnxruntime", n_rows=1, n_read=N_READ) as engine,
    ):
        random, spec = np.random.default_rng(0), bundle.spec
        epochs = [random_epochs(random, engine, 1) for _ in range(spec.n_context)]
        rows, valid = np.arange(1), np.ones((1, spec.n_modalities), bool)
        for epoch in epochs:  # a full context window
            engine.step(epoch, rows, valid)
        path = Path(scratch) / "full.onnx"
        export_full(load_model(bundle.path), path)
        session = open_session(path, threads=1)
        feed = {
            "epochs": np.stack(epochs, axis=1),
            "mask": np.ones((1, spec.n_context, spec.n_modalities), bool),
        }
        cached, full = time_in_turns(
            (lambda: engine.step(epochs[0], rows, valid), lambda: session.run(None, feed)), n
        )
    return float(np.median(cached)), float(np.median(full))
