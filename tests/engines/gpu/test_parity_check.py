"""The check with the GPU's network on the processor: real rounding, and real mistakes."""

import hashlib

import msgspec
import numpy as np
import onnx
import pytest

from engines.bundle import open_bundle
from engines.errors import EngineError
from engines.gpu.cuda import GpuDevice
from engines.gpu.parity_check import (
    BOUNDS,
    Bound,
    ParityVerdict,
    check_parity,
    describe,
    verdict_path,
)
from engines.gpu.plan import PlanKey, profiles_for
from engines.gpu.plan_cache import Plan, PlanManifest
from engines.onnxruntime import OnnxRuntimeEngine
from tests.support.fake_gpu import FakeGpu, a_little_wrong, open_without_gpu

pytest.importorskip("cuda.bindings")

DEVICE = GpuDevice("GeForce", "8.9", "ab" * 16, 24 << 30, "580.65.06")


def make_plan(folder, precision="fp32", content=b"plan", network="00"):
    key = PlanKey(
        network=network, precision=precision, profiles=profiles_for("rtx", 64), n_slots=5,
        flavour="rtx", version="1.7.1", compute_capability="8.9", driver="580.65.06",
    )  # fmt: skip
    path = folder / f"{key.name}.plan"
    path.write_bytes(content)
    return Plan(path, PlanManifest(key=key, sha256=hashlib.sha256(content).hexdigest()))


def make_plans(folder, precision="fp32", content=b"plan"):
    """Return two, of which one comes after the other in all that is checked."""
    return [make_plan(folder, precision, content, network) for network in ("00", "01")]


def kept_verdict(plan, device=DEVICE):
    return msgspec.json.decode(verdict_path(plan, device).read_bytes(), type=ParityVerdict)


@pytest.fixture
def reference(bundle):
    with OnnxRuntimeEngine(bundle, 3) as engine:
        yield engine


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_network_of_the_gpu_passes(tmp_path, precision):
    plans = make_plans(tmp_path, precision)
    shipped = open_bundle()  # random weights leave many epochs between two stages, for fp16 to turn
    with (
        open_without_gpu(shipped, 3, precision=precision) as engine,
        OnnxRuntimeEngine(shipped, 3) as reference,
    ):
        usual, of_all = verdicts = check_parity(engine, reference, plans, DEVICE)
        assert engine.slots_filled(np.arange(3)).tolist() == [0, 0, 0]
    assert [*usual.passed] == [*of_all.passed] == ["1", "2", "3"]
    for size, alone in usual.passed.items():
        assert 100 < alone.n_compared < of_all.passed[size].n_compared
    found = [each for verdict in verdicts for each in verdict.passed.values()]
    worst = max(each.max_abs_difference for each in found)
    assert worst <= BOUNDS[precision].max_abs_difference
    assert usual.reference == reference.description
    n_compared = sum(each.n_compared for each in found)
    assert describe(verdicts).startswith(f"within {worst:.1g} of onnxruntime")
    assert describe(verdicts).endswith(f" equal stages in {n_compared} estimates")
    if precision == "fp16":
        assert worst > BOUNDS["fp32"].max_abs_difference


def test_what_passed_is_not_examined_again(bundle, reference, tmp_path):
    plans = make_plans(tmp_path)
    gpu = FakeGpu()
    with open_without_gpu(bundle, 3, gpu=gpu) as engine:
        verdicts = check_parity(engine, reference, plans, DEVICE)
        gpu.calls.clear()
        assert check_parity(engine, reference, plans, DEVICE) == verdicts
        assert gpu.calls == []


@pytest.mark.parametrize("change", ["plan", "device", "driver", "bound", "damage"])
def test_whatever_changed_it_is_examined_again(bundle, reference, tmp_path, change):
    plans, device = make_plans(tmp_path), DEVICE
    gpu = FakeGpu()
    with open_without_gpu(bundle, 3, gpu=gpu) as engine:
        _, verdict = check_parity(engine, reference, plans, device)
        gpu.calls.clear()
        if change == "plan":
            plans = make_plans(tmp_path, content=b"built again")
        elif change == "device":
            device = GpuDevice("GeForce", "8.9", "cd" * 16, 24 << 30, "580.65.06")
        elif change == "driver":
            device = GpuDevice("GeForce", "8.9", "ab" * 16, 24 << 30, "590.1")
        elif change == "bound":
            laxer = msgspec.structs.replace(verdict, bound=Bound(1.0, 0.0))
            verdict_path(plans[1], device).write_bytes(msgspec.json.encode(laxer))
        else:
            verdict_path(plans[1], device).write_bytes(b"{}")
        check_parity(engine, reference, plans, device)
        assert gpu.calls
    for plan in plans:
        kept = kept_verdict(plan, device)
        assert kept.plan_sha256 == plan.manifest.sha256
        assert kept.bound == BOUNDS["fp32"]


def wrong_in(pathways):
    """Make the step of so many pathways compute something else."""

    def become(network):
        outputs = onnx.load_from_string(network).graph.output
        (found,) = (value for value in outputs if value.name == "probabilities")
        n_pathways = found.type.tensor_type.shape.dim[1].dim_value
        return a_little_wrong(network) if n_pathways == pathways else network

    return become


@pytest.mark.parametrize("fault", ["the usual step", "all pathways", "forgetful"])
def test_plan_that_computes_something_else_is_refused(bundle, reference, tmp_path, fault):
    """Either plan: what passed before it is no excuse."""
    plans, gpu = make_plans(tmp_path), FakeGpu()
    n_passed = 0
    if fault == "the usual step":
        gpu.network = wrong_in(1)
    elif fault == "all pathways":
        gpu.network, n_passed = wrong_in(3), 1
    complaint = (
        r"parity check: expected probabilities within 0.0001 of onnxruntime .* 99.9 % equal "
        rf"stages, found .*; the plan {plans[n_passed].path} is refused on GeForce"
    )
    with open_without_gpu(bundle, 3, gpu=gpu) as engine:
        gpu.forgets = fault == "forgetful"
        for _ in range(2):  # at every start
            with pytest.raises(EngineError, match=complaint):
                check_parity(engine, reference, plans, DEVICE)
    assert [verdict_path(plan, DEVICE).exists() for plan in plans] == [n_passed > 0, False]


def test_a_verdict_that_cannot_be_kept_is_an_error(bundle, reference, tmp_path):
    """So `auto` goes on with the processor, and says why."""
    plan = make_plan(tmp_path)
    plan.path.unlink()
    tmp_path.joinpath(verdict_path(plan, DEVICE).name).mkdir()
    with (
        open_without_gpu(bundle, 3) as engine,
        pytest.raises(EngineError, match="expected a folder for plans that can be written to"),
    ):
        check_parity(engine, reference, [plan, plan], DEVICE)
    assert [file.name for file in tmp_path.iterdir()] == [verdict_path(plan, DEVICE).name]


def test_a_size_that_computes_something_else_is_found_and_what_passed_before_it_is_kept(
    bundle, reference, tmp_path
):
    """One graph of three is wrong, as one kernel of a plan may be."""
    plans, gpu = make_plans(tmp_path), FakeGpu()
    with open_without_gpu(bundle, 3, gpu=gpu) as engine:
        graphs = engine._steps[1].recorded
        right, graphs[2] = graphs[2], graphs[1]  # leaves the second row as it was
        with pytest.raises(EngineError, match=r"parity check: .* estimates of 2 at once; the plan"):
            check_parity(engine, reference, plans, DEVICE)
        assert [*kept_verdict(plans[0]).passed] == ["1", "2", "3"]
        kept = kept_verdict(plans[1])
        assert [*kept.passed] == ["1"]
        graphs[2] = right
        gpu.calls.clear()
        _, verdict = check_parity(engine, reference, plans, DEVICE)
    assert [*verdict.passed] == ["1", "2", "3"]
    assert verdict.passed["1"] == kept.passed["1"]
    ticks = bundle.spec.n_context + 16
    assert gpu.calls.count("cudaGraphLaunch") == 2 * ticks
