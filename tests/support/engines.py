"""Short ways to call an engine in tests."""

import numpy as np

from engines.parity import random_epochs

ENGINES = ["onnxruntime", "torch"]


def some(random, engine, n):
    """Return random epochs for n rows."""
    return random_epochs(random, engine, n)


def step(engine, epochs, valid=None, rows=None, unimodal=True):
    """Step with the first rows and all valid, unless told otherwise."""
    n = len(epochs)
    rows = np.arange(n) if rows is None else np.array(rows, np.intp)
    valid = np.ones((n, 2), bool) if valid is None else np.array(valid, bool)
    return engine.step(epochs, rows, valid, unimodal=unimodal)
