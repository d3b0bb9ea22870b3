"""A model with one pathway, one token an epoch and other sizes: all follows from its spec."""

import numpy as np
import onnx
import pytest
import torch

from engines.bundle import open_bundle
from engines.gpu.flavour import version_of
from engines.gpu.network import derive_network
from engines.gpu.plan import build_plan
from engines.gpu.plan_cache import PlanRequest
from engines.parity import compare
from models.training.calibration import fold_temperatures
from models.training.evaluate import read_all
from models.training.export import export_bundle
from models.weights import load_model
from tests.support.bundles import human_spec, make_bundle_of
from tests.support.engines import ENGINES, open_kind
from tests.support.fake_gpu import open_without_gpu

SPEC = human_spec()
N, M, T = SPEC.n_context, SPEC.n_modalities, SPEC.n_times


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    made = make_bundle_of(SPEC, tmp_path_factory.mktemp("made"))
    model = load_model(made)
    fold_temperatures(model, {"mixed": 0.5})
    folder = tmp_path_factory.mktemp("one") / "pathway"
    export_bundle(model, SPEC, folder, "one-pathway", {}, like=made)
    return open_bundle(folder)


def test_graph_has_no_branch_and_nothing_of_single_modalities(bundle):
    graph = onnx.load(bundle.step_file, load_external_data=False).graph
    assert "If" not in {node.op_type for node in graph.node}
    assert [value.name for value in graph.input] == ["epochs", "tokens", "mask", "slots"]
    assert [value.name for value in graph.output] == ["mixed", "token"]


@pytest.mark.parametrize("hops", [1, 4])
@pytest.mark.parametrize("kind", ENGINES)
def test_every_engine_gives_what_recomputing_the_window_gives(bundle, random, kind, hops):
    model = load_model(bundle.path)
    epochs = random.standard_normal((17, 2, M, T)).astype(np.float32)
    valid = random.random((17, 2, M)) < 0.6
    valid[3:14, 1] = False  # nothing at all, longer than the window
    answers = []
    with open_kind(bundle, kind, 2, hops) as engine:
        for tick in range(len(epochs)):
            unimodal = tick % 2 == 0  # asks for nothing more here
            answers.append(engine.step(epochs[tick], np.arange(2), valid[tick], unimodal=unimodal))
        shape = (SPEC.ring_length(hops), *SPEC.token_shape)
        assert engine.save_context(0)["tokens"].shape == shape
    for row in range(2):
        for phase in range(hops):  # each has a window of its own
            mine = np.s_[phase::hops, row]
            expected = read_all(model, epochs[mine], valid[mine])
            for k, answer in enumerate(np.stack(answers)[mine]):
                there = valid[mine][max(0, k - N + 1) : k + 1].any()
                assert answer.shape == (1, N, 5)
                wanted = expected[k] if there else np.full_like(answer, np.nan)
                np.testing.assert_allclose(answer, wanted, rtol=0, atol=1e-5)


def test_the_validity_of_the_newest_epoch_reaches_the_encoder(bundle, random):
    epochs = random.standard_normal((1, M, T)).astype(np.float32)
    both, one = np.ones((1, M), bool), np.array([[True, False]])
    for kind in ("onnxruntime", "torch", "fake-gpu"):
        tokens = []
        for valid in (both, one):
            with open_kind(bundle, kind, 1) as engine:
                engine.step(epochs, np.array([0]), valid)
                tokens.append(engine.newest(np.array([0]))["tokens"])
        silent = np.where(one[..., None], epochs, 0)
        model = load_model(bundle.path)
        with torch.no_grad():
            known = model.encode(torch.from_numpy(silent), torch.from_numpy(one)).numpy()
        np.testing.assert_allclose(tokens[1], known, rtol=0, atol=1e-6)
        assert np.abs(tokens[0] - tokens[1]).max() > 1e-2


def test_a_gpu_s_network_in_fp16_agrees_with_the_reference(bundle):
    with (
        open_without_gpu(bundle, 3, precision="fp16") as engine,
        open_kind(bundle, "torch", 3) as reference,
    ):
        parity = compare(engine, reference, ticks=30, seed=1)
    assert parity.n_compared > 200
    assert parity.max_abs_difference < 2e-2


@pytest.mark.skipif(not version_of("rtx"), reason="tensorrt-rtx is not installed")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_compiles_for_a_gpu(bundle, precision):
    network = derive_network(bundle, precision)
    request = PlanRequest(bundle, "rtx", precision, "8.9", n_rows=3, n_slots=SPEC.ring_length(1))
    plan, _ = build_plan(network, request.key(network))
    assert len(plan) > 1000
