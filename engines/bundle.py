"""Open a bundle: a folder of networks, their weights and a spec.json that vouches for them.

Nothing in a bundle is unpickled or executed by Python, and nothing is read before its SHA-256
was found to be the one that spec.json states.
"""

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import msgspec

from engines.errors import BundleError
from models.errors import SpecError
from models.spec import (
    ALL_FILE,
    BUNDLE_FORMAT,
    SPEC_FILE,
    STEP_FILE,
    WEIGHTS_FILE,
    BundleManifest,
    ModelSpec,
)
from models.species import SHIPPED


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose files were all found as its manifest states."""

    path: Path
    """The folder."""
    manifest: BundleManifest
    """The content of its spec.json."""
    hash: str
    """SHA-256 of spec.json, which holds that of every other file: it stands for the whole."""

    @property
    def spec(self) -> ModelSpec:
        """The model."""
        return self.manifest.spec

    @property
    def step_file(self) -> Path:
        """The network as ONNX, which reads by the first pathway."""
        return self.path / STEP_FILE

    @property
    def all_file(self) -> Path:
        """The network that reads by all pathways, which may be the same."""
        return self.path / _steps(self.spec)[-1]


class _Format(msgspec.Struct):
    """The one field that every version of the manifest has."""

    format: int


def open_bundle(path: Path | None = None, species: str | None = None) -> Bundle:
    """Open a bundle and check every file of it.

    Args:
        path: its folder; default: the bundle shipped with hypnod.
        species: whose it has to be; default: any, of those that are shipped that for mice.

    Raises:
        BundleError: a file is missing, altered or unknown, or the format is; or the bundle is one
            of another species, or none is shipped for it.
    """
    bundle = _open(_shipped(species or "mouse") if path is None else path)
    if species not in (None, bundle.spec.species):
        raise BundleError(
            f"{bundle.path}: expected a bundle of the species {species}, found one of the species "
            f"{bundle.spec.species}: name another bundle, or leave the species out"
        )
    return bundle


def _open(folder: Path) -> Bundle:
    if not folder.is_dir():
        raise BundleError(f"expected a bundle (a folder with {SPEC_FILE}) at {folder}, found none")
    content = _read(folder / SPEC_FILE)
    manifest = _decode(content, folder / SPEC_FILE)
    _check_names(folder, manifest)
    for name, expected in manifest.files.items():
        found = hashlib.sha256(_read(folder / name)).hexdigest()
        if found != expected:
            raise BundleError(
                f"{folder / name}: expected SHA-256 {expected[:12]}…, found {found[:12]}…: "
                "the file was altered or cut short"
            )
    return Bundle(folder, manifest, hashlib.sha256(content).hexdigest())


def _shipped(species: str) -> Path:
    """Return the folder of the bundle that is shipped for a species.

    Raises:
        BundleError: there is none.
    """
    if species not in SHIPPED:
        raise BundleError(
            f"expected a species with a bundle of its own, {' or '.join(SHIPPED)}, found "
            f"{species!r}: name its bundle"
        )
    folder = Path(str(resources.files("models").joinpath("bundles", SHIPPED[species])))
    if not folder.is_dir():
        raise BundleError(
            f"expected the bundle {SHIPPED[species]} for the species {species} to be shipped with "
            f"this hypnod, found none in {folder.parent}: name the folder of one, or install a "
            "hypnod that has it"
        )
    return folder


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BundleError(f"{file}: expected a readable file, found: {error.strerror}") from error


def _decode(content: bytes, file: Path) -> BundleManifest:
    try:
        found = msgspec.json.decode(content, type=_Format).format
        if found != BUNDLE_FORMAT:
            raise BundleError(
                f"{file}: expected bundle format {BUNDLE_FORMAT}, found {found}: make it anew with "
                "`hypnod train` or `hypnod import`, or use the hypnod that made it"
            )
        return msgspec.json.decode(content, type=BundleManifest)
    except (msgspec.DecodeError, SpecError, UnicodeDecodeError) as error:
        raise BundleError(f"{file}: expected a bundle manifest, found: {error}") from error


def _check_names(folder: Path, manifest: BundleManifest) -> None:
    """Raise BundleError unless the folder holds exactly the files that the manifest names."""
    for name in (*_steps(manifest.spec), WEIGHTS_FILE):
        if name not in manifest.files:
            raise BundleError(f"{folder / SPEC_FILE}: expected a hash of {name}, found none")
    expected = {SPEC_FILE, *manifest.files}
    found = {file.name for file in folder.iterdir()}
    if missing := sorted(expected - found):
        raise BundleError(f"{folder}: expected the file {missing[0]}, found none")
    if unknown := sorted(found - expected):
        raise BundleError(f"{folder}: expected only the files of its manifest, found {unknown[0]}")


def _steps(spec: ModelSpec) -> tuple[str, ...]:
    return (STEP_FILE,) if len(spec.pathways) == 1 else (STEP_FILE, ALL_FILE)
