"""Sequence sDREAMER: mouse sleep from EEG and EMG by a hierarchical mixture of modality experts.

Chen et al., "sDREAMER: Self-distilled Mixture-of-Modality-Experts Transformer for Automatic
Sleep Staging", ICDH 2023, doi:10.1109/ICDH60066.2023.00028, arXiv:2501.16329.

An epoch transformer turns each epoch of each modality into one position-free epoch token; a
sequence transformer reads the tokens of a context window. Attention is shared by the
modalities, the feed-forward experts are not. Three pathways are read with the same weights:
mixed (both modalities attend to each other), EEG alone and EMG alone. The variant that the
authors' scoring app ships weights for (github.com/yzhaoinuw/sleep_scoring) is a configuration:
`Architecture.separate_epochs`.

B: subjects, N: epochs of the context window, M: modalities, T: samples of an epoch, L: tokens,
D: width, S: stages. Inside, rows of tokens are (M·B·L, D), modality first: each modality's rows
are an equal, contiguous share, so that a layer of its own can take them.
"""

from collections.abc import Callable, Sequence
from typing import Annotated

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  everybody's name for it

from models.base import AttentionMaps, Model, Watched, Weights, watching
from models.errors import SpecError
from models.relative_spec import RelativeSpec
from models.spec import MIXED, Band, Hyperparameter, ModelSpec
from models.stages import MOUSE

Positive = Annotated[int, msgspec.Meta(ge=1)]

_MASKED = -1e4  # finite, so that a row with nothing valid stays finite; in range of fp16


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


def new_spec(n_context: int = 16, **architecture: Hyperparameter) -> ModelSpec:
    """Return the spec of the paper's net for mice, or of one that differs."""
    return ModelSpec(
        model="sdreamer",
        species="mouse",
        stages=MOUSE,
        modalities=("eeg", "emg"),
        pathways=(MIXED, "eeg", "emg"),
        bands=(Band(0.5, 100.0), Band(10.0, 200.0)),
        sfreq=512.0,
        epoch_s=1.0,
        n_context=n_context,
        token_shape=(2, 128),
        architecture=architecture,
    )


def given_levels(spec: ModelSpec, relative: RelativeSpec) -> ModelSpec:
    """Return the spec of a net that is given relative levels, not samples: a smaller one.

    The levels of an epoch are one patch, and their running means say what was before: one block of
    each stage is enough for them (docs/training.md, "How large a net").
    """
    spec = msgspec.structs.replace(spec, relative=relative)
    small: dict[str, Hyperparameter] = {
        "patch_size": spec.n_inputs,
        "epoch_layers": 1,
        "sequence_layers": 1,
        "ffn_size": 256,
        "head_size": 128,
    }
    return msgspec.structs.replace(spec, architecture=spec.architecture | small)


def build(spec: ModelSpec) -> "SDreamer":
    """Return the net of `spec` with new weights drawn from torch's generator.

    Raises:
        SpecError: `spec` is not one of sDREAMER.
    """
    return SDreamer(spec, _read_architecture(spec))


def _read_architecture(spec: ModelSpec) -> Architecture:
    try:
        architecture = msgspec.convert(spec.architecture, Architecture)
    except msgspec.ValidationError as error:
        raise SpecError(f"sdreamer: architecture: {error}") from error
    if spec.pathways != (MIXED, *spec.modalities):
        raise SpecError(
            f"sdreamer: expected the pathways {', '.join((MIXED, *spec.modalities))}, "
            f"found {', '.join(spec.pathways)}"
        )
    if len(spec.token_shape) != 2:
        raise SpecError(
            f"sdreamer: expected a token_shape of ({spec.n_modalities}, D), "
            f"found {spec.token_shape}"
        )
    for size, part in (
        (spec.n_inputs, architecture.patch_size),
        (spec.token_shape[-1], architecture.n_heads),
    ):
        if size % part:
            raise SpecError(f"sdreamer: expected {size} to be a multiple of {part}")
    return architecture


class SDreamer(Model, nn.Module):
    """The whole net; build it with `build(spec)`."""

    def __init__(self, spec: ModelSpec, architecture: Architecture) -> None:
        super().__init__()
        self.spec = spec
        epoch = SeparateEpochTransformers if architecture.separate_epochs else EpochTransformer
        self.epoch = epoch(spec, architecture)
        self.sequence = SequenceTransformer(spec, architecture)
        self.heads = nn.ModuleDict(
            {
                p: nn.Sequential(
                    nn.Linear(spec.token_shape[-1], architecture.head_size),
                    nn.LayerNorm(architecture.head_size),
                    nn.GELU(),
                    nn.Linear(architecture.head_size, len(spec.stages)),
                )
                for p in spec.pathways
            }
        )
        self.apply(_init_weights)

    def encode(self, epochs: Tensor, valid: Tensor) -> Tensor:
        """Encode epochs (…, M, T) to (…, M, D), each modality by itself, valid or not."""
        M, T = epochs.shape[-2:]
        tokens: Tensor = self.epoch(epochs.reshape(-1, M, T))
        return tokens.view(*epochs.shape[:-1], -1)

    def read(
        self,
        tokens: Tensor,
        mask: Tensor,
        pathways: Sequence[str] | None = None,
        slots: Tensor | None = None,
    ) -> list[Tensor]:
        """Read slots of the context window (B, N, M, D) by these pathways; see Model."""
        pathways = pathways or self.spec.pathways
        x = self.sequence.embed(tokens, mask)
        read = {}
        if MIXED in pathways:
            read[MIXED] = self.sequence.mixed(x, mask, slots)
        if {*pathways} != {MIXED}:
            single = self.sequence.single(x, mask, slots)
            read |= dict(zip(self.spec.modalities, single, strict=True))
        n_read = self.spec.n_context if slots is None else slots.shape[0]
        return [self.heads[p](read[p]).view(-1, n_read, len(self.spec.stages)) for p in pathways]

    def forward(self, epochs: Tensor, mask: Tensor) -> Tensor:
        """Encode and read whole windows (B, N, M, T): logits (B, 1 + M, N, S)."""
        return torch.stack(self.read(self.encode(epochs, mask), mask), dim=1)

    @torch.no_grad()
    def attend(self, epochs: Tensor, mask: Tensor) -> AttentionMaps:
        """Return what decisions on windows (B, N, M, T) rest on; see Model."""
        B, N, M, T = epochs.shape
        within: list[list[Tensor]] = self.epoch.attend(epochs.reshape(-1, M, T))
        with watching(*(block.attention for block in self.sequence.blocks)) as seen:
            self.read(self.encode(epochs, mask), mask)
        mixed = [calls[0][0].view(B, -1, M, N, M, N) for calls in seen]
        single = [calls[1][0].view(M, B, -1, 1, N, 1, N).unbind(0) for calls in seen]
        return AttentionMaps(
            within={
                m: [Weights(w, w) for w in (x.view(B, N, *x.shape[1:]) for x in layers)]
                for m, layers in zip(self.spec.modalities, within, strict=True)
            },
            over={
                MIXED: mixed,
                **{m: [x[i] for x in single] for i, m in enumerate(self.spec.modalities)},
            },
        )


class EpochTransformer(nn.Module):
    """One epoch of each modality → its epoch token; nothing crosses epochs or modalities."""

    def __init__(self, spec: ModelSpec, architecture: Architecture) -> None:
        super().__init__()
        self.modalities = spec.modalities
        self.patch_size = architecture.patch_size
        self.n_patches = spec.n_inputs // architecture.patch_size
        M, D = spec.n_modalities, spec.token_shape[-1]
        self.patch = nn.ModuleDict({m: _embed_patches(self.patch_size, D) for m in spec.modalities})
        self.cls = nn.Parameter(torch.zeros(M, 1, 1, D))
        self.position = nn.Parameter(torch.zeros(M, 1, self.n_patches + 1, D))
        self.modality = nn.Parameter(torch.zeros(M, 1, 1, D))
        self.blocks = nn.ModuleList(
            Block(D, spec.modalities, architecture) for _ in range(architecture.epoch_layers)
        )
        self.norm = nn.LayerNorm(D)
        self.proj = nn.ModuleDict({m: nn.Linear(D, D, bias=False) for m in spec.modalities})

    def forward(self, epochs: Tensor) -> Tensor:
        """Encode epochs (G, M, T) to epoch tokens (G, M, D) of length 1."""
        M, L, D = len(self.modalities), self.n_patches + 1, self.cls.shape[-1]
        patches = epochs.view(-1, M, self.n_patches, self.patch_size).permute(1, 0, 2, 3)
        rows = patches.reshape(M, -1, self.patch_size)
        x = torch.cat([self.patch[m](rows[i]) for i, m in enumerate(self.modalities)])
        x = x.view(M, -1, self.n_patches, D)
        x = torch.cat([self.cls.expand(-1, x.shape[1], -1, -1), x], dim=2)
        x = (x + self.position + self.modality).view(-1, D)
        cls = self.norm(_pick(self.blocks, x, (M, L, 1), self.modalities, 0)).view(M, -1, D)
        tokens = [self.proj[m](cls[i]) for i, m in enumerate(self.modalities)]
        return F.normalize(torch.stack(tokens, dim=1), dim=-1)

    def attend(self, epochs: Tensor) -> list[list[Tensor]]:
        """Return what CLS attends to, by modality and layer (G, heads, L), itself last."""
        with watching(*(block.attention for block in self.blocks)) as seen:
            self(epochs)
        M = len(self.modalities)
        layers = [w[:, :, 0].reshape(M, -1, *w.shape[1::2]).roll(-1, -1) for ((w,),) in seen]
        return [[x[i] for x in layers] for i in range(M)]


class SeparateEpochTransformers(nn.Module):
    """The epoch stage of the authors' scoring app: a transformer for each modality."""

    def __init__(self, spec: ModelSpec, architecture: Architecture) -> None:
        super().__init__()
        self.modalities = nn.ModuleDict(
            {m: ModalityTransformer(spec, m, architecture) for m in spec.modalities}
        )

    def forward(self, epochs: Tensor) -> Tensor:
        """Encode epochs (G, M, T) to epoch tokens (G, M, D) of any length."""
        tokens = [encode(epochs[:, i]) for i, encode in enumerate(self.modalities.values())]
        return torch.stack(tokens, dim=1)

    def attend(self, epochs: Tensor) -> list[list[Tensor]]:
        """Return what CLS attends to, by modality and layer (G, heads, L), itself last."""
        each = self.modalities.values()
        return [transformer.attend(epochs[:, i]) for i, transformer in enumerate(each)]  # type: ignore[operator]


class ModalityTransformer(nn.Module):
    """One epoch of one modality → its epoch token: what the last of its tokens has become."""

    def __init__(self, spec: ModelSpec, modality: str, architecture: Architecture) -> None:
        super().__init__()
        self.route = (modality,)
        self.patch_size = architecture.patch_size
        self.n_patches = spec.n_inputs // architecture.patch_size
        D = spec.token_shape[-1]
        self.patch = _embed_patches(self.patch_size, D)
        self.cls = nn.Parameter(torch.zeros(1, 1, D))
        self.position = nn.Parameter(torch.zeros(1, self.n_patches + 1, D))
        self.blocks = nn.ModuleList(
            Block(D, (modality,), architecture, gated=True)
            for _ in range(architecture.epoch_layers)
        )

    def forward(self, epochs: Tensor) -> Tensor:
        """Encode epochs (G, T) to epoch tokens (G, D)."""
        L, D = self.n_patches + 1, self.cls.shape[-1]
        x = self.patch(epochs.reshape(-1, self.n_patches, self.patch_size))
        x = torch.cat([x, self.cls.expand(x.shape[0], -1, -1)], dim=1)
        x = (x + self.position).view(-1, D)
        return _pick(self.blocks, x, (1, L, 1), self.route, L - 1)

    def attend(self, epochs: Tensor) -> list[Tensor]:
        """Return what CLS attends to, by layer (G, heads, L), itself last."""
        with watching(*(block.attention for block in self.blocks)) as seen:
            self(epochs)
        return [w[:, :, -1] for ((w,),) in seen]


class SequenceTransformer(nn.Module):
    """The epoch tokens of a context window → one vector per slot and pathway."""

    def __init__(self, spec: ModelSpec, architecture: Architecture) -> None:
        super().__init__()
        self.modalities = spec.modalities
        self.n_unmixed = architecture.sequence_layers - architecture.mixed_layers
        M, N, D = spec.n_modalities, spec.n_context, spec.token_shape[-1]
        self.position = nn.Parameter(torch.zeros(M, 1, N, D))
        self.modality = nn.Parameter(torch.zeros(M, 1, 1, D))
        self.blocks = nn.ModuleList(
            Block(D, spec.modalities, architecture, mixed=i >= self.n_unmixed)
            for i in range(architecture.sequence_layers)
        )
        self.norm = nn.LayerNorm(D)
        self.pool = nn.Linear(M * D, D)
        self.proj = nn.ModuleDict({m: nn.Linear(D, D, bias=False) for m in spec.modalities})

    def embed(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Add position and modality to (B, N, M, D); what is masked counts as zero.

        Returns:
            (M·B·N, D).
        """
        tokens = tokens.masked_fill(~mask[..., None], 0.0)
        x = tokens.permute(2, 0, 1, 3) + self.position + self.modality
        return x.reshape(-1, tokens.shape[-1])

    def mixed(self, x: Tensor, mask: Tensor, slots: Tensor | None = None) -> Tensor:
        """All modalities attend to each other: (M·B·N, D) → (B·R, D) of these R slots, or all."""
        M, N, D = len(self.modalities), self.position.shape[2], x.shape[-1]
        bias = _bias(mask.permute(0, 2, 1).reshape(-1, 1, 1, M * N))
        for i, block in enumerate(self.blocks):
            route = self.modalities if i < self.n_unmixed else (MIXED,)
            x = block(x, (M, N, M), bias, route, slots if block is self.blocks[-1] else None)
        together = self.norm(x).view(M, -1, D).permute(1, 0, 2).reshape(-1, M * D)
        return torch.tanh(self.pool(together))

    def single(self, x: Tensor, mask: Tensor, slots: Tensor | None = None) -> list[Tensor]:
        """Each modality attends to itself: (M·B·N, D) → M times (B·R, D) of these slots, or all."""
        M, N = len(self.modalities), self.position.shape[2]
        bias = _bias(mask.permute(2, 0, 1).reshape(-1, 1, 1, N))
        for block in self.blocks:
            only = slots if block is self.blocks[-1] else None
            x = block(x, (M, N, 1), bias, self.modalities, only)
        y = self.norm(x).view(M, -1, x.shape[-1])
        return [F.normalize(self.proj[m](y[i]), dim=-1) for i, m in enumerate(self.modalities)]


class PerModality(nn.ModuleDict):
    """A layer of its own for each modality."""

    def forward(self, x: Tensor, *which: int) -> Tensor:
        """Map (rows, D) to (rows, D')."""
        return _apply_to_shares(list(self.values()), x, *which)


class Projections(nn.Linear):
    """Queries, keys and values by one matrix, of which not all are always wanted.

    Args:
        width: D.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, 3 * width, bias=False)

    def forward(self, x: Tensor, first: int, last: int) -> Tensor:  # type: ignore[override]
        """Map (rows, D) to those from `first` to before `last` (rows, D · (last - first))."""
        D = self.in_features
        return F.linear(x, self.weight[first * D : last * D])


class Attention(nn.Module, Watched):
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
        self.qkv = _layer(a, modalities, lambda: Projections(width))
        self.proj = _layer(a, modalities, lambda: nn.Linear(width, width))
        self.drop = nn.Dropout(a.dropout)

    def forward(
        self, x: Tensor, shape: tuple[int, int, int], bias: Tensor | None, only: Tensor | None
    ) -> Tensor:
        """Attend within each group of tokens.

        Args:
            x: (M·B·L, D).
            shape: M, L and how many modalities attend to each other (1 or M).
            bias: (groups, 1, 1, keys), added to the scores; or None.
            only: (R,), which of the L tokens are asked for; None: all are.

        Returns:
            (M·B·L, D), or (M·B·R, D) with `only`.
        """
        M, L, joint = shape
        k, v = self._project(x, shape, 1, 3)
        if only is not None:  # of the others no query is needed
            x, L = _rows(x, L, only), only.shape[0]
        (q,) = self._project(x, (M, L, joint), 0, 1)
        d = q.shape[-1]
        scores = q @ k.transpose(-2, -1) * d**-0.5
        if bias is not None:
            scores = scores + bias
        weights = scores.softmax(-1)
        self.saw(weights)
        y = (weights @ v).view(M // joint, -1, self.n_heads, joint, L, d)
        y = y.permute(0, 3, 1, 4, 2, 5).reshape(-1, self.n_heads * d)
        out: Tensor = self.drop(self.proj(y))
        return out

    def _project(self, x: Tensor, shape: tuple[int, int, int], first: int, last: int) -> Tensor:
        """Return those of q, k, v from `first` to before `last`, (groups, heads, joint · L, d)."""
        M, L, joint = shape
        n, d = last - first, x.shape[-1] // self.n_heads
        y: Tensor = self.qkv(x, first, last).view(M // joint, joint, -1, L, n, self.n_heads, d)
        return y.permute(4, 0, 2, 5, 1, 3, 6).reshape(n, -1, self.n_heads, joint * L, d)


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
        only: Tensor | None = None,
    ) -> Tensor:
        """Map (M·B·L, D) to the same; `route` names the experts of equal shares of the rows.

        With `only`, (R,) of the L tokens, return but their rows, (M·B·R, D): the others are keys
        and no more.
        """
        y = self.attention(self.norm(x), shape, bias, only)
        if only is not None:
            x = _rows(x, shape[1], only)
        x = x + self.gamma_1 * y
        return x + self.gamma_2 * _apply_to_shares([self.experts[name] for name in route], x)


def _layer(
    architecture: Architecture, modalities: Sequence[str], make: Callable[[], nn.Module]
) -> nn.Module:
    """Return one layer for all modalities, or one for each."""
    if architecture.shared_attention or len(modalities) == 1:
        return make()
    return PerModality({m: make() for m in modalities})


def _apply_to_shares(layers: Sequence[nn.Module], x: Tensor, *which: int) -> Tensor:
    """Send equal shares of the rows (rows, D) through one layer each."""
    if len(layers) == 1:
        y: Tensor = layers[0](x, *which)
        return y
    shares = x.view(len(layers), -1, x.shape[-1]).unbind(0)
    return torch.cat([layer(share, *which) for layer, share in zip(layers, shares, strict=True)])


def _rows(x: Tensor, L: int, only: Tensor) -> Tensor:
    """Pick some of each L rows: (rows, D) → (rows · R / L, D)."""
    return x.view(-1, L, x.shape[-1])[:, only].flatten(0, 1)


def _embed_patches(patch_size: int, width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(patch_size, width), nn.ReLU(), nn.Linear(width, width))


def _pick(
    blocks: nn.ModuleList, x: Tensor, shape: tuple[int, int, int], route: Sequence[str], which: int
) -> Tensor:
    """Return what one of the L tokens has become after all blocks; (M·B·L, D) → (M·B, D)."""
    *first, last = blocks
    for block in first:
        x = block(x, shape, None, route)
    y: Tensor = last(x, shape, None, route, torch.tensor([which], device=x.device))
    return y


def _bias(mask: Tensor) -> Tensor:
    """Return what to add to attention scores so that only the keys of `mask` count."""
    return torch.where(mask, 0.0, _MASKED)


def _init_weights(module: nn.Module) -> None:
    """Draw the embeddings; the rest keeps torch's start, from which it learns much sooner."""
    for name, parameter in module.named_parameters(recurse=False):
        if name in ("cls", "position", "modality"):
            nn.init.trunc_normal_(parameter, std=0.02)
