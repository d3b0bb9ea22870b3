"""Checkpoints as the authors of sDREAMER and SleepDIFFormer write them."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.sdreamer.authors import Variant, find_sources
from models.sleepdifformer import authors as sleepdifformer


def to_authors(model: nn.Module, variant: Variant) -> dict[str, Tensor]:
    """Return a net's weights under the authors' names."""
    state = {}
    for name, tensor in model.state_dict().items():
        sources = find_sources(name, variant)
        equal = tensor.unflatten(0, (len(sources), -1)) if len(sources) > 1 else tensor[None]
        state.update({source: x.clone() for source, x in zip(sources, equal, strict=True)})
    if variant is Variant.PAPER:
        state["ep_moe_transformer.pool.pool_head.0.bias"] = torch.zeros(3)
    return state


def save_as_authors(weights: dict[str, Tensor], path: Path) -> Path:
    """Write what their training writes after each pass, and return where it is."""
    content: dict[str, Any] = {
        "epoch": 41,
        "model": "SeqNewMoE2",
        "state_dict": weights,
        "best_acc": np.float64(0.91),  # what scikit-learn's accuracy is
        "optimizer": {"state": {}, "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999)}]},
    }
    torch.save(content, path)
    return path


def released_weights(model: nn.Module, layer: int) -> dict[str, Tensor]:
    """Return the weights of a SleepDIFFormer of one layer under its authors' names."""
    state = {}
    for name, tensor in model.state_dict().items():
        if name == "epoch.absent":  # not theirs
            continue
        sources = sleepdifformer.find_sources(name, layer)
        equal = tensor.unflatten(0, (len(sources), -1)) if len(sources) > 1 else tensor[None]
        state.update(
            {source: x.squeeze(0).clone() for source, x in zip(sources, equal, strict=True)}
        )
    return state
