"""When a restart goes on, and from what."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from daemon.config import StagingConfig
from daemon.lsl.inlet import Clocks
from daemon.restart import resumption
from daemon.restart.point import (
    decode_arrays,
    decode_state,
    encode_arrays,
    encode_state,
    fingerprint,
)
from daemon.restart.resumption import resume
from models.signal.state import Adaptation, PipelineState
from tests.support.signals import LEVELS, SPEC, noise, pipeline, run, stream_config

SPAN_S = 16.0
LEARNT = Adaptation(
    level=np.array([[1.0, 2.0]]),
    seen_s=np.array([[3.0, 4.0]]),
    averages=np.arange(22.0).reshape(1, 2, 11),
    averaged_s=np.array([[5.0, 6.0]]),
    relative_mean=np.arange(26.0).reshape(1, 2, 13),
    relative_variance=np.arange(26.0).reshape(1, 2, 13) + 0.5,
    relative_s=np.array([[7.0, 8.0]]),
)
RECENT = {
    "sum": np.arange(4, dtype=np.float32),
    "weight": np.ones(1, np.float32),
    "wires": np.arange(37.0).reshape(1, 37),
    "lead_off": np.arange(60.0).reshape(1, 60),
}
STATE = PipelineState(100.0, 50, 150.1, 1e-7, 2.0, LEARNT, RECENT)
BEFORE = decode_state(encode_state("mark", 512.0, 10, Clocks(0.25, 1e9), 1.0, STATE))
NEXT = 150.0 - STATE.clock_shift  # onset of epoch 50, as the source's timestamps say it


def test_state_and_arrays_come_back_as_they_were():
    assert (BEFORE.fingerprint, BEFORE.sfreq, BEFORE.grid_hop) == ("mark", 512.0, 10)
    assert (BEFORE.origin, BEFORE.next_hop, BEFORE.drift) == (100.0, 50, 1e-7)
    arrays = {
        "tokens": np.random.default_rng(0).normal(size=(2, 2, 5)).astype(np.float32),
        "mask": np.array([[True, False]]),
    }
    again = decode_arrays(encode_arrays(arrays))
    for name, array in arrays.items():
        np.testing.assert_array_equal(again[name], array)
        assert again[name].dtype == array.dtype
    for broken in (b"", b"\xff", b"\x81\xa1a\x01"):
        with pytest.raises(msgspec.MsgspecError):
            decode_state(broken)
        with pytest.raises((msgspec.MsgspecError, ValueError, TypeError)):
            decode_arrays(broken)


@pytest.mark.parametrize("away_s", [0.0, 3.4, 15.9, -0.3])
def test_within_the_span_of_the_window_it_goes_on_in_the_same_grid(away_s):
    found = resume(BEFORE, 512.0, Clocks(0.25, 1e9), NEXT + away_s, SPAN_S)
    assert found.shift == 0.0
    for name, array in RECENT.items():
        np.testing.assert_array_equal(found.state.recent[name], array)
        assert found.state.recent[name].dtype == array.dtype
    assert found.away_s == pytest.approx(away_s)
    assert found.reason == f"resumed warm: {max(away_s, 0.0):.1f} s are missing"
    for name in ("origin", "next_hop", "drift", "clock_shift"):
        assert getattr(found.state, name) == getattr(STATE, name)
    for name in LEARNT.__slots__:
        np.testing.assert_array_equal(getattr(found.state.adaptation, name), getattr(LEARNT, name))


@pytest.mark.parametrize(
    ("away_s", "why"), [(16.1, "16.1 s are missing, more than"), (-0.6, "went back by 0.7 s")]
)
def test_later_or_earlier_it_starts_cold(away_s, why):
    found = resume(BEFORE, 512.0, Clocks(0.25, 1e9), NEXT + away_s, SPAN_S)
    assert found.state is None
    assert why in found.reason


def test_epochs_that_were_given_up_do_not_count_as_time_gone_back():
    """A source that was silent: its next samples are older than the epochs not waited for."""
    silent = msgspec.structs.replace(BEFORE, newest=150.1 - 6.0)
    found = resume(silent, 512.0, Clocks(0.25, 1e9), NEXT - 5.5, SPAN_S)
    assert (found.state.next_hop, found.shift) == (50, 0.0)
    assert found.away_s == pytest.approx(-5.5)
    assert found.reason == "resumed warm: 0.0 s are missing"
    back = resume(silent, 512.0, Clocks(0.25, 1e9), NEXT - 6.6, SPAN_S)
    assert "went back by 0.7 s" in back.reason
    longer = msgspec.structs.replace(BEFORE, newest=100.0)
    late = resume(longer, 512.0, Clocks(0.25, 1e9), NEXT - 16.1, SPAN_S)
    assert "16.1 s late, more than an estimate looks back" in late.reason


def test_the_time_of_day_may_be_set_while_it_was_away():
    found = resume(BEFORE, 512.0, Clocks(0.25, 1e9 + 3600), NEXT + 1, SPAN_S)
    assert (found.shift, found.away_s) == (0.0, pytest.approx(1.0))


def test_a_source_whose_clock_restarted_is_brought_in_line_by_the_time_of_day():
    clocks = Clocks(offset=80.25, utc_offset=1e9 + 140.0)  # its clock now is 140 s behind
    first = 150.0 - 140.0 + 5.0
    found = resume(BEFORE, 512.0, clocks, first, SPAN_S)
    assert found.shift == -140.0
    assert found.away_s == pytest.approx(5.0)
    assert (found.state.origin, found.state.clock_shift) == (-40.0, 0.0)


def test_after_this_machine_booted_the_source_s_clock_may_be_the_same(monkeypatch):
    monkeypatch.setattr(resumption, "boot_id", lambda: "another")
    same = resume(BEFORE, 512.0, Clocks(-4e4, 1e9 + 0.2), NEXT + 5, SPAN_S)
    assert (same.shift, same.away_s) == (0.0, pytest.approx(5.0))
    both = resume(BEFORE, 512.0, Clocks(0.25, 1e9 + 140.0), 150.0 - 140.0 + 5.0, SPAN_S)
    assert (both.shift, both.away_s) == (-140.0, pytest.approx(5.0))


def test_another_rate_begins_without_the_tracked_one():
    assert resume(BEFORE, 500.0, Clocks(0.25, 1e9), NEXT, SPAN_S).state.drift == 0.0


def test_the_fingerprint_is_of_all_that_gives_meaning():
    stream, staging = stream_config(2), StagingConfig()
    mark = fingerprint("bundle", staging, stream)
    assert mark == fingerprint("bundle", StagingConfig(stall_s=9.0), stream)
    others = [
        fingerprint("other", staging, stream),
        fingerprint("bundle", StagingConfig(hop_s=0.5), stream),
        fingerprint("bundle", StagingConfig(final_lag=1), stream),
        fingerprint("bundle", staging, stream_config(1)),
        fingerprint("bundle", staging, msgspec.structs.replace(stream, unit="mV")),
    ]
    assert len({mark, *others}) == 6


@pytest.mark.parametrize("spec", [SPEC, LEVELS], ids=["samples", "levels"])
def test_a_pipeline_goes_on_as_if_only_the_samples_were_missing(spec):
    """Held against one pipeline that got the same samples, without a restart."""
    sfreq, cut, back = 512, 7 * 512, 9 * 512 + 100
    data, times = noise(20 * sfreq), 1000.0 + np.arange(20 * sfreq) / (sfreq * 1.0001)
    kept = np.r_[0:cut, back : len(data)]
    whole = run(pipeline(spec=spec), data[kept], times[kept], [300])
    before = run(pipeline(spec=spec), data[:cut], times[:cut], [300])
    state = before[-1].after
    assert state.next_hop == len(before)
    saved = decode_state(encode_state("mark", sfreq, 0, Clocks(0.0, 1e9), 1.0, state))
    after = pipeline(spec=spec)
    after.recall(replace(state, adaptation=saved.adaptation))
    batches = before + run(after, data[back:], times[back:], [300])
    assert [b.hop for b in batches] == [b.hop for b in whole]
    for found, wanted in zip(batches, whole, strict=True):
        assert found.onset == wanted.onset
        np.testing.assert_array_equal(found.reasons, wanted.reasons)
        np.testing.assert_array_equal(found.epochs[found.usable], wanted.epochs[wanted.usable])


def test_a_restart_after_epochs_were_given_up_stays_in_the_grid():
    """The source falls silent, epochs are given up, then the process ends; the samples come."""
    sfreq, cut = 512, 7 * 512
    data, times = noise(20 * sfreq), 1000.0 + np.arange(20 * sfreq) / sfreq
    first = pipeline()
    before = run(first, data[:cut], times[:cut], [512])
    arrived = before[-1].arrived
    before += first.pop_ready(now=arrived + 6.0)
    state = before[-1].after
    assert len(before) > 9
    mark = encode_state("mark", 512.0, 0, Clocks(0.0, 1e9), 1.0, state)
    found = resume(decode_state(mark), 512.0, Clocks(0.0, 1e9), float(times[cut]), SPAN_S)
    after = pipeline()
    after.recall(found.state)
    batches = run(after, data[cut:], times[cut:], [300])
    assert [b.hop for b in batches] == list(range(len(before), 20))
    assert [b.onset for b in batches] == [1000.0 + b.hop for b in batches]
    assert all(b.usable.all() for b in batches[1:])


def test_a_new_grid_is_numbered_on():
    pipe = pipeline()
    pipe.count_from(33)
    batches = run(pipe, noise(3 * 512), 500.0 + np.arange(3 * 512) / 512, [512])
    assert [b.hop for b in batches] == [33, 34, 35]
    assert batches[0].onset == pytest.approx(500.0, abs=1e-9)
