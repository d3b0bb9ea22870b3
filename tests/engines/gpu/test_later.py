"""A GPU gets ready beside an engine that stages: real processes, on a device that is none."""

import os
import re
import select as system
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

import hypnod
from engines import select
from engines.bundle import open_bundle
from engines.gpu import later
from engines.onnxruntime import OnnxRuntimeEngine
from engines.select import open_engine
from tests.support.bundles import TINY, make_bundle
from tests.support.engines import some, step
from tests.support.fake_gpu import FakeGpu, open_without_gpu
from tests.support.gpu import has_driver

pytest.importorskip("cuda.bindings")

GPU = "tensorrt 11.4.0 fp32 GPU none driver 595.1"
ROWS = np.arange(3)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return open_bundle(make_bundle(tmp_path_factory.mktemp("bundle"), n_context=5, **TINY))


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """The device of a computer with both TensorRT; plans and markers lie in the test's folder."""
    monkeypatch.setattr(later, "_TRIAL", "tests.rigs.fake_trial")
    monkeypatch.setattr(select, "_version", lambda package: "11.4.0")
    monkeypatch.setattr(select, "load_driver", lambda: None)
    with FakeGpu().installed(tmp_path) as gpu:
        yield gpu


@pytest.fixture
def fault(monkeypatch):
    """Say what happens to the process that tries the GPU: fault(…), see `fake_trial`."""
    return lambda what: monkeypatch.setenv("FAKE_TRIAL", str(what))


@pytest.fixture
def held(fault, tmp_path):
    """A pipe that this process waits at: who opens it for writing knows that it is there."""
    os.mkfifo(tmp_path / "held")
    fault(tmp_path / "held")
    return tmp_path / "held"


def open_at_once(bundle, kind="tensorrt", n_rows=3, **more):
    return open_engine(bundle, kind, n_rows=n_rows, at_once=True, **more)


def wait(engine):
    """Wait until a GPU is ready or refused, and let it take over."""
    engine._later._thread.join()
    engine.improve()


def markers(folder):
    return [*(folder / "plans").glob("*.failed")]


@pytest.mark.parametrize("hops", [1, 2])
def test_from_the_switch_on_estimates_are_those_of_a_gpu_that_ran_from_the_start(
    bundle, random, gpu, held, hops
):
    never = open_without_gpu(bundle, 3, hops)
    with (
        open_at_once(bundle, hops_per_epoch=hops) as engine,
        OnnxRuntimeEngine(bundle, 3, hops_per_epoch=hops) as processor,
        never as from_the_start,
    ):

        def tick():
            n = int(random.integers(1, 4))
            rows, valid = random.permutation(3)[:n], random.random((n, 2)) < 0.8
            epochs = some(random, engine, n)
            return [step(e, epochs, valid, rows) for e in (engine, processor, from_the_start)]

        with held.open("wb"):  # the other process builds
            for _ in range(9):
                engine.improve()
                found, of_processor, _ = tick()
                np.testing.assert_array_equal(found, of_processor)
            assert engine.description == processor.description
            assert engine.why == "until a GPU is ready (tensorrt)"
        wait(engine)
        assert engine.description == GPU
        assert engine.why.startswith("a GPU is there and passed the parity check, within")
        for _ in range(9):
            found, _, of_gpu = tick()
            np.testing.assert_allclose(found, of_gpu, rtol=0, atol=1e-5)
        for _ in range(bundle.spec.ring_length(hops)):  # until all tokens are the GPU's own
            epochs = some(random, engine, 3)
            found, of_gpu = step(engine, epochs), step(from_the_start, epochs)
        np.testing.assert_array_equal(found, of_gpu)
        assert not engine.degraded
    assert not gpu.pieces


@pytest.mark.parametrize("kind", ["tensorrt", "auto"])
def test_a_gpu_that_computes_something_else_is_refused_while_the_processor_goes_on(
    bundle, random, gpu, fault, tmp_path, kind
):
    """Who asked for it by name must see to it; who did not is told."""
    fault("wrong")
    with open_at_once(bundle, kind) as engine, OnnxRuntimeEngine(bundle, 3) as processor:
        wait(engine)
        epochs = some(random, engine, 3)
        np.testing.assert_array_equal(step(engine, epochs), step(processor, epochs))
        reasons = engine.why.split("; tensorrt-rtx cannot")
        assert len(reasons) == (2 if kind == "auto" else 1)
        assert reasons[0].startswith(
            "tensorrt cannot be used: parity check: expected probabilities"
        )
        assert engine.degraded == (kind == "tensorrt")
    assert not markers(tmp_path)


def test_a_driver_that_crashes_is_not_asked_again_until_something_changes(
    bundle, gpu, fault, tmp_path
):
    fault("crash")
    with open_at_once(bundle) as engine:
        wait(engine)
        crashed = engine.why
        assert engine.description.startswith("onnxruntime")
    (marker,) = markers(tmp_path)
    assert "found that it was ended by SIGSEGV; " in crashed
    assert f"; {marker} tells more, and the GPU is tried again when that file is rem" in crashed
    assert "the driver's last words" in marker.read_text()
    fault("")  # it would pass now
    with open_at_once(bundle) as engine:
        wait(engine)
        assert engine.why == crashed
    with open_at_once(bundle, n_rows=2) as engine:
        wait(engine)
        assert engine.description == GPU
    marker.unlink()
    with open_at_once(bundle) as engine:
        wait(engine)
        assert engine.description == GPU
    assert not markers(tmp_path)


def test_a_driver_that_hangs_is_ended_and_not_asked_again(bundle, gpu, held, tmp_path, monkeypatch):
    monkeypatch.setattr(later, "_PATIENCE_S", 0.5)
    with open_at_once(bundle) as engine:
        hanging = engine._later
        wait(engine)
        assert hanging._child.returncode == -signal.SIGKILL
        assert "to answer, found that it did not in 0.5 s; " in engine.why
    assert len(markers(tmp_path)) == 1


def test_who_ends_while_the_plan_is_built_leaves_neither_process_nor_marker(
    bundle, gpu, held, tmp_path
):
    engine = open_at_once(bundle, "auto")
    with held.open("wb") as end:
        engine.close()
        ended = system.poll()
        ended.register(end, 0)
        assert ended.poll()  # nobody is there to read
    assert not markers(tmp_path)
    assert not gpu.pieces


def test_who_ends_before_the_gpu_took_over_gives_it_back(bundle, gpu):
    engine = open_at_once(bundle)
    engine._later._thread.join()
    assert gpu.pieces
    engine.close()
    assert not gpu.pieces


def test_a_process_that_ends_without_an_answer_is_a_sentence(bundle, gpu, tmp_path, monkeypatch):
    monkeypatch.setattr(later, "_TRIAL", "engines.gpu.no_such_module")
    with open_at_once(bundle) as engine:
        wait(engine)
        assert "found that it ended with code 1; it said: " in engine.why
        assert "no_such_module" in engine.why
    assert not markers(tmp_path)


ASK = """
import sys
from pathlib import Path
from engines.bundle import open_bundle
from engines.select import open_engine

with open_engine(open_bundle(Path(sys.argv[1])), n_rows=1, at_once=True) as engine:
    engine._later._thread.join()
    engine.improve()
    print(engine.description, engine.why)
"""


@pytest.mark.skipif(has_driver(), reason="this computer has an NVIDIA driver")
@pytest.mark.parametrize(
    ("init", "reason", "finding"),
    [
        (
            "return 100;",
            r"expected a working GPU, found: cuInit gives 100 \(no device\)",
            "expected a working GPU, found: cuInit gives 100 (no device)",
        ),
        (
            "return *(volatile int *)0;",
            r"expected the process .* ended by SIGSEGV; \S+\.failed",
            "expected a working GPU, found that its driver ends who asks by SIGSEGV",
        ),
    ],
    ids=["finds no device", "crashes"],
)
def test_a_driver_is_asked_by_processes_apart_only(bundle, tmp_path, init, reason, finding):
    """The real thing up to the driver, which is a library of this test."""
    pytest.importorskip("tensorrt_rtx")
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to make a library that crashes as a driver does")
    (tmp_path / "driver.c").write_text(f"int cuInit(unsigned flags) {{ {init} }}")
    library = tmp_path / "libcuda.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, tmp_path / "driver.c"], check=True)
    environ = os.environ | {"LD_LIBRARY_PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}

    def run(*command):
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
        assert done.returncode in (0, 1), done.stderr
        return done.stdout.splitlines()[-1]

    said = run(sys.executable, "-c", ASK, bundle.path)
    assert re.match(rf"onnxruntime .* tensorrt-rtx cannot be used: {reason}", said)
    findings = run(*hypnod.command("doctor", "--json", "--timeout", "0.5"))
    assert f"tensorrt-rtx: not available: {finding}" in findings


@pytest.mark.parametrize("when", ["loads", "takes over"])
def test_a_gpu_that_fails_after_all_leaves_the_processor_at_work(
    bundle, random, gpu, tmp_path, when
):
    if when == "loads":
        gpu.failing["cudaMallocHost"] = 2
    with open_at_once(bundle) as engine, OnnxRuntimeEngine(bundle, 3) as processor:
        epochs = some(random, engine, 3)
        step(engine, epochs), step(processor, epochs)
        engine._later._thread.join()
        if when == "takes over":
            gpu.failing["cudaMemcpyAsync"] = 719
        wait(engine)
        assert "GPU: cudaM" in engine.why
        np.testing.assert_array_equal(step(engine, epochs), step(processor, epochs))
        assert engine.slots_filled(ROWS).tolist() == [2, 2, 2]
    assert not markers(tmp_path)


def test_a_fault_of_our_own_does_not_end_what_stages(bundle, gpu, tmp_path, monkeypatch):
    monkeypatch.setattr(later, "open_plans", lambda *_: {}["plan"])
    with open_at_once(bundle) as engine:
        wait(engine)
        assert engine.why == "a fault in hypnod: KeyError('plan')"
        assert engine.degraded
    assert not markers(tmp_path)
