import os
import shutil
import subprocess
import sys

import msgspec
import numpy as np
import onnx
import pytest

from engines.bundle import Bundle
from engines.errors import BundleError
from engines.onnxruntime import _PER_CALL, OnnxRuntimeEngine
from engines.parity import random_epochs
from models.spec import STEP_FILE, WEIGHTS_FILE
from tests.support.paths import ROOT


@pytest.fixture
def altered(bundle, tmp_path):
    """Return the bundle with its spec or its step.onnx changed, as if its hashes fitted."""

    def alter(content=None, **spec_changes):
        folder = shutil.copytree(bundle.path, tmp_path / "altered")
        if content is not None:
            (folder / STEP_FILE).write_bytes(content)
        spec = msgspec.structs.replace(bundle.spec, **spec_changes)
        return Bundle(folder, msgspec.structs.replace(bundle.manifest, spec=spec), bundle.hash)

    return alter


def network(*inputs):
    """Return the bytes of a network that gives its first input back."""
    values = [onnx.helper.make_tensor_value_info(name, 1, ["B", 2, 512]) for name in inputs]
    output = onnx.helper.make_tensor_value_info("mixed", 1, ["B", 2, 512])
    node = onnx.helper.make_node("Identity", [inputs[0]], ["mixed"])
    graph = onnx.helper.make_graph([node], "identity", values, [output])
    opset = onnx.helper.make_opsetid("", 20)
    return onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10).SerializeToString()


def test_runs_on_the_processor_with_threads_that_do_not_spin(bundle):
    with OnnxRuntimeEngine(bundle, n_rows=1, threads=2) as engine:
        assert engine._step.get_providers() == ["CPUExecutionProvider"]
        options = engine._step.get_session_options()
        assert options.intra_op_num_threads == 2
        assert options.inter_op_num_threads == 1
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
        assert engine.description.endswith("CPU 2 threads")


@pytest.mark.parametrize("content", [b"", b"no network", b"\x00" * 1000])
def test_step_that_is_no_network(altered, content):
    with pytest.raises(BundleError, match=r"step\.onnx: expected a network"):
        OnnxRuntimeEngine(altered(content), n_rows=1)


def test_step_without_its_weights(altered):
    bundle = altered()
    (bundle.path / WEIGHTS_FILE).unlink()
    with pytest.raises(BundleError, match=r"step\.onnx: expected a network for ONNX Runtime"):
        OnnxRuntimeEngine(bundle, n_rows=1)


def test_network_with_other_inputs(altered):
    complaint = "expected the inputs epochs, tokens, mask, slots, found signal"
    with pytest.raises(BundleError, match=complaint):
        OnnxRuntimeEngine(altered(network("signal")), n_rows=1)


def test_network_with_other_outputs(altered):
    content = network("epochs", "tokens", "mask", "slots")
    with pytest.raises(BundleError, match="expected the outputs mixed, token, found mixed"):
        OnnxRuntimeEngine(altered(content), n_rows=1)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            {"sfreq": 256.0},
            r"expected epochs \(B, 2, 256\) as in its spec, found \['\w+', 2, 512\]",
        ),
        ({"n_context": 5}, r"expected tokens \(B, 4, 2, 128\)"),
        ({"token_shape": (2, 64)}, r"expected tokens \(B, 15, 2, 64\)"),
    ],
)
def test_network_of_another_spec(altered, change, complaint):
    with pytest.raises(BundleError, match=complaint):
        OnnxRuntimeEngine(altered(**change), n_rows=1)


def test_nothing_is_reported_to_anyone(tmp_path):
    """ONNX Runtime keeps its telemetry in the user's cache before it sends it."""
    environ = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    environ.pop("ORT_DISABLE_TELEMETRY", None)
    code = "import engines.onnxruntime"
    subprocess.run([sys.executable, "-c", code], check=True, env=environ, cwd=ROOT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("some", [0.0, 0.5, 1.0])
def test_more_subjects_than_fit_one_call_are_each_answered(bundle, random, some):
    n = 2 * _PER_CALL + 3
    rows, valid = random.permutation(n), random.random((n, 2)) < 0.8
    unimodal = random.random(n) < some
    with OnnxRuntimeEngine(bundle, n) as together, OnnxRuntimeEngine(bundle, n) as alone:
        for _ in range(2):
            epochs = random_epochs(random, together, n)
            found = together.step(epochs, rows, valid, unimodal=unimodal)
            for k in range(n):
                one = slice(k, k + 1)
                expected = alone.step(epochs[one], rows[one], valid[one], unimodal=unimodal[k])
                np.testing.assert_allclose(found[one], expected, rtol=0, atol=1e-5)
        newest = (engine.newest(rows)["tokens"] for engine in (together, alone))
        np.testing.assert_allclose(*newest, rtol=0, atol=1e-5)
