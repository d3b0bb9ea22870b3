"""TensorRT on a GPU: parity, replay, memory, sizes. The contract suite runs on it as well."""

import numpy as np
import pytest

from engines.gpu.buffers import bucket_sizes
from engines.gpu.flavour import PRECISIONS
from engines.gpu.open import open_gpu, open_plans
from engines.gpu.parity_check import BOUNDS
from engines.onnxruntime import OnnxRuntimeEngine
from engines.parity import compare
from engines.select import open_engine
from tests.support.engines import some, step

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]

TICKS = 10_000
MIB = 1 << 20


@pytest.mark.parametrize("unimodal", [False, True])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_parity(shipped, flavour, precision, unimodal, record_property):
    with OnnxRuntimeEngine(shipped, 8) as reference:
        engine, plans = open_plans(shipped, flavour, 8, 1, precision)
        with engine:
            parity = compare(engine, reference, ticks=60, seed=3, unimodal=unimodal)
    record_property("what", f"parity {plans[0].key.flavour} {precision} unimodal={unimodal}")
    record_property("max_abs_difference", parity.max_abs_difference)
    record_property("argmax_agreement", parity.argmax_agreement)
    record_property("n_compared", parity.n_compared)
    bound = BOUNDS[precision]
    assert parity.max_abs_difference <= bound.max_abs_difference
    assert parity.argmax_agreement >= bound.argmax_agreement


def test_auto_engine_passes_its_gate(shipped, flavour, device):
    with open_gpu(shipped, flavour, 3, 1, 1, "fp32") as engine:
        assert device.name in engine.description
        assert "passed the parity check" in engine.why


def test_the_processor_steps_until_it_is_ready(shipped, flavour, device, random):
    kind = {"tensorrt": "tensorrt", "rtx": "tensorrt-rtx"}[flavour]
    with (
        open_engine(shipped, kind, n_rows=3, at_once=True) as engine,
        OnnxRuntimeEngine(shipped, 3) as reference,
    ):
        for tick in range(40):
            if tick == 20:
                assert engine.description == reference.description
                engine._later._thread.join()
                engine.improve()
            epochs = some(random, engine, 3)
            np.testing.assert_allclose(
                step(engine, epochs), step(reference, epochs), rtol=0, atol=1e-4
            )
        assert device.name in engine.description


def test_replayed_graph_gives_what_the_plain_calls_give(shipped, flavour, random):
    engine, _ = open_plans(shipped, flavour, 6, 1, "fp32")
    plain, _ = open_plans(shipped, flavour, 6, 1, "fp32")

    def run_plainly(step, bucket, recorded):
        plain._run_tick(step, bucket, recorded.context)

    plain._replay = run_plainly
    with engine, plain:
        for _ in range(40):
            n = int(random.integers(1, 7))
            rows, valid = random.permutation(6)[:n], random.random((n, 2)) < 0.8
            epochs = some(random, engine, n)
            unimodal = bool(random.random() < 0.5)
            np.testing.assert_array_equal(
                step(engine, epochs, valid, rows, unimodal),
                step(plain, epochs, valid, rows, unimodal),
            )


def test_a_start_takes_what_the_one_before_compiled(shipped, flavour, device, random):
    answers, epochs = [], None
    for _ in range(2):
        engine, plans = open_plans(shipped, flavour, 3, 1, "fp32")
        with engine:
            epochs = some(random, engine, 3) if epochs is None else epochs
            answers.append(step(engine, epochs))
        kept = [plan.beside(device, "cache").exists() for plan in plans]
        assert kept == 2 * [flavour == "rtx"]
    np.testing.assert_allclose(*answers, rtol=0, atol=1e-4)


def test_the_device_holds_what_the_host_says(shipped, flavour, random):
    engine, _ = open_plans(shipped, flavour, 3, 2, "fp32")
    with engine:
        engine.load_context(2, engine.save_context(1))
        for _ in range(40):
            n = int(random.integers(1, 4))
            step(engine, some(random, engine, n), random.random((n, 2)) < 0.7)
        ring = engine._gpu.pin((engine._ring_slots, *shipped.spec.token_shape), np.float32)
        engine._gpu.copy(ring.ctypes.data, engine._addresses["ring"], ring.nbytes)
        engine._gpu.wait()
        held = ring.reshape(engine._context._tokens.shape)
        masked = np.where(engine._context._mask[..., None], held, 0)
        np.testing.assert_array_equal(masked, engine._context._tokens)


def test_ten_thousand_ticks_take_no_more_memory(shipped, flavour, random, record_property):
    engine, _ = open_plans(shipped, flavour, 8, 1, "fp16")
    with engine:
        epochs = [some(random, engine, n) for n in range(1, 9)]
        for each in epochs:
            step(engine, each)
        before = engine._gpu.free_bytes()
        for tick in range(TICKS):
            step(engine, epochs[tick % 8])
        grown = before - engine._gpu.free_bytes()
    record_property("what", f"growth {flavour}")
    record_property("bytes", grown)
    assert grown < MIB


@pytest.mark.parametrize("unimodal", [False, True])
@pytest.mark.parametrize("n_rows", [1, 3, 8, 64, 256, 1024])
def test_subjects(shipped, flavour, random, n_rows, unimodal):
    """Each batch size gives each row what a single row gets."""
    engine, _ = open_plans(shipped, flavour, n_rows, 1, "fp32")
    alone = OnnxRuntimeEngine(shipped, 1)
    with engine, alone:
        for n in bucket_sizes(n_rows):
            for row in {0, n - 1}:
                engine.clear_context(row)
            epochs = some(random, engine, n)
            found = step(engine, epochs, unimodal=unimodal)
            for row in {0, n - 1}:
                alone.clear_context(0)
                expected = step(alone, epochs[row : row + 1], unimodal=unimodal)
                np.testing.assert_allclose(found[row], expected[0], rtol=0, atol=1e-4)


def test_closing_gives_all_memory_back(shipped, flavour):
    engine, _ = open_plans(shipped, flavour, 8, 1, "fp16")
    engine.close()
    watcher, _ = open_plans(shipped, flavour, 1, 1, "fp16")
    with watcher:
        before = watcher._gpu.free_bytes()
        engine, _ = open_plans(shipped, flavour, 64, 1, "fp16")
        assert watcher._gpu.free_bytes() < before
        engine.close()
        assert before - watcher._gpu.free_bytes() < MIB
