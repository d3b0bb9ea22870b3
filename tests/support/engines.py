"""Short ways to call an engine in tests."""

import numpy as np
import pytest

from engines.gpu.flavour import version_of
from engines.parity import random_epochs
from engines.select import open_engine
from tests.support.gpu import require_device

ENGINES = [
    "onnxruntime",
    "torch",
    "fake-gpu",
    *(pytest.param(kind, marks=pytest.mark.gpu) for kind in ("tensorrt", "tensorrt-rtx")),
]
"""All that keep the contract; `fake-gpu` is the GPU's engine without a GPU."""


BOTH_MODELS = pytest.mark.parametrize("bundle", ["sdreamer", "sleepdifformer"], indirect=True)
"""Runs the tests of a file with a bundle of each model."""


def answer_shape(spec, n_read=None):
    """Return the shape of what a step answers for a row."""
    return len(spec.pathways), n_read or spec.n_context, len(spec.stages)


def open_kind(bundle, kind, n_rows, hops_per_epoch=1, n_read=None):
    """Open an engine of ENGINES, or skip the test where it needs a GPU that is not there."""
    if kind == "fake-gpu":
        pytest.importorskip("cuda.bindings")
        # Here, not above: it needs the package onnx.
        from tests.support.fake_gpu import open_without_gpu  # noqa: PLC0415

        return open_without_gpu(bundle, n_rows, hops_per_epoch, n_read)
    if kind.startswith("tensorrt"):
        require_device()
        # Here, not above: it needs the package onnx. Without check and spare: the GPU itself.
        from engines.gpu.open import open_plans  # noqa: PLC0415

        flavour = "rtx" if kind == "tensorrt-rtx" else "tensorrt"
        if not version_of(flavour):
            pytest.skip(f"{kind} is not installed")
        return open_plans(bundle, flavour, n_rows, hops_per_epoch, "fp32", n_read)[0]
    return open_engine(bundle, kind, n_rows=n_rows, hops_per_epoch=hops_per_epoch, n_read=n_read)


def some(random, engine, n):
    """Return random epochs for n rows."""
    return random_epochs(random, engine, n)


def step(engine, epochs, valid=None, rows=None, unimodal=True):
    """Step with the first rows and all valid, unless told otherwise."""
    n = len(epochs)
    rows = np.arange(n) if rows is None else np.array(rows, np.intp)
    valid = np.ones((n, 2), bool) if valid is None else np.array(valid, bool)
    return engine.step(epochs, rows, valid, unimodal=unimodal)
