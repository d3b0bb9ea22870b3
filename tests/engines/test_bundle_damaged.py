"""Bundles whose hashes are right and whose content is not: refused in one sentence, or not read."""

import hashlib
import shutil
import struct

import msgspec
import numpy as np
import onnx
import pytest

from engines.bundle import open_bundle
from engines.errors import BundleError, EngineError
from engines.gpu.network import derive_network
from engines.onnxruntime import OnnxRuntimeEngine, open_session
from engines.torch import TorchEngine
from models.errors import WeightsError
from models.spec import ALL_FILE, SPEC_FILE, STEP_FILE, WEIGHTS_FILE


@pytest.fixture
def folder(tmp_path):
    """A copy of the shipped bundle, with a file beside it that is none of its business."""
    (tmp_path / "secret").write_bytes(bytes(10_000_000))
    return shutil.copytree(open_bundle().path, tmp_path / "bundle")


def vouch(folder):
    """Let the manifest state the hashes that its files have."""
    manifest = msgspec.json.decode((folder / SPEC_FILE).read_bytes())
    for name in manifest["files"]:
        manifest["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / SPEC_FILE).write_bytes(msgspec.json.encode(manifest))
    return open_bundle(folder)


def refer(folder, key, value):
    """Change where the first weights of the networks are said to lie."""
    for name in (STEP_FILE, ALL_FILE):
        model = onnx.load(folder / name, load_external_data=False)
        tensor = next(t for t in model.graph.initializer if t.external_data)
        next(e for e in tensor.external_data if e.key == key).value = value
        (folder / name).write_bytes(model.SerializeToString())
    return vouch(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("location", "../secret"),
        ("location", "../../../../../../etc/passwd"),
        ("location", "{tmp_path}/secret"),
        ("location", "nothing.bin"),
        ("location", SPEC_FILE),
        ("offset", "99999999999"),
        ("offset", "-4096"),
        ("offset", "first"),
        ("length", "99999999999"),
    ],
)
def test_weights_outside_the_folder_or_the_file_are_refused(folder, tmp_path, capfd, key, value):
    bundle = refer(folder, key, value.format(tmp_path=tmp_path))
    for file, open_network in (
        (bundle.step_file, lambda: OnnxRuntimeEngine(bundle, 1)),
        (bundle.all_file, lambda: open_session(bundle.all_file, 1)),
        (bundle.all_file, lambda: derive_network(bundle, "fp32")),
    ):
        with pytest.raises(BundleError, match="expected a network") as refusal:
            open_network()
        assert str(refusal.value).startswith(str(file))
    assert capfd.readouterr() == ("", "")


def cut(content):
    return content[: len(content) // 2]


def longer_header(content):
    return struct.pack("<Q", 2**62) + content[8:]


def no_text(content):
    return content[:8] + b"\xff" * 50 + content[58:]


@pytest.mark.parametrize("damage", [cut, longer_header, no_text, lambda _: b""])
def test_damaged_weights_are_refused_by_their_hash_and_by_torch(folder, damage):
    weights = folder / WEIGHTS_FILE
    weights.write_bytes(damage(weights.read_bytes()))
    with pytest.raises(BundleError, match="altered or cut short"):
        open_bundle(folder)
    with pytest.raises(WeightsError, match="expected weights at"):
        TorchEngine(vouch(folder), 1)


@pytest.mark.parametrize("damage", [cut, lambda _: b""])
def test_weights_cut_short_are_refused_whatever_the_manifest_says(folder, capfd, damage):
    weights = folder / WEIGHTS_FILE
    weights.write_bytes(damage(weights.read_bytes()))
    bundle = vouch(folder)
    with pytest.raises(BundleError, match="expected a network"):
        OnnxRuntimeEngine(bundle, 1)
    with pytest.raises(BundleError, match="expected a network"):
        derive_network(bundle, "fp32")
    assert capfd.readouterr() == ("", "")


def test_weights_that_are_no_numbers_do_not_get_through_the_warm_up(folder):
    weights = folder / WEIGHTS_FILE
    content = bytearray(weights.read_bytes())
    (header,) = struct.unpack("<Q", content[:8])
    n = (len(content) - 8 - header) // 4
    content[8 + header :] = np.full(n, np.nan, np.float32).tobytes()
    weights.write_bytes(content)
    with OnnxRuntimeEngine(vouch(folder), 1) as engine, pytest.raises(EngineError, match="NaN"):
        engine.warm_up()
