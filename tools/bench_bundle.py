"""A bundle with a long context window and random weights, put together without torch."""

import hashlib
import shutil
from pathlib import Path

import msgspec
import numpy as np

from engines.bundle import Bundle, open_bundle
from models.spec import FULL_FILE, SPEC_FILE, STEP_FILE, WEIGHTS_FILE, BundleManifest

N_CONTEXT = 64
GRAPHS = Path(__file__).parent / "graphs" / f"sdreamer-n{N_CONTEXT}"
"""Graphs without weights, made by tools/bench_graphs.py."""
WEIGHTS_BYTES = "weights_bytes"

_SCALE = 0.05  # of the random weights: neither denormal nor overflowing


def make_bundle(folder: Path, graphs: Path = GRAPHS) -> Bundle:
    """Put the packaged graphs and random weights into `folder`, and open it as a bundle."""
    folder.mkdir()
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
