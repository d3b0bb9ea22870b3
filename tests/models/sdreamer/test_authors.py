"""Reading the authors' checkpoints; their numbers are in test_golden.py."""

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor, nn

from models.checkpoint import describe_origin, read_checkpoint
from models.errors import SpecError, WeightsError
from models.sdreamer import net as sdreamer
from models.sdreamer.authors import ASSUMED, Variant, load_net, read_spec, recognise
from models.spec import Band
from tests.support.bundles import everything, mouse_spec
from tests.support.checkpoints import save_as_authors, to_authors

SIZES = {
    "token_size": 16,
    "patch_size": 32,
    "ffn_size": 24,
    "head_size": 20,
    "epoch_layers": 1,
    "sequence_layers": 2,
}


def small_net(variant: Variant) -> nn.Module:
    torch.manual_seed(0)
    app = variant is Variant.APP
    return sdreamer.build(mouse_spec(5, separate_epochs=app, n_heads=8, **SIZES)).eval()


def read(path: Path) -> tuple[nn.Module, list[str]]:
    checkpoint = read_checkpoint(path)
    return load_net(checkpoint, read_spec(checkpoint))


@pytest.fixture
def weights() -> dict[str, Tensor]:
    return to_authors(small_net(Variant.APP), Variant.APP)


@pytest.mark.parametrize("variant", Variant)
@pytest.mark.parametrize("wrapped", ["plain", "in a dict", "of several GPUs", "before torch 1.6"])
def test_every_form_of_a_checkpoint_gives_its_net(
    variant: Variant, wrapped: str, tmp_path: Path
) -> None:
    net, path = small_net(variant), tmp_path / "model_best.pth.tar"
    weights = to_authors(net, variant)
    if wrapped == "of several GPUs":
        weights = {f"module.{name}": tensor for name, tensor in weights.items()}
    if wrapped == "in a dict":
        save_as_authors(weights, path)
    else:
        torch.save(weights, path, _use_new_zipfile_serialization=wrapped != "before torch 1.6")
    found, unused = read(path)
    assert recognise(read_checkpoint(path)) is variant
    assert len(unused) == (variant is Variant.PAPER)
    epochs = torch.randn(2, 5, 2, 512)
    mask = everything(epochs)
    assert torch.equal(found(epochs, mask), net(epochs, mask))


@pytest.mark.parametrize("variant", Variant)
def test_spec_follows_from_the_shapes(variant: Variant, tmp_path: Path) -> None:
    path = save_as_authors(to_authors(small_net(variant), variant), tmp_path / "x.pth.tar")
    checkpoint = read_checkpoint(path)
    spec = read_spec(checkpoint, 0.5, 90.0)
    assert (spec.n_context, spec.sfreq, spec.n_times, spec.token_shape) == (5, 512.0, 512, (2, 16))
    assert {(band.highpass_hz, band.lowpass_hz) for band in spec.bands} == {(0.5, 90.0)}
    assert (spec.amplitude, spec.architecture["separate_epochs"]) == ("sd", variant is Variant.APP)
    assert msgspec.json.decode(msgspec.json.encode(spec), type=type(spec)) == spec
    assert read_spec(checkpoint).bands[0] == Band(0.1, 230.4)


def test_origin_says_what_is_known_and_what_is_not(tmp_path: Path) -> None:
    variant = Variant.PAPER
    path = save_as_authors(to_authors(small_net(variant), variant), tmp_path / "x.pth.tar")
    checkpoint = read_checkpoint(path)
    unused = load_net(checkpoint, read_spec(checkpoint))[1]
    origin = describe_origin(checkpoint, variant, unused, ASSUMED)
    assert origin["checkpoint"] == "x.pth.tar"
    assert len(origin["checkpoint sha256"]) == 64
    assert origin["checkpoint epoch"] == "41"
    assert origin["weights not used"] == "ep_moe_transformer.pool.pool_head.0.bias"
    assert "recordings" in origin["not known"]


EEG = "eeg_transformer.transformer.0"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop(f"{EEG}.gamma1"), f"expected the weight {EEG}.gamma1, found none"),
        (lambda w: w.pop("cls_head.mlp.0.weight"), "expected the matrix cls_head.mlp.0.weight"),
        (lambda w: w.update({"crf.start": torch.ones(3)}), "alone, found also crf.start$"),
        (
            lambda w: w.update({"cls_head.mlp.3.weight": torch.ones(4, 20)}),
            r"cls_head.mlp.3.weight: expected shape \(3, 20\), found \(4, 20\)",
        ),
        (
            lambda w: w.update({f"{EEG}.attn1.to_k.weight": torch.ones(16, 8)}),
            r"to_k.weight: expected shape \(16, 16\), found \(16, 8\)",
        ),
        (lambda w: w[f"{EEG}.gamma2"].fill_(math.nan), "gamma2: expected finite numbers"),
        (
            lambda w: w.update({f"{EEG}.gamma2": torch.ones(16, dtype=torch.int64)}),
            "gamma2: expected numbers, found torch.int64",
        ),
    ],
)
def test_weights_of_another_net_are_refused_by_name(
    weights: dict[str, Tensor], change: Any, message: str, tmp_path: Path
) -> None:
    change(weights)
    with pytest.raises(WeightsError, match=message):
        read(save_as_authors(weights, tmp_path / "x.pth.tar"))


def test_sizes_that_contradict_each_other_are_refused(
    weights: dict[str, Tensor], tmp_path: Path
) -> None:
    weights["eeg_transformer.get_pos.pos_emb"] = torch.ones(1, 1, 17, 12)
    with pytest.raises(SpecError, match="expected 12 to be a multiple of 8"):
        read(save_as_authors(weights, tmp_path / "x.pth.tar"))
