"""Validity, caching, attention and configuration of the net; its numbers are in test_golden.py."""

import copy
import math
from typing import Any

import msgspec
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor, nn

from models.errors import SpecError
from models.relative_spec import RelativeSpec
from models.sleepdifformer import net as sleepdifformer
from models.sleepdifformer.net import lambda_init, new_spec, released
from models.spec import Band
from tests.support.bundles import everything, human_spec, random_model

TINY = human_spec()
N, T = TINY.n_context, TINY.n_times
CACHED = 1e-5

torch.manual_seed(0)
MODEL = random_model(TINY, 0)
EPOCHS = torch.randn(2, N, 2, T)

masks = arrays.arrays(bool, (2, N, 2)).map(torch.from_numpy)


@torch.no_grad()
def test_shapes() -> None:
    tokens = MODEL.encode(EPOCHS, everything(EPOCHS))
    assert tokens.shape == (2, N, 16)
    assert [x.shape for x in MODEL.read(tokens, everything(EPOCHS))] == [(2, N, 5)]
    assert MODEL(EPOCHS, everything(EPOCHS)).shape == (2, 1, N, 5)
    assert new_spec().token_shape == (256,)


def test_lambda_init_is_the_papers() -> None:
    found = [layer.dsa.lambda_init for layer in sleepdifformer.build(new_spec()).epoch.layers]
    assert found == [0.8 - 0.6 * math.exp(-0.3 * l) for l in range(4)]  # noqa: E741  the paper's
    assert found[0] == pytest.approx(0.2)
    (one,) = sleepdifformer.build(released(new_spec())).epoch.layers
    assert one.dsa.lambda_init == one.dca.lambda_init == lambda_init(3)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_number_of_parameters() -> None:
    D, L, N, S = 128, 30, 20, 5
    convolutions = sum(
        o * (i * k + 1) + 2 * o for i, o, k in ((1, 64, 49), (64, 128, 7), (128, D, 5))
    )
    embedding = convolutions + L * D + D
    values = 2 * D * D + 4 * 16 + 32  # V and output, λ, RMSNorm
    query_and_key = 2 * D * D
    ffn = D * 512 + 512 + 512 * D + D
    layer = (query_and_key + values) + values + 2 * ffn + 7 * 2 * D
    W = 2 * D
    block = N * W + 3 * W * W + 3 * W + W * W + W + 2 * (W * W + W) + 3 * 2 * W
    absent = 2 * D
    expected = 2 * embedding + 4 * layer + absent + block + (W * W + W) + (W * S + S)
    assert count(sleepdifformer.build(new_spec())) == expected == 2_218_245
    # with Q and K of the cross-attention, which influence nothing, and nothing learnt of absence
    assert expected + 4 * query_and_key - absent == 2_349_061


@torch.no_grad()
@given(mask=masks, slots=st.sets(st.integers(0, N - 1), min_size=1).map(sorted))
@settings(deadline=None, max_examples=20)
def test_cached_tokens_and_slots_give_what_the_whole_window_gives(
    mask: Tensor, slots: list[int]
) -> None:
    whole = MODEL(EPOCHS, mask)[:, 0]
    tokens = torch.stack([MODEL.encode(EPOCHS[:, k], mask[:, k]) for k in range(N)], dim=1)
    (found,) = MODEL.read(tokens, mask, slots=torch.tensor(slots))
    torch.testing.assert_close(found, whole[:, slots], rtol=0, atol=CACHED)


@torch.no_grad()
@given(mask=masks, junk=st.sampled_from([0.0, 1e30, math.nan, math.inf]))
@settings(deadline=None, max_examples=20)
def test_what_is_not_valid_changes_no_bit(mask: Tensor, junk: float) -> None:
    dirty = EPOCHS.clone()
    dirty[~mask] = junk
    assert torch.equal(MODEL(dirty, mask), MODEL(EPOCHS, mask))
    assert MODEL(dirty, mask).isfinite().all()
    for modality, (clean, *_) in MODEL.attend(EPOCHS, mask).within.items():
        assert torch.equal(MODEL.attend(dirty, mask).within[modality][0].weights, clean.weights)


@torch.no_grad()
@given(mask=masks, junk=st.sampled_from([-3.0, 1e30, math.nan]))
@settings(deadline=None, max_examples=20)
def test_token_of_an_epoch_with_nothing_valid_is_read_by_nobody(mask: Tensor, junk: float) -> None:
    tokens = MODEL.encode(EPOCHS, mask)
    dirty = tokens.clone()
    dirty[~mask.any(-1)] = junk
    (clean,), (found,) = MODEL.read(tokens, mask), MODEL.read(dirty, mask)
    assert torch.equal(found, clean)


@torch.no_grad()
@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_modality_is_a_learnt_token_that_nobody_attends_to(lost: int) -> None:
    D, valid = 8, everything(EPOCHS[0])
    valid[:, lost] = False
    tokens = MODEL.encode(EPOCHS[0], valid).view(N, 2, D)
    assert torch.equal(tokens[:, lost], MODEL.epoch.absent[lost].expand(N, D))
    both = MODEL.encode(EPOCHS[0], everything(EPOCHS[0])).view(N, 2, D)
    assert (tokens[:, 1 - lost] - both[:, 1 - lost]).abs().max() > 1e-2
    other = copy.deepcopy(MODEL)
    other.epoch.embedding[TINY.modalities[lost]].token.neg_()  # what would be attended to
    assert torch.equal(other.encode(EPOCHS[0], valid).view(N, 2, D), tokens)
    heard = other.encode(EPOCHS[0], everything(EPOCHS[0])).view(N, 2, D)[:, 1 - lost]
    assert (heard - both[:, 1 - lost]).abs().max() > 1e-2


@torch.no_grad()
def test_masking_one_epoch_is_heard_at_every_other_slot() -> None:
    mask = everything(EPOCHS)
    mask[:, 2] = False
    difference = (MODEL(EPOCHS, mask) - MODEL(EPOCHS, everything(EPOCHS))).abs().amax((0, 1, 3))
    assert (difference > 1e-4).all()


@torch.no_grad()
def test_attention_is_told_while_asked_for() -> None:
    mask = everything(EPOCHS)
    mask[0, 1] = False
    logits = MODEL(EPOCHS, mask)
    maps = MODEL.attend(EPOCHS, mask)
    assert torch.equal(MODEL(EPOCHS, mask), logits)
    assert MODEL.epoch.layers[0].dsa._seen is None
    assert [*maps.within] == ["eeg", "eog"]
    for layers in maps.within.values():
        for layer, (weights, first, second) in zip(MODEL.epoch.layers, layers, strict=True):
            assert weights.shape == (2, N, 2, T // 100 + 1)
            lambda_ = layer.dsa.lambda_()
            for softmax in (first, second):
                torch.testing.assert_close(softmax.sum(-1), torch.ones(2, N, 2))
            torch.testing.assert_close(weights, first - lambda_ * second)
    (over,) = maps.over["mixed"]
    assert over.shape == (2, 2, 1, N, 1, N)
    torch.testing.assert_close(over.sum(-1), torch.ones(2, 2, 1, N, 1))
    assert over[0, ..., 1].max() == 0


@torch.no_grad()
def test_attention_is_of_the_modality_and_epoch_that_it_says() -> None:
    before = MODEL.attend(EPOCHS, everything(EPOCHS)).within
    changed = EPOCHS.clone()
    changed[1, 3, 1] += torch.randn(T)
    after = MODEL.attend(changed, everything(EPOCHS)).within
    first = [
        torch.stack(x[m][0]).flatten(3).sub(torch.stack(y[m][0]).flatten(3)).abs().amax((0, 3))
        for m in ("eeg", "eog")
        for x, y in [(before, after)]
    ]
    moved = torch.stack(first) > 0  # of the first layer, where modalities have not met
    assert moved.nonzero().tolist() == [[1, 1, 3]]


RELATIVE = RelativeSpec(
    source="a test",
    edges_hz=((0.5, 4.0, 30.0), ()),
    mean=((0.0,) * 3, (0.0,) * 2),
    sd=((1.0,) * 3, (1.0,) * 2),
)


@torch.no_grad()
def test_given_levels_embeds_each_row_of_levels_as_a_series_token() -> None:
    spec = sleepdifformer.given_levels(TINY, RELATIVE)
    model = random_model(spec, 1)
    assert spec.n_inputs == 4 * 5  # of now and of three running means
    assert model.epoch.embedding["eeg"].position.shape == (4, TINY.token_shape[0] // 4)
    levels, mask = torch.randn(2, N, 2, 20), torch.rand(2, N, 2) < 0.6
    logits = model(levels, mask)
    levels[~mask] = torch.nan
    assert torch.equal(model(levels, mask), logits)
    assert not any("Conv" in type(m).__name__ for m in model.modules())


def test_training_measures_the_signals_that_are_there_alone() -> None:
    model, mask = random_model(TINY, 0).train(), everything(EPOCHS)
    norm = model.epoch.embedding["eog"].series[1]
    mask[1, :, 1] = False
    found = []
    for epochs, valid in ((EPOCHS, mask), (EPOCHS[:1], mask[:1])):
        norm.reset_running_stats()
        model(epochs, valid)
        found.append(norm.running_var.clone())
    torch.testing.assert_close(found[0], found[1])


def test_every_parameter_is_trained() -> None:
    model, mask = random_model(TINY, 0).train(), everything(EPOCHS)
    mask[0, 0, 0] = mask[1, 2, 1] = False
    model(EPOCHS, mask).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": {"n_head": 4}}, "n_head"),
        ({"architecture": {"layers": 0}}, "layers"),
        ({"architecture": {"n_heads": 3}}, "expected 16 to be a multiple of 12"),
        ({"epoch_s": 2.5}, "expected 250 to be a multiple of 100"),
        ({"token_shape": (2, 16)}, r"expected a token_shape of \(D,\), found \(2, 16\)"),
        ({"pathways": ("mixed", "eeg")}, "two modalities and the pathway mixed, found eeg, eog"),
        (
            {"modalities": ("eeg",), "bands": (Band(0.3, 35.0),)},
            "two modalities and the pathway mixed, found eeg and",
        ),
    ],
)
def test_spec_that_is_not_the_net_s_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        sleepdifformer.build(msgspec.structs.replace(TINY, **changes))
