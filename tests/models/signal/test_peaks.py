import numpy as np
import pytest

from models.signal.peaks import peaks


@pytest.mark.parametrize("sfreq", [128.0, 250.0, 512.0, 1000.0])
def test_no_spike_is_lost_and_there_are_few_values(sfreq):
    samples = np.random.default_rng(0).normal(size=(2, round(sfreq))).astype(np.float32)
    samples[0, 77], samples[1, 3] = 40.0, -50.0
    found = peaks(samples, sfreq)
    assert found.shape[1] <= 128
    for k in range(2):
        assert (found[k].min(), found[k].max()) == (samples[k].min(), samples[k].max())


def test_a_piece_gives_both_in_the_order_in_which_they_came():
    samples = np.array([[0, 9, 1, 2, 3, -7, 4, 5, -2, 0, 0, 0, 8, 0, 0, 0]], np.float32)
    assert peaks(samples, 512.0).tolist() == [[9, -7, -2, 8]]


def test_a_slow_signal_is_sent_as_it_is():
    samples = np.arange(100, dtype=np.float32)[None]
    assert peaks(samples, 100.0) is samples
