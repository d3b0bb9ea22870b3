"""Reading the authors' checkpoints; their numbers are in test_golden.py."""

import argparse
import math
import pickle
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor, nn

from models.errors import HypnodError, SpecError, WeightsError
from models.sdreamer import net as sdreamer
from models.sdreamer.authors import Variant, describe_origin, load_net, read_checkpoint, read_spec
from tests.support.bundles import everything, mouse_spec
from tests.support.checkpoints import save_as_authors, to_authors

N_DAMAGED = 60
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
    return load_net(checkpoint, read_spec(checkpoint, 0.1))


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
    assert read_spec(checkpoint, 0.1).bands[0].lowpass_hz == 230.4


def test_origin_says_what_is_known_and_what_is_not(tmp_path: Path) -> None:
    variant = Variant.PAPER
    path = save_as_authors(to_authors(small_net(variant), variant), tmp_path / "x.pth.tar")
    checkpoint = read_checkpoint(path)
    origin = describe_origin(checkpoint, load_net(checkpoint, read_spec(checkpoint, 0.1))[1])
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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"ae.encoder.fc_mu1.weight": torch.ones(2, 2)}, "found SleepDIFFormer, which is not yet"),
        ({"fc.weight": torch.ones(2, 2)}, "names of sDREAMER's weights, found fc.weight …"),
        ({"state_dict": [1, 2]}, "expected a state dict, found list"),
        ({"state_dict": {}}, "expected a state dict, found dict"),
        ([torch.ones(2)], "expected a state dict, found list"),
        ({"args": argparse.Namespace()}, "argparse.Namespace in it, which is refused"),
        (nn.Linear(2, 2), "Linear in it, which is refused"),
    ],
)
def test_what_is_no_checkpoint_of_sdreamer_is_said(
    content: Any, message: str, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(WeightsError, match=message):
        read_checkpoint(tmp_path / "x.pt")


class Harmful:
    """Its pickle writes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("save", [torch.save, lambda x, p: p.write_bytes(pickle.dumps(x))])
def test_code_in_a_checkpoint_is_not_run(save: Any, tmp_path: Path) -> None:
    save({"state_dict": Harmful(tmp_path / "harm")}, tmp_path / "x.pt")
    with pytest.raises(WeightsError, match="expected a checkpoint of torch, found"):
        read_checkpoint(tmp_path / "x.pt")
    assert not (tmp_path / "harm").exists()


def damage(content: bytes, rng: random.Random) -> bytes:
    """Cut a file short, or change some of its bytes, most of them where the pickle is."""
    if rng.random() < 0.3:
        return content[: rng.randrange(len(content))]
    damaged = bytearray(content)
    for _ in range(rng.randrange(1, 40)):
        damaged[rng.randrange(rng.choice([2000, len(content)]))] = rng.randrange(256)
    return bytes(damaged)


@pytest.mark.parametrize("zipped", [True, False])
def test_damaged_files_are_one_sentence(
    weights: dict[str, Tensor], zipped: bool, tmp_path: Path
) -> None:
    path, rng, messages = tmp_path / "x.pth.tar", random.Random(0), []
    torch.save({"state_dict": weights}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for _ in range(N_DAMAGED):
        path.write_bytes(damage(whole, rng))
        try:
            read(path)
        except HypnodError as error:
            messages.append(str(error))
    assert len(messages) > 0.6 * N_DAMAGED
    assert not any("\n" in message for message in messages)
    assert max(map(len, messages)) < 300 + len(str(path))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"weights", bytes(5000)])
def test_other_files_are_one_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pth.tar").write_bytes(content)
    for path in (tmp_path / "x.pth.tar", tmp_path / "none", tmp_path):
        with pytest.raises(WeightsError, match="expected a") as refused:
            read_checkpoint(path)
        assert "\n" not in str(refused.value)
