"""What is taken out of a decision, and what that is said to have counted for."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.stager import Estimate
from engines.errors import EngineError
from models.signal.relative import RELATIVE_FILES, relative_of
from tests.support.bundles import TINY, human_levels, human_spec, mouse_spec, random_model
from tools.explain.computing import columns_of, piece_names, without_pieces
from tools.explain.decision import Decision
from tools.explain.what_if import WhatIf

SPECS = {
    "mouse samples": mouse_spec(5, patch_size=64, **TINY),
    "people samples": human_spec(),
    "people levels": human_levels(),
}


def decision_of(net, seed=0, mask=None):
    """Return a decision on noise that the net itself makes, and the window as tensors."""
    spec, rng = net.spec, np.random.default_rng(seed)
    N, M = spec.n_context, spec.n_modalities
    epochs = rng.standard_normal((N, M, spec.n_inputs)).astype(np.float32)
    mask = np.ones((N, M), bool) if mask is None else mask
    epochs[~mask] = 0
    with torch.no_grad():
        logits = net(torch.from_numpy(epochs)[None], torch.from_numpy(mask)[None])
    evidence = logits[0, 0, -2].softmax(-1).numpy()
    estimate = Estimate(
        subject="m1",
        stream="cage",
        kind="final",
        hop=9,
        onset=9.0,
        stage=spec.stages[int(evidence.argmax())],
        probabilities=evidence,
        evidence=evidence,
        pathway="mixed",
        validity=dict.fromkeys(spec.modalities, "ok"),
        reason=None,
        slots_filled=N,
        arrived=None,
    )
    return Decision(
        estimate=estimate,
        slot=N - 2,
        epochs=epochs,
        mask=mask,
        microvolts=np.zeros((N, M, spec.n_times), np.float32),
        onsets=np.arange(N, dtype=float),
        stages=(estimate.stage,) * N,
    )


def odds(net, decision, epochs, mask):
    """Return the log-odds of the decided stage by the whole net, without any cached token."""
    with torch.no_grad():
        logits = net(torch.from_numpy(epochs)[None], torch.from_numpy(mask)[None])
    p = logits[0, 0, decision.slot].softmax(-1)[net.spec.stages.index(decision.estimate.stage)]
    return float(torch.logit(p.double()))


@pytest.mark.parametrize("which", SPECS)
def test_support_is_what_the_whole_net_loses(which):
    net = random_model(SPECS[which], seed=1)
    decision = decision_of(net)
    what_if = WhatIf(decision, net)
    what_if.check()
    whole = odds(net, decision, decision.epochs, decision.mask)
    slots = what_if.without_slots()
    for i in range(net.spec.n_context):
        mask = decision.mask.copy()
        mask[i] = False
        lost = whole - odds(net, decision, decision.epochs, mask)
        assert slots[i] == pytest.approx(lost, abs=1e-4)
    for m, modality in enumerate(net.spec.modalities):
        mask = decision.mask.copy()
        mask[:, m] = False
        lost = whole - odds(net, decision, decision.epochs, mask)
        assert what_if.without_modality()[modality] == pytest.approx(lost, abs=1e-4)
    silent = np.zeros_like(decision.epochs[decision.slot])
    epochs = decision.epochs.copy()
    epochs[decision.slot] = silent
    lost = whole - odds(net, decision, epochs, decision.mask)
    assert what_if.without(silent[None])[0] == pytest.approx(lost, abs=1e-4)


def test_a_net_that_says_something_else_explains_nothing():
    spec = SPECS["people samples"]
    decision = decision_of(random_model(spec, seed=1))
    with pytest.raises(EngineError, match="weights to give the engine's evidence"):
        WhatIf(decision, random_model(spec, seed=2)).check()


def test_a_masked_slot_counts_for_nothing():
    net = random_model(SPECS["people samples"], seed=1)
    mask = np.ones((net.spec.n_context, 2), bool)
    mask[:2] = False
    assert WhatIf(decision_of(net, mask=mask), net).without_slots()[:2].tolist() == [0, 0]


@settings(max_examples=30)
@given(which=st.sampled_from([*SPECS]), modality=st.sampled_from([0, 1]), data=st.data())
def test_a_piece_is_gone_and_nothing_else_far_from_it(which, modality, data):
    spec = SPECS[which]
    n = 4 if "people" in which else 8
    i = data.draw(st.integers(0, n - 1))
    epoch = np.ones((2, spec.n_inputs), np.float32)
    out = without_pieces(epoch, modality, spec, n)
    assert out.shape == (n, 2, spec.n_inputs)
    size, near = spec.n_inputs // n, 0 if "levels" in which else round(0.1 * spec.sfreq)
    start, stop = i * size, (i + 1) * size
    assert not out[i, modality, start:stop].any()
    assert (out[i, 1 - modality] == 1).all()
    assert (out[i, modality, : max(0, start - near)] == 1).all()
    assert (out[i, modality, stop + near :] == 1).all()
    assert (np.abs(np.diff(out[i, modality])) < 0.2).all() or not near  # no edge is put in


def test_every_level_is_of_one_feature_and_no_other():
    for relative in (*map(relative_of, RELATIVE_FILES), human_levels().relative):
        for m, n in enumerate(relative.n_levels):
            columns = [c for *_, found in columns_of(relative, m) for c in found]
            assert sorted(columns) == list(range(n))


def test_pieces_of_levels_are_parts_and_then_running_means():
    spec = human_levels()
    assert [name for name, *_ in piece_names(spec, 4)] == [
        "0 to 4 s",
        *(f"mean of the last {s} s" for s in (4, 16, 64)),
    ]
    assert piece_names(human_spec(), 4)[1] == ("1 to 2 s", 1.0, 2.0)
