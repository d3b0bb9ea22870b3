import hashlib
import json
import pickle

import pytest

from engines.bundle import open_bundle
from engines.errors import BundleError
from models.spec import ALL_FILE, SPEC_FILE, STEP_FILE, WEIGHTS_FILE
from models.species import SHIPPED

SPEC = {
    "model": "sdreamer",
    "stages": ["Wake", "NREM", "REM"],
    "species": "mouse",
    "modalities": ["eeg", "emg"],
    "pathways": ["mixed", "eeg", "emg"],
    "bands": [{"highpass_hz": 0.5, "lowpass_hz": 100.0}, {"highpass_hz": 10, "lowpass_hz": 200}],
    "sfreq": 512.0,
    "epoch_s": 1.0,
    "n_context": 16,
    "token_shape": [2, 128],
}
FILES = (STEP_FILE, ALL_FILE, WEIGHTS_FILE)


@pytest.fixture
def bundle(tmp_path):
    (tmp_path / STEP_FILE).write_bytes(b"a network")
    (tmp_path / ALL_FILE).write_bytes(b"a network of more")
    (tmp_path / WEIGHTS_FILE).write_bytes(b"its weights")
    write_manifest(tmp_path)
    return tmp_path


def write_manifest(folder, **changes):
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}
    manifest = {"format": 3, "name": "test", "spec": SPEC, "files": files} | changes
    (folder / SPEC_FILE).write_text(json.dumps(manifest))


def test_opens_and_knows_its_hash(bundle):
    opened = open_bundle(bundle)
    assert opened.spec.n_context == 16
    assert opened.manifest.name == "test"
    assert opened.step_file.read_bytes() == b"a network"
    assert opened.all_file.read_bytes() == b"a network of more"
    assert opened.hash == hashlib.sha256((bundle / SPEC_FILE).read_bytes()).hexdigest()


def test_hash_stands_for_the_weights(bundle):
    before = open_bundle(bundle).hash
    (bundle / WEIGHTS_FILE).write_bytes(b"other weights")
    write_manifest(bundle)
    assert open_bundle(bundle).hash != before


@pytest.mark.parametrize("name", FILES)
def test_altered_byte(bundle, name):
    content = bytearray((bundle / name).read_bytes())
    content[-1] ^= 1
    (bundle / name).write_bytes(content)
    with pytest.raises(BundleError, match=rf"{name}: expected SHA-256 \w{{12}}…, found"):
        open_bundle(bundle)


@pytest.mark.parametrize("name", FILES)
def test_missing_file(bundle, name):
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=f"expected the file {name}, found none"):
        open_bundle(bundle)


@pytest.mark.parametrize("name", FILES)
def test_file_without_a_hash(bundle, name):
    write_manifest(bundle, files={name: "0" * 64})
    with pytest.raises(BundleError, match=r"expected a hash of .*, found none"):
        open_bundle(bundle)


def test_file_outside_of_the_folder(bundle):
    files = json.loads((bundle / SPEC_FILE).read_text())["files"]
    write_manifest(bundle, files=files | {"../secret": "0" * 64})
    with pytest.raises(BundleError, match=r"expected the file \.\./secret, found none"):
        open_bundle(bundle)


def test_unknown_file(bundle):
    (bundle / "weights.pkl").write_bytes(pickle.dumps({}))
    with pytest.raises(BundleError, match=r"only the files of its manifest, found weights\.pkl"):
        open_bundle(bundle)


def test_folder_in_place_of_a_file(bundle):
    (bundle / STEP_FILE).unlink()
    (bundle / STEP_FILE).mkdir()
    with pytest.raises(BundleError, match="expected a readable file, found: Is a directory"):
        open_bundle(bundle)


def test_no_bundle(tmp_path):
    with pytest.raises(BundleError, match=r"expected a bundle .* found none"):
        open_bundle(tmp_path / "nowhere")
    with pytest.raises(BundleError, match=r"spec\.json: expected a readable file, found: No such"):
        open_bundle(tmp_path)


@pytest.mark.parametrize("other", [2, 4])
def test_another_format_is_named_although_its_fields_are_unknown(bundle, other):
    (bundle / SPEC_FILE).write_text(f'{{"format": {other}, "tensors": []}}')
    with pytest.raises(BundleError, match=f"expected bundle format 3, found {other}: make it anew"):
        open_bundle(bundle)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"format": 3}',
        b'{"format": "3"}',
        b"\xff\xfe",
        pickle.dumps({"format": 3}),
        json.dumps({"format": 3, "name": "a", "spec": SPEC | {"sfreq": -1}, "files": {}}).encode(),
        json.dumps({"format": 3, "name": "a", "spec": SPEC, "files": {}, "more": 1}).encode(),
    ],
)
def test_manifest_that_is_none(bundle, content):
    (bundle / SPEC_FILE).write_bytes(content)
    with pytest.raises(BundleError, match=r"spec\.json: expected a bundle manifest, found: "):
        open_bundle(bundle)


def test_a_bundle_of_another_species_than_asked_for_is_refused(bundle):
    assert open_bundle(bundle, "mouse").spec.species == "mouse"
    with pytest.raises(BundleError, match="expected a bundle of the species human, found one of"):
        open_bundle(bundle, "human")


def test_a_species_that_no_bundle_is_shipped_for_is_said(monkeypatch):
    monkeypatch.setitem(SHIPPED, "human", "nowhere")
    with pytest.raises(BundleError, match="expected the bundle nowhere for the species human to"):
        open_bundle(species="human")
    with pytest.raises(BundleError, match="mouse or human, found 'rat': name its bundle"):
        open_bundle(species="rat")
