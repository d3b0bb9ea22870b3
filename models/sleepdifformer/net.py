"""SleepDIFFormer: human sleep from EEG and EOG by differential attention within and between them.

Chin et al., "SleepDIFFormer: Sleep Stage Classification via Multivariate Differential
Transformer", arXiv:2508.15215, built on SleepDG (Wang et al., arXiv:2401.05363). Differential
attention: Ye et al., "Differential Transformer", arXiv:2410.05258.

An epoch of each modality becomes series tokens and one global token; four layers of differential
self-attention (DSA, its weights shared by the modalities) and cross-attention between the global
tokens (DCA) follow. The global tokens of both are the epoch token, position-free; a block of
self-attention reads those of a context window.

Where this follows the released code or departs from the paper:

- After the DSA the first modality alone has a LayerNorm; so it is in the code.
- DCA has a single key, the other modality's global token. A softmax over one key is 1 whatever
  query and key are, so the difference of two is 1 − λ: DCA is a linear map of the other token
  with an RMSNorm. It is computed as such; its Q and K, which nothing can train, do not exist here.
- The code's loop over layers feeds each with the embeddings, so that the last one alone acts. That
  computation is a configuration: `released(spec)`.
- A lost modality is not the paper's. Its samples are not looked at, nobody attends to its global
  token, and in the epoch token a learnt one stands in its place (`absent`). An epoch without any
  modality is no key in the sequence stage. With all valid nothing differs from the paper.
- Convolutions may give way to patches of levels (`Architecture.patch_size`, `given_levels`).

What is trained beside, and not exported, is in branch.py.

B: subjects, N: epochs of the context window, M: modalities (2), T: inputs of an epoch, G: epochs,
L: series tokens and the global one, last, D: width, S: stages.
"""

import math
from collections.abc import Sequence
from typing import Annotated

import msgspec
import torch
from torch import Tensor, nn

from models.base import AttentionMaps, Model, Watched, Weights, watching
from models.errors import SpecError
from models.relative_spec import RelativeSpec
from models.spec import MIXED, Band, Hyperparameter, ModelSpec
from models.stages import HUMAN

Positive = Annotated[int, msgspec.Meta(ge=1)]
Natural = Annotated[int, msgspec.Meta(ge=0)]

PER_TOKEN = 5 * 5 * 4
"""Samples that pooling makes one series token of."""

_MASKED = -1e4  # finite, so that a row with nothing valid stays finite; in range of fp16


class Architecture(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The hyperparameters of `ModelSpec.architecture`, with the paper's values."""

    layers: Positive = 4
    """Differential layers."""
    first_layer: Natural = 0
    """l of the first one, which its λ_init follows from; each next one has the next."""
    n_heads: Positive = 4
    """Heads of differential attention, each with two softmaxes."""
    ffn_size: Positive = 512
    """Hidden units of a layer's feed-forward, of which each modality has its own."""
    filters: Positive = 64
    """Of the first convolution; the second has twice as many, the third the width."""
    patch_size: Natural = 0
    """0: convolutions; more: a linear embedding of each so many inputs instead."""
    sequence_heads: Positive = 8
    """Heads of the sequence stage."""
    sequence_size: Positive = 256
    """Hidden units of the sequence stage's feed-forward."""
    dropout: float = 0.1
    """Everywhere, in training."""


def new_spec(n_context: int = 20, **architecture: Hyperparameter) -> ModelSpec:
    """Return the spec of the paper's net for people, or of one that differs."""
    return ModelSpec(
        model="sleepdifformer",
        species="human",
        stages=HUMAN,
        modalities=("eeg", "eog"),
        pathways=(MIXED,),
        bands=(Band(0.3, 35.0),) * 2,
        sfreq=100.0,
        epoch_s=30.0,
        n_context=n_context,
        token_shape=(256,),
        architecture=architecture,
    )


def released(spec: ModelSpec) -> ModelSpec:
    """Return the spec of what the authors' code computes: the last of four layers, alone."""
    one = {"layers": 1, "first_layer": 3}
    return msgspec.structs.replace(spec, architecture=spec.architecture | one)


def given_levels(spec: ModelSpec, relative: RelativeSpec) -> ModelSpec:
    """Return the spec of a net that is given relative levels, a series token for each row.

    It is half as wide and half as deep: ten numbers of a part say less than its samples.
    """
    half = {"layers": 2, "ffn_size": 128, "sequence_size": 128}
    smaller = half | spec.architecture | {"patch_size": max(relative.n_levels)}
    return msgspec.structs.replace(
        spec, relative=relative, token_shape=(spec.token_shape[0] // 2,), architecture=smaller
    )


def build(spec: ModelSpec) -> "SleepDIFFormer":
    """Return the net of `spec` with new weights drawn from torch's generator.

    Raises:
        SpecError: `spec` is not one of SleepDIFFormer.
    """
    return SleepDIFFormer(spec, read_architecture(spec))


def read_architecture(spec: ModelSpec) -> Architecture:
    """Return the hyperparameters of a spec; raises SpecError if it is not one of SleepDIFFormer."""
    try:
        architecture = msgspec.convert(spec.architecture, Architecture)
    except msgspec.ValidationError as error:
        raise SpecError(f"sleepdifformer: architecture: {error}") from error
    if spec.n_modalities != 2 or spec.pathways != (MIXED,):
        raise SpecError(
            "sleepdifformer: expected two modalities and the pathway mixed, found "
            f"{', '.join(spec.modalities)} and {', '.join(spec.pathways)}"
        )
    if len(spec.token_shape) != 1:
        raise SpecError(f"sleepdifformer: expected a token_shape of (D,), found {spec.token_shape}")
    token_size, a = spec.token_shape[0], architecture
    for size, part in (
        (spec.n_inputs, a.patch_size or PER_TOKEN),
        (token_size, 4 * a.n_heads),  # two modalities, two softmaxes a head
        (token_size, a.sequence_heads),
    ):
        if size % part:
            raise SpecError(f"sleepdifformer: expected {size} to be a multiple of {part}")
    return architecture


def lambda_init(layer: int) -> float:
    """Return λ_init of layer l, from 0: 0.8 − 0.6 · exp(−0.3 l) (arXiv:2410.05258, eq. 3)."""
    return 0.8 - 0.6 * math.exp(-0.3 * layer)


class SleepDIFFormer(Model, nn.Module):
    """The whole net; build it with `build(spec)`."""

    def __init__(self, spec: ModelSpec, architecture: Architecture) -> None:
        super().__init__()
        self.spec = spec
        self.epoch = EpochEncoder(spec, architecture)
        self.sequence = SequenceEncoder(spec, architecture)
        self.mu = nn.Linear(spec.token_shape[0], spec.token_shape[0])
        self.heads = nn.ModuleDict({MIXED: nn.Linear(spec.token_shape[0], len(spec.stages))})

    def encode(self, epochs: Tensor, valid: Tensor) -> Tensor:
        """Encode epochs (…, M, T) to (…, 2 D), the global tokens of both modalities."""
        M, T = epochs.shape[-2:]
        tokens: Tensor = self.epoch(epochs.reshape(-1, M, T), valid.reshape(-1, M))[0]
        return tokens.view(*epochs.shape[:-2], -1)

    def encode_series(self, epochs: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Encode epochs (B, N, M, T) to their tokens (B, N, 2 D), and to their series tokens' mean.

        The second, of the same shape, is what the branch of training learns from; where a
        modality is not valid it is zeros.
        """
        M, T = epochs.shape[-2:]
        both = self.epoch(epochs.reshape(-1, M, T), valid.reshape(-1, M), series=True)
        tokens, series = (x.view(*epochs.shape[:-2], -1) for x in both)
        return tokens, series

    def read(
        self,
        tokens: Tensor,
        mask: Tensor,
        pathways: Sequence[str] | None = None,
        slots: Tensor | None = None,
    ) -> list[Tensor]:
        """Read slots of the context window (B, N, 2 D); see Model."""
        read = self.mu(self.sequence(tokens, mask.any(-1), slots))
        return [self.heads[p](read) for p in pathways or self.spec.pathways]

    def forward(self, epochs: Tensor, mask: Tensor) -> Tensor:
        """Encode and read whole windows (B, N, M, T): logits (B, 1, N, S)."""
        return torch.stack(self.read(self.encode(epochs, mask), mask), dim=1)

    @torch.no_grad()
    def attend(self, epochs: Tensor, mask: Tensor) -> AttentionMaps:
        """Return what decisions on windows (B, N, M, T) rest on; see Model."""
        layers = [layer.dsa for layer in self.epoch.layers]
        with watching(*layers, self.sequence.attention) as seen:
            self(epochs, mask)
        *within, [over] = seen
        B, N, M, _ = epochs.shape
        of_modality = [
            [x[:, :, -1].view(M, B, N, *x.shape[1:2], -1) for x in weights] for (weights,) in within
        ]
        return AttentionMaps(
            within={
                m: [Weights(*(x[i] for x in layer)) for layer in of_modality]
                for i, m in enumerate(self.spec.modalities)
            },
            over={MIXED: [over[0][:, :, None, :, None]]},
        )


class EpochEncoder(nn.Module):
    """One epoch of both modalities → its epoch token; nothing crosses epochs."""

    def __init__(self, spec: ModelSpec, architecture: Architecture) -> None:
        super().__init__()
        a, D = architecture, spec.token_shape[0] // spec.n_modalities
        self.embedding = nn.ModuleDict({m: Embedding(spec, D, a) for m in spec.modalities})
        self.layers = nn.ModuleList(
            DifferentialLayer(spec, D, a, a.first_layer + i) for i in range(a.layers)
        )
        self.absent = nn.Parameter(0.02 * torch.randn(spec.n_modalities, D))

    def forward(
        self, epochs: Tensor, valid: Tensor, *, series: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Encode epochs (G, M, T), valid (G, M), to (G, M·D).

        With `series` also the mean of the series tokens, (G, M·D); else the last layer computes
        nothing but the global tokens.
        """
        epochs = epochs.masked_fill(~valid[..., None], 0.0)
        lost = [~valid[:, i, None, None] for i in range(valid.shape[1])]
        x = [e(epochs[:, i], valid[:, i]) for i, e in enumerate(self.embedding.values())]
        for layer in self.layers:
            x = layer(x, lost, alone=layer is self.layers[-1] and not series)
        last = torch.stack([t[:, -1] for t in x], dim=1)
        token = torch.where(valid[..., None], last, self.absent).flatten(1)
        if not series:
            return token, None
        means = torch.stack([t[:, :-1].mean(1) for t in x], dim=1)
        return token, means.masked_fill(~valid[..., None], 0.0).flatten(1)


class Embedding(nn.Module):
    """An epoch of one modality → its series tokens with their position, and the global token."""

    def __init__(self, spec: ModelSpec, width: int, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        self.patch_size = a.patch_size
        n_series = spec.n_inputs // (a.patch_size or PER_TOKEN)
        self.series = (
            nn.Linear(a.patch_size, width) if a.patch_size else _convolutions(a.filters, width)
        )
        self.position = nn.Parameter(0.02 * torch.randn(n_series, width))
        self.token = nn.Parameter(torch.randn(1, width))
        self.drop = nn.Dropout(a.dropout)

    def forward(self, epochs: Tensor, valid: Tensor) -> Tensor:
        """Embed epochs (G, T) to (G, L, D)."""
        if self.training:  # BatchNorm measures what is there, and no zeros in place of it
            series = self.position.new_zeros(len(epochs), *self.position.shape)
            if valid.any():
                series[valid] = self._embed(epochs[valid]).to(series.dtype)
        else:
            series = self._embed(epochs)
        token = self.token.expand(series.shape[0], -1, -1)
        embedded: Tensor = self.drop(torch.cat([series + self.position, token], dim=1))
        return embedded

    def _embed(self, epochs: Tensor) -> Tensor:
        if self.patch_size:
            patches: Tensor = self.series(epochs.view(-1, len(self.position), self.patch_size))
            return patches
        convolved: Tensor = self.series(epochs[:, None])
        return convolved.transpose(1, 2)


def _convolutions(filters: int, width: int) -> nn.Sequential:
    """Return three convolutions, (G, 1, T) → (G, D, T / 100), that halve no length themselves."""
    sizes = (1, filters, 2 * filters, width)
    layers: list[nn.Module] = []
    for i, (kernel, pool) in enumerate(((49, 5), (7, 5), (5, 4))):
        n = sizes[i + 1]
        convolution = nn.Conv1d(sizes[i], n, kernel, padding=kernel // 2)
        layers += [convolution, nn.BatchNorm1d(n), nn.GELU(), nn.MaxPool1d(pool)]
    return nn.Sequential(*layers)


class DifferentialLayer(nn.Module):
    """One MDTA layer: DSA within each modality, DCA between the global tokens, feed-forward."""

    def __init__(self, spec: ModelSpec, width: int, architecture: Architecture, layer: int) -> None:
        super().__init__()
        a, modalities = architecture, spec.modalities
        self.dsa = DifferentialAttention(width, a.n_heads, layer)
        self.dca = DifferentialCross(width, a.n_heads, layer)
        self.norm_before = nn.ModuleDict({m: nn.LayerNorm(width) for m in modalities})
        self.norm_first = nn.LayerNorm(width)
        self.norm_token = nn.ModuleDict({m: nn.LayerNorm(width) for m in modalities})
        self.norm_after = nn.ModuleDict({m: nn.LayerNorm(width) for m in modalities})
        self.ffn = nn.ModuleDict(
            {m: _feed_forward(width, a.ffn_size, a.dropout) for m in modalities}
        )
        self.drop = nn.Dropout(a.dropout)

    def forward(self, x: list[Tensor], lost: Sequence[Tensor], *, alone: bool) -> list[Tensor]:
        """Map tokens (G, L, D) of each modality to the same.

        Args:
            x: of each modality.
            lost: (G, 1, 1) of each modality, True where nobody is to attend to it.
            alone: return (G, 1, D), the global tokens: the others are keys and no more.
        """
        before = [norm(t) for norm, t in zip(self.norm_before.values(), x, strict=True)]
        attended = self.drop(self.dsa(torch.cat(before), alone=alone)).unflatten(0, (len(x), -1))
        x = [(t[:, -1:] if alone else t) + attended[i] for i, t in enumerate(x)]
        x[0] = self.norm_first(x[0])
        tokens = [t[:, -1:] for t in x]
        crossed = self.drop(self.dca(torch.cat(tokens))).unflatten(0, (len(x), -1))
        for i, norm in enumerate(self.norm_token.values()):
            token = norm(tokens[i] + crossed[1 - i].masked_fill(lost[1 - i], 0.0))
            x[i] = token if alone else torch.cat([x[i][:, :-1], token], dim=1)
        after = zip(self.norm_after.values(), self.ffn.values(), x, strict=True)
        return [norm(t + ffn(t)) for norm, ffn, t in after]


class _Differential(nn.Module):
    """What DSA and DCA have in common: λ, RMSNorm by head and the projection of all heads."""

    def __init__(self, width: int, n_heads: int, layer: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.lambda_init = lambda_init(layer)
        # λq1, λk1, λq2, λk2
        self.lambdas = nn.Parameter(0.02 * torch.randn(4, width // n_heads // 2))
        self.norm = nn.RMSNorm(width // n_heads, eps=1e-5)
        self.out = nn.Linear(width, width, bias=False)

    def lambda_(self) -> Tensor:
        """Return λ = exp(λq1·λk1) − exp(λq2·λk2) + λ_init."""
        q1, k1, q2, k2 = self.lambdas.unbind(0)
        return (q1 * k1).sum().exp() - (q2 * k2).sum().exp() + self.lambda_init

    def join(self, y: Tensor) -> Tensor:
        """Normalise what each head found (G, heads, L, D / heads) and join them: (G, L, D)."""
        y = self.norm(y) * (1 - self.lambda_init)
        out: Tensor = self.out(y.transpose(1, 2).flatten(2))
        return out


class DifferentialAttention(_Differential, Watched):
    """DSA: A = softmax(Q1 K1ᵀ / √d) − λ · softmax(Q2 K2ᵀ / √d) within the tokens of a modality."""

    def __init__(self, width: int, n_heads: int, layer: int) -> None:
        super().__init__(width, n_heads, layer)
        self.qkv = nn.Linear(width, 3 * width, bias=False)

    def forward(self, x: Tensor, *, alone: bool = False) -> Tensor:
        """Map (G, L, D) to the same, or to (G, 1, D) if the last token is alone asked for."""
        G, L, _ = x.shape
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q = q[:, -1:] if alone else q
        q, k = (t.reshape(G, -1, self.n_heads, 2, v.shape[-1] // self.n_heads // 2) for t in (q, k))
        # (G, heads, 2, L, d)
        q, k = q.permute(0, 2, 3, 1, 4), k.permute(0, 2, 3, 4, 1)
        both = (q @ k * q.shape[-1] ** -0.5).softmax(-1)
        first, second = both[:, :, 0], both[:, :, 1]
        weights = first - self.lambda_() * second
        self.saw(weights, first, second)
        return self.join(weights @ v.reshape(G, L, self.n_heads, -1).transpose(1, 2))


class DifferentialCross(_Differential):
    """DCA of one global token: its single key makes both softmaxes 1, so A = 1 − λ."""

    def __init__(self, width: int, n_heads: int, layer: int) -> None:
        super().__init__(width, n_heads, layer)
        self.v = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map the other modality's global token (G, 1, D) to what is added to one's own."""
        v = self.v(x).view(x.shape[0], self.n_heads, 1, -1)  # of any length when traced
        return self.join((1 - self.lambda_()) * v)


class SequenceEncoder(nn.Module):
    """The epoch tokens of a context window → one vector per slot, by a pre-LN block."""

    def __init__(self, spec: ModelSpec, architecture: Architecture) -> None:
        super().__init__()
        a, width = architecture, spec.token_shape[0]
        self.position = nn.Parameter(0.02 * torch.randn(spec.n_context, width))
        self.norm_1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = SequenceAttention(width, a)
        self.norm_2 = nn.LayerNorm(width, eps=1e-6)
        self.ffn = _feed_forward(width, a.sequence_size, a.dropout)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.drop = nn.Dropout(a.dropout)

    def forward(self, tokens: Tensor, mask: Tensor, slots: Tensor | None = None) -> Tensor:
        """Read (B, N, 2 D), mask (B, N), to (B, R, 2 D) of these R slots, or all."""
        x = self.drop(tokens.masked_fill(~mask[..., None], 0.0) + self.position)
        y = self.drop(self.attention(self.norm_1(x), mask, slots))
        x = (x if slots is None else x[:, slots]) + y
        read: Tensor = self.norm(x + self.ffn(self.norm_2(x)))
        return read


class SequenceAttention(nn.Module, Watched):
    """Multi-head self-attention over the slots of a window."""

    def __init__(self, width: int, architecture: Architecture) -> None:
        super().__init__()
        self.n_heads = architecture.sequence_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.drop = nn.Dropout(architecture.dropout)

    def forward(self, x: Tensor, mask: Tensor, slots: Tensor | None) -> Tensor:
        """Map (B, N, W) to (B, R, W) of these R slots, or all; keys are where `mask` (B, N)."""
        qkv = self.qkv(x).unflatten(2, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        if slots is not None:
            q = q[:, :, slots]
        scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
        weights = (scores + torch.where(mask, 0.0, _MASKED)[:, None, None]).softmax(-1)
        self.saw(weights)
        out: Tensor = self.proj((self.drop(weights) @ v).transpose(1, 2).flatten(2))
        return out


def _feed_forward(width: int, hidden: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, hidden),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, width),
        nn.Dropout(dropout),
    )
