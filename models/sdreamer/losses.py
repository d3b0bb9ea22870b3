"""What sDREAMER is trained to minimise: staging, and the mixed pathway teaching the single ones.

    CE(mixed) + α · Σ_m KL(p_mixed^τm ‖ p_m^τm) + β · Σ_m CE(m)

Chen et al., doi:10.1109/ICDH60066.2023.00028. `PAPER` is the loss of the authors' code, whose
divergence is averaged over stages too, not scaled by τ², and also pulls the teacher towards
its pupils; the default averages over slots, scales (so that τ changes no gradient's size),
detaches the teacher, and lets the single pathways see the true stage as well.
"""

from typing import Literal

import msgspec
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  everybody's name for it

from models.spec import ModelSpec
from models.stages import UNSCORED


class LossConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The loss, by its named hyperparameters."""

    alpha: float = 0.5
    """Weight α of the distillation."""
    temperatures: tuple[float, ...] = (1.0, 3.0)
    """τ of each modality's distillation, in the order of `ModelSpec.modalities`."""
    average: Literal["slots", "elements"] = "slots"
    """Average the divergence over slots ('batchmean') or over slots and stages ('mean')."""
    scale_by_temperature: bool = True
    """Multiply the divergence by τ²."""
    detach_teacher: bool = True
    """The mixed pathway learns nothing from the distillation."""
    single: float = 0.5
    """Weight β of the cross-entropy of each single pathway."""


PAPER = LossConfig(
    alpha=2.0, average="elements", scale_by_temperature=False, detach_teacher=False, single=0.0
)
"""The loss of the authors' code; τ = 1 and 3 and α = 2 are their published values."""
PAPER_RECIPE = {
    "passes": 100,
    "patience": 30,
    "batch_size": 16,
    "learning_rate": 1e-3,
    "warmup": 0.0,
    "clip": None,
    "masks": False,
    "balance": False,
    "loss": PAPER,
}
"""How the authors' code trains (with dropout 0.1 in the architecture), but for its schedule:
theirs counts steps as if they were passes, so that the rate swings up and down; here one half of a
cosine spans the run, as their paper means it."""


def staging_loss(
    logits: Tensor,
    stages: Tensor,
    mask: Tensor,
    config: LossConfig,
    weights: Tensor | None = None,
) -> Tensor:
    """Return the loss of a batch of context windows.

    Args:
        logits: (B, 1 + M, N, S), mixed first.
        stages: (B, N) int64; `UNSCORED` is ignored.
        mask: (B, N, M) bool; slots without a valid modality are ignored by the mixed pathway,
            slots of a masked modality by its own.
        config: the hyperparameters.
        weights: (S,) of each stage in the cross-entropies; all alike by default.

    Returns:
        A scalar; 0 where nothing is scored.
    """
    scored = stages != UNSCORED
    mixed, *singles = logits.float().unbind(1)
    loss = _cross_entropy(mixed, stages, scored & mask.any(-1), weights)
    teacher = mixed.detach() if config.detach_teacher else mixed
    for m, (single, temperature) in enumerate(zip(singles, config.temperatures, strict=True)):
        seen = scored & mask[..., m]
        loss = loss + config.alpha * _divergence(teacher[seen], single[seen], temperature, config)
        if config.single:
            loss = loss + config.single * _cross_entropy(single, stages, seen, weights)
    return loss


def beside(spec: ModelSpec, config: LossConfig) -> None:
    """Return what is to be trained beside the net: nothing."""


def _cross_entropy(logits: Tensor, stages: Tensor, used: Tensor, weights: Tensor | None) -> Tensor:
    n = used.sum().clamp(min=1)
    return F.cross_entropy(logits[used], stages[used], weights, reduction="sum") / n


def _divergence(teacher: Tensor, pupil: Tensor, temperature: float, config: LossConfig) -> Tensor:
    """Return KL(teacher ‖ pupil) at a temperature; (rows, S) both."""
    p, q = (torch.log_softmax(x / temperature, dim=-1) for x in (teacher, pupil))
    total = F.kl_div(q, p, reduction="sum", log_target=True)
    n = len(p) if config.average == "slots" else p.numel()
    return total / max(n, 1) * (temperature**2 if config.scale_by_temperature else 1.0)
