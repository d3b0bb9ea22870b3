import shutil

import numpy as np
import onnx
import onnxruntime
import pytest

from engines.bundle import open_bundle
from engines.errors import BundleError
from engines.gpu.flavour import PRECISIONS
from engines.gpu.network import derive_network
from models.graphs import ring_step_inputs, ring_step_outputs, steps
from models.spec import ALL_FILE, STEP_FILE

N_SLOTS = 7
N_ROWS = 3
ROUNDING = {"fp32": 1e-6, "fp16": 2e-2}


def open_network(content):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def make_feed(random, spec, n):
    M, N = spec.n_modalities, spec.n_context
    ring = random.standard_normal((N_ROWS * N_SLOTS, *spec.token_shape)).astype(np.float32)
    ring /= np.linalg.norm(ring, axis=-1, keepdims=True)
    return {
        "epochs": random.standard_normal((n, M, spec.n_times)).astype(np.float32),
        "mask": random.random((n, N, M)) < 0.8,
        "before": random.integers(0, len(ring), (n, N - 1)),
        "ring": ring,
    }


def run_step(bundle, feed, pathways):
    """Run the bundle's own step on the same window."""
    session = open_network(bundle.step_file if len(pathways) == 1 else bundle.all_file)
    *found, token = session.run(
        [*pathways, "token"],
        {
            "epochs": feed["epochs"],
            "tokens": feed["ring"][feed["before"]],
            "mask": feed["mask"],
            "slots": np.arange(bundle.spec.n_context),
        },
    )
    return np.stack(found, axis=1), token


@pytest.mark.parametrize("precision", ROUNDING)
@pytest.mark.parametrize(("n", "n_read"), [(1, None), (4, 2)])
@pytest.mark.parametrize("pathways", [("mixed",), ("mixed", "eeg", "emg")])
def test_gives_what_the_step_gives(bundle, random, precision, n, n_read, pathways):
    assert pathways in steps(bundle.spec)
    feed = make_feed(random, bundle.spec, n)
    session = open_network(derive_network(bundle, precision, pathways, n_read))
    outputs = ring_step_outputs(bundle.spec, pathways, 1)
    probabilities, token = session.run([*outputs], feed)
    expected, encoded = run_step(bundle, feed, pathways)
    expected = expected[:, :, -(n_read or bundle.spec.n_context) :]
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=ROUNDING[precision])
    valid = feed["mask"][:, -1, :, None]
    expected_token = np.where(valid, encoded, 0)
    np.testing.assert_allclose(token, expected_token, rtol=0, atol=ROUNDING[precision])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_names_shapes_and_types_are_the_same_in_every_precision(bundle, precision):
    graph = onnx.load_from_string(derive_network(bundle, precision)).graph
    spec = bundle.spec
    inputs, outputs = ring_step_inputs(spec), ring_step_outputs(spec, spec.pathways, 1)
    assert [value.name for value in graph.input] == [*inputs]
    assert [value.name for value in graph.output] == [*outputs]
    floats = {"epochs", "ring", *outputs}
    for value in [*graph.input, *graph.output]:
        tensor = value.type.tensor_type
        assert (tensor.elem_type == onnx.TensorProto.FLOAT) == (value.name in floats)
        assert tensor.shape.dim[0].dim_param == ("R" if value.name == "ring" else "B")


@pytest.mark.parametrize(
    ("precision", "expected"),
    [
        ("fp32", onnx.TensorProto.FLOAT),
        ("tf32", onnx.TensorProto.FLOAT),
        ("fp16", onnx.TensorProto.FLOAT16),
        ("bf16", onnx.TensorProto.BFLOAT16),
    ],
)
def test_every_product_is_computed_in_the_precision(bundle, precision, expected):
    model = onnx.load_from_string(derive_network(bundle, precision))
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    products = [node for node in graph.node if node.op_type in ("Gemm", "MatMul")]
    assert len(products) > 20
    assert {types[node.output[0]] for node in products} == {expected}
    norms = [node for node in graph.node if node.op_type == "LayerNormalization"]
    assert {types[node.output[0]] for node in norms} == {onnx.TensorProto.FLOAT}


def test_network_brings_its_weights(bundle):
    graph = onnx.load_from_string(derive_network(bundle, "fp32")).graph
    assert all(t.data_location == onnx.TensorProto.DEFAULT for t in graph.initializer)


def test_same_bundle_gives_the_same_bytes(bundle):
    assert derive_network(bundle, "fp16") == derive_network(bundle, "fp16")
    assert derive_network(bundle, "fp16") != derive_network(bundle, "fp32")


def test_network_of_one_pathway_is_refused(bundle, tmp_path):
    folder = shutil.copytree(bundle.path, tmp_path / "bundle")
    shutil.copy(folder / STEP_FILE, folder / ALL_FILE)
    opened = open_bundle(bundle.path)
    broken = type(opened)(folder, opened.manifest, opened.hash)
    with pytest.raises(
        BundleError, match="expected the outputs mixed, eeg, emg, token, found mixed, t"
    ):
        derive_network(broken, "fp32")
