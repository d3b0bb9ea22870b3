"""Confidence that deserves its name: one temperature per pathway (arXiv:1706.04599).

A temperature T divides the logits: which stage wins stays the same. It is folded into the last
layer of the pathway's head, so it costs nothing when the net runs.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from torch import nn

from models.base import Model
from models.scored_epochs import ScoredEpochs
from models.stages import UNSCORED
from models.training.dataset import draw_masks
from models.training.evaluate import encode_all, read_windows

_MOST = 10.0  # temperatures are sought from a tenth to ten


def fit_temperatures(
    model: Model,
    subjects: Sequence[ScoredEpochs],
    *,
    masks: bool = True,
    every: int = 1,
    seed: int = 0,
) -> dict[str, float]:
    """Return each pathway's temperature that makes the true stages most likely.

    Args:
        model: the net, in eval mode.
        subjects: neither trained nor tested on; epochs are read live (last slot).
        masks: draw what a live stream may lack, as training does.
        every: read only every so many-th epoch.
        seed: of the masks.

    Returns:
        Temperature by pathway; 1 where nothing is scored.
    """
    rng = np.random.default_rng(seed)
    logits, stages, seen = zip(
        *(_read_live(model, s, rng, masks, every) for s in subjects), strict=True
    )
    all_logits, all_stages = np.concatenate(logits), np.concatenate(stages)
    scored = (all_stages != UNSCORED)[:, None] & np.concatenate(seen)
    return {
        pathway: _fit(all_logits[scored[:, p], p], all_stages[scored[:, p]])
        for p, pathway in enumerate(model.spec.pathways)
    }


def _read_live(
    model: Model, subject: ScoredEpochs, rng: np.random.Generator, masks: bool, every: int
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]:
    """Return logits (n, 1 + M, S), stages (n,) and which logits would be answers (n, 1 + M)."""
    N, M = model.spec.n_context, model.spec.n_modalities
    drawn = draw_masks(len(subject.epochs), N, M, rng) if masks else None
    parts = read_windows(
        model, encode_all(model, subject.epochs, subject.usable), subject.usable, drawn, every
    )
    logits, seen = zip(*((x[:, :, -1], mask[:, -1]) for x, mask in parts), strict=True)
    newest = np.concatenate(seen)
    answered = model.spec.readable(newest)
    answered[:, 0] &= model.spec.pathway_for(newest) == 0
    return np.concatenate(logits), subject.stages[::every], answered


def _fit(logits: NDArray[np.float32], stages: NDArray[np.int64]) -> float:
    """Return the temperature with the least negative log-likelihood; logits (n, S)."""
    if len(stages) == 0:
        return 1.0
    rows = np.arange(len(stages))

    def cost(log_temperature: float) -> float:
        scaled = logits.astype(np.float64) * np.exp(-log_temperature)
        return float(-log_softmax(scaled, axis=-1)[rows, stages].mean())

    limits = (-np.log(_MOST), np.log(_MOST))
    return float(np.exp(minimize_scalar(cost, bounds=limits, method="bounded").x))


@torch.no_grad()
def fold_temperatures(model: Model, temperatures: Mapping[str, float]) -> None:
    """Divide each pathway's logits by its temperature from now on, by its head's last layer."""
    for pathway, temperature in temperatures.items():
        head = model.heads[pathway]
        last = head[-1] if isinstance(head, nn.Sequential) else head
        for parameter in last.parameters():
            parameter.div_(temperature)
