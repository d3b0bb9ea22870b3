from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file

from models.errors import WeightsError
from models.spec import BUNDLE_FORMAT, SPEC_FILE, WEIGHTS_FILE, BundleManifest
from models.weights import build_model, load_model, load_weights, save_weights
from tests.support.bundles import TINY, mouse_spec, random_model

SPEC = mouse_spec(3, **TINY)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_weights(random_model(SPEC, 1), tmp_path / WEIGHTS_FILE)
    manifest = BundleManifest(format=BUNDLE_FORMAT, name="x", spec=SPEC, files={})
    (tmp_path / SPEC_FILE).write_bytes(msgspec.json.encode(manifest))
    return tmp_path


def test_loaded_net_is_the_saved_one_in_eval_mode(folder: Path) -> None:
    model = load_model(folder)
    assert not model.training
    expected = random_model(SPEC, 1).state_dict()
    assert all(torch.equal(expected[name], x) for name, x in model.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("sequence.pool.bias"), r"sequence.pool.bias.*found no such tensor"),
        (lambda w: w.update(extra=torch.zeros(2)), r"extra: expected no such tensor"),
        (
            lambda w: w.update({"sequence.pool.bias": torch.zeros(3)}),
            r"\(16,\), found shape \(3,\)",
        ),
    ],
)
def test_weights_of_another_net_are_refused(folder: Path, change, message: str) -> None:
    path = folder / WEIGHTS_FILE
    weights = load_file(path)
    change(weights)
    save_file(weights, path)
    with pytest.raises(WeightsError, match=message):
        load_model(folder)


def test_broken_or_missing_files_are_one_clear_error(folder: Path) -> None:
    (folder / WEIGHTS_FILE).write_bytes(b"\x00" * 100)
    with pytest.raises(WeightsError, match="expected weights at"):
        load_weights(build_model(SPEC), folder / WEIGHTS_FILE)
    (folder / WEIGHTS_FILE).unlink()
    with pytest.raises(WeightsError, match="expected weights at"):
        load_model(folder)
    (folder / SPEC_FILE).write_text("{}")
    with pytest.raises(WeightsError, match=r"expected a bundle's spec.json"):
        load_model(folder)
