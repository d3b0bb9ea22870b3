"""What it is trained with."""

import msgspec
from torch import Tensor
from torch.nn.functional import cross_entropy

from models.stages import UNSCORED


class LossConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """It has no hyperparameters."""


PAPER_RECIPE = {"loss": LossConfig()}


def staging_loss(
    logits: Tensor,
    stages: Tensor,
    mask: Tensor,
    config: LossConfig,
    weights: Tensor | None = None,
) -> Tensor:
    """Return the cross-entropy of the slots (B, N) that are scored and not masked."""
    counted = (stages != UNSCORED) & mask.any(-1)
    if not counted.any():
        return logits.sum() * 0.0
    return cross_entropy(logits[:, 0][counted], stages[counted], weight=weights)
