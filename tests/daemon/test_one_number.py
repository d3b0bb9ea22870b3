"""One number in one stream: what is said of the animals of another is the same to the bit."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from daemon.config import StagingConfig
from daemon.stager import Stager
from engines.bundle import open_bundle
from engines.select import open_engine
from tests.support.signals import noise, pipeline, run

SFREQ, N_EPOCHS = 512, 8
TIMES = 10.0 + np.arange(N_EPOCHS * SFREQ) / SFREQ


@pytest.fixture(scope="module")
def opened(bundle):
    return open_bundle(bundle)


def epochs(data, name, spec):
    batches = run(pipeline(spec=spec), data, TIMES, [200])
    return [replace(batch, stream=name) for batch in batches]


def said(opened, bad):
    """Return what is said of stream b, staged beside a stream with these samples."""
    with open_engine(opened, "onnxruntime", n_rows=2) as engine:
        stager = Stager(engine, {"a": ["m1"], "b": ["m2"]}, StagingConfig(final_lag=2))
        pairs = zip(
            epochs(bad, "a", opened.spec), epochs(noise(len(TIMES)), "b", opened.spec), strict=True
        )
        estimates = [e for pair in pairs for e in stager.stage(pair)] + stager.flush()
    return {(e.kind, e.hop): e.probabilities for e in estimates if e.stream == "b"}


@settings(max_examples=15, deadline=None)
@given(
    value=st.sampled_from([np.nan, np.inf, 3.4e38, -4e8, 1e6, 2e5, -2e4]),
    where=st.integers(0, len(TIMES) - 1),
    channels=st.sampled_from([[0], [1], [0, 1]]),
)
@example(value=2e5, where=5, channels=[0, 1])  # nothing of the other stream can be read
def test_the_other_stream_s_stages_are_the_same_to_the_bit(opened, value, where, channels):
    plain, spoilt = noise(len(TIMES)), noise(len(TIMES))
    spoilt[where, channels] = value
    before, after = said(opened, plain), said(opened, spoilt)
    assert before.keys() == after.keys()
    for key, probabilities in before.items():
        assert np.array_equal(probabilities, after[key]), key
