"""Reading ahead gives what single steps give, wherever the recording is cut."""

import numpy as np
import pytest

from engines.ahead import AheadEngine
from engines.bundle import open_bundle
from engines.errors import EngineError
from engines.onnxruntime import OnnxRuntimeEngine
from tests.support.bundles import TINY, make_bundle

N, ROWS = 200, 2


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return open_bundle(make_bundle(tmp_path_factory.mktemp("bundle"), 5, **TINY))


def make_epochs(spec, seed=0):
    rng = np.random.default_rng(seed)
    epochs = rng.standard_normal((N, ROWS, spec.n_modalities, spec.n_inputs)).astype(np.float32)
    valid = rng.random((N, ROWS, spec.n_modalities)) > 0.05
    valid[40:70, 0] = False  # longer than a window
    valid[60:90, 1, 1] = False
    return epochs, valid


def step_all(engine, epochs, valid, blocks=()):
    """Step through all epochs, what asks for the single modalities as the stager does."""
    answers, filled, tokens = [], [], []
    rows, back = np.arange(ROWS), (engine.n_read - 1) * engine.hops_per_epoch
    partial = valid.sum(axis=-1) == 1
    for k in range(N):
        for start, stop in blocks:
            if start == k:
                engine.prepare(epochs[start:stop], valid[start:stop])
        wanted = partial[max(0, k - back) : k + 1].any(axis=0)
        answers.append(engine.step(epochs[k], rows, valid[k], unimodal=wanted))
        filled.append(engine.slots_filled(rows))
        tokens.append(engine.newest(rows)["tokens"])
    return np.stack(answers), np.stack(filled), np.stack(tokens)


@pytest.mark.parametrize("hops", [1, 2])
@pytest.mark.parametrize("sizes", [(N,), (1, 2, 4, 5, 70, 118)])
def test_it_gives_what_single_steps_give(bundle, hops, sizes):
    epochs, valid = make_epochs(bundle.spec)
    stops = np.cumsum(sizes).tolist()
    blocks = list(zip([0, *stops[:-1]], stops, strict=True))
    with OnnxRuntimeEngine(bundle, ROWS, 1, hops, 4) as plain:
        expected = step_all(plain, epochs, valid)
    lanes = 4
    with AheadEngine(OnnxRuntimeEngine(bundle, lanes * ROWS, 1, hops, 4), lanes) as ahead:
        for _ in range(2):  # a second recording knows nothing of the first one
            for row in range(ROWS):
                ahead.clear_context(row)
            found = step_all(ahead, epochs, valid, blocks)
            np.testing.assert_allclose(found[0], expected[0], rtol=0, atol=1e-6)
            np.testing.assert_array_equal(found[1], expected[1])
            np.testing.assert_allclose(found[2], expected[2], rtol=0, atol=1e-5)
    assert np.isfinite(expected[0]).mean() > 0.3


def test_it_refuses_what_was_not_prepared(bundle):
    epochs, valid = make_epochs(bundle.spec)
    with AheadEngine(OnnxRuntimeEngine(bundle, ROWS, 1, 1, 4), 1) as ahead:
        ahead.prepare(epochs[:1], valid[:1])
        ahead.step(epochs[0], np.arange(ROWS), valid[0])
        with pytest.raises(EngineError, match="expected epochs that were prepared"):
            ahead.step(epochs[1], np.arange(ROWS), valid[1])
