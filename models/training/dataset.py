"""Conditioned epochs → context windows, with what a live stream may lack masked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.scored_epochs import ScoredEpochs
from models.spec import ModelSpec


@dataclass(frozen=True)
class Windows:
    """A batch of context windows."""

    epochs: Tensor
    """(B, N, M, T) float32."""
    stages: Tensor
    """(B, N) int64."""
    mask: Tensor
    """(B, N, M) bool."""


def n_windows(subjects: Sequence[ScoredEpochs], n_context: int) -> int:
    """Count the windows of one pass."""
    return sum(max(0, len(subject.epochs) // n_context - 1) for subject in subjects)


def iterate_windows(
    spec: ModelSpec,
    subjects: Sequence[ScoredEpochs],
    batch_size: int,
    rng: np.random.Generator,
    *,
    masks: bool = True,
) -> Iterator[Windows]:
    """Go through all subjects once, in shuffled batches of windows.

    Windows of a subject touch but do not overlap and start at a random offset, so that every
    epoch is encoded once a pass and seen at another slot in each. What was not usable in the
    recording is masked; with `masks` random slots as well, see `draw_masks`.
    """
    N = spec.n_context
    places = [
        (s, offset + N * w)
        for s, offset in enumerate(rng.integers(N, size=len(subjects)).tolist())
        for w in range(len(subjects[s].epochs) // N - 1)
    ]
    order = rng.permutation(len(places))
    for first in range(0, len(places), batch_size):
        chosen = [places[i] for i in order[first : first + batch_size]]
        mask = np.stack([subjects[s].usable[k : k + N] for s, k in chosen])
        if masks:
            mask &= draw_masks(len(chosen), N, spec.n_modalities, rng)
        yield Windows(
            torch.from_numpy(np.stack([subjects[s].epochs[k : k + N] for s, k in chosen])).float(),
            torch.from_numpy(np.stack([subjects[s].stages[k : k + N] for s, k in chosen])),
            torch.from_numpy(mask),
        )


def draw_masks(
    n_windows: int, n_context: int, n_modalities: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Mask what a live stream may lack: warm-up, a lost modality, single gaps.

    Returns:
        (n_windows, n_context, n_modalities), True where valid. About half of the windows lack
        something; the newest slot of a warming-up window is never masked by the warm-up.
    """
    slots = np.arange(n_context)
    u = rng.random((3, n_windows, 1, 1))
    filled = rng.integers(1, n_context + 1, (n_windows, 1, 1))
    warming_up = (u[0] < 0.2) & (slots[:, None] < n_context - filled)

    edges = np.sort(rng.integers(0, n_context + 1, (2, n_windows, 1, 1)), axis=0)
    whole = rng.random((n_windows, 1, 1)) < 0.5
    inside = whole | ((slots[:, None] >= edges[0]) & (slots[:, None] < edges[1]))
    which = rng.integers(n_modalities, size=(n_windows, 1, 1)) == np.arange(n_modalities)
    lost = (u[1] < 0.2) & inside & which

    gaps = (u[2] < 0.2) & (rng.random((n_windows, n_context, 1)) < 0.15)
    masks: NDArray[np.bool_] = ~(warming_up | lost | gaps)
    return masks
