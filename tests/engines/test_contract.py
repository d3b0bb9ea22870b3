"""What every engine must do with every model; a new engine joins tests.support.engines.ENGINES."""

import numpy as np
import pytest
import torch

from engines.bundle import open_bundle
from engines.parity import compare
from models.weights import load_model
from tests.support.bundles import TINY, human_levels, make_bundle, make_bundle_of
from tests.support.engines import BOTH_MODELS, ENGINES, answer_shape, open_kind, some, step

pytestmark = BOTH_MODELS

EXACT = 1e-6
CACHED = 1e-5
REFERENCE = 1e-4


def recompute(model, history, spec, hops):
    """Read the window that ends with the newest of `history` from its raw epochs, with torch."""
    epochs = np.zeros((1, spec.n_context, spec.n_modalities, spec.n_inputs), np.float32)
    mask = np.zeros((1, spec.n_context, spec.n_modalities), bool)
    for slot, (epoch, valid) in enumerate(history[::-1][::hops][: spec.n_context]):
        epochs[0, -1 - slot], mask[0, -1 - slot] = epoch, valid
    with torch.inference_mode():
        logits = model(torch.from_numpy(epochs), torch.from_numpy(mask))
    probabilities = logits.softmax(-1).numpy()[0]
    probabilities[~spec.readable(mask[0].any(axis=0))] = np.nan
    return probabilities


@pytest.mark.parametrize("n_read", [None, 3])
@pytest.mark.parametrize("name", ENGINES)
def test_equals_the_torch_reference(bundle, name, n_read):
    with (
        open_kind(bundle, name, 4, n_read=n_read) as engine,
        open_kind(bundle, "torch", 4, n_read=n_read) as reference,
    ):
        parity = compare(engine, reference, ticks=30, seed=1)
    assert parity.n_compared > 10 * len(bundle.spec.pathways) * (n_read or bundle.spec.n_context)
    assert parity.max_abs_difference < REFERENCE
    assert parity.argmax_agreement == 1


@pytest.fixture(scope="module")
def levels(bundle, tmp_path_factory):
    """A small net of the same model that is given levels in place of samples."""
    folder = tmp_path_factory.mktemp("levels")
    if bundle.spec.model == "sdreamer":
        return open_bundle(make_bundle(folder, 5, levels=True, **TINY))
    return open_bundle(make_bundle_of(human_levels(), folder))


@pytest.mark.parametrize("name", ENGINES)
def test_a_net_of_levels_equals_the_reference_and_recomputing_the_window(levels, random, name):
    with open_kind(levels, name, 4) as engine, open_kind(levels, "torch", 4) as reference:
        parity = compare(engine, reference, ticks=20, seed=1)
    assert parity.n_compared > 50 * len(levels.spec.pathways)
    assert parity.max_abs_difference < REFERENCE
    assert parity.argmax_agreement == 1
    model, history = load_model(levels.path), []
    with open_kind(levels, name, 1, 2) as engine:
        for tick_valid in FLICKER:
            epochs = some(random, engine, 1)
            assert epochs.shape == (1, 2, levels.spec.n_inputs)
            history.append((epochs[0], tick_valid))
            found = step(engine, epochs, tick_valid[None])
            expected = recompute(model, history, levels.spec, 2)
            np.testing.assert_allclose(found[0], expected, rtol=0, atol=CACHED)


WARM_UP = np.ones((12, 2), bool)
GAP = WARM_UP.copy()
GAP[4:10] = False  # longer than the window
GAP[11] = False
NO_EMG = WARM_UP.copy()
NO_EMG[3:, 1] = False
NO_EEG_AT_FIRST = WARM_UP.copy()
NO_EEG_AT_FIRST[:5, 0] = False
FLICKER = np.random.default_rng(0).random((12, 2)) < 0.5


@pytest.mark.parametrize("hops", [1, 4])
@pytest.mark.parametrize(
    "valid",
    [WARM_UP, GAP, NO_EMG, NO_EEG_AT_FIRST, FLICKER],
    ids=["warm-up", "gap", "no emg", "no eeg at first", "flicker"],
)
def test_cached_equals_recomputing_the_window(open_here, bundle, random, valid, hops):
    engine, model, history = open_here(1, hops), load_model(bundle.path), []
    for tick_valid in valid:
        epochs = some(random, engine, 1)
        history.append((epochs[0], tick_valid))
        found = step(engine, epochs, tick_valid[None])
        expected = recompute(model, history, bundle.spec, hops)
        np.testing.assert_allclose(found[0], expected, rtol=0, atol=CACHED)


def test_rows_at_different_positions_each_read_their_own_window(open_here, bundle, random):
    engine, model = open_here(3), load_model(bundle.path)
    histories = [[], [], []]
    for _ in range(14):
        rows = np.flatnonzero(random.random(3) < [0.9, 0.5, 0.2])
        valid = random.random((len(rows), 2)) < 0.8
        epochs = some(random, engine, len(rows))
        found = step(engine, epochs, valid, rows)
        assert found.shape == (len(rows), *answer_shape(bundle.spec))
        for i, row in enumerate(rows):
            histories[row].append((epochs[i], valid[i]))
            expected = recompute(model, histories[row], bundle.spec, 1)
            np.testing.assert_allclose(found[i], expected, rtol=0, atol=CACHED)


@pytest.mark.parametrize("junk", [0.0, 1e30, np.nan, np.inf])
def test_what_an_invalid_epoch_contains_does_not_matter(open_here, random, junk):
    clean, dirty = open_here(2), open_here(2)
    for tick in range(8):
        valid = random.random((2, 2)) < 0.5
        epochs = some(random, clean, 2)
        expected = step(clean, epochs, valid, unimodal=tick % 2 == 0)
        epochs[~valid] = junk
        found = step(dirty, epochs, valid, unimodal=tick % 2 == 0)
        np.testing.assert_array_equal(found, expected)


def test_masked_slot_is_as_if_it_had_never_been(open_here, random):
    outage, fresh = open_here(1), open_here(1)
    step(outage, some(random, outage, 1), [[False, False]])
    for _ in range(3):
        epochs = some(random, outage, 1)
        np.testing.assert_array_equal(step(outage, epochs), step(fresh, epochs))


def test_masked_emg_leaves_the_eeg_pathway_as_it_is(open_here, bundle, random):
    if len(bundle.spec.pathways) == 1:
        pytest.skip("this model reads no modality alone")
    both, eeg_only = open_here(1), open_here(1)
    for _ in range(6):
        epochs = some(random, both, 1)
        with_emg, without = step(both, epochs), step(eeg_only, epochs, [[True, False]])
    np.testing.assert_allclose(with_emg[:, 1], without[:, 1], rtol=0, atol=EXACT)
    assert np.isnan(without[:, 2]).all()
    assert np.abs(with_emg[:, 0] - without[:, 0]).max() > REFERENCE


def test_nothing_valid_gives_nan_and_the_others_their_answer(open_here, random):
    engine, alone = open_here(2), open_here(1)
    epochs = some(random, engine, 2)
    found = step(engine, epochs, [[False, False], [True, True]])
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(found[1:], step(alone, epochs[1:]), rtol=0, atol=EXACT)
    assert np.isnan(step(engine, epochs[:1], [[False, False]])).all()


def test_valid_slots_are_still_read_while_nothing_comes(open_here, bundle, random):
    engine = open_here(1)
    step(engine, some(random, engine, 1))
    for _ in range(bundle.spec.n_context - 1):
        assert np.isfinite(step(engine, some(random, engine, 1), [[False, False]])).all()
    assert np.isnan(step(engine, some(random, engine, 1), [[False, False]])).all()


def test_probabilities_sum_to_one_and_differ_between_slots(open_here, random):
    engine = open_here(1)
    for _ in range(4):
        found = step(engine, some(random, engine, 1))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=EXACT)
    assert np.ptp(found[0, 0], axis=0).max() > REFERENCE


def test_single_modalities_are_read_of_the_rows_that_ask_and_change_no_mixed(open_here, random):
    all_rows, one_row = open_here(3), open_here(3)
    asked = np.array([False, True, False])
    for _ in range(6):
        epochs = some(random, one_row, 3)
        found = step(one_row, epochs, unimodal=asked)
        expected = step(all_rows, epochs, unimodal=True)
        assert np.isnan(found[~asked, 1:]).all()
        expected[~asked, 1:] = np.nan
        np.testing.assert_allclose(found, expected, rtol=0, atol=EXACT)


@pytest.mark.parametrize("n_read", [1, 3])
@pytest.mark.parametrize("kind", ENGINES)
def test_the_newest_slots_alone_are_as_in_the_whole_window(bundle, random, kind, n_read):
    with open_kind(bundle, kind, 2) as whole, open_kind(bundle, kind, 2, n_read=n_read) as few:
        for tick_valid in FLICKER:
            epochs = some(random, whole, 2)
            valid = np.stack([tick_valid, tick_valid[::-1]])
            found = step(few, epochs, valid)
            assert found.shape == (2, *answer_shape(bundle.spec, n_read))
            np.testing.assert_allclose(
                found, step(whole, epochs, valid)[:, :, -n_read:], rtol=0, atol=EXACT
            )


def test_rows_do_not_leak_into_each_other(open_here, random):
    together, alone = open_here(3), [open_here(1) for _ in range(3)]
    for _ in range(8):
        epochs = some(random, together, 3)
        epochs[1] *= 1000
        valid = random.random((3, 2)) < 0.8
        order = random.permutation(3)
        found = step(together, epochs[order], valid[order], order)
        for i, row in enumerate(order):
            single = step(alone[row], epochs[[row]], valid[[row]])
            np.testing.assert_allclose(found[i], single[0], rtol=0, atol=EXACT)


def test_answers_are_the_callers_own(open_here, random):
    engine, other = open_here(2), open_here(2)
    kept, copies = [], []
    for tick in range(5):
        epochs, rows, valid = (
            some(random, engine, 2),
            np.arange(2),
            np.array([[1, 1], [1, 0]], bool),
        )
        given = epochs.copy(), rows.copy(), valid.copy()
        found = engine.step(epochs, rows, valid, unimodal=tick % 2 == 0)
        for now, before in zip((epochs, rows, valid), given, strict=True):
            np.testing.assert_array_equal(now, before)
        np.testing.assert_array_equal(found, other.step(*given, unimodal=tick % 2 == 0))
        epochs.fill(np.nan)  # the engine must not hold on to what it was given
        kept.append(found)
        copies.append(found.copy())
    for found, copy in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(found, copy)
        found.fill(0)  # nor to what it gave
    epochs = some(random, engine, 2)
    np.testing.assert_array_equal(step(engine, epochs), step(other, epochs))
