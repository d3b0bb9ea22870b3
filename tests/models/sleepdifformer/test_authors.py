"""Reading the authors' checkpoints; their numbers are in tests/models/test_golden.py."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.checkpoint import read_checkpoint
from models.errors import WeightsError
from models.sleepdifformer.authors import load_net, read_spec, recognise
from models.spec import Band
from tests.support.bundles import everything, human_spec, random_model
from tests.support.checkpoints import released_weights

# heads of the sequence stage cannot be read off the weights
SPEC = human_spec(6, 32, layers=1, first_layer=3, n_heads=4, filters=3, sequence_heads=8)
LAYERS = "ae.encoder.seq_encoder_1.layers"
UNUSED = (
    "ae.decoder.upsample.0.weight",
    "ae.encoder.en_embedding_1.position_embedding.pe",
    "ae.encoder.en_embedding_2.value_embedding.weight",
    "ae.encoder.mlp.linear_1.weight",
    "ae.encoder.seq_encoder_2.layers.3.norm1.weight",
    "ae.encoder.seq_encoder_global1.pos_embedding",
    "ae.encoder.seq_encoder_global2.layers.encoder_layer_0.diff_attention.q_proj.weight",
    f"{LAYERS}.0.norm1.weight",
    f"{LAYERS}.2.cross_attention.v_proj.weight",
    f"{LAYERS}.3.cross_attention.k_proj.weight",
    f"{LAYERS}.3.cross_attention.q_proj.weight",
    f"{LAYERS}.3.mlp_feedforward.linear_1.weight",
    f"{LAYERS}.3.self_attention.lambda_q1",
    f"{LAYERS}.3.self_attention.subln.weight",
)
"""What their code registers and no stage depends on."""


@pytest.fixture
def weights() -> dict[str, Tensor]:
    return released_weights(random_model(SPEC, 0), 3)


def read(weights: dict[str, Tensor], folder: Path) -> tuple[nn.Module, list[str]]:
    torch.save(weights, folder / "x.pth")
    checkpoint = read_checkpoint(folder / "x.pth")
    return load_net(checkpoint, read_spec(checkpoint))


@torch.no_grad()
def test_a_checkpoint_gives_its_net_and_names_what_it_has_no_use_for(
    weights: dict[str, Tensor], tmp_path: Path
) -> None:
    found, unused = read(weights | dict.fromkeys(UNUSED, torch.ones(2)), tmp_path)
    assert unused == sorted(UNUSED)
    epochs = torch.randn(2, 6, 2, 400)
    expected = random_model(SPEC, 0)(epochs, everything(epochs))
    assert torch.equal(found(epochs, everything(epochs)), expected)


def test_spec_follows_from_the_shapes(weights: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(weights, tmp_path / "x.pth")
    checkpoint = read_checkpoint(tmp_path / "x.pth")
    assert recognise(checkpoint) is not None
    spec = read_spec(checkpoint)
    assert (spec.n_context, spec.n_times, spec.token_shape) == (6, 400, (32,))
    assert spec.architecture | {"sequence_heads": 8} == SPEC.architecture
    assert spec.bands == (Band(0.3, 35.0),) * 2
    assert read_spec(checkpoint, 0.5, 40.0).bands == (Band(0.5, 40.0),) * 2


@torch.no_grad()
def test_a_lost_modality_of_an_imported_net_is_finite(
    weights: dict[str, Tensor], tmp_path: Path
) -> None:
    model, _ = read(weights, tmp_path)
    epochs = torch.randn(1, 6, 2, 400)
    mask = everything(epochs)
    mask[..., 1] = False
    assert model(epochs, mask).isfinite().all()
    norm = weights[f"{LAYERS}.3.norm7.bias"]
    assert torch.equal(model.encode(epochs, mask)[0, 0, 16:], norm)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("classifier.bias"), "expected the weight classifier.bias, found none"),
        (lambda w: w.update({"crf.start": torch.ones(3)}), "alone, found also crf.start$"),
        (
            lambda w: w.update({f"{LAYERS}.3.norm8.weight": torch.ones(3)}),
            "alone, found also .*norm8",
        ),
        (lambda w: w.pop("ae.encoder.en_embedding_1.pos_embedding"), "expected the matrix ae.enc"),
        (
            lambda w: w.pop(f"{LAYERS}.3.self_attention.inner_attention.lambda_q1"),
            "expected the vector .*lambda_q1",
        ),
        (lambda w: w[f"{LAYERS}.3.norm7.bias"].fill_(math.nan), "expected finite numbers"),
        (
            lambda w: w.update({"classifier.weight": torch.ones(4, 32)}),
            r"classifier.weight: expected shape \(5, 32\), found \(4, 32\)",
        ),
        (
            lambda w: w.update(
                {"ae.encoder.seq_encoder_global2.pos_embedding": torch.ones(1, 6, 36)}
            ),
            r"expected shape \(18,\), found \(16,\)",
        ),
    ],
)
def test_weights_of_another_net_are_refused_by_name(
    weights: dict[str, Tensor], change: Any, message: str, tmp_path: Path
) -> None:
    change(weights)
    with pytest.raises(WeightsError, match=message):
        read(weights, tmp_path)
