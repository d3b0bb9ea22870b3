"""The sDREAMER authors' checkpoints → a bundle: weights trained on real mice, run live.

Two nets of their public code are known by the names of their weights, misspelling included: the
hierarchical one of the paper (github.com/yzhaoinuw/sdreamer_flow), and the variant that their
scoring app ships weights for (github.com/yzhaoinuw/sleep_scoring). How many epochs, layers and
hidden units there are follows from the weights' shapes; the number of heads does not, it is taken
to be theirs (8). A checkpoint is a file of `torch.save`: a state dict, or a dict with one under
`state_dict`. It is a pickle, of which tensors and plain values are read; nothing in it is run.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.errors import WeightsError
from models.sdreamer.net import SDreamer, build
from models.spec import MIXED, Band, ModelSpec
from models.stages import MOUSE

MODALITIES = ("eeg", "emg")
EPOCH_S = 1.0
"""Length of an epoch of every net that the authors published, s."""
LOWPASS = 0.45
"""Of the net's sampling rate: what has that rate is not filtered, what is faster does not alias."""
CLIP = 100.0
"""The authors limit nothing: in standard deviations, further than any muscle goes."""

_UNUSED = re.compile(r"ep_moe_transformer\.pool\.")
"""A pooler that the hierarchical net registers and never uses."""
_NUMPY = ("numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")


class Variant(StrEnum):
    """Which of the authors' nets."""

    PAPER = "the paper's hierarchical net"
    APP = "the scoring app's net"


_Rules = tuple[tuple[str, str], ...]
"""Our names → theirs, one substitution after another; `<a,b>` stands for several weights."""

_BLOCK_RULES: _Rules = (
    (r"\.blocks\.", r".transformer."),
    (r"(transformer\.\d+)\.norm\.", r"\1.norm1."),
    (r"\.attention\.", r".attn."),
    (r"\.experts\.mixed\.", r".experts.mix."),
    (r"\.experts\.(\w+)\.norm\.", r".norm2_\1."),
    (r"\.experts\.(\w+)\.up\.", r".mlp_\1.ff.0.0."),
    (r"\.experts\.(\w+)\.down\.", r".mlp_\1.ff.3."),
    (r"\.modality$", r".mod_emb.weight"),
    (r"\.position$", r".<eeg,emg>_loader.get_pos.pos_emb"),
    (r"transformer\.proj\.(\w+)\.", r"transformer.\1_proj."),
)
_SEQUENCE_RULES: _Rules = (
    (r"^heads\.mixed\.", r"cls_head.mlp."),
    (r"^heads\.(\w+)\.", r"cls_head_\1.mlp."),
    (r"^sequence\.pool\.", r"moe_transformer.pool.pool_head.0."),
    (r"^sequence\.", r"moe_transformer."),
    *_BLOCK_RULES,
)
_EPOCH_RULES: dict[Variant, _Rules] = {
    Variant.PAPER: (
        (r"^epoch\.", r"ep_moe_transformer."),
        (r"\.cls$", r".<eeg,emg>_loader.get_cls.cls_token"),
        (r"\.patch\.(\w+)\.0\.", r".\1_loader.patch_ecncoder.to_patch_embedding.1."),
        (r"\.patch\.(\w+)\.2\.", r".\1_loader.patch_ecncoder.to_patch_embedding.3."),
        *_BLOCK_RULES,
    ),
    Variant.APP: (
        (r"^epoch\.modalities\.(\w+)\.", r"\1_transformer."),
        (r"\.cls$", r".get_cls.cls_token"),
        (r"\.position$", r".get_pos.pos_emb"),
        (r"\.patch\.0\.", r".patch_ecncoder.to_patch_embedding.1."),
        (r"\.patch\.2\.", r".patch_ecncoder.to_patch_embedding.3."),
        (r"\.gamma_", r".gamma"),
        (r"\.attention\.qkv\.", r".attn1.to_<q,k,v>."),
        (r"\.attention\.proj\.", r".attn1.to_out.0."),
        (r"\.experts\.\w+\.norm\.", r".norm2."),
        (r"\.experts\.\w+\.up\.", r".ff.ff.0.proj."),
        (r"\.experts\.\w+\.down\.", r".ff.ff.3."),
        *_BLOCK_RULES,
    ),
}


@dataclass(frozen=True)
class AuthorsFile:
    """What a file holds."""

    path: Path
    """The file."""
    sha256: str
    """Of the file."""
    variant: Variant
    """Which net it is of."""
    weights: dict[str, Tensor]
    """By the authors' names."""
    notes: dict[str, str]
    """What else the file says of its training: pass, accuracy."""


def read_checkpoint(path: Path) -> AuthorsFile:
    """Read a checkpoint without running anything in it.

    Raises:
        WeightsError: it cannot be read, would run code, or is not of a known net.
    """
    content = _load(path)
    weights = content.get("state_dict", content)
    if not isinstance(weights, Mapping) or not _are_weights(weights):
        raise WeightsError(f"{path}: expected a state dict, found {type(weights).__name__}")
    weights = {name.removeprefix("module."): tensor for name, tensor in weights.items()}
    notes = {
        name: str(value)
        for name in ("model", "epoch", "best_acc")
        if isinstance(value := content.get(name), str | int | float)
    }
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return AuthorsFile(path, sha256, _recognise(weights, path), weights, notes)


class _Skipped:
    """Stands for a numpy number in a checkpoint, such as an accuracy: nothing of numpy runs."""

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


def _load(path: Path) -> dict[Any, Any]:
    try:
        with torch.serialization.safe_globals([(_Skipped, name) for name in _NUMPY]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"{path}: expected a file, found: {error.strerror or error}") from error
    except Exception as error:  # a damaged file fails in whatever torch comes across
        raise WeightsError(f"{path}: expected a checkpoint of torch, {_explain(error)}") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: expected a state dict, found {type(content).__name__}")
    return content


def _explain(error: Exception) -> str:
    """Return in a few words why torch did not read a file; its own advice is to run its code."""
    if found := re.search(r"GLOBAL (\S+)", str(error)):
        return f"found {found[1]} in it, which is refused: to read it can run code"
    return f"found one that is damaged or of another kind ({type(error).__name__})"


def _are_weights(content: Mapping[Any, Any]) -> bool:
    return bool(content) and all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in content.items()
    )


def _recognise(weights: Iterable[str], path: Path) -> Variant:
    names = sorted(weights)
    if any(name.startswith("ep_moe_transformer.") for name in names):
        return Variant.PAPER
    if any(name.startswith("eeg_transformer.") for name in names):
        return Variant.APP
    if any(name.startswith("ae.encoder.") for name in names):
        raise WeightsError(
            f"{path}: expected sDREAMER, found SleepDIFFormer, which is not yet read"
        )
    raise WeightsError(f"{path}: expected the names of sDREAMER's weights, found {names[0]} …")


def read_spec(
    checkpoint: AuthorsFile, highpass_hz: float, lowpass_hz: float | None = None
) -> ModelSpec:
    """Return what a checkpoint's net expects and gives, from the shapes of its weights.

    What the weights do not say is as the authors' code prepares signals: Wake, NREM and REM in
    this order, epochs of 1 s, division by the standard deviation, no limit.

    Args:
        checkpoint: the weights.
        highpass_hz: of both modalities.
        lowpass_hz: of both; default: none but against aliasing.

    Raises:
        WeightsError: a weight that tells a size is missing or has no such shape.
    """
    shape = _Shapes(checkpoint)
    app = checkpoint.variant is Variant.APP
    epoch = "eeg_transformer" if app else "ep_moe_transformer"
    eeg = epoch if app else f"{epoch}.eeg_loader"
    n_tokens, token_size = shape(f"{eeg}.get_pos.pos_emb")[-2:]
    patch_size = shape(f"{eeg}.patch_ecncoder.to_patch_embedding.1.weight")[-1]
    n_times = (n_tokens - 1) * patch_size
    sfreq = n_times / EPOCH_S
    return ModelSpec(
        model="sdreamer",
        species="mouse",
        stages=MOUSE,
        modalities=MODALITIES,
        pathways=(MIXED, *MODALITIES),
        bands=(Band(highpass_hz, lowpass_hz or LOWPASS * sfreq),) * len(MODALITIES),
        sfreq=sfreq,
        epoch_s=EPOCH_S,
        n_context=shape("moe_transformer.eeg_loader.get_pos.pos_emb")[-2],
        token_shape=(len(MODALITIES), token_size),
        amplitude="sd",
        clip=CLIP,
        architecture={
            "patch_size": patch_size,
            "ffn_size": shape("moe_transformer.transformer.0.mlp_eeg.ff.0.0.weight")[0],
            "epoch_layers": shape.count(rf"{epoch}\.transformer\.\d+\.norm1\.weight"),
            "sequence_layers": shape.count(r"moe_transformer\.transformer\.\d+\.norm1\.weight"),
            "mixed_layers": shape.count(r"moe_transformer\.transformer\.\d+\.norm2_mix\.weight"),
            "head_size": shape("cls_head.mlp.0.weight")[0],
            "separate_epochs": app,
        },
    )


@dataclass(frozen=True)
class _Shapes:
    """The shapes of a checkpoint's weights."""

    checkpoint: AuthorsFile

    def __call__(self, name: str) -> tuple[int, ...]:
        """Return the shape of a weight of two dimensions at least."""
        weights = self.checkpoint.weights
        if name not in weights or weights[name].ndim < 2:
            raise WeightsError(
                f"{self.checkpoint.path}: expected the matrix {name}, "
                f"found {'another shape' if name in weights else 'none'}"
            )
        return tuple(weights[name].shape)

    def count(self, pattern: str) -> int:
        return sum(re.fullmatch(pattern, name) is not None for name in self.checkpoint.weights)


def load_net(checkpoint: AuthorsFile, spec: ModelSpec) -> tuple[SDreamer, list[str]]:
    """Return the net with a checkpoint's weights, in eval mode, and the names it does not use.

    Raises:
        SpecError: the sizes do not fit each other.
        WeightsError: a weight is missing, has another shape, is not finite, or is left over.
    """
    with torch.device("meta"):  # its own weights need not be drawn
        model = build(spec)
    state, used = {}, set()
    for name, parameter in model.state_dict().items():
        sources = find_sources(name, checkpoint.variant)
        state[name] = _gather(checkpoint, sources, parameter.shape)
        used.update(sources)
    unused = sorted(checkpoint.weights.keys() - used)
    if unknown := [name for name in unused if not _UNUSED.match(name)]:
        raise WeightsError(
            f"{checkpoint.path}: expected the weights of {checkpoint.variant} alone, "
            f"found also {unknown[0]}"
            + (f" and {len(unknown) - 1} more" if len(unknown) > 1 else "")
        )
    model.load_state_dict(state, assign=True)
    return model.eval(), unused


def find_sources(name: str, variant: Variant) -> list[str]:
    """Return the authors' names of one of our weights: of each modality's, or of Q, K and V."""
    rules = _EPOCH_RULES[variant] if name.startswith("epoch.") else _SEQUENCE_RULES
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    choices = re.search(r"<(.*)>", name)
    return [name.replace(choices[0], c) for c in choices[1].split(",")] if choices else [name]


def _gather(checkpoint: AuthorsFile, sources: Sequence[str], shape: torch.Size) -> Tensor:
    """Return one of our weights of this shape, made of one or more of theirs."""
    n, expected = len(sources), tuple(length for length in shape if length != 1)
    if n > 1:  # one for each place along the first axis, or equal parts of it
        first, *rest = expected
        expected = tuple(rest) if first == n else (first // n, *rest)
    return torch.stack([_take(checkpoint, name, expected) for name in sources]).view(shape)


def _take(checkpoint: AuthorsFile, name: str, expected: tuple[int, ...]) -> Tensor:
    """Return a weight whose shape, but for axes of length 1, is as expected."""
    if name not in checkpoint.weights:
        raise WeightsError(f"{checkpoint.path}: expected the weight {name}, found none")
    tensor = checkpoint.weights[name]
    found = tuple(n for n in tensor.shape if n != 1)
    if found != expected:
        raise WeightsError(f"{checkpoint.path}: {name}: expected shape {expected}, found {found}")
    if not (tensor.is_floating_point() and tensor.layout is torch.strided and tensor.is_cpu):
        raise WeightsError(f"{checkpoint.path}: {name}: expected numbers, found {tensor.dtype}")
    tensor = tensor.detach().float()
    if not tensor.isfinite().all():
        raise WeightsError(f"{checkpoint.path}: {name}: expected finite numbers, found others")
    return tensor


def describe_origin(checkpoint: AuthorsFile, unused: Sequence[str]) -> dict[str, str]:
    """Return the provenance of a bundle made of a checkpoint, with what is not known."""
    return {
        "checkpoint": checkpoint.path.name,
        "checkpoint sha256": checkpoint.sha256,
        "net": f"sDREAMER, {checkpoint.variant}",
        **{f"checkpoint {key}": value for key, value in checkpoint.notes.items()},
        "weights not used": ", ".join(unused) or "none",
        "not known": "which recordings it was trained on, how well it does, how they were prepared",
        "assumed": "8 attention heads; Wake, NREM, REM in this order; epochs of 1 s; signals "
        "divided by their standard deviation, which is a running one here",
        "hypnod": metadata.version("hypnod"),
        "torch": str(torch.__version__),
        "date": datetime.now(UTC).date().isoformat(),
    }
