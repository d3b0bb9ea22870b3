"""The engine of TensorRT on a device that is none: memory, graphs, errors. See support/fake_gpu."""

import inspect
import re

import numpy as np
import pytest

from engines.errors import EngineError
from engines.gpu.open import open_gpu
from engines.onnxruntime import OnnxRuntimeEngine
from tests.support import fake_gpu
from tests.support.engines import some, step
from tests.support.fake_gpu import DEVICE, RTX_CALLS, TRT_CALLS, FakeGpu, open_without_gpu

pytest.importorskip("cuda.bindings")


@pytest.fixture
def gpu():
    return FakeGpu()


@pytest.mark.parametrize("package", ["tensorrt_lean", "tensorrt_rtx"])
def test_every_call_is_one_that_tensorrt_has(package):
    """By name, and by the number of arguments in its own signature."""
    real, kinds = pytest.importorskip(package), {*TRT_CALLS, *RTX_CALLS}
    for kind in kinds:
        ours = {n for n in vars(getattr(fake_gpu, kind)) if not n.startswith("_")}
        names, of_rtx = {*TRT_CALLS.get(kind, ())}, {*RTX_CALLS.get(kind, ())}
        assert ours - {"dynamic_shapes_kernel_specialization_strategy"} == names | of_rtx
        for name in names | of_rtx if package == "tensorrt_rtx" else names:
            theirs = getattr(getattr(real, kind), name)
            if callable(theirs):
                call = getattr(getattr(fake_gpu, kind), name)
                n = len(inspect.signature(call).parameters)
                signatures = re.findall(rf"{name}\((self: [^\n]*)\) ->", theirs.__doc__)
                counts = {len(re.findall(r"(?:^|, )\w+: ", text)) for text in signatures}
                assert n in counts, (name, signatures)
    assert real.ExecutionContextAllocationStrategy.USER_MANAGED
    if package == "tensorrt_rtx":
        assert real.DynamicShapesKernelSpecializationStrategy.EAGER
        config = real.IRuntimeConfig
        assert hasattr(config, "dynamic_shapes_kernel_specialization_strategy")


def test_a_tick_is_one_launch_of_the_smallest_graph_that_fits(bundle, random, gpu):
    with open_without_gpu(bundle, 6, gpu=gpu) as engine:
        assert [[*each.recorded] for each in engine._steps] == 2 * [[1, 2, 4, 6]]
        before = len(gpu.calls)
        for n in (1, 3, 6):
            step(engine, some(random, engine, n))
        called = gpu.calls[before:]
    assert called.count("cudaGraphLaunch") == 3
    assert called.count("cudaMemcpy2DAsync") == 1 + 2 + 3  # rows at as many slots
    waits = {"cudaStreamQuery", "cudaStreamSynchronize"}
    assert {*called} == {"cudaGraphLaunch", "cudaMemcpy2DAsync"} | waits


def test_each_batch_size_runs_in_its_profile(bundle, gpu):
    with open_without_gpu(bundle, 20, gpu=gpu) as engine:
        for each in engine._steps:
            found = {size: r.context._profile.most for size, r in each.recorded.items()}
            assert found == {1: 1, 2: 16, 4: 16, 8: 16, 16: 16, 20: 64}


def test_all_pathways_are_computed_only_in_ticks_in_which_a_row_wants_them(bundle, random, gpu):
    """And the answers are the processor's, as the two take turns on one ring."""
    with open_without_gpu(bundle, 3, gpu=gpu) as engine, OnnxRuntimeEngine(bundle, 3) as reference:
        usual, of_all = (
            {recorded.graph for recorded in each.recorded.values()} for each in engine._steps
        )
        for _ in range(20):
            epochs, valid = some(random, engine, 3), random.random((3, 2)) < 0.8
            unimodal = random.random(3) < 0.3
            gpu.launched.clear()
            found = step(engine, epochs, valid, unimodal=unimodal)
            expected = step(reference, epochs, valid, unimodal=unimodal)
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
            wanted = ~np.isnan(expected[:, 1:]).all(axis=(1, 2, 3))
            assert {*gpu.launched} <= (of_all if wanted.any() else usual)
            assert len(gpu.launched) == 1


@pytest.mark.parametrize("hops", [1, 2])
def test_what_lies_on_the_device_is_what_the_host_says(bundle, random, gpu, hops):
    with open_without_gpu(bundle, 3, hops, gpu=gpu) as engine:
        engine.load_context(2, engine.save_context(1))
        held = engine._context._tokens
        piece = gpu.piece(engine._addresses["ring"], held.nbytes, on_device=True)
        ring = piece.view("f4").reshape(held.shape)
        for _ in range(12):
            n = int(random.integers(1, 4))
            rows, valid = random.permutation(3)[:n], random.random((n, 2)) < 0.7
            expected, slots = ring.copy(), engine._context.next_slot(rows)
            step(engine, some(random, engine, n), valid, rows)
            expected[rows, slots] = held[rows, slots]
            untouched = ~valid.any(axis=1)  # a row without a valid slot is not run
            expected[rows[untouched], slots[untouched]] = ring[rows[untouched], slots[untouched]]
            np.testing.assert_array_equal(ring, expected)
        np.testing.assert_array_equal(np.where(engine._context._mask[..., None], ring, 0), held)


def test_closing_gives_everything_back(bundle, gpu):
    engine = open_without_gpu(bundle, 3, gpu=gpu)
    assert gpu.pieces
    engine.close()
    engine.close()
    assert not gpu.pieces
    assert not gpu._made


@pytest.mark.parametrize(
    ("function", "code", "sentence"),
    [
        ("cudaMalloc", 2, "cudaErrorMemoryAllocation"),
        ("cudaMallocHost", 2, "cudaErrorMemoryAllocation"),
        ("cudaMemcpyAsync", 1, "cudaErrorInvalidValue"),
        ("cudaStreamSynchronize", 719, "cudaErrorLaunchFailure"),
    ],
)
def test_what_is_refused_while_it_opens_is_said_and_nothing_is_kept(
    bundle, gpu, function, code, sentence
):
    gpu.failing[function] = code
    with pytest.raises(EngineError, match=rf"GPU: {function}: expected success, found {sentence}"):
        open_without_gpu(bundle, 3, gpu=gpu)
    assert not gpu.pieces


def test_more_subjects_than_the_plan_is_for_are_refused_in_tensorrts_words(bundle, gpu, tmp_path):
    with gpu.installed(tmp_path):
        engine, plans = fake_gpu.open_module.open_plans(bundle, "tensorrt", 3, 1, "fp32")
        engine.close()
        with pytest.raises(
            EngineError, match=r"to take ring of shape .*found: ring: \d+ is not in"
        ):
            fake_gpu.TensorRtEngine(bundle.spec, plans, DEVICE, 65)


def test_a_damaged_plan_is_a_sentence(bundle, gpu, tmp_path):
    with gpu.installed(tmp_path):
        engine, plans = fake_gpu.open_module.open_plans(bundle, "tensorrt", 3, 1, "fp32")
        engine.close()
        plans[1].path.write_bytes(b"not a plan")
        with pytest.raises(EngineError, match="expected a plan for this GPU, found: Serialization"):
            fake_gpu.TensorRtEngine(bundle.spec, plans, DEVICE, 3)


@pytest.mark.parametrize("fault", ["launch", "illegal access", "hang"])
def test_where_the_device_fails_the_processor_steps_the_same_epochs(
    bundle, random, gpu, tmp_path, fault
):
    with gpu.installed(tmp_path):
        engine = open_gpu(bundle, "tensorrt", 3, 1, 1, "fp32")
    with engine, OnnxRuntimeEngine(bundle, 3) as reference:
        assert re.search("passed the parity check.*; onnxruntime could go on in its", engine.why)
        for tick in range(8):
            if tick == 4 and fault == "launch":
                gpu.failing["cudaGraphLaunch"] = 719
            if tick == 4 and fault == "illegal access":
                gpu.pieces.pop(engine._active._addresses["ring"])
            gpu.hangs = tick >= 4 and fault == "hang"
            epochs = some(random, engine, 3)
            np.testing.assert_allclose(step(engine, epochs), step(reference, epochs), atol=1e-4)
        assert engine.description.startswith("onnxruntime")


@pytest.mark.parametrize("fault", ["capture", "instantiation"])
def test_where_nothing_can_be_recorded_the_calls_are_made_one_by_one(
    bundle, random, gpu, tmp_path, fault
):
    gpu.refuses_capture = fault == "capture"
    gpu.failing |= {"cudaGraphInstantiate": 2} if fault == "instantiation" else {}
    with gpu.installed(tmp_path):
        engine = open_gpu(bundle, "tensorrt", 3, 1, 1, "fp32")
    reason = {
        "capture": "found: operation not permitted when stream is capturing",
        "instantiation": "cudaGraphInstantiate: expected success, found cudaErrorMemoryAllocation",
    }
    assert "; its calls are made one by one: " in engine.why
    assert reason[fault] in engine.why
    with engine, OnnxRuntimeEngine(bundle, 3) as reference:
        for _ in range(20):
            epochs, valid = some(random, engine, 3), random.random((3, 2)) < 0.8
            found, expected = step(engine, epochs, valid), step(reference, epochs, valid)
            np.testing.assert_allclose(found, expected, atol=1e-4)
    assert "cudaGraphLaunch" not in gpu.calls
    assert not gpu.pieces


def test_closing_waits_for_what_the_device_still_does(bundle, gpu):
    engine = open_without_gpu(bundle, 3, gpu=gpu)
    engine._gpu.launch(engine._steps[0].recorded[2].graph)
    engine.close()
    assert not gpu.pieces


@pytest.mark.parametrize("hops", [1, 1000])
def test_whether_the_processor_could_go_on_in_its_place_is_said(bundle, hops):
    with OnnxRuntimeEngine(bundle, 3, hops_per_epoch=hops) as spare:
        said = fake_gpu.open_module._describe_spare(spare)
    could = "could" if hops == 1 else "could not"
    assert re.fullmatch(
        rf"onnxruntime {could} go on in its place: a step of 3 subjects takes it \d+ ms, "
        rf"and one is due every {1000 // hops} ms",
        said,
    )
