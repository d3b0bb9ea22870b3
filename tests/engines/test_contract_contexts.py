"""What every engine must do with its contexts, and with arrays that do not fit."""

import numpy as np
import pytest

from engines.errors import EngineError
from tests.support.engines import BOTH_MODELS, answer_shape, some, step

pytestmark = BOTH_MODELS


@pytest.mark.parametrize("hops", [1, 2])
def test_saved_context_goes_on_exactly_in_another_row_of_another_engine(open_here, random, hops):
    engine, other = open_here(2, hops), open_here(3, hops)
    for _ in range(7):
        step(engine, some(random, engine, 2), random.random((2, 2)) < 0.8)
    step(engine, some(random, engine, 1), rows=[1])
    saved = engine.save_context(1)
    other.load_context(0, saved)
    for name, array in other.save_context(0).items():
        np.testing.assert_array_equal(array, saved[name])
    for _ in range(9):
        epochs, valid = some(random, engine, 1), random.random((1, 2)) < 0.8
        found = step(other, epochs, valid, rows=[0])
        np.testing.assert_array_equal(found, step(engine, epochs, valid, rows=[1]))


@pytest.mark.parametrize("hops", [1, 2])
def test_a_window_can_be_put_together_from_the_newest_of_every_step(open_here, random, hops):
    engine, other = open_here(2, hops), open_here(2, hops)
    rows = np.array([1, 0])
    steps = []
    n_slots = len(engine.save_context(0)["mask"])
    for _ in range(n_slots + 3):
        step(engine, some(random, engine, 2), random.random((2, 2)) < 0.8, rows=rows)
        steps.append(engine.newest(rows))
    for i, row in enumerate(rows.tolist()):
        context = {
            name: np.stack([newest[name][i] for newest in steps[-n_slots:]]) for name in steps[0]
        }
        other.load_context(row, context)
        for name, array in engine.save_context(row).items():
            np.testing.assert_array_equal(other.save_context(row)[name], array)


def test_loading_puts_a_row_back_and_leaves_the_others(open_here, random):
    engine = open_here(2)
    step(engine, some(random, engine, 2))
    saved, epochs = engine.save_context(0), some(random, engine, 2)
    first = step(engine, epochs)
    engine.load_context(0, saved)
    again = step(engine, epochs)
    np.testing.assert_array_equal(again[0], first[0])
    assert np.abs(again[1] - first[1]).max() > 1e-6


def test_context_of_another_hop_is_refused(open_here):
    with pytest.raises(EngineError, match="context 'tokens': expected"):
        open_here(1, 2).load_context(0, open_here(1, 1).save_context(0))


def test_cleared_row_is_as_new(open_here, random):
    engine, fresh = open_here(2), open_here(2)
    step(engine, some(random, engine, 2))
    engine.clear_context(0)
    assert engine.slots_filled(np.array([0, 1])).tolist() == [0, 1]
    epochs = some(random, engine, 1)
    np.testing.assert_array_equal(step(engine, epochs), step(fresh, epochs))


def test_slots_filled_counts_what_is_valid_in_any_modality(open_here, bundle, random):
    engine, n_context = open_here(2, 2), bundle.spec.n_context
    rows = np.array([1, 0])
    assert engine.slots_filled(rows).tolist() == [0, 0]
    step(engine, some(random, engine, 2), [[True, False], [False, False]])
    assert engine.slots_filled(rows).tolist() == [0, 1]
    step(engine, some(random, engine, 2))
    assert engine.slots_filled(rows).tolist() == [1, 1]  # the first is a hop, not an epoch, ago
    for _ in range(2 * n_context):
        step(engine, some(random, engine, 2))
    assert engine.slots_filled(rows).tolist() == [n_context, n_context]


def test_warm_up_leaves_the_contexts_as_they_are(open_here, random):
    engine = open_here(2)
    step(engine, some(random, engine, 1), rows=[1])
    before = [engine.save_context(row) for row in range(2)]
    engine.warm_up()
    for row in range(2):
        for name, array in engine.save_context(row).items():
            np.testing.assert_array_equal(array, before[row][name])


def test_no_rows_give_no_answers(open_here, bundle, random):
    engine = open_here(1)
    found = step(engine, some(random, engine, 0), unimodal=False)
    assert found.shape == (0, *answer_shape(bundle.spec))


ROWS = np.arange(2)
VALID = np.ones((2, 2), bool)


def not_finite(epochs):
    """Put a number into epochs that is none."""
    epochs[1, 0, 100] = np.nan
    return epochs


@pytest.mark.parametrize(
    ("change", "rows", "valid", "complaint"),
    [
        (
            lambda e: e[:, :, :-1],
            ROWS,
            VALID,
            r"epochs: expected \(2, 2, T\) float32, found \(2, 2",
        ),
        (lambda e: e[:1], ROWS, VALID, r"epochs: expected \(2, 2, T\)"),
        (lambda e: e[:, :1], ROWS, VALID, r"epochs: expected \(2, 2, T\)"),
        (lambda e: e.astype(float), ROWS, VALID, "found .* float64"),
        (None, ROWS, VALID[:1], r"valid: expected \(2, 2\) bool, found \(1, 2\) bool"),
        (None, ROWS, VALID.astype(int), "valid: .* found .* int64"),
        (None, np.array([0, 0]), VALID, r"rows: .* found \[0, 0\]"),
        (None, np.array([0, 3]), VALID, r"rows: expected different .* below 3, found \[0, 3"),
        (None, np.array([-1, 0]), VALID, "rows: "),
        (None, np.array([0.0, 1.0]), VALID, r"rows: expected \(n,\) integers, found .* float64"),
        (None, np.array([[0, 1]]), VALID, r"rows: expected \(n,\) integers"),
        (not_finite, ROWS, VALID, "epochs: expected finite samples where valid"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_and_change_nothing(
    open_here, bundle, change, rows, valid, complaint
):
    engine, n_times = open_here(3), bundle.spec.n_times
    epochs = np.zeros((2, 2, n_times), np.float32)
    with pytest.raises(EngineError, match=complaint.replace("T", str(n_times))):
        engine.step(change(epochs) if change else epochs, rows, valid)
    assert engine.slots_filled(np.arange(3)).tolist() == [0, 0, 0]


def test_describes_library_version_and_device(open_here):
    engine = open_here(1)
    assert engine.description.startswith(engine.name)
    assert "CPU" in engine.description or "GPU" in engine.description
