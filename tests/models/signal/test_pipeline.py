"""Chunks in, epochs out: the grid never moves, and chunking never shows."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.lsl.inlet import Clocks
from daemon.restart.point import decode_state, encode_state
from models.errors import StreamError, UnitError
from models.signal.chunk import StreamDescription
from models.signal.epochs import EpochBuffer
from models.signal.montage import StreamChannels, SubjectChannels
from models.signal.pipeline import Pipeline
from tests.support.signals import LEVELS, SPEC, noise, pipeline, run


def regular(n_samples, sfreq, start=1234.5):
    return start + np.arange(n_samples) / sfreq


def assert_same(left, right):
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert (a.hop, a.onset) == (b.hop, b.onset)
        assert np.array_equal(a.epochs, b.epochs)
        assert np.array_equal(a.reasons, b.reasons)
        assert np.array_equal(a.features, b.features, equal_nan=True)
        assert np.array_equal(a.lead_off, b.lead_off, equal_nan=True)
        assert np.array_equal(a.unseen_s, b.unseen_s)
        assert np.array_equal(a.lost_s, b.lost_s)


@pytest.mark.parametrize("sfreq", [100.0, 128.0, 511.96, 512.0, 512.5, 1000.0, 2000.0, 4000.0])
def test_every_second_gives_one_epoch_at_any_rate(sfreq):
    n = int(np.ceil(20 * sfreq)) + 1
    batches = run(pipeline(sfreq=sfreq), noise(n), regular(n, sfreq), [37])
    assert [b.hop for b in batches] == list(range(20))
    assert [b.onset for b in batches] == [1234.5 + k for k in range(20)]
    assert all(b.usable.all() and b.epochs.shape == (1, 2, 512) for b in batches)


@pytest.mark.parametrize("sfreq", [100.0, 128.0, 511.96, 512.0, 512.5, 1000.0])
@pytest.mark.parametrize("size", [37, 100_000])
def test_a_sample_belongs_to_the_epoch_whose_onset_it_misses_least(sfreq, size):
    n_in, n = round(sfreq), round(6.3 * sfreq)
    buffer = EpochBuffer(sfreq, n_in, 1.0, 1)
    numbers = np.arange(n)
    first = []
    for part in np.array_split(numbers, range(size, n, size)):
        raw = part[:, None].astype(float)
        filtered = raw.astype(np.float32)
        calm = np.zeros(raw.shape, bool)
        buffer.append(part / sfreq, raw, filtered, calm, after_gap=False, arrived=0.0)
        first += [int(cut.raw[0, 0]) for cut in buffer.pop()]
    starts = [int(np.ceil(k * sfreq - 0.382)) for k in range(7)]
    assert first == [start for start in starts if start + n_in <= n]


def test_an_epoch_is_ready_with_its_last_sample():
    pipe = pipeline()
    batches = run(pipe, noise(512), regular(512, 512.0), [1])
    assert [b.hop for b in batches] == [0]
    assert batches[0].arrived == 511.0


@settings(max_examples=25)
@given(
    sizes=st.lists(st.integers(1, 1500), min_size=1, max_size=6),
    sfreq=st.sampled_from([128.0, 511.96, 512.0, 1000.0]),
    seed=st.integers(0, 99),
    hop_s=st.sampled_from([None, 0.25]),
)
def test_chunking_changes_no_bit(sizes, sfreq, seed, hop_s):
    rng = np.random.default_rng(seed)
    n = int(8 * sfreq)
    data, times = noise(n, 2, seed), regular(n, sfreq) + rng.normal(0, 0.0005, n)
    data[rng.integers(n, size=5), rng.integers(4, size=5)] = np.nan
    gap = rng.integers(n // 4, n // 2)
    keep = np.r_[0:gap, gap + int(rng.uniform(0, 2.5) * sfreq) : n]
    data, times = data[keep], times[keep]
    whole = run(pipeline(2, sfreq, hop_s), data, times, [n])
    assert_same(whole, run(pipeline(2, sfreq, hop_s), data, times, sizes))


def test_a_gap_masks_exactly_the_epochs_it_touches():
    n = 512 * 12
    keep = np.r_[0 : int(4.8 * 512), int(5.05 * 512) : n]
    batches = run(pipeline(), noise(n)[keep], regular(n, 512.0)[keep], [64])
    assert [b.hop for b in batches] == list(range(12))
    assert [b.hop for b in batches if not b.usable.any()] == [4, 5]
    assert {r for b in batches for r in b.reasons.ravel()} == {"ok", "missing"}


def test_epochs_after_a_long_gap_stay_on_the_grid():
    n = 512 * 40
    keep = np.r_[0 : 512 * 3, 512 * 33 + 200 : n]
    batches = run(pipeline(), noise(n)[keep], regular(n, 512.0)[keep], [64])
    assert [b.onset for b in batches] == [1234.5 + k for k in range(40)]
    assert [b.hop for b in batches if b.usable.all()] == [0, 1, 2, *range(34, 40)]


def test_a_silent_source_gives_missing_epochs_and_late_data_does_not_rewrite_them():
    pipe = pipeline()
    data, times = noise(512 * 10), regular(512 * 10, 512.0)
    batches = run(pipe, data[: 512 * 2 + 100], times[: 512 * 2 + 100], [64])
    arrived = 512 * 2 + 64  # of the last chunk
    assert pipe.pop_ready(now=arrived + 1.9) == []
    given_up = pipe.pop_ready(now=arrived + 5.0)
    assert [b.hop for b in given_up] == [2, 3, 4][: len(given_up)]
    assert all((b.reasons == "missing").all() for b in given_up)
    rest = run(pipe, data[512 * 2 + 100 :], times[512 * 2 + 100 :], [512])
    assert [b.hop for b in batches + given_up + rest] == list(range(10))


def test_one_channel_lost_leaves_the_other_modality():
    n = 512 * 6
    data = noise(n)
    data[512 * 2 : 512 * 4, 1] = np.nan
    batches = run(pipeline(), data, regular(n, 512.0), [100])
    assert [b.reasons[0].tolist() for b in batches] == [
        ["ok", "ok"],
        ["ok", "ok"],
        ["ok", "not_finite"],
        ["ok", "not_finite"],
        ["ok", "ok"],
        ["ok", "ok"],
    ]
    assert all(np.isfinite(b.epochs).all() for b in batches)


def test_a_channel_that_a_subject_has_not_is_absent_and_not_lost():
    stream = StreamChannels(
        name="rig", subjects=(SubjectChannels(name="m1", channels={"eeg": "EEG"}),)
    )
    description = StreamDescription("rig", ("EEG",), ("µV",), 512.0)
    pipe = Pipeline(stream, SPEC, description)
    (batch,) = run(pipe, noise(512)[:, :1], regular(512, 512.0), [100])
    assert batch.reasons.tolist() == [["ok", "absent"]]
    assert batch.usable.tolist() == [[True, False]]
    assert batch.unseen_s.tolist() == [0.0]


def test_subjects_do_not_touch_each_other():
    n = 512 * 5
    data = noise(n, 2)
    other = data.copy()
    other[:, 2:] = noise(n, 1, seed=9) * 3
    both, changed = (run(pipeline(2), d, regular(n, 512.0), [64]) for d in (data, other))
    for a, b in zip(both, changed, strict=True):
        assert np.array_equal(a.epochs[0], b.epochs[0])
        assert not np.array_equal(a.epochs[1], b.epochs[1])


def test_millivolts_declared_as_microvolts_are_refused():
    n = 512 * 15
    with pytest.raises(UnitError, match="look like mV"):
        run(pipeline(), noise(n) / 1000, regular(n, 512.0), [512])


def test_small_microvolts_declared_as_millivolts_are_staged_and_told():
    """As large a hum comes of a wire that is off, so the stream goes on."""
    n = 512 * 15
    quiet = noise(n)
    pipe = pipeline(unit="mV")
    run(pipe, 15 * quiet / quiet.std(axis=0), regular(n, 512.0), [512])
    assert len(pipe.doubts) == 2
    assert all("the values look like µV: set unit = " in doubt for doubt in pipe.doubts)


@pytest.mark.parametrize("factor", [1e3, 1e6, 1e9])
@pytest.mark.parametrize("sizes", [[1], [700]])
def test_a_stream_stamped_in_other_than_seconds_is_refused(factor, sizes):
    timestamps = factor * (1.8e9 + regular(2 * 512, 512.0))
    with pytest.raises(StreamError, match=r"expected timestamps in s, found 1.?8.* in ms or µs"):
        run(pipeline(), noise(len(timestamps)), timestamps, sizes)


def test_constant_offset_leaves_no_transient():
    n = 512 * 3
    plain = run(pipeline(), noise(n), regular(n, 512.0), [64])
    offset = run(pipeline(), noise(n) + np.float32(4096), regular(n, 512.0), [64])
    for a, b in zip(plain[1:], offset[1:], strict=True):
        np.testing.assert_allclose(a.epochs, b.epochs, atol=0.02)


@pytest.mark.parametrize("jump", [2.0, -2.0, -30.0, 200_000.0])
def test_what_a_restart_needs_can_be_written_after_the_clock_was_set(jump):
    timestamps = regular(20 * 512, 512.0)
    timestamps[5 * 512 :] += jump
    after = run(pipeline(), noise(len(timestamps)), timestamps, [100])[-1].after
    state = decode_state(encode_state("", 512.0, 0, Clocks(0.0, 0.0), 1.0, after))
    assert (state.clock_shift, state.next_hop) == (after.clock_shift, after.next_hop)


def test_a_stream_that_is_too_slow_for_the_species_is_refused():
    with pytest.raises(StreamError, match="from 100 Hz for a mouse, found 64 Hz"):
        pipeline(sfreq=64.0)
    assert pipeline(sfreq=50.0, spec=msgspec.structs.replace(SPEC, species="human"))


def in_parts_of_a_second():
    relative = msgspec.structs.replace(LEVELS.relative, n_parts=10)
    return msgspec.structs.replace(LEVELS, epoch_s=10.0, relative=relative)


@pytest.mark.parametrize(("lost_s", "usable"), [(4.0, True), (7.0, False)])
def test_what_is_left_of_an_epoch_is_staged_where_its_levels_are_measured_in_parts(lost_s, usable):
    spec = in_parts_of_a_second()
    timestamps = regular(30 * 512, 512.0)
    since = timestamps - timestamps[0] - 12.0
    there = (since < 0) | (since >= lost_s)
    data, pipe = noise(len(timestamps)), pipeline(spec=spec)
    first, gappy, last = run(pipe, data[there], timestamps[there], [100])
    assert gappy.usable.all() == gappy.usable.any() == usable
    assert np.isnan(gappy.features).all()  # they are of whole epochs
    assert first.usable.all()
    assert last.usable.all()


@pytest.mark.parametrize(
    ("flat_s", "lost", "unseen_s"),
    [
        ({0: (5, 8)}, "", 0.0),
        ({0: (6, 10)}, "", 4.0),
        ({0: (7, 10), 1: (6, 10)}, "", 4.0),
        ({0: (2, 10)}, "eeg", 0.0),
        ({0: (2, 10), 1: (9, 10)}, "eeg", 1.0),
    ],
)
def test_flat_seconds_are_not_seen_and_the_rest_of_the_epoch_is(flat_s, lost, unseen_s):
    """What a recorder writes where it lost the signal says nothing of it; as if it never came."""
    spec, data, timestamps = in_parts_of_a_second(), noise(20 * 512), regular(20 * 512, 512.0)
    for channel, (begin, end) in flat_s.items():
        data[(10 + begin) * 512 : (10 + end) * 512, channel] = 0.0
    first, second = run(pipeline(spec=spec), data, timestamps, [100])
    assert (first.usable.all(), first.unseen_s.tolist()) == (True, [0.0])
    reasons = dict(zip(spec.modalities, second.reasons[0], strict=True))
    assert [m for m, reason in reasons.items() if reason == "flat"] == [lost] * bool(lost)
    assert second.unseen_s.tolist() == [unseen_s]
    lost_s = [end - begin for begin, end in (flat_s.get(m, (0, 0)) for m in range(2))]
    assert second.lost_s.tolist() == [lost_s]
    of_each = second.epochs.reshape(2, *spec.relative.shape)[:, :10]
    for channel, (begin, end) in flat_s.items():
        flat = np.isin(np.arange(10), np.arange(begin, end))
        if second.usable[0, channel]:
            mean = np.tile(of_each[channel, ~flat].mean(axis=0), (np.count_nonzero(flat), 1))
            np.testing.assert_allclose(of_each[channel, flat], mean, atol=1e-5)
