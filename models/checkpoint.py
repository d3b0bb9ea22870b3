"""Checkpoints that the authors of a model wrote: reading a file, filling a net with its weights.

A checkpoint is a file of `torch.save`: a state dict, or a dict with one under `state_dict`. It is a
pickle, of which tensors and plain values are read; nothing in it is run. Which net it is of, and
how its names follow from ours, says `authors.py` in each model's folder (`models.base`).
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from models.base import MODELS, Model, part_of
from models.errors import WeightsError
from models.spec import ModelSpec
from models.weights import build_model

_NUMPY = ("numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
_COUNTERS = "num_batches_tracked"  # of BatchNorm: nothing is computed with them


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds."""

    path: Path
    """The file."""
    sha256: str
    """Of the file."""
    weights: dict[str, Tensor]
    """By the authors' names."""
    notes: dict[str, str]
    """What else the file says of its training: pass, accuracy."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a weight; raises WeightsError if it is no matrix or larger."""
        if name not in self.weights or self.weights[name].ndim < 2:
            raise WeightsError(
                f"{self.path}: expected the matrix {name}, "
                f"found {'another shape' if name in self.weights else 'none'}"
            )
        return tuple(self.weights[name].shape)

    def count(self, pattern: str) -> int:
        """Return how many names match a pattern from begin to end."""
        return sum(re.fullmatch(pattern, name) is not None for name in self.weights)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint without running anything in it.

    Raises:
        WeightsError: it cannot be read, or would run code.
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
    return Checkpoint(path, hashlib.sha256(path.read_bytes()).hexdigest(), weights, notes)


def find_authors(checkpoint: Checkpoint) -> tuple[ModuleType, str]:
    """Return the `authors` of the model that a checkpoint is of, and which of its nets that is.

    Raises:
        WeightsError: it is of none that is known.
    """
    for model in MODELS:
        authors = part_of(model, "authors")
        if (net := authors.recognise(checkpoint)) is not None:
            return authors, net
    raise WeightsError(
        f"{checkpoint.path}: expected the names of the weights of one of {', '.join(MODELS)}, "
        f"found {min(checkpoint.weights)} …"
    )


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


def load_net(
    checkpoint: Checkpoint,
    spec: ModelSpec,
    net: str,
    find_sources: Callable[[str], list[str]],
    unused: re.Pattern[str],
    own: Mapping[str, Tensor] | None = None,
) -> tuple[Model, list[str]]:
    """Return the net with a checkpoint's weights, in eval mode, and the names it does not use.

    Args:
        checkpoint: the weights.
        spec: of the net.
        net: what it is called.
        find_sources: their names of one of our weights, of several where ours is made of these.
        unused: matches the names that the authors' net holds and that influence nothing.
        own: our weights that the authors' net does not have, by our names.

    Raises:
        SpecError: the sizes do not fit each other.
        WeightsError: a weight is missing, has another shape, is not finite, or is left over.
    """
    with torch.device("meta"):  # its own weights need not be drawn
        model = build_model(spec)
    state, used = dict(own or {}), set()
    for name, parameter in model.state_dict().items():
        if name.endswith(_COUNTERS):
            state[name] = torch.zeros((), dtype=torch.int64)
        elif name not in state:
            sources = find_sources(name)
            state[name] = _gather(checkpoint, sources, parameter.shape)
            used.update(sources)
    left = sorted(name for name in checkpoint.weights.keys() - used if not name.endswith(_COUNTERS))
    if unknown := [name for name in left if not unused.match(name)]:
        raise WeightsError(
            f"{checkpoint.path}: expected the weights of {net} alone, found also {unknown[0]}"
            + (f" and {len(unknown) - 1} more" if len(unknown) > 1 else "")
        )
    model.load_state_dict(state, assign=True)
    return model.eval(), left


def _gather(checkpoint: Checkpoint, sources: Sequence[str], shape: torch.Size) -> Tensor:
    """Return one of our weights of this shape, made of one or more of theirs."""
    n, expected = len(sources), tuple(length for length in shape if length != 1)
    if n > 1:  # one for each place along the first axis, or equal parts of it
        first, *rest = expected
        expected = tuple(rest) if first == n else (first // n, *rest)
    return torch.stack([take(checkpoint, name, expected) for name in sources]).view(shape)


def take(checkpoint: Checkpoint, name: str, expected: tuple[int, ...]) -> Tensor:
    """Return a weight whose shape, but for axes of length 1, is as expected.

    Raises:
        WeightsError: there is none, or of another shape, or not of finite numbers.
    """
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


def describe_origin(
    checkpoint: Checkpoint, net: str, unused: Sequence[str], assumed: str
) -> dict[str, str]:
    """Return the provenance of a bundle made of a checkpoint, with what is not known."""
    return {
        "checkpoint": checkpoint.path.name,
        "checkpoint sha256": checkpoint.sha256,
        "net": net,
        **{f"checkpoint {key}": value for key, value in checkpoint.notes.items()},
        "weights not used": ", ".join(unused) or "none",
        "not known": "which recordings it was trained on, how well it does, how they were prepared",
        "assumed": assumed,
        "hypnod": metadata.version("hypnod"),
        "torch": str(torch.__version__),
        "date": datetime.now(UTC).date().isoformat(),
    }
