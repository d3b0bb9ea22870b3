import numpy as np
import pytest

from engines.base import Engine
from engines.errors import EngineError
from engines.host import ContextEngine
from engines.parity import compare
from engines.select import open_engine
from tests.support.bundles import mouse_spec


class Constant(ContextEngine):
    """Says the same of every epoch."""

    name = "constant"
    description = "constant"

    def __init__(self, probabilities, n_rows=2, hops_per_epoch=1):
        super().__init__(mouse_spec(n_context=5), n_rows, hops_per_epoch)
        self.probabilities = np.array(probabilities, np.float32)

    def _read(self, epochs, rows, mask, unimodal):
        spec, n = self.spec, len(epochs)
        answer = np.tile(self.probabilities, (n, len(spec.pathways), spec.n_context, 1))
        return answer, np.zeros((n, *spec.token_shape), np.float32)

    def close(self):
        pass


class NeverBlank(Constant):
    """Also answers where nothing is valid."""

    def step(self, *args, **kwargs):
        return np.nan_to_num(super().step(*args, **kwargs))


WAKE = [0.8, 0.1, 0.1]


def test_equal_engines_differ_by_nothing():
    parity = compare(Constant(WAKE), Constant(WAKE), ticks=20, seed=0)
    assert parity.n_compared > 100
    assert (parity.max_abs_difference, parity.argmax_agreement) == (0, 1)


def test_measures_the_largest_difference_and_the_agreement():
    parity = compare(Constant([0.7, 0.2, 0.1]), Constant(WAKE), ticks=20, seed=0)
    assert parity.max_abs_difference == pytest.approx(0.1)
    assert parity.argmax_agreement == 1
    assert compare(Constant([0.1, 0.8, 0.1]), Constant(WAKE), 20, 0).argmax_agreement == 0


def test_answer_where_there_should_be_none_is_no_parity():
    parity = compare(NeverBlank(WAKE), Constant(WAKE), ticks=60, seed=0)
    assert parity.max_abs_difference == float("inf")


def test_contexts_are_cleared():
    engine: Engine = Constant(WAKE)
    compare(engine, Constant(WAKE), ticks=5, seed=0)
    assert engine.slots_filled(np.arange(2)).tolist() == [0, 0]


def test_context_window_is_compared_too(bundle):
    """An engine that forgets its context gives other probabilities, and parity sees it."""
    with (
        open_engine(bundle, "onnxruntime", n_rows=1) as engine,
        open_engine(bundle, "torch", n_rows=1) as reference,
    ):
        remember = engine._context.append
        engine._context.append = lambda rows, tokens, valid: remember(rows, tokens * 0, valid)
        assert compare(engine, reference, ticks=10, seed=0).max_abs_difference > 1e-3


def test_engines_of_different_sizes_are_refused():
    with pytest.raises(EngineError, match="expected equal n_rows, found 2 and 3"):
        compare(Constant(WAKE, n_rows=3), Constant(WAKE), ticks=1, seed=0)
    with pytest.raises(EngineError, match="expected equal hops_per_epoch, found 1 and 2"):
        compare(Constant(WAKE, hops_per_epoch=2), Constant(WAKE), ticks=1, seed=0)


def test_network_is_not_run_while_nothing_is_valid():
    class MustNotRun(Constant):
        def _read(self, epochs, rows, mask, unimodal):
            raise AssertionError

    epochs = np.zeros((2, 2, 512), np.float32)
    with MustNotRun(WAKE) as engine:
        assert np.isnan(engine.step(epochs, np.arange(2), np.zeros((2, 2), bool))).all()


def test_network_that_gives_nan_is_an_error_and_leaves_the_context_alone():
    engine = Constant([np.nan, 0, 0])
    with pytest.raises(EngineError, match="constant: expected finite probabilities, found NaN"):
        engine.step(np.zeros((1, 2, 512), np.float32), np.array([0]), np.ones((1, 2), bool))
    assert engine.slots_filled(np.array([0])).tolist() == [0]
