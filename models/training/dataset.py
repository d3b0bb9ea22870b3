"""Conditioned epochs → context windows, with what a live stream may lack masked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from models.scored_epochs import ScoredEpochs
from models.spec import ModelSpec

_COLOUR_SDS = 1.0  # within an animal
_COLOUR_BANDS = 1.8


@dataclass(frozen=True)
class Windows:
    """A batch of context windows."""

    epochs: Tensor
    """(B, N, M, T) float32."""
    stages: Tensor
    """(B, N) int64."""
    mask: Tensor
    """(B, N, M) bool."""
    domains: Tensor
    """(B,) int64, which of the data sets of the pass each is of."""


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
    recording is masked; with `masks` random slots as well, see `draw_masks`. Levels are coloured
    anew for each subject, see `draw_colours`.
    """
    N = spec.n_context
    colours = draw_colours(spec, len(subjects), rng)
    places = [
        (s, offset + N * w)
        for s, offset in enumerate(rng.integers(N, size=len(subjects)).tolist())
        for w in range(len(subjects[s].epochs) // N - 1)
    ]
    datasets = sorted({subject.dataset for subject in subjects})
    order = rng.permutation(len(places))
    for first in range(0, len(places), batch_size):
        chosen = [places[i] for i in order[first : first + batch_size]]
        mask = np.stack([subjects[s].usable[k : k + N] for s, k in chosen])
        if masks:
            mask &= draw_masks(len(chosen), N, spec.n_modalities, rng)
        epochs = np.stack([subjects[s].epochs[k : k + N] + colours[s] for s, k in chosen])
        yield Windows(
            torch.from_numpy(epochs).float(),
            torch.from_numpy(np.stack([subjects[s].stages[k : k + N] for s, k in chosen])),
            torch.from_numpy(mask),
            torch.tensor([datasets.index(subjects[s].dataset) for s, _ in chosen]),
        )


def draw_colours(spec: ModelSpec, n_subjects: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw how electrodes, amplifiers and skulls colour each subject's spectrum.

    The levels that are relative to the population are shifted, alike in all of a recording and
    smoothly over the bands, so that a net trusts no more in the population's shares of bands than
    they deserve in a lab that it never saw.

    Returns:
        (n_subjects, n_modalities, n_inputs), or (n_subjects, 1, 1) where a net is given samples,
        or nothing relative to the population.
    """
    relative = spec.relative
    if relative is None or not relative.population:
        return np.zeros((n_subjects, 1, 1), np.float32)
    out = np.zeros((n_subjects, spec.n_modalities, *relative.shape), np.float32)
    for m, (n, n_bands) in enumerate(zip(relative.n_own, relative.n_bands, strict=True)):
        if n_bands:
            drawn = rng.standard_normal((n_subjects, n_bands))
            smooth = gaussian_filter1d(drawn, _COLOUR_BANDS, axis=1)
            sd = np.sqrt(0.5 / (np.sqrt(np.pi) * _COLOUR_BANDS))  # of white noise so smoothed
            out[:, m, :, n : n + n_bands] = (_COLOUR_SDS / sd * smooth)[:, None]
    return out.reshape(n_subjects, spec.n_modalities, spec.n_inputs)


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
