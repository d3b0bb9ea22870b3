"""Losing an engine in the night: real engines, one of which stops working."""

from itertools import count

import numpy as np
import pytest
import structlog

from engines.errors import EngineError
from engines.failover import FailoverEngine
from engines.onnxruntime import OnnxRuntimeEngine
from tests.support.engines import some, step
from tests.support.fake_gpu import FakeGpu, RefusedError, open_without_gpu

pytest.importorskip("cuda.bindings")

N_ROWS = 3
NAME = "tensorrt 11.4.0 fp32 GPU none driver 595.1"


def lost_at(bundle, tick, hops=1, gpu=None, gives=None):
    """Return a GPU's engine that is lost in some tick, after it has written into its ring.

    `gives`: it goes on with these probabilities instead.
    """
    gpu = gpu or FakeGpu()
    engine = open_without_gpu(bundle, N_ROWS, hops, gpu=gpu)
    ticks = count(1)

    def after():
        if next(ticks) >= tick:
            engine._host["probabilities"][:] = 0 if gives is None else gives
            if gives is None:
                raise RefusedError(999)

    gpu.after = after
    return engine


def spare(bundle, hops=1):
    return OnnxRuntimeEngine(bundle, N_ROWS, hops_per_epoch=hops)


@pytest.mark.parametrize("gives", [None, np.nan], ids=["an error", "memory that was overwritten"])
@pytest.mark.parametrize("hops", [1, 2])
def test_no_epoch_and_no_context_is_lost(bundle, random, gives, hops):
    """With hops and rows at different positions, every answer is that of an engine never lost."""
    with (
        FailoverEngine(lost_at(bundle, 9, hops, gives=gives), spare(bundle, hops)) as engine,
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
        FailoverEngine(lost_at(bundle, 2), spare(bundle)) as engine,
    ):
        for expected in (NAME, "onnxruntime", "onnxruntime"):
            step(engine, some(random, engine, 1))
            assert engine.description.startswith(expected)
        assert engine.why.startswith(f"{NAME} was lost: GPU: cudaStream")
    (entry,) = logs
    assert (entry["event"], entry["log_level"]) == ("engine lost", "error")
    assert entry["now"].startswith("onnxruntime")


def test_arrays_that_do_not_fit_are_no_loss(bundle, random):
    with FailoverEngine(lost_at(bundle, 99), spare(bundle)) as engine:
        with pytest.raises(EngineError, match="epochs: expected"):
            step(engine, some(random, engine, 1)[:, :, :-1])
        assert engine.description == NAME


def test_a_lost_device_is_not_asked_for_anything_more(bundle, random):
    healthy, lost = FakeGpu(), FakeGpu()
    for gpu, tick in ((healthy, 99), (lost, 1)):
        with FailoverEngine(lost_at(bundle, tick, gpu=gpu), spare(bundle)) as engine:
            step(engine, some(random, engine, 1))
    assert "cudaStreamDestroy" in healthy.calls
    assert "cudaStreamDestroy" not in lost.calls


def test_contexts_are_those_of_the_engine_that_runs(bundle, random):
    with FailoverEngine(lost_at(bundle, 3), spare(bundle)) as engine:
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
