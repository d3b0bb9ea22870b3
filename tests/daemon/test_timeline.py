import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.timeline import Timeline

SFREQ = 512.0


def place(timestamps, sizes=(10**9,), jitter_s=0.02):
    """Return index and time of every placed sample, and where gaps were found."""
    timeline = Timeline(SFREQ, jitter_s)
    index, times, gaps, first, i = [], [], [], 0, 0
    while first < len(timestamps):
        chunk = timestamps[first : first + sizes[i % len(sizes)]]
        for run in timeline.place(chunk):
            index += range(first + run.samples.start, first + run.samples.stop)
            times += run.times.tolist()
            if run.after_gap:
                gaps.append(first + run.samples.start)
        first, i = first + len(chunk), i + 1
    return np.array(index), np.array(times), gaps, timeline


def test_regular_timestamps_stay_what_they_are():
    timestamps = 1000.0 + np.arange(5000) / SFREQ
    index, times, gaps, timeline = place(timestamps)
    assert np.array_equal(index, np.arange(5000))
    np.testing.assert_allclose(times, timestamps, atol=1e-9)
    assert gaps == []
    assert timeline.sfreq == pytest.approx(SFREQ)


def test_jitter_is_smoothed_and_the_true_rate_is_found():
    rng = np.random.default_rng(1)
    true = 50.0 + np.arange(512 * 120) / 511.8
    _, times, gaps, timeline = place(true + rng.normal(0, 0.002, len(true)))
    assert gaps == []
    assert np.abs(times - true)[512 * 40 :].max() < 0.0005
    assert timeline.sfreq == pytest.approx(511.8, abs=0.02)


def test_drift_of_200_ppm_over_12_h_never_looks_like_a_gap():
    sfreq = SFREQ * (1 + 200e-6)
    timeline = Timeline(SFREQ, 0.02)
    n = 512 * 60
    for minute in range(720):
        timestamps = (minute * n + np.arange(n)) / sfreq
        (run,) = timeline.place(timestamps)
        assert np.abs(run.times - timestamps).max() < 0.005
    assert timeline.sfreq == pytest.approx(sfreq, rel=1e-6)


def test_missing_samples_are_a_gap_and_times_after_it_are_right():
    timestamps = 7.0 + np.arange(4000) / SFREQ
    kept = np.delete(timestamps, slice(1500, 1700))
    index, times, gaps, _ = place(kept)
    assert gaps == [1500]
    assert len(index) == len(kept)
    np.testing.assert_allclose(times, kept, atol=1e-9)


def test_duplicated_and_reordered_chunks_are_dropped_not_shifted():
    timestamps = np.arange(4000) / SFREQ
    order = np.r_[0:2000, 1950:2000, 2000:2100, 2200:2300, 2100:2200, 2300:4000]
    index, times, gaps, timeline = place(timestamps[order])
    np.testing.assert_allclose(times, timestamps[order][index], atol=1e-9)
    assert timeline.dropped == 150
    assert len(gaps) == 1


def test_clock_set_back_loses_two_seconds_and_keeps_the_grid():
    true = np.arange(512 * 20) / SFREQ
    timestamps = true.copy()
    timestamps[5000:] -= 3600.0
    index, times, gaps, timeline = place(timestamps)
    assert timeline.dropped == 1024
    assert gaps == [5000 + 1024]
    np.testing.assert_allclose(times, true[index], atol=1e-9)


def test_timestamps_that_are_not_numbers_are_dropped():
    timestamps = np.arange(1000) / SFREQ
    timestamps[300:310] = np.nan
    _, _, _, timeline = place(timestamps)
    assert timeline.dropped == 10


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 700), min_size=1, max_size=8),
    seed=st.integers(0, 1000),
)
def test_chunking_changes_nothing(sizes, seed):
    rng = np.random.default_rng(seed)
    timestamps = np.arange(3000) / 511.96 + rng.normal(0, 0.003, 3000)
    timestamps[2000:] += rng.choice([0.0, 0.5, -0.5])
    whole = place(timestamps)
    cut = place(timestamps, sizes)
    assert np.array_equal(whole[0], cut[0])
    assert np.array_equal(whole[1], cut[1])
    assert whole[2] == cut[2]
