"""Bundles of the paper's net with random weights, put together without torch."""

import hashlib
import shutil
from pathlib import Path

import msgspec
import numpy as np

from engines.bundle import Bundle, open_bundle
from models.spec import FULL_FILE, SPEC_FILE, STEP_FILE, WEIGHTS_FILE, BundleManifest

N_CONTEXTS = (16, 64)
"""Epochs of the context windows that there are graphs for."""
WEIGHTS_BYTES = "weights_bytes"

_SCALE = 0.05  # of the random weights: neither denormal nor overflowing


def graphs_of(n_context: int) -> Path:
    """Return the folder of the graphs without weights, made by tools/bench/make_graphs.py."""
    return Path(__file__).parent / "graphs" / f"sdreamer-n{n_context}"


def make_bundle(folder: Path, n_context: int) -> Bundle:
    """Put packaged graphs and random weights into `folder`, and open it as a bundle."""
    folder.mkdir()
    graphs = graphs_of(n_context)
    manifest = msgspec.json.decode((graphs / SPEC_FILE).read_bytes(), type=BundleManifest)
    n_bytes = int(manifest.provenance[WEIGHTS_BYTES])
    weights = np.random.default_rng(0).normal(0.0, _SCALE, n_bytes // 4 + 1).astype(np.float32)
    (folder / WEIGHTS_FILE).write_bytes(weights.tobytes()[:n_bytes])
    for name in (STEP_FILE, FULL_FILE):
        shutil.copyfile(graphs / name, folder / name)
    hashes = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in (STEP_FILE, FULL_FILE, WEIGHTS_FILE)
    }
    complete = msgspec.structs.replace(manifest, files=hashes)
    (folder / SPEC_FILE).write_bytes(msgspec.json.encode(complete))
    return open_bundle(folder)
