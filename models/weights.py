"""A net's weights on disk, as safetensors: nothing in the file can run code."""

from pathlib import Path

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models.base import Model, part_of
from models.errors import WeightsError
from models.spec import SPEC_FILE, WEIGHTS_FILE, BundleManifest, ModelSpec


def build_model(spec: ModelSpec) -> Model:
    """Return a new net of `spec`.

    Raises:
        SpecError: there is no such model, or its hyperparameters do not fit.
    """
    model: Model = part_of(spec.model, "net").build(spec)
    return model


def load_model(bundle_dir: Path) -> Model:
    """Return the net of a bundle, in eval mode; the files' hashes are not checked here.

    Raises:
        WeightsError: a file is missing or broken, or the weights do not fit the spec.
        SpecError: the spec describes no net.
    """
    model = build_model(read_spec(bundle_dir))
    load_weights(model, bundle_dir / WEIGHTS_FILE)
    return model.eval()


def read_spec(bundle_dir: Path) -> ModelSpec:
    """Return what the net of a bundle expects and gives.

    Raises:
        WeightsError: the file is missing or broken.
    """
    path = bundle_dir / SPEC_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=BundleManifest).spec
    except (OSError, msgspec.DecodeError) as error:
        raise WeightsError(f"expected a bundle's {SPEC_FILE} at {path}, found: {error}") from error


def save_weights(model: nn.Module, path: Path) -> None:
    """Write all parameters and buffers of `model` to `path`."""
    save_file({k: v.detach().contiguous() for k, v in model.state_dict().items()}, path)
    path.chmod(0o644)  # the library makes it private


def load_weights(model: nn.Module, path: Path) -> None:
    """Put the weights of `path` into `model`: every tensor, none left over.

    Raises:
        WeightsError: the file cannot be read, or its tensors are not those of the net.
    """
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"expected weights at {path}, found: {error}") from error
    _check_fit(model.state_dict(), weights, path)
    model.load_state_dict(weights)


def _check_fit(expected: dict[str, Tensor], found: dict[str, Tensor], path: Path) -> None:
    for name in sorted(expected.keys() | found.keys()):
        shapes = [_shape(tensors.get(name)) for tensors in (expected, found)]
        if shapes[0] != shapes[1]:
            raise WeightsError(f"{path}: {name}: expected {shapes[0]}, found {shapes[1]}")


def _shape(tensor: torch.Tensor | None) -> str:
    return "no such tensor" if tensor is None else f"shape {tuple(tensor.shape)}"
