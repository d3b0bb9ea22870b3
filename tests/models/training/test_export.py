from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from models.graphs import step_inputs, step_outputs
from models.spec import ALL_FILE, SPEC_FILE, STEP_FILE, WEIGHTS_FILE, BundleManifest, ModelSpec
from models.training.export import export_bundle
from models.weights import load_model
from tests.support.bundles import (
    TINY,
    human_spec,
    make_bundle,
    make_bundle_of,
    mouse_spec,
    random_model,
    separate_epochs_spec,
)

N, M, T = 16, 2, 512
SPEC = mouse_spec(**TINY)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle"), **TINY)


@pytest.fixture(scope="module")
def model(bundle: Path) -> nn.Module:
    return load_model(bundle)


def _run(path: Path, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run(None, feeds)


def _inputs(batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random epochs (B, N, M, T) and a mask (B, N, M) with a row of nothing."""
    generator = torch.Generator().manual_seed(batch)
    epochs = torch.randn(batch, N, M, T, generator=generator)
    mask = torch.rand(batch, N, M, generator=generator) < 0.8
    mask[-1] = batch == 1
    return epochs, mask


@pytest.mark.parametrize("batch", [1, 3, 64])
@pytest.mark.parametrize("name", [STEP_FILE, ALL_FILE])
@pytest.mark.parametrize("slots", [range(N), (N - 1,), (3, 11, N - 1)])
@torch.no_grad()
def test_step_graph_equals_torch_on_the_whole_window(
    bundle: Path, model: nn.Module, batch: int, name: str, slots: Sequence[int]
) -> None:
    epochs, mask = _inputs(batch)
    tokens = model.encode(epochs, mask)
    feeds = (epochs[:, -1], tokens[:, :-1], mask, torch.tensor(slots))
    *pathways, token = _run(
        bundle / name,
        {name: x.numpy() for name, x in zip(step_inputs(SPEC), feeds, strict=True)},
    )
    expected = model(epochs, mask).softmax(-1).numpy()[:, :, [*slots]]
    n_pathways = 1 if name == STEP_FILE else len(SPEC.pathways)
    np.testing.assert_allclose(np.stack(pathways, 1), expected[:, :n_pathways], atol=1e-5)
    np.testing.assert_allclose(token, tokens[:, -1], atol=1e-5)


def test_single_pathways_are_in_one_step_and_not_in_the_other(bundle: Path) -> None:
    for file, pathways in ((STEP_FILE, SPEC.pathways[:1]), (ALL_FILE, SPEC.pathways)):
        graph = onnx.load(bundle / file, load_external_data=False).graph
        names = {*(name for node in graph.node for name in node.input)}
        names |= {tensor.name for tensor in graph.initializer}
        heads = {p for p in SPEC.pathways if any(f"heads.{p}" in name for name in names)}
        assert heads == {*pathways}
        assert [x.name for x in graph.output] == [*step_outputs(SPEC, pathways, N)]


def test_graphs_hold_no_copy_of_the_weights(bundle: Path) -> None:
    weights = (bundle / WEIGHTS_FILE).stat().st_size
    assert sum(p.numel() for p in random_model(SPEC, 0).parameters()) * 4 < weights < 200_000
    for name in (STEP_FILE, ALL_FILE):
        graph = onnx.load(bundle / name, load_external_data=False).graph
        assert sum(len(tensor.raw_data) for tensor in graph.initializer) < 20_000
        assert b"/site-packages/" not in (bundle / name).read_bytes()


def test_manifest_names_every_file(bundle: Path) -> None:
    manifest = msgspec.json.decode((bundle / SPEC_FILE).read_bytes(), type=BundleManifest)
    assert manifest.spec == SPEC
    assert {*manifest.files, SPEC_FILE} == {path.name for path in bundle.iterdir()}


def test_export_by_a_likeness_gives_the_same_and_replaces_a_bundle_whole(
    bundle: Path, model: nn.Module, tmp_path: Path
) -> None:
    out = tmp_path / "again"
    out.mkdir()
    (out / "leftover").touch()
    export_bundle(model, SPEC, out, "again", {}, like=bundle)
    files = {STEP_FILE, ALL_FILE, WEIGHTS_FILE}
    assert {path.name for path in out.iterdir()} == files | {SPEC_FILE}
    for name in files:
        assert (out / name).read_bytes() == (bundle / name).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again"]


@pytest.mark.parametrize("spec", [human_spec(), separate_epochs_spec()])
def test_graphs_follow_from_the_spec_alone(spec: ModelSpec, tmp_path: Path) -> None:
    made = make_bundle_of(spec, tmp_path)
    export_bundle(random_model(spec, seed=1), spec, tmp_path / "other", "other", {})
    for graph in (STEP_FILE, ALL_FILE)[: len(spec.pathways)]:
        assert (tmp_path / "other" / graph).read_bytes() == (made / graph).read_bytes()
    assert (tmp_path / "other" / WEIGHTS_FILE).read_bytes() != (made / WEIGHTS_FILE).read_bytes()
