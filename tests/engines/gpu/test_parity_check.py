"""The check with the GPU's network on the processor: real rounding, and real mistakes."""

import hashlib

import msgspec
import numpy as np
import pytest

from engines.bundle import open_bundle
from engines.errors import EngineError
from engines.gpu.cuda import GpuDevice
from engines.gpu.parity_check import BOUNDS, Bound, ParityVerdict, check_parity, verdict_path
from engines.gpu.plan import PlanKey
from engines.gpu.plan_cache import Plan, PlanManifest
from engines.onnxruntime import OnnxRuntimeEngine
from tests.support.fake_gpu import FakeGpu, a_little_wrong, open_without_gpu

pytest.importorskip("cuda.bindings")

DEVICE = GpuDevice("GeForce", "8.9", "ab" * 16, 24 << 30, "580.65.06")


def make_plan(folder, precision="fp32", content=b"plan"):
    key = PlanKey(
        network="00", precision=precision, max_rows=64, max_slots=321, flavour="rtx",
        version="1.7.1", compute_capability="8.9", driver="580.65.06",
    )  # fmt: skip
    path = folder / f"{key.name}.plan"
    path.write_bytes(content)
    return Plan(path, PlanManifest(key=key, sha256=hashlib.sha256(content).hexdigest()))


@pytest.fixture
def reference(bundle):
    with OnnxRuntimeEngine(bundle, 3) as engine:
        yield engine


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_network_of_the_gpu_passes(tmp_path, precision):
    plan = make_plan(tmp_path, precision)
    shipped = open_bundle()  # random weights leave many epochs between two stages, for fp16 to turn
    with (
        open_without_gpu(shipped, 3, precision=precision) as engine,
        OnnxRuntimeEngine(shipped, 3) as reference,
    ):
        verdict = check_parity(engine, reference, plan, DEVICE)
        assert engine.slots_filled(np.arange(3)).tolist() == [0, 0, 0]
    assert [*verdict.passed] == ["1", "2", "3"]
    assert all(each.n_compared > 300 for each in verdict.passed.values())
    worst = max(each.max_abs_difference for each in verdict.passed.values())
    assert worst <= BOUNDS[precision].max_abs_difference
    assert verdict.reference == reference.description
    assert verdict.sentence.startswith(f"within {worst:.1g} of onnxruntime")
    if precision == "fp16":
        assert worst > BOUNDS["fp32"].max_abs_difference


def test_what_passed_is_not_examined_again(bundle, reference, tmp_path):
    plan = make_plan(tmp_path)
    gpu = FakeGpu()
    with open_without_gpu(bundle, 3, gpu=gpu) as engine:
        verdict = check_parity(engine, reference, plan, DEVICE)
        gpu.calls.clear()
        assert check_parity(engine, reference, plan, DEVICE) == verdict
        assert gpu.calls == []


@pytest.mark.parametrize("change", ["plan", "device", "driver", "bound", "damage"])
def test_whatever_changed_it_is_examined_again(bundle, reference, tmp_path, change):
    plan, device = make_plan(tmp_path), DEVICE
    gpu = FakeGpu()
    with open_without_gpu(bundle, 3, gpu=gpu) as engine:
        verdict = check_parity(engine, reference, plan, device)
        gpu.calls.clear()
        if change == "plan":
            plan = make_plan(tmp_path, content=b"built again")
        elif change == "device":
            device = GpuDevice("GeForce", "8.9", "cd" * 16, 24 << 30, "580.65.06")
        elif change == "driver":
            device = GpuDevice("GeForce", "8.9", "ab" * 16, 24 << 30, "590.1")
        elif change == "bound":
            laxer = msgspec.structs.replace(verdict, bound=Bound(1.0, 0.0))
            verdict_path(plan, device).write_bytes(msgspec.json.encode(laxer))
        else:
            verdict_path(plan, device).write_bytes(b"{}")
        check_parity(engine, reference, plan, device)
        assert gpu.calls
    kept = msgspec.json.decode(verdict_path(plan, device).read_bytes(), type=ParityVerdict)
    assert kept.plan_sha256 == plan.manifest.sha256
    assert kept.bound == BOUNDS["fp32"]


@pytest.mark.parametrize("fault", ["wrong", "forgetful"])
def test_plan_that_computes_something_else_is_refused(bundle, reference, tmp_path, fault):
    plan = make_plan(tmp_path)
    complaint = (
        r"parity check: expected probabilities within 0.0001 of onnxruntime .* 99.9 % equal "
        rf"stages, found .*; the plan {plan.path} is refused on GeForce"
    )
    gpu = FakeGpu()
    if fault == "wrong":
        gpu.network = a_little_wrong
    with open_without_gpu(bundle, 3, gpu=gpu) as engine:
        gpu.forgets = fault == "forgetful"
        for _ in range(2):  # at every start
            with pytest.raises(EngineError, match=complaint):
                check_parity(engine, reference, plan, DEVICE)
    assert not verdict_path(plan, DEVICE).exists()


def test_a_verdict_that_cannot_be_kept_is_an_error(bundle, reference, tmp_path):
    """So `auto` goes on with the processor, and says why."""
    plan = make_plan(tmp_path)
    plan.path.unlink()
    tmp_path.joinpath(verdict_path(plan, DEVICE).name).mkdir()
    with (
        open_without_gpu(bundle, 3) as engine,
        pytest.raises(EngineError, match="expected a folder for plans that can be written to"),
    ):
        check_parity(engine, reference, plan, DEVICE)
    assert [file.name for file in tmp_path.iterdir()] == [verdict_path(plan, DEVICE).name]


def test_a_size_that_computes_something_else_is_found_and_what_passed_before_it_is_kept(
    bundle, reference, tmp_path
):
    """One graph of three is wrong, as one kernel of a plan may be."""
    plan, gpu = make_plan(tmp_path), FakeGpu()
    with open_without_gpu(bundle, 3, gpu=gpu) as engine:
        right, graphs = engine._recorded[2], engine._recorded
        engine._recorded[2] = graphs[1]  # leaves the second row as it was
        with pytest.raises(EngineError, match=r"parity check: .* estimates of 2 at once; the plan"):
            check_parity(engine, reference, plan, DEVICE)
        kept = msgspec.json.decode(verdict_path(plan, DEVICE).read_bytes(), type=ParityVerdict)
        assert [*kept.passed] == ["1"]
        engine._recorded[2] = right
        gpu.calls.clear()
        verdict = check_parity(engine, reference, plan, DEVICE)
    assert [*verdict.passed] == ["1", "2", "3"]
    assert verdict.passed["1"] == kept.passed["1"]
    ticks = bundle.spec.n_context + 16
    assert gpu.calls.count("cudaGraphLaunch") == 2 * ticks
