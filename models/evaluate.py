"""How well a net stages unseen subjects, read as it will be read live."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models.agreement import accuracy, kappa, macro_f1
from models.scores import ece, tally
from models.sdreamer import SDreamer
from models.subject import Subject

_BATCH = 128


@dataclass(frozen=True)
class Scores:
    """Agreement of one pathway with the true hypnogram, over all scored epochs."""

    accuracy: float
    kappa: float
    """Cohen's κ; NaN where both hypnograms are one stage throughout."""
    macro_f1: float
    ece: float
    """Expected calibration error; NaN without epochs."""
    confusion: NDArray[np.int64]
    """(S, S), rows: true stage."""


@torch.no_grad()
def read_all(
    model: SDreamer, epochs: NDArray[np.float32], valid: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """Return what an engine's `step` gives after each epoch of a recording.

    Each epoch is encoded once; before the first epoch the window is masked (warm-up).

    Args:
        model: the net, in eval mode.
        epochs: (n_epochs, M, T), conditioned.
        valid: (n_epochs, M); default: all are.

    Returns:
        Probabilities (n_epochs, 1 + M, N, S); [k, :, -1] is epoch k as read live.
    """
    N = model.spec.n_context
    batches = range(0, len(epochs), _BATCH)
    tokens = torch.cat([model.encode(torch.from_numpy(epochs[i : i + _BATCH])) for i in batches])
    before = torch.zeros(N - 1, *tokens.shape[1:])
    there = torch.ones(tokens.shape[:2], dtype=torch.bool)
    if valid is not None:
        there = torch.from_numpy(valid)
    mask = torch.cat([torch.zeros(N - 1, there.shape[1], dtype=torch.bool), there])
    windows = torch.cat([before, tokens]).unfold(0, N, 1).permute(0, 3, 1, 2)
    masks = mask.unfold(0, N, 1).permute(0, 2, 1)
    parts = []
    for i in batches:
        window, seen = windows[i : i + _BATCH], masks[i : i + _BATCH]
        mixed, _ = model.read(window, seen)
        parts.append(torch.cat([mixed[:, None], model.read_single(window, seen)], 1).softmax(-1))
    probabilities: NDArray[np.float32] = torch.cat(parts).numpy()
    return probabilities


def score(stages: NDArray[np.int64], probabilities: NDArray[np.float32]) -> Scores:
    """Compare the most probable stages with the true ones.

    Args:
        stages: (n,) true stage, `UNSCORED` is left out.
        probabilities: (n, S); where they are NaN the epoch is left out.
    """
    counted = tally(stages, probabilities)
    return Scores(
        accuracy=float(accuracy(counted.confusion)),
        kappa=float(kappa(counted.confusion)),
        macro_f1=float(macro_f1(counted.confusion)),
        ece=float(ece(counted)),
        confusion=counted.confusion,
    )


def evaluate(
    model: SDreamer, subjects: Sequence[Subject], lags: Sequence[int] = (0,)
) -> dict[tuple[str, int], Scores]:
    """Score every pathway on all subjects together.

    Args:
        model: the net; it is left in eval mode.
        subjects: unseen ones.
        lags: how many epochs later an epoch is read: 0 is live (last slot), more is final.

    Returns:
        Scores by pathway and lag.
    """
    model.eval()
    read = [read_all(model, subject.epochs) for subject in subjects]
    scores = {}
    for lag in lags:
        stages = np.concatenate([s.stages[: len(s.stages) - lag] for s in subjects])
        for p, pathway in enumerate(model.spec.pathways):
            probabilities = np.concatenate([r[lag:, p, -1 - lag] for r in read])
            scores[pathway, lag] = score(stages, probabilities)
    return scores
