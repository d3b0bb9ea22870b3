"""Bundles of small nets with random weights, for tests of engines and of the daemon."""

import fcntl
import hashlib
import shutil
import tempfile
import tomllib
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from models import grammar
from models.base import part_of
from models.relative_spec import RelativeSpec
from models.signal.drift import band_edges
from models.signal.relative import relative_of
from models.spec import (
    SPEC_FILE,
    Band,
    BundleManifest,
    Grammar,
    ModelSpec,
    Reference,
)
from models.stages import HUMAN, MOUSE
from tests.support.paths import ROOT

TINY = {
    "token_size": 16,
    "n_heads": 2,
    "ffn_size": 32,
    "head_size": 16,
    "epoch_layers": 1,
    "sequence_layers": 2,
}


def mouse_spec(
    n_context: int = 16, token_size: int = 128, **architecture: bool | float | str
) -> ModelSpec:
    """Return the spec of the shipped bundle, or of one of another size."""
    return ModelSpec(
        model="sdreamer",
        species="mouse",
        stages=MOUSE,
        modalities=("eeg", "emg"),
        pathways=("mixed", "eeg", "emg"),
        bands=(Band(0.5, 100.0), Band(10.0, 200.0)),
        sfreq=512.0,
        epoch_s=1.0,
        n_context=n_context,
        token_shape=(2, token_size),
        architecture=architecture,
    )


def separate_epochs_spec() -> ModelSpec:
    """Return the spec of the smallest sDREAMER of which each modality has a net of its own."""
    return mouse_spec(5, **TINY | {"sequence_layers": 1}, separate_epochs=True)


def human_spec(
    n_context: int = 5, token_size: int = 16, epoch_s: float = 4.0, **architecture: int
) -> ModelSpec:
    """Return the spec of a small SleepDIFFormer, or of one of another size."""
    small: dict[str, bool | int | float | str] = {
        "layers": 2,
        "n_heads": 2,
        "ffn_size": 16,
        "filters": 4,
    }
    small |= {"sequence_heads": 2, "sequence_size": 16}
    return ModelSpec(
        model="sleepdifformer",
        species="human",
        stages=HUMAN,
        modalities=("eeg", "eog"),
        pathways=("mixed",),
        bands=(Band(0.3, 35.0), Band(0.3, 35.0)),
        sfreq=100.0,
        epoch_s=epoch_s,
        n_context=n_context,
        token_shape=(token_size,),
        architecture=small | architecture,
    )


def random_model(spec: ModelSpec, seed: int) -> Any:
    """Return a net whose weights are large enough that everything influences the result."""
    import torch  # noqa: PLC0415  a bundle that was made before needs none

    from models.weights import build_model  # noqa: PLC0415

    torch.manual_seed(seed)
    model = build_model(spec).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def everything(epochs: Any) -> Any:
    """Return the mask of a tensor of epochs (…, M, T) that are all valid."""
    import torch  # noqa: PLC0415  as above

    return torch.ones(epochs.shape[:-1], dtype=torch.bool)


def make_bundle(
    folder: Path, n_context: int = 16, *, levels: bool = False, **architecture: int
) -> Path:
    """Copy into `folder` the bundle of a net with random weights, and return where it is.

    Tracing a net takes seconds, so a bundle is made once per source and kept in the folder
    that pytest clears with --cache-clear.

    Args:
        folder: where to put it.
        n_context: epochs in the context window.
        levels: give the net levels relative to the animal's own, in place of samples.
        architecture: `token_size` and hyperparameters of `models.sdreamer.net.Architecture`;
            `**TINY` is small; default: those of the shipped bundle.
    """
    spec = mouse_spec(n_context, **architecture)
    if levels:
        spec = _given_levels(spec, relative_of("mouse"))
    return make_bundle_of(spec, folder)


def make_bundle_of(spec: ModelSpec, folder: Path) -> Path:
    """Copy into `folder` the bundle of a net of `spec` with random weights; see `make_bundle`."""
    return shutil.copytree(_make_once(msgspec.json.encode(spec)), folder / "bundle")


def human_levels(epoch_s: float = 4.0, relative: RelativeSpec | None = None) -> ModelSpec:
    """Return the spec of a small SleepDIFFormer that is given levels; default: few of them."""
    relative = relative or RelativeSpec(
        source="a test",
        edges_hz=((0.5, 4.0, 8.0, 30.0), (0.5, 30.0)),
        mean=((0.0,) * 4, (0.0,) * 2),
        sd=((1.0,) * 4, (1.0,) * 2),
    )
    return _given_levels(human_spec(epoch_s=epoch_s), relative)


def _given_levels(spec: ModelSpec, relative: RelativeSpec) -> ModelSpec:
    levels: ModelSpec = part_of(spec.model, "net").given_levels(spec, relative)
    return levels


def change_manifest(bundle: Path, **changes: object) -> Path:
    """Give a bundle's manifest other values, and return where it is."""
    file = bundle / SPEC_FILE
    manifest = msgspec.json.decode(file.read_bytes(), type=BundleManifest)
    file.write_bytes(msgspec.json.encode(msgspec.structs.replace(manifest, **changes)))
    return bundle


def any_reference(spec: ModelSpec, mean: float = -2.0, sd: float = 5.0) -> Reference:
    """Return what training animals may look like: all features alike, each for itself.

    Args:
        spec: the model.
        mean: of each feature; what is far from it is unlike the animals.
        sd: of each feature.
    """
    edges = tuple(band_edges(spec, m) for m in range(spec.n_modalities))
    n = len(edges[0]) + 1
    covariance = tuple(tuple(sd**2 * (i == k) for k in range(n)) for i in range(n))
    return Reference(
        n_animals=3,
        edges_hz=edges,
        mean=((mean,) * n,) * spec.n_modalities,
        covariance=(covariance,) * spec.n_modalities,
        limit=(3.0,) * spec.n_modalities,
    )


def mouse_grammar(beta_live: float = 0.4, beta_final: float = 0.3) -> Grammar:
    """Return the grammar that `hypnod train` would put into a bundle, with these powers."""
    return grammar.grammar_of("mouse", beta_live, beta_final)


def main() -> None:
    """Trace the nets of the tests before they run: it takes longer than a test may."""
    tiny = mouse_spec(5, **TINY)
    specs = (
        *(mouse_spec(), mouse_spec(**TINY), tiny, _given_levels(tiny, relative_of("mouse"))),
        separate_epochs_spec(),
        *(human_spec(epoch_s=epoch_s) for epoch_s in (2.0, 4.0, 30.0)),
        human_levels(),
    )
    with ProcessPoolExecutor(max_workers=2) as pool:
        for made in [pool.submit(_make_once, msgspec.json.encode(each)) for each in specs]:
            made.result()


@cache
def _make_once(encoded: bytes) -> Path:
    spec = msgspec.json.decode(encoded, type=ModelSpec)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    torch = project["optional-dependencies"]["train"]  # its version, also where there is none
    key = hashlib.sha256(encoded + repr(torch).encode())
    sources = (
        f"models/{spec.model}/net.py",
        "models/training/export.py",
        "models/base.py",
        "models/graphs.py",
        "models/weights.py",
        "models/relative_spec.py",
        "models/spec.py",
    )
    for name in sources:
        key.update((ROOT / name).read_bytes())
    key.update(Path(__file__).read_bytes())
    bundle = ROOT / ".pytest_cache" / "bundles" / key.hexdigest()[:16]
    bundle.parent.mkdir(parents=True, exist_ok=True)
    with bundle.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test process need not make it again
        if not bundle.exists():
            _make(bundle, spec)
    return bundle


def _make(bundle: Path, spec: ModelSpec) -> None:
    from models.training.export import export_bundle  # noqa: PLC0415

    with tempfile.TemporaryDirectory(dir=bundle.parent) as scratch:
        made = Path(scratch) / "bundle"
        export_bundle(random_model(spec, seed=0), spec, made, "random", {"seed": "0"})
        made.rename(bundle)


if __name__ == "__main__":
    main()
