"""Masks, caching and configuration of the net; its numbers are in test_golden.py."""

import re
from typing import Any

import msgspec
import pytest
import torch
from torch import nn

from models.errors import SpecError
from models.sdreamer import net as sdreamer
from models.spec import Band, ModelSpec
from models.stages import HUMAN
from tests.support.bundles import everything, mouse_spec

TINY = msgspec.structs.replace(
    mouse_spec(5, 16, n_heads=2, ffn_size=32, head_size=16),
    bands=(Band(0.5, 30.0), Band(10.0, 30.0)),
    sfreq=64.0,
)
VARIANTS: list[dict[str, bool]] = [{}, {"separate_epochs": True}, {"shared_attention": False}]


def variant(**options: bool) -> ModelSpec:
    return msgspec.structs.replace(TINY, architecture=TINY.architecture | options)


@pytest.fixture(params=VARIANTS, ids=lambda options: next(iter(options), "paper"))
def model(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    model = sdreamer.build(variant(**request.param)).eval()
    with torch.no_grad():  # large enough that what attends to what is visible
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


@torch.no_grad()
def test_shapes_of_the_three_pathways(model: nn.Module) -> None:
    epochs = torch.randn(3, 5, 2, 64)
    mask = everything(epochs)
    tokens = model.encode(epochs, mask)
    logits = model.read(tokens, mask)
    assert tokens.shape == (3, 5, 2, 16)
    assert [x.shape for x in logits] == [(3, 5, 3)] * 3
    torch.testing.assert_close(model(epochs, mask), torch.stack(logits, dim=1))
    for pathways in (["emg"], ["eeg", "mixed"]):
        for pathway, found in zip(pathways, model.read(tokens, mask, pathways), strict=True):
            torch.testing.assert_close(found, logits[TINY.pathways.index(pathway)])


@torch.no_grad()
def test_tokens_are_position_free_and_do_not_cross_epochs_or_modalities(model: nn.Module) -> None:
    epochs = torch.randn(2, 5, 2, 64)
    mask = everything(epochs)
    tokens = model.encode(epochs, mask)
    torch.testing.assert_close(model.encode(epochs[1, 3], mask[1, 3]), tokens[1, 3])
    epochs[:, :, 1] = 0.0
    torch.testing.assert_close(model.encode(epochs, mask)[:, :, 0], tokens[:, :, 0])


@torch.no_grad()
def test_tokens_have_length_1_but_in_the_app() -> None:
    epochs = torch.randn(5, 2, 64)
    for options in VARIANTS:
        tokens = sdreamer.build(variant(**options)).eval().encode(epochs, everything(epochs))
        length = tokens.norm(dim=-1)
        assert torch.allclose(length, torch.ones(5, 2)) != ("separate_epochs" in options)


@torch.no_grad()
@pytest.mark.parametrize("separate", [False, True])
def test_training_computes_the_same_tokens_with_less(separate: bool) -> None:
    options = {"separate_epochs": separate, "dropout": 0.0}
    spec = msgspec.structs.replace(TINY, architecture=TINY.architecture | options)
    model, epochs = sdreamer.build(spec), torch.randn(3, 5, 2, 64)
    mask = everything(epochs)
    torch.testing.assert_close(
        model.train().encode(epochs, mask), model.eval().encode(epochs, mask)
    )


def test_unshared_attention_with_equal_weights_is_shared_attention() -> None:
    shared, unshared = (sdreamer.build(variant(shared_attention=x)).eval() for x in (True, False))
    weights = shared.state_dict()
    copies = {
        name: re.sub(r"(blocks\.\d\.(?:norm|attention\.\w+))\.\w+\.(\w+)$", r"\1.\2", name)
        for name in unshared.state_dict()
    }
    assert len(copies) > len(weights) == len(set(copies.values()))
    unshared.load_state_dict({name: weights[source] for name, source in copies.items()})
    epochs, mask = torch.randn(2, 5, 2, 64), torch.rand(2, 5, 2) < 0.8
    torch.testing.assert_close(unshared(epochs, mask), shared(epochs, mask))


@torch.no_grad()
def test_masked_epoch_does_not_matter_even_where_it_is_not_finite(model: nn.Module) -> None:
    epochs, mask = torch.randn(2, 5, 2, 64), torch.ones(2, 5, 2, dtype=torch.bool)
    mask[0, 1] = False
    mask[1, 3, 1] = False
    logits = model(epochs, mask)
    epochs[~mask] = torch.nan
    torch.testing.assert_close(model(epochs, mask), logits, rtol=0, atol=0)
    assert not torch.allclose(
        model(epochs.nan_to_num(1.0), everything(epochs.nan_to_num(1.0))), logits, atol=1e-3
    )


@torch.no_grad()
def test_unimodal_pathway_sees_only_its_modality(model: nn.Module) -> None:
    epochs = torch.randn(1, 5, 2, 64)
    before = model(epochs, everything(epochs))
    epochs[:, :, 1] = torch.randn(1, 5, 64)
    after = model(epochs, everything(epochs))
    torch.testing.assert_close(after[:, 1], before[:, 1])
    assert (after - before)[:, [0, 2]].abs().amax(dim=(0, 2, 3)).min() > 1e-3


@torch.no_grad()
def test_row_with_nothing_valid_is_finite_and_leaves_others_alone(model: nn.Module) -> None:
    epochs, mask = torch.randn(2, 5, 2, 64), torch.ones(2, 5, 2, dtype=torch.bool)
    mask[0] = False
    logits = model(epochs, mask)
    assert logits.isfinite().all()
    torch.testing.assert_close(logits[1], model(epochs[1:], everything(epochs[1:]))[0])


@torch.no_grad()
def test_attention_looks_both_ways(model: nn.Module) -> None:
    epochs = torch.randn(1, 5, 2, 64)
    before = model(epochs, everything(epochs))
    epochs[:, 2] = torch.randn(1, 2, 64)
    assert (model(epochs, everything(epochs)) - before).abs().amax(dim=(0, 1, 3)).min() > 1e-4


@torch.no_grad()
def test_attention_is_told_while_asked_for(model: nn.Module) -> None:
    epochs, mask = torch.randn(2, 5, 2, 64), torch.ones(2, 5, 2, dtype=torch.bool)
    mask[0, 1] = mask[1, 3, 1] = False
    logits = model(epochs, mask)
    maps = model.attend(epochs, mask)
    assert torch.equal(model(epochs, mask), logits)
    for layers in maps.within.values():
        assert [w.weights.shape for w in layers] == [(2, 5, 2, 64 // 16 + 1)] * 2
        for weights, first, second in layers:
            assert second is None
            assert torch.equal(weights, first)
            torch.testing.assert_close(weights.sum(-1), torch.ones(2, 5, 2))
    assert {p: [x.shape for x in layers] for p, layers in maps.over.items()} == {
        "mixed": [(2, 2, 2, 5, 2, 5)] * 3,
        "eeg": [(2, 2, 1, 5, 1, 5)] * 3,
        "emg": [(2, 2, 1, 5, 1, 5)] * 3,
    }
    for over in maps.over["mixed"]:
        torch.testing.assert_close(over.sum((-1, -2)), torch.ones(2, 2, 2, 5))
        assert over[0, ..., 1].max() == over[1, ..., 1, 3].max() == 0
    assert all(x[1, ..., 3].max() == 0 for x in maps.over["emg"])
    assert all(x[1, ..., 3].max() > 0 for x in maps.over["eeg"])


@torch.no_grad()
def test_attention_is_of_the_modality_and_epoch_that_it_says(model: nn.Module) -> None:
    epochs = torch.randn(2, 5, 2, 64)
    before = model.attend(epochs, everything(epochs)).within
    epochs[1, 3, 1] = torch.randn(64)
    after = model.attend(epochs, everything(epochs)).within
    moved = {
        m: (before[m][0].weights - after[m][0].weights).abs().amax((2, 3)).nonzero().tolist()
        for m in before
    }
    assert moved == {"eeg": [], "emg": [[1, 3]]}


def test_everything_about_the_shape_is_configuration() -> None:
    spec = msgspec.structs.replace(
        TINY,
        stages=HUMAN,
        modalities=("eeg", "eog", "emg"),
        pathways=("mixed", "eeg", "eog", "emg"),
        token_shape=(3, 16),
        bands=TINY.bands + TINY.bands[:1],
        sfreq=50.0,
        epoch_s=2.0,
        n_context=3,
        architecture=TINY.architecture | {"patch_size": 20, "sequence_layers": 2},
    )
    epochs = torch.randn(1, 3, 3, 100)
    assert sdreamer.build(spec)(epochs, everything(epochs)).shape == (1, 4, 3, 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": {"n_head": 4}}, "n_head"),
        ({"architecture": {"ffn_size": "big"}}, "int"),
        ({"architecture": {"patch_size": 15}}, "multiple"),
        ({"architecture": {"epoch_layers": 0}}, "epoch_layers"),
        ({"pathways": ("mixed", "eeg")}, "expected the pathways mixed, eeg, emg, found mixed, eeg"),
        ({"token_shape": (16,)}, r"expected a token_shape of \(2, D\), found \(16,\)"),
    ],
)
def test_spec_that_is_not_the_net_s_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        sdreamer.build(msgspec.structs.replace(TINY, **changes))


@pytest.mark.parametrize("options", VARIANTS)
def test_every_parameter_is_trained(options: dict[str, bool]) -> None:
    model = sdreamer.build(variant(**options))
    epochs = torch.randn(2, 5, 2, 64)
    model(epochs, everything(epochs)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
