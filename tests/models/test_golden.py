"""The authors' own numbers: weights, an input, its logits; from a checkpoint to every engine.

Logits up to a constant are log probabilities, which is what is compared: a bundle's graphs give
probabilities.
"""

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engines.base import Engine
from engines.bundle import Bundle, open_bundle
from engines.gpu.flavour import version_of
from engines.gpu.network import derive_network
from engines.gpu.plan import build_plan
from engines.gpu.plan_cache import PlanRequest
from engines.onnxruntime import OnnxRuntimeEngine, open_session
from engines.torch import TorchEngine
from models.base import MODELS
from models.sdreamer import net as sdreamer
from models.stages import HUMAN, MOUSE
from models.weights import load_model
from tests.rigs import forked
from tests.support.bundles import everything, mouse_spec
from tests.support.checkpoints import save_as_authors
from tests.support.paths import ROOT

GOLDEN = ROOT.parent / "shared" / "data" / "golden"
ENGINES: list[type[Engine]] = [OnnxRuntimeEngine, TorchEngine]
ATOL = 1e-4
MADE_BY = [
    *(f"models/{model}/{name}.py" for model in MODELS for name in ("net", "authors")),
    *(f"models/{name}.py" for name in ("base", "checkpoint", "graphs", "relative_spec", "spec")),
    "models/training/export.py",
    "tools/import_checkpoint.py",
]

FOUND: dict[str, tuple[str, int, list[str]]] = {
    "sdreamer_hmome_n16": (
        "sDREAMER, the paper's hierarchical net",
        2_035_081,
        [f"ep_moe_transformer.pool.pool_head.0.{kind}" for kind in ("bias", "weight")],
    ),
    "sdreamer_app_n64": ("sDREAMER, the scoring app's net", 2_410_633, []),
    "sleepdifformer_released": (
        "SleepDIFFormer as its released code computes, by the last layer alone",
        1_127_109,
        [],
    ),
}
"""What `hypnod import` is to say of each: the net, its parameters, the weights that it has no use
for."""

pytestmark = pytest.mark.timeout(400)  # the first time, two nets are traced
needs_rtx = pytest.mark.skipif(not version_of("rtx"), reason="tensorrt-rtx is not installed")


class Golden(NamedTuple):
    """A bundle that `hypnod import` made of the reference's weights, and what they give."""

    name: str
    bundle: Bundle
    report: dict[str, Any]
    input: NDArray[np.float32]
    logits: NDArray[np.float32]
    """(B, P, N, S)"""


@pytest.fixture(scope="module", params=[*FOUND])
def golden(request: pytest.FixtureRequest) -> Golden:
    path = GOLDEN / f"{request.param}.npz"
    if not path.exists():
        pytest.skip(f"golden vectors not found at {path}")
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    folder = _import_once(path, arrays)
    names = ("logits", "logits_mixed", "logits_eeg", "logits_emg")
    logits = np.stack([arrays[name] for name in names if name in arrays], axis=1)
    report = json.loads((folder / "report.json").read_text())
    return Golden(request.param, open_bundle(folder / "bundle"), report, arrays["input"], logits)


def _import_once(path: Path, arrays: dict[str, NDArray[Any]]) -> Path:
    """Write a checkpoint and import it; what was made is kept until its sources change."""
    key = hashlib.sha256(path.read_bytes() + torch.__version__.encode())
    for source in MADE_BY:
        key.update((ROOT / source).read_bytes())
    made = ROOT / ".pytest_cache" / "golden" / key.hexdigest()[:16]
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=made.parent) as scratch:
            folder = Path(scratch) / "made"
            folder.mkdir()
            _import(folder, arrays)
            if not made.exists():  # another test process may have been faster
                folder.rename(made)
    return made


def _import(folder: Path, arrays: dict[str, NDArray[Any]]) -> None:
    weights = {
        name.removeprefix("weights/"): torch.from_numpy(array)
        for name, array in arrays.items()
        if name.startswith("weights/")
    }
    checkpoint = folder / "model_best.pth.tar"
    if any(name.startswith("ae.") for name in weights):
        torch.save(weights, checkpoint)  # plain, as SleepDIFFormer's authors do
    else:
        save_as_authors(weights, checkpoint)
    done = forked.run("import", checkpoint, "--out", folder / "bundle", "--json", check=True)
    (folder / "report.json").write_text(done.stdout)


def _stage(engine: Engine, epochs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give an engine one epoch after the other; return its last reading as log probabilities."""
    B, _, M, _ = epochs.shape
    rows, valid = np.arange(B), np.ones((B, M), bool)
    for newest in epochs.swapaxes(0, 1):
        answer = engine.step(np.ascontiguousarray(newest), rows, valid, unimodal=True)
    return np.log(answer)


def _before_newest(tokens: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a ring of all tokens (B, N, …) but for the newest, which are zeros."""
    ring = tokens.copy()
    ring[:, -1] = 0.0
    return ring.reshape(-1, *tokens.shape[2:])


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return torch.from_numpy(logits).log_softmax(-1).numpy()


def test_import_says_what_it_found(golden: Golden) -> None:
    report = golden.report
    found = (report["net"], report["n_parameters"], report["weights_not_used"])
    assert found == FOUND[golden.name]
    assert report["spec"]["n_context"] == golden.input.shape[1]
    assert report["spec"]["stages"] == list(HUMAN if "sleep" in golden.name else MOUSE)
    assert golden.bundle.manifest.provenance["checkpoint sha256"] == golden.report["sha256"]


@torch.no_grad()
def test_net_gives_the_reference_logits(golden: Golden) -> None:
    model, epochs = load_model(golden.bundle.path), torch.from_numpy(golden.input)
    found = model(epochs, everything(epochs))
    np.testing.assert_allclose(found, golden.logits, rtol=0, atol=ATOL)


@pytest.mark.parametrize("kind", ENGINES, ids=lambda kind: kind.name)
def test_engine_step_by_step_gives_the_reference_probabilities(
    golden: Golden, kind: type[Engine]
) -> None:
    found = _stage(kind(golden.bundle, len(golden.input)), golden.input)
    np.testing.assert_allclose(found, _log_softmax(golden.logits), rtol=0, atol=ATOL)


@torch.no_grad()
def test_network_for_a_gpu_gives_the_reference_probabilities(golden: Golden) -> None:
    B, N, M, _ = golden.input.shape
    epochs = torch.from_numpy(golden.input)
    tokens = load_model(golden.bundle.path).encode(epochs, everything(epochs)).numpy()
    slots = np.arange(B * N).reshape(B, N)
    session = open_session(derive_network(golden.bundle, "fp32"), threads=1)
    feed = {
        "epochs": golden.input[:, -1],
        "mask": np.ones((B, N, M), bool),
        "before": slots[:, :-1],
        "ring": _before_newest(tokens),
    }
    (found,) = session.run(["probabilities"], feed)
    np.testing.assert_allclose(np.log(found), _log_softmax(golden.logits), rtol=0, atol=ATOL)


@needs_rtx
@pytest.mark.parametrize("golden", ["sdreamer_app_n64"], indirect=True)
def test_the_apps_network_compiles_for_a_gpu(golden: Golden) -> None:
    network = derive_network(golden.bundle, "fp16")
    n_slots = golden.bundle.spec.n_context
    request = PlanRequest(golden.bundle, "rtx", "fp16", "8.9", n_rows=3, n_slots=n_slots)
    plan, _ = build_plan(network, request.key(network))
    assert len(plan) > 1_000_000


@pytest.mark.parametrize(
    ("n_context", "separate_epochs", "expected"),
    [(16, False, 2_035_081), (64, False, 2_047_369), (64, True, 2_410_633)],
)
def test_size_is_the_authors(n_context: int, separate_epochs: bool, expected: int) -> None:
    model = sdreamer.build(mouse_spec(n_context, separate_epochs=separate_epochs))
    assert sum(p.numel() for p in model.parameters()) == expected
