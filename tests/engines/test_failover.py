"""Losing an engine in the night: real engines, one of which stops working."""

import numpy as np
import pytest
import structlog

from engines.errors import EngineError
from engines.failover import FailoverEngine
from engines.onnxruntime import OnnxRuntimeEngine
from tests.support.engines import some, step
from tests.support.ring import RingOnProcessor

N_ROWS = 3


class BreaksAt(RingOnProcessor):
    """A GPU that is lost in some tick, after it has written into its ring."""

    def __init__(self, bundle, tick, hops=1):
        super().__init__(bundle, N_ROWS, hops)
        self.tick, self.count, self.closed = tick, 0, False

    def _tick(self, bucket):
        super()._tick(bucket)
        self.count += 1
        if self.count >= self.tick:
            self._host["probabilities"][:] = 0
            raise EngineError("GPU: cudaStreamQuery: expected success, found cudaErrorUnknown")

    def close(self):
        self.closed = True
        super().close()


class GivesNaN(BreaksAt):
    """A GPU whose memory is no longer what was written."""

    def _tick(self, bucket):
        RingOnProcessor._tick(self, bucket)
        self.count += 1
        if self.count >= self.tick:
            self._host["probabilities"][:] = np.nan


def spare(bundle, hops=1):
    return OnnxRuntimeEngine(bundle, N_ROWS, hops_per_epoch=hops)


@pytest.mark.parametrize("kind", [BreaksAt, GivesNaN])
@pytest.mark.parametrize("hops", [1, 2])
def test_no_epoch_and_no_context_is_lost(bundle, random, kind, hops):
    """With hops and rows at different positions, every answer is that of an engine never lost."""
    with (
        FailoverEngine(kind(bundle, 9, hops), spare(bundle, hops)) as engine,
        spare(bundle, hops) as never_lost,
    ):
        for _ in range(24):
            n = int(random.integers(1, N_ROWS + 1))
            rows, valid = random.permutation(N_ROWS)[:n], random.random((n, 2)) < 0.8
            epochs = some(random, engine, n)
            found = step(engine, epochs, valid, rows)
            np.testing.assert_allclose(
                found, step(never_lost, epochs, valid, rows), rtol=0, atol=1e-5
            )
        assert engine.description.startswith("onnxruntime")
        rows = np.arange(N_ROWS)
        np.testing.assert_array_equal(engine.slots_filled(rows), never_lost.slots_filled(rows))
        for name, array in engine.newest(rows).items():
            np.testing.assert_allclose(array, never_lost.newest(rows)[name], rtol=0, atol=1e-6)


def test_it_is_announced_once(bundle, random):
    with (
        structlog.testing.capture_logs() as logs,
        FailoverEngine(BreaksAt(bundle, 2), spare(bundle)) as engine,
    ):
        for expected in ("ring CPU", "onnxruntime", "onnxruntime"):
            step(engine, some(random, engine, 1))
            assert engine.description.startswith(expected)
        assert engine.why.startswith("ring CPU was lost: GPU: cudaStreamQuery: expected success")
    (entry,) = logs
    assert (entry["event"], entry["log_level"]) == ("engine lost", "error")
    assert entry["now"].startswith("onnxruntime")


def test_arrays_that_do_not_fit_are_no_loss(bundle, random):
    with FailoverEngine(BreaksAt(bundle, 99), spare(bundle)) as engine:
        with pytest.raises(EngineError, match="epochs: expected"):
            step(engine, some(random, engine, 1)[:, :, :-1])
        assert engine.description == "ring CPU"


def test_a_lost_device_is_not_asked_for_anything_more(bundle, random):
    healthy, lost = BreaksAt(bundle, 99), BreaksAt(bundle, 1)
    for primary in (healthy, lost):
        with FailoverEngine(primary, spare(bundle)) as engine:
            step(engine, some(random, engine, 1))
    assert (healthy.closed, lost.closed) == (True, False)


def test_contexts_are_those_of_the_engine_that_runs(bundle, random):
    with FailoverEngine(BreaksAt(bundle, 3), spare(bundle)) as engine:
        for _ in range(4):
            step(engine, some(random, engine, 2))
        saved = engine.save_context(0)
        engine.clear_context(0)
        assert engine.slots_filled(np.arange(N_ROWS)).tolist() == [0, 4, 0]
        engine.load_context(2, saved)
        assert engine.slots_filled(np.arange(N_ROWS)).tolist() == [0, 4, 4]


def test_engines_for_different_things_are_refused(bundle):
    with (
        spare(bundle) as other,
        OnnxRuntimeEngine(bundle, 2) as small,
        pytest.raises(EngineError, match="failover: expected equal n_rows, found 2 and 3"),
    ):
        FailoverEngine(small, other)
