"""The transformer block of sDREAMER, and its hyperparameters; the papers are named in sdreamer.py.

Rows of tokens are (M·B·L, D), modality first: each modality's rows are an equal, contiguous
share, so that a layer of its own can take them.
"""

from collections.abc import Callable, Sequence
from typing import Annotated

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  everybody's name for it

from models.errors import SpecError
from models.spec import MIXED, ModelSpec

Positive = Annotated[int, msgspec.Meta(ge=1)]


class Architecture(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The hyperparameters of `ModelSpec.architecture`, with the paper's values."""

    patch_size: Positive = 16
    """Samples of a patch."""
    n_heads: Positive = 8
    """Attention heads."""
    ffn_size: Positive = 512
    """Hidden units of an expert."""
    epoch_layers: Positive = 2
    """Blocks of the epoch transformer."""
    sequence_layers: Positive = 3
    """Blocks of the sequence transformer."""
    mixed_layers: int = 1
    """How many of the last sequence blocks have a mixed expert."""
    head_size: Positive = 256
    """Hidden units of a classification head."""
    layer_scale: float = 0.1
    """Initial γ of the residual branches."""
    dropout: float = 0.1
    """Of attention and experts, in training."""
    shared_attention: bool = True
    """False: each modality has the first LayerNorm and the attention of every block to itself."""
    separate_epochs: bool = False
    """True: the epoch stage of the authors' scoring app, in which the modalities share nothing."""


def read_architecture(spec: ModelSpec) -> Architecture:
    """Return the hyperparameters of `spec`.

    Raises:
        SpecError: one is unknown or does not fit the others.
    """
    try:
        architecture = msgspec.convert(spec.architecture, Architecture)
    except msgspec.ValidationError as error:
        raise SpecError(f"sdreamer: architecture: {error}") from error
    for size, part in (
        (spec.n_times, architecture.patch_size),
        (spec.token_size, architecture.n_heads),
    ):
        if size % part:
            raise SpecError(f"sdreamer: expected {size} to be a multiple of {part}")
    return architecture


class PerModality(nn.ModuleDict):
    """A layer of its own for each modality."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (rows, D) to (rows, D')."""
        return _apply_to_shares(list(self.values()), x)


class Attention(nn.Module):
    """Multi-head self-attention within one modality or over several.

    Args:
        width: D.
        modalities: whose tokens come.
        architecture: the hyperparameters.
    """

    def __init__(self, width: int, modalities: Sequence[str], architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        self.n_heads = a.n_heads
        self.qkv = _layer(a, modalities, lambda: nn.Linear(width, 3 * width, bias=False))
        self.proj = _layer(a, modalities, lambda: nn.Linear(width, width))
        self.drop = nn.Dropout(a.dropout)

    def forward(
        self, x: Tensor, shape: tuple[int, int, int], bias: Tensor | None, only: int | None
    ) -> Tensor:
        """Attend within each group of tokens.

        Args:
            x: (M·B·L, D).
            shape: M, L and how many modalities attend to each other (1 or M).
            bias: (groups, 1, 1, keys), added to the scores; or None.
            only: which of the L tokens is asked for, where it is one and M do not attend to
                each other; None: all are.

        Returns:
            (M·B·L, D), or (M·B, D) with `only`.
        """
        M, L, joint = shape
        d = x.shape[-1] // self.n_heads
        # (M/joint, joint, B, L, 3, heads, d): one transposition serves all three
        qkv = self.qkv(x).view(M // joint, joint, -1, L, 3, self.n_heads, d)
        qkv = qkv.permute(4, 0, 2, 5, 1, 3, 6)
        qkv = qkv.reshape(3, -1, self.n_heads, joint * L, d)
        q, k, v = qkv.unbind(0)
        if only is not None:
            q, L = q[:, :, only].unsqueeze(2), 1
        scores = q @ k.transpose(-2, -1) * d**-0.5
        if bias is not None:
            scores = scores + bias
        y = (scores.softmax(-1) @ v).view(M // joint, -1, self.n_heads, joint, L, d)
        y = y.permute(0, 3, 1, 4, 2, 5).reshape(-1, self.n_heads * d)
        out: Tensor = self.drop(self.proj(y))
        return out


class Expert(nn.Module):
    """LayerNorm and feed-forward of one modality, or of all mixed.

    Args:
        width: D.
        architecture: the hyperparameters.
        gated: GEGLU (Shazeer 2020, arXiv:2002.05202) instead of GELU.
    """

    def __init__(self, width: int, architecture: Architecture, gated: bool) -> None:
        super().__init__()
        a = architecture
        self.gated = gated
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * a.ffn_size if gated else a.ffn_size)
        self.down = nn.Linear(a.ffn_size, width)
        self.drop = nn.Dropout(a.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (rows, D) to (rows, D)."""
        hidden = self.up(self.norm(x))
        if self.gated:
            value, gate = hidden.chunk(2, dim=-1)
            hidden = value * F.gelu(gate)
        else:
            hidden = F.gelu(hidden)
        out: Tensor = self.drop(self.down(self.drop(hidden)))
        return out


class Block(nn.Module):
    """A pre-LayerNorm transformer block with LayerScale and an expert per pathway.

    Args:
        width: D.
        modalities: whose tokens come; each has its expert.
        architecture: the hyperparameters.
        mixed: there is also an expert for all modalities mixed.
        gated: the experts are gated.
    """

    def __init__(
        self,
        width: int,
        modalities: Sequence[str],
        architecture: Architecture,
        *,
        mixed: bool = False,
        gated: bool = False,
    ) -> None:
        super().__init__()
        a = architecture
        names = (MIXED, *modalities) if mixed else modalities
        self.norm = _layer(a, modalities, lambda: nn.LayerNorm(width))
        self.attention = Attention(width, modalities, a)
        self.experts = nn.ModuleDict({name: Expert(width, a, gated) for name in names})
        self.gamma_1 = nn.Parameter(torch.full((width,), a.layer_scale))
        self.gamma_2 = nn.Parameter(torch.full((width,), a.layer_scale))

    def forward(
        self,
        x: Tensor,
        shape: tuple[int, int, int],
        bias: Tensor | None,
        route: Sequence[str],
        only: int | None = None,
    ) -> Tensor:
        """Map (M·B·L, D) to the same; `route` names the experts of equal shares of the rows.

        With `only`, the index of one of the L tokens, return but its rows, (M·B, D): the others
        are keys and no more.
        """
        y = self.attention(self.norm(x), shape, bias, only)
        if only is not None:
            x = x.view(-1, shape[1], x.shape[-1])[:, only]
        x = x + self.gamma_1 * y
        return x + self.gamma_2 * _apply_to_shares([self.experts[name] for name in route], x)


def _layer(
    architecture: Architecture, modalities: Sequence[str], make: Callable[[], nn.Module]
) -> nn.Module:
    """Return one layer for all modalities, or one for each."""
    if architecture.shared_attention or len(modalities) == 1:
        return make()
    return PerModality({m: make() for m in modalities})


def _apply_to_shares(layers: Sequence[nn.Module], x: Tensor) -> Tensor:
    """Send equal shares of the rows (rows, D) through one layer each."""
    if len(layers) == 1:
        y: Tensor = layers[0](x)
        return y
    shares = x.view(len(layers), -1, x.shape[-1]).unbind(0)
    return torch.cat([layer(share) for layer, share in zip(layers, shares, strict=True)])
