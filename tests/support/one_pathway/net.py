"""A model whose modalities meet inside an epoch, which gets one token and can be read one way."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.base import Model
from models.spec import Band, ModelSpec
from models.stages import HUMAN

SPEC = ModelSpec(
    model="one_pathway",
    species="human",
    stages=HUMAN,
    modalities=("eeg", "eog"),
    pathways=("mixed",),
    bands=(Band(0.3, 3.5), Band(0.3, 3.5)),
    sfreq=8.0,
    epoch_s=2.0,
    n_context=5,
    token_shape=(6,),
)


def build(spec: ModelSpec) -> "OnePathway":
    """Return the net with new weights."""
    return OnePathway(spec)


class OnePathway(Model, nn.Module):
    """Modalities weighed by whether they are valid; slots by their distance."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        (D,) = spec.token_shape
        self.embed = nn.Linear(spec.n_times, D)
        self.both = nn.Linear(spec.n_modalities * D, D)
        self.slots = nn.Parameter(torch.randn(spec.n_context, spec.n_context))
        self.heads = nn.ModuleDict({"mixed": nn.Linear(D, len(spec.stages))})

    def encode(self, epochs: Tensor, valid: Tensor) -> Tensor:
        each = self.embed(epochs).masked_fill(~valid[..., None], 0.0)
        return torch.tanh(self.both(each.flatten(-2)))

    def read(
        self,
        tokens: Tensor,
        mask: Tensor,
        pathways: Sequence[str] | None = None,
        slots: Tensor | None = None,
    ) -> list[Tensor]:
        seen = mask.any(-1)[..., None]
        weights = self.slots if slots is None else self.slots[slots]
        read = weights @ tokens.masked_fill(~seen, 0.0)
        return [self.heads[p](read) for p in pathways or self.spec.pathways]

    def forward(self, epochs: Tensor, mask: Tensor) -> Tensor:
        return torch.stack(self.read(self.encode(epochs, mask), mask), 1)
