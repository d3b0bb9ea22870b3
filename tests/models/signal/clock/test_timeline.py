import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.signal.chunk import are_times
from models.signal.clock.timeline import Timeline

SFREQ = 512.0


def live(timestamps, sizes=(16,), arrivals=None, timeline=None):
    """Place samples that arrive as time passes; return which, when, gaps, and the timeline."""
    timeline = timeline or Timeline(SFREQ, 0.02)
    arrivals = np.arange(len(timestamps)) / SFREQ if arrivals is None else arrivals
    index, times, gaps, first, i = [], [], [], 0, 0
    while first < len(timestamps):
        last = min(first + sizes[i % len(sizes)], len(timestamps))
        for run in timeline.place(timestamps[first:last], float(arrivals[last - 1])):
            index += range(first + run.samples.start, first + run.samples.stop)
            times += run.times.tolist()
            gaps += [first + run.samples.start] * run.after_gap
        first, i = last, i + 1
    return np.array(index), np.array(times), gaps, timeline


def place(timestamps, sizes=(10**9,)):
    """Place samples that all arrive at once."""
    return live(timestamps, sizes, np.zeros(len(timestamps)))


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
        (run,) = timeline.place(timestamps, 0.0)
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


def test_clock_set_back_loses_less_than_two_seconds_and_keeps_the_grid():
    true = np.arange(512 * 20) / SFREQ
    timestamps = true.copy()
    timestamps[5000:] -= 3600.0
    index, times, gaps, timeline = place(timestamps)
    assert timeline.dropped == 896
    assert gaps == [5000 + 896]
    np.testing.assert_allclose(times, true[index], atol=1e-9)


@pytest.mark.parametrize("rounded", [np.floor, np.ceil])
@pytest.mark.parametrize("pause_s", [5, 15, 30])
def test_a_played_clock_set_back_by_two_seconds_is_found_out_after_bunches(rounded, pause_s):
    """The tracker is some samples off then, and but two seconds of samples lie in the past."""
    true = np.arange(512 * (80 + pause_s)) / SFREQ
    timestamps = np.where((true > 10) & (true < 70), rounded(true / 0.1) * 0.1, true)
    timestamps[512 * (70 + pause_s) :] -= 2.0
    index, times, _, timeline = place(timestamps)
    assert timeline.clock_shift == pytest.approx(2.0, abs=0.02)
    late = index > 512 * (74 + pause_s)
    np.testing.assert_allclose(times[late], true[index][late], atol=0.02)


def test_timestamps_that_are_not_numbers_are_dropped():
    timestamps = np.arange(1000) / SFREQ
    timestamps[300:310] = np.nan
    _, _, _, timeline = place(timestamps)
    assert timeline.dropped == 10


@pytest.mark.parametrize("jump", [0.7, 2.0, 3600.0, 1.7e9])
@pytest.mark.parametrize("size", [1, 16, 300])
def test_a_live_clock_set_forward_loses_no_sample_and_keeps_the_grid(jump, size):
    true = 50.0 + np.arange(512 * 60) / SFREQ
    timestamps = true + np.where(np.arange(len(true)) >= 512 * 30 + 77, jump, 0.0)
    index, times, gaps, timeline = live(timestamps, [size])
    assert len(index) == len(true)
    assert gaps == []
    np.testing.assert_allclose(times, true, atol=1e-5)
    assert timeline.clock_shift == pytest.approx(-jump, abs=1e-5)


@pytest.mark.parametrize("jump", [0.7, 3600.0])
@pytest.mark.parametrize("size", [1, 16, 300])
@pytest.mark.parametrize("at_s", [2, 5, 11])
def test_a_clock_set_forward_soon_after_the_connection_is_no_gap(jump, size, at_s):
    true = 50.0 + np.arange(512 * 30) / SFREQ
    index, times, gaps, _ = live(true + np.where(true >= 50 + at_s, jump, 0.0), [size])
    assert len(index) == len(true)
    assert gaps == []
    np.testing.assert_allclose(times, true, atol=1e-5)


@pytest.mark.parametrize("speed", [1.5, 20.0])
def test_a_gap_soon_after_a_recording_began_to_play_is_one(speed):
    played = np.arange(512 * 30) / SFREQ
    true = played + np.where(played >= 5, 60.0, 0.0)
    _, times, gaps, _ = live(true, arrivals=played / speed)
    assert gaps == [512 * 5]
    np.testing.assert_allclose(times, true, atol=1e-9)


@pytest.mark.parametrize("jump", [0.7, 2.0, 3600.0, 1.7e9])
@pytest.mark.parametrize("size", [1, 16, 300])
def test_a_live_clock_set_back_loses_half_a_second_and_keeps_the_grid(jump, size):
    true = 2e9 + np.arange(512 * 60) / SFREQ
    timestamps = true - np.where(np.arange(len(true)) >= 512 * 30 + 77, jump, 0.0)
    index, times, gaps, _ = live(timestamps, [size])
    assert 0.5 * SFREQ <= len(true) - len(index) <= 0.55 * SFREQ + size
    assert len(gaps) == 1
    np.testing.assert_allclose(times, true[index], atol=1e-5)


def test_an_outage_in_which_the_clock_was_set_is_as_long_as_it_was():
    true = np.arange(512 * 60) / SFREQ
    kept = np.r_[0 : 512 * 20, 512 * 40 : 512 * 60]
    for jump in (1e6, -1e6):
        timestamps = true + np.where(np.arange(len(true)) >= 512 * 30, jump, 0.0)
        index, times, gaps, _ = live(timestamps[kept], arrivals=true[kept])
        assert len(gaps) == 1
        np.testing.assert_allclose(times, true[kept][index], atol=0.1)


def test_samples_that_were_held_up_stay_where_they_belong():
    """A reader that stood still reads all at once what was kept for it, and misses the rest."""
    true = np.arange(512 * 90) / SFREQ
    kept = np.r_[0 : 512 * 31, 512 * 50 : 512 * 90]
    arrivals = np.where((true > 30) & (true < 60), 60.0, true)[kept]
    index, times, gaps, timeline = live(true[kept], arrivals=arrivals)
    assert len(index) == len(kept)
    assert gaps == [512 * 31]
    np.testing.assert_allclose(times, true[kept], atol=1e-9)
    assert timeline.clock_shift == 0


def test_a_long_repetition_is_not_taken_for_a_clock_set_back():
    true = np.arange(512 * 40) / SFREQ
    order = np.r_[0 : 512 * 30, 512 * 25 : 512 * 40]
    arrivals = np.r_[true[: 512 * 30], np.full(512 * 5, true[512 * 30]), true[512 * 30 :]]
    _, times, gaps, timeline = live(true[order], arrivals=arrivals)
    assert timeline.dropped == 512 * 5
    assert gaps == []
    np.testing.assert_allclose(times, true, atol=1e-9)


@pytest.mark.parametrize("speed", [1.0, 20.0])
def test_a_gap_in_a_played_recording_is_believed_at_any_speed(speed):
    true = np.arange(512 * 120) / SFREQ
    true[512 * 100 :] += 3600.0
    _, times, gaps, _ = live(true, arrivals=true / speed)
    assert gaps == [512 * 100]
    np.testing.assert_allclose(times, true, atol=1e-9)


def test_a_played_gap_of_years_is_a_clock():
    true = np.arange(512 * 20) / SFREQ
    _, times, gaps, _ = place(true + np.where(true >= 10, 1.7e9, 0.0))
    assert gaps == []
    np.testing.assert_allclose(times, true, atol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300, -1e300, 1.8e12, 1.8e18, -2e9])
def test_what_is_no_time_is_dropped_anywhere(value):
    timestamps = 9.0 + np.arange(3000) / SFREQ
    timestamps[[0, 700, 701, 2999]] = value
    _, times, _, timeline = place(timestamps, [100])
    assert timeline.dropped == 4
    good = are_times(timestamps)
    np.testing.assert_allclose(times, timestamps[good], atol=0.005)


def test_bunches_wider_than_the_jitter_are_counted_and_measured():
    true = np.arange(512 * 20) / SFREQ
    bunched = np.ceil(true / 0.1) * 0.1
    wide = live(bunched)[3]
    assert wide.gaps > 50
    assert 0.05 < wide.widest_gap < 0.11
    smooth = live(bunched, timeline=Timeline(SFREQ, 0.15))
    assert smooth[2] == []
    assert len(smooth[0]) == len(true)


def test_another_rate_goes_on_in_the_same_time():
    first = Timeline(SFREQ, 0.02)
    live(np.arange(512 * 20) / SFREQ - 1e6, timeline=first)
    second = Timeline(256.0, 0.02)
    second.resume(first)
    (run,) = second.place(np.arange(5 * 256, 10 * 256) / 256.0 - 1e6 + 20, 30.0)
    assert run.after_gap
    assert run.times[0] == 25.0 - 1e6
    assert second.place(np.arange(256) / 256.0 - 1e6 + 20, 30.1) == []


@settings(max_examples=40)
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
