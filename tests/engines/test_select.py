import re
import subprocess
import sys

import pytest

from engines import select
from engines.errors import EngineError
from engines.select import available_engines, explain_auto, open_engine
from tests.support.gpu import has_driver

STEP_WITHOUT_TRAINING_LIBRARIES = """
import sys
from pathlib import Path
import numpy as np
from engines.bundle import open_bundle
from engines.select import available_engines, open_engine

with open_engine(open_bundle(Path(sys.argv[1])), n_rows=1) as engine:
    engine.warm_up()
    epochs = np.ones((1, 2, 512), np.float32)
    answer = engine.step(epochs, np.array([0]), np.ones((1, 2), bool), unimodal=True)
available_engines()
assert np.isfinite(answer).all()
print(engine.name, *{"torch", "onnx", "onnxscript", "safetensors", "sklearn"} & set(sys.modules))
"""


def test_auto_runs_onnxruntime_and_imports_no_training_library(bundle):
    command = [sys.executable, "-c", STEP_WITHOUT_TRAINING_LIBRARIES, bundle.path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("onnxruntime\n", "")


@pytest.mark.parametrize("kind", ["onnxruntime", "torch"])
def test_engine_by_name(bundle, kind):
    with open_engine(bundle, kind, n_rows=2, hops_per_epoch=3) as engine:
        assert (engine.name, engine.n_rows, engine.hops_per_epoch) == (kind, 2, 3)
        assert engine.spec == bundle.spec


def test_unknown_engine_names_the_known(bundle):
    with pytest.raises(EngineError, match=r"engines tensorrt, .*onnxruntime, torch, found 'cuda'"):
        open_engine(bundle, "cuda", n_rows=1)


@pytest.fixture
def not_installed(monkeypatch):
    entry = select._Entry("for this test", ("no-such-library",), "pip install it", None)
    monkeypatch.setitem(select._ENGINES, "imaginary", entry)


@pytest.mark.usefixtures("not_installed")
def test_engine_without_its_library_says_what_to_install(bundle):
    complaint = r"'imaginary': expected no-such-library .*pip install it.* .*onnxruntime, torch"
    with pytest.raises(EngineError, match=complaint):
        open_engine(bundle, "imaginary", n_rows=1)


@pytest.mark.usefixtures("not_installed")
def test_available_engines_tell_version_or_reason():
    engines = available_engines()
    assert list(engines) == ["tensorrt", "tensorrt-rtx", "onnxruntime", "torch", "imaginary"]
    assert engines["onnxruntime"].startswith("onnxruntime 1.")
    assert engines["imaginary"] == (
        "not available: no-such-library is not installed; pip install it"
    )


without_gpu = pytest.mark.skipif(has_driver(), reason="this computer has an NVIDIA driver")
NO_DRIVER = r"expected an NVIDIA driver \(libcuda\.so\.1\), found none"


@without_gpu
def test_auto_without_a_driver_takes_onnxruntime_and_says_why(bundle):
    pytest.importorskip("tensorrt_rtx")
    with open_engine(bundle, n_rows=1) as engine:
        assert engine.name == "onnxruntime"
        assert re.match(f"there is no GPU to use: {NO_DRIVER}", engine.why)
    assert explain_auto() == f"onnxruntime, because {engine.why}"


@without_gpu
def test_auto_without_tensorrt_says_so(bundle, monkeypatch):
    for kind in ("tensorrt", "tensorrt-rtx"):
        entry = select._Entry("GPU", ("no-such-library",), "pip install it", None)
        monkeypatch.setitem(select._ENGINES, kind, entry)
    with open_engine(bundle, n_rows=1) as engine:
        assert engine.why == "no TensorRT is installed"


@without_gpu
def test_a_gpu_by_name_without_a_driver_is_an_error(bundle):
    pytest.importorskip("tensorrt_rtx")
    with pytest.raises(EngineError, match=NO_DRIVER):
        open_engine(bundle, "tensorrt-rtx", n_rows=1)
    assert re.match(f"not available: {NO_DRIVER}", available_engines()["tensorrt-rtx"])


@without_gpu
def test_nobody_waits_for_a_gpu_that_cannot_be_there(bundle):
    """Who named it is told before anything is staged."""
    pytest.importorskip("tensorrt_rtx")
    with open_engine(bundle, n_rows=1, at_once=True) as engine:
        assert engine.name == "onnxruntime"
        assert re.match(f"there is no GPU to use: {NO_DRIVER}", engine.why)
    with pytest.raises(EngineError, match=NO_DRIVER):
        open_engine(bundle, "tensorrt-rtx", n_rows=1, at_once=True)


@pytest.mark.parametrize("n_refused", [1, 2])
def test_auto_tries_the_other_tensorrt_and_then_the_processor(bundle, monkeypatch, n_refused):
    def refuse(wanted):
        raise EngineError("parity check: expected this, found that")

    def use(wanted):
        return open_engine(bundle, "torch", n_rows=1)

    monkeypatch.setattr(select, "_why_no_gpu", lambda ask: "")
    for i, kind in enumerate(("tensorrt", "tensorrt-rtx")):
        entry = select._Entry("GPU", ("numpy",), "", refuse if i < n_refused else use)
        monkeypatch.setitem(select._ENGINES, kind, entry)
    with open_engine(bundle, n_rows=1) as engine:
        assert engine.name == ("torch" if n_refused == 1 else "onnxruntime")
        if n_refused == 2:
            refused = "cannot be used: parity check: expected this, found that"
            assert engine.why == f"tensorrt {refused}; tensorrt-rtx {refused}"
