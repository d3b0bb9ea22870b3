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
D: width, S: stages. Inside, the modality comes first, `(M, B, L, D)`: an expert's rows are
then contiguous.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  everybody's name for it

from models.sdreamer.block import Architecture, Block, read_architecture
from models.spec import MIXED, ModelSpec

_MASKED = -1e4  # finite, so that a row with nothing valid stays finite; in range of fp16


def build(spec: ModelSpec) -> "SDreamer":
    """Return the net of `spec` with new weights drawn from torch's generator.

    Raises:
        SpecError: `spec.architecture` is not one of sDREAMER.
    """
    return SDreamer(spec, read_architecture(spec))


class EpochTransformer(nn.Module):
    """One epoch of each modality → its epoch token; nothing crosses epochs or modalities."""

    def __init__(self, spec: ModelSpec, architecture: Architecture) -> None:
        super().__init__()
        self.modalities = spec.modalities
        self.patch_size = architecture.patch_size
        self.n_patches = spec.n_times // architecture.patch_size
        M, D = spec.n_modalities, spec.token_size
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
        x = (x + (self.position + self.modality)).view(-1, D)
        cls = self.norm(_pick(self.blocks, x, (M, L, 1), self.modalities, 0)).view(M, -1, D)
        tokens = [self.proj[m](cls[i]) for i, m in enumerate(self.modalities)]
        return F.normalize(torch.stack(tokens, dim=1), dim=-1)


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


class ModalityTransformer(nn.Module):
    """One epoch of one modality → its epoch token: what the last of its tokens has become."""

    def __init__(self, spec: ModelSpec, modality: str, architecture: Architecture) -> None:
        super().__init__()
        self.route = (modality,)
        self.patch_size = architecture.patch_size
        self.n_patches = spec.n_times // architecture.patch_size
        D = spec.token_size
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


class SequenceTransformer(nn.Module):
    """The epoch tokens of a context window → one vector per slot and pathway."""

    def __init__(self, spec: ModelSpec, architecture: Architecture) -> None:
        super().__init__()
        self.modalities = spec.modalities
        self.n_unmixed = architecture.sequence_layers - architecture.mixed_layers
        M, N, D = spec.n_modalities, spec.n_context, spec.token_size
        self.position = nn.Parameter(torch.zeros(M, 1, N, D))
        self.modality = nn.Parameter(torch.zeros(M, 1, 1, D))
        self.blocks = nn.ModuleList(
            Block(D, spec.modalities, architecture, mixed=i >= self.n_unmixed)
            for i in range(architecture.sequence_layers)
        )
        self.norm = nn.LayerNorm(D)
        self.pool = nn.Linear(M * D, D)
        self.proj = nn.ModuleDict({m: nn.Linear(D, D, bias=False) for m in spec.modalities})

    def embed(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """Add position and modality to (B, N, M, D); what is masked counts as zero.

        Returns:
            (M·B·N, D).
        """
        if mask is not None:
            tokens = tokens.masked_fill(~mask[..., None], 0.0)
        x = tokens.permute(2, 0, 1, 3) + (self.position + self.modality)
        return x.reshape(-1, tokens.shape[-1])

    def mixed(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """All modalities attend to each other: (M·B·N, D) → (B·N, D)."""
        M, N, D = len(self.modalities), self.position.shape[2], x.shape[-1]
        bias = None if mask is None else _bias(mask.permute(0, 2, 1).reshape(-1, 1, 1, M * N))
        for i, block in enumerate(self.blocks):
            route = self.modalities if i < self.n_unmixed else (MIXED,)
            x = block(x, (M, N, M), bias, route)
        slots = self.norm(x).view(M, -1, D).permute(1, 0, 2).reshape(-1, M * D)
        return torch.tanh(self.pool(slots))

    def single(self, x: Tensor, mask: Tensor | None) -> list[Tensor]:
        """Each modality attends to itself: (M·B·N, D) → a list of M times (B·N, D)."""
        M, N = len(self.modalities), self.position.shape[2]
        bias = None if mask is None else _bias(mask.permute(2, 0, 1).reshape(-1, 1, 1, N))
        for block in self.blocks:
            x = block(x, (M, N, 1), bias, self.modalities)
        y = self.norm(x).view(M, -1, x.shape[-1])
        return [F.normalize(self.proj[m](y[i]), dim=-1) for i, m in enumerate(self.modalities)]


class SDreamer(nn.Module):
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
                    nn.Linear(spec.token_size, architecture.head_size),
                    nn.LayerNorm(architecture.head_size),
                    nn.GELU(),
                    nn.Linear(architecture.head_size, len(spec.stages)),
                )
                for p in spec.pathways
            }
        )
        self.apply(_init_weights)

    def encode(self, epochs: Tensor) -> Tensor:
        """Encode conditioned epochs (…, M, T) to epoch tokens (…, M, D)."""
        M, T = epochs.shape[-2:]
        tokens: Tensor = self.epoch(epochs.reshape(-1, M, T))
        return tokens.view(*epochs.shape[:-1], -1)

    def read(
        self, tokens: Tensor, mask: Tensor | None = None, unimodal: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Read a context window.

        Args:
            tokens: (B, N, M, D), oldest first.
            mask: (B, N, M) bool, True where the epoch is valid; None: all are. A masked key is
                attended to by nobody and its token does not matter.
            unimodal: also read the pathways of the single modalities.

        Returns:
            Logits of the mixed pathway (B, N, S) and of the modalities (B, M, N, S) or None.
        """
        x = self.sequence.embed(tokens, mask)
        N, S = self.spec.n_context, len(self.spec.stages)
        mixed = self.heads[MIXED](self.sequence.mixed(x, mask)).view(-1, N, S)
        return mixed, self._read_single(x, mask) if unimodal else None

    def read_single(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Read the pathways of the single modalities alone; logits (B, M, N, S)."""
        return self._read_single(self.sequence.embed(tokens, mask), mask)

    def _read_single(self, x: Tensor, mask: Tensor | None) -> Tensor:
        N, S = self.spec.n_context, len(self.spec.stages)
        rows = zip(self.spec.modalities, self.sequence.single(x, mask), strict=True)
        return torch.stack([self.heads[m](y).view(-1, N, S) for m, y in rows], dim=1)

    def forward(self, epochs: Tensor, mask: Tensor | None = None) -> Tensor:
        """Recompute the whole window.

        Args:
            epochs: (B, N, M, T), conditioned, oldest first.
            mask: as for `read`.

        Returns:
            Logits (B, 1 + M, N, S), pathways in the order of `spec.pathways`.
        """
        tokens = self.encode(epochs)
        mixed, _ = self.read(tokens, mask)
        return torch.cat([mixed[:, None], self.read_single(tokens, mask)], dim=1)


def _embed_patches(patch_size: int, width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(patch_size, width), nn.ReLU(), nn.Linear(width, width))


def _pick(
    blocks: nn.ModuleList, x: Tensor, shape: tuple[int, int, int], route: Sequence[str], which: int
) -> Tensor:
    """Return what one of the L tokens has become after all blocks; (M·B·L, D) → (M·B, D).

    In training the last block computes no other: a third less to multiply, backwards too. The
    exported graphs stay the net as published.
    """
    *first, last = blocks
    for block in first:
        x = block(x, shape, None, route)
    if last.training:
        y: Tensor = last(x, shape, None, route, only=which)
        return y
    rows: Tensor = last(x, shape, None, route)
    return rows.view(-1, shape[1], x.shape[-1])[:, which]


def _bias(mask: Tensor) -> Tensor:
    """Return what to add to attention scores so that only the keys of `mask` count."""
    return torch.where(mask, 0.0, _MASKED)


def _init_weights(module: nn.Module) -> None:
    """Draw the embeddings; the rest keeps torch's start, from which it learns much sooner."""
    for name, parameter in module.named_parameters(recurse=False):
        if name in ("cls", "position", "modality"):
            nn.init.trunc_normal_(parameter, std=0.02)
