"""Timestamps against arrival: the samples are real, the clock is anything."""

import re
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import StreamError
from models.signal.clock.pace import Pace
from models.signal.clock.source_clock import EARLY_S, LATE_S, OLD_S, SourceClock
from models.signal.clock.timeline import Timeline

SFREQ = 32.0
FEW = settings(max_examples=10)
BOOT = 5000.0  # this machine's clock at the first sample, s


class Heard:
    """What a source clock makes of a source.

    Args:
        stamps: (n,) timestamps, s.
        true: (n,) when the samples were taken, on this machine's clock, s.
        arrivals: (n,) when they came, likewise; default: at once.
        size: samples a chunk.
    """

    def __init__(self, stamps, true, arrivals=None, size=8, declared=SFREQ, **how):
        self.clock, self.timeline = SourceClock("rack"), Timeline(declared, 0.02)
        self.off, self.age_off = [], []
        self.connect(stamps, true, arrivals, size, declared, **how)

    def connect(self, stamps, true, arrivals=None, size=8, declared=SFREQ, **how):
        arrivals = true if arrivals is None else arrivals
        self.said = []
        self.clock.connect(declared, **how)
        for first in range(0, len(stamps), size):
            chunk = stamps[first : first + size]
            arrived = float(arrivals[first : first + size].max())
            self.clock.check_unit(chunk)
            self.timeline.place(chunk, arrived)
            self.said += self.clock.look(self.timeline, chunk, arrived, 0.0)
            now = self.timeline.last + self.clock.offset(0.0)
            self.off.append(now - true[first + len(chunk) - 1])
            self.age_off.append(self.off[-1] - self.clock.may_be_older(0.0))


def taken(seconds, sfreq=SFREQ):
    return BOOT + np.arange(round(seconds * sfreq)) / sfreq


def found(caught):
    """Return the rate that an error says was found, Hz."""
    return float(re.search(r"([\d.]+) Hz: correct", str(caught.value))[1])


def arriving(said):
    """Return the rate at which a sentence says that samples arrive, Hz."""
    return float(re.search(r"arrive at ([\d.]+) Hz", said)[1])


OFFSETS = st.one_of(
    st.floats(-1e4, 1e4),
    st.floats(-3, 3),
    st.sampled_from([1.79e9, -BOOT + 1, 3600.0, -1800.0]),
)


@FEW
@given(
    offset=OFFSETS,
    size=st.integers(8, 60),
    delay=st.floats(0.0, 0.3),
    jitter=st.floats(0.0, 0.2),
    seed=st.integers(0, 99),
)
def test_whatever_a_clock_says_the_time_is_right_from_the_first_chunk_on(
    offset, size, delay, jitter, seed
):
    true = taken(30)
    rng = np.random.default_rng(seed)
    arrivals = np.maximum.accumulate(true + delay + rng.uniform(0, jitter + 1e-9, len(true)))
    heard = Heard(true + offset, true, arrivals, size)
    assert np.abs(heard.off).max() < 1.0
    if offset < -LATE_S or offset > EARLY_S + 0.6:
        (said,) = heard.said
        by_arrival = "utc goes" if "counts them as that old" in said else "utc and age_s go"
        assert f"{by_arrival} by the arrival" in said


@pytest.mark.parametrize("unit", [60.0, 3600.0, 86400.0, 1e-3, 1e-6])
def test_timestamps_that_are_not_in_s_are_refused(unit):
    true = taken(80)
    with pytest.raises(StreamError, match=r"are they in s\?"):
        Heard(true / unit, true)


@pytest.mark.parametrize("pause", [1e-6, 0.0])
def test_bunches_of_seconds_are_no_other_unit(pause):
    true = taken(80)
    n = round(4 * SFREQ)
    stamps = true[np.arange(len(true)) // n * n] + np.arange(len(true)) % n * pause
    Heard(stamps, true, size=n)


@FEW
@given(off=st.one_of(st.floats(0.93, 0.97), st.floats(1.03, 1.07)), lost=st.booleans())
def test_the_rate_of_timestamps_is_told_as_it_is_though_most_are_masked(off, lost):
    true = taken(60, SFREQ * off)
    if lost:
        true = np.delete(true, np.arange(200, len(true), 200))
    said = " ".join(Heard(true, true, declared=SFREQ).said)
    told = float(re.search(r"declares 32 Hz, its timestamps say ([\d.]+) Hz", said)[1])
    assert told == pytest.approx(SFREQ * off, rel=1e-3)
    assert "an epoch with too few samples has no stage" in said


@FEW
@given(late=st.floats(0.0, OLD_S - 0.05), size=st.integers(8, 60))
def test_samples_that_may_be_late_are_believed_to_be(late, size):
    """A closed loop would take them for fresh ones."""
    true = taken(30)
    heard = Heard(true, true, true + late, size)
    assert np.abs(heard.age_off).max() < 0.01
    if late < LATE_S - 0.05:
        assert np.abs(heard.off).max() < 0.01
        assert heard.said == []


@FEW
@given(
    ppm=st.one_of(st.floats(-45_000, -4000), st.floats(4000, 45_000)),
    bunch=st.integers(16, 32),
    offset=st.sampled_from([0.0, 1.79e9, -700.0]),
)
def test_a_source_that_counts_wrong_is_told_of_and_its_time_stays_right(ppm, bunch, offset):
    sfreq = SFREQ * (1 + ppm * 1e-6)
    true = taken(120, sfreq)
    heard = Heard(BOOT + offset + np.arange(len(true)) / SFREQ, true, size=bunch)
    assert np.abs(heard.off).max() < 1.0 + abs(ppm) * 20e-6
    assert np.abs(heard.off[-len(heard.off) // 2 :]).max() < 0.5
    *_, said = heard.said
    assert arriving(said) == pytest.approx(sfreq, rel=0.002)
    assert len(heard.said) == 1 + (offset != 0)


@FEW
@given(ppm=st.floats(-200, 200), bunch=st.integers(16, 32))
def test_a_crystal_is_no_fault(ppm, bunch):
    true = taken(120)
    assert Heard(BOOT + (true - BOOT) * (1 + ppm * 1e-6), true, size=bunch).said == []


@FEW
@given(offset=st.sampled_from([0.0, 1.79e9, -700.0]), frozen=st.floats(1.0, 40.0))
def test_what_waited_for_a_frozen_reader_is_as_old_as_it_is(offset, frozen):
    true = taken(100)
    thawed = BOOT + 40 + frozen
    arrivals = np.where((true > BOOT + 40) & (true < thawed), thawed, true)
    heard = Heard(true + offset, true, arrivals)
    assert np.abs(heard.off).max() < 0.2


def test_unix_time_is_named():
    true = taken(2)
    (said,) = Heard(true + time.time() - BOOT, true).said
    assert "they are Unix time" in said


def test_what_is_pushed_at_once_or_played_faster_is_believed():
    true = taken(30)
    at_once = np.full(len(true), BOOT)
    heard = Heard(true, true, at_once, size=10**6)
    assert heard.said == []
    assert heard.off == pytest.approx([0.0])
    faster = Heard(true, true, BOOT + (true - BOOT) / 4, is_live=False)
    assert faster.said == []
    assert np.abs(faster.off).max() < 1e-6


@FEW
@given(part=st.floats(0.2, 0.85), size=st.integers(8, 40))
def test_a_lower_rate_than_the_timestamps_say_is_refused(part, size):
    true = taken(30, SFREQ * part)
    stamps = BOOT + np.arange(len(true)) / SFREQ
    with pytest.raises(StreamError, match="that its timestamps say") as caught:
        Heard(stamps, true, size=size)
    assert found(caught) == pytest.approx(SFREQ * part, rel=0.02)


@FEW
@given(part=st.floats(1.2, 4.0), size=st.integers(8, 40))
def test_a_higher_rate_than_the_timestamps_say_may_be_a_player_and_is_told(part, size):
    true = taken(30, SFREQ * part)
    (said,) = Heard(BOOT + np.arange(len(true)) / SFREQ, true, size=size).said
    assert arriving(said) == pytest.approx(SFREQ * part, rel=0.02)


@FEW
@given(part=st.one_of(st.floats(0.2, 0.85), st.floats(1.2, 4.0)), size=st.integers(8, 40))
def test_another_rate_than_is_declared_is_refused(part, size):
    true = taken(30, SFREQ * part)
    with pytest.raises(StreamError, match="the 32 Hz that it declares") as caught:
        Heard(true, true, size=size)
    assert found(caught) == pytest.approx(SFREQ * part, rel=0.02)


@pytest.mark.parametrize("connected_s", [5, 700])
@pytest.mark.parametrize("offset", [-1.5, 1.79e9, -700.0])
def test_a_source_that_comes_back_is_judged_anew(connected_s, offset):
    before = taken(connected_s)
    heard = Heard(before + offset, before)
    assert "this machine's clock" in heard.said[0]
    assert heard.clock.is_contradicted
    again = taken(60) + connected_s + 3
    heard.connect(again, again)
    assert heard.said == []
    assert np.abs(heard.off[-10:]).max() < 0.1
    assert not heard.clock.is_contradicted
    slower = taken(30, SFREQ / 2) + connected_s + 70
    with pytest.raises(StreamError, match="the 32 Hz that it declares"):
        heard.connect(slower, slower)


def test_a_clock_that_is_set_back_is_no_loss_of_samples():
    true = taken(30)
    heard = Heard(np.where(true < BOOT + 6, true, true - 15), true)
    assert heard.said == []
    assert np.abs(heard.off[-50:]).max() < 0.1


def test_lost_samples_are_no_other_rate_but_many_are_told_of():
    true = taken(30)
    kept = true[np.random.default_rng(0).permutation(len(true))[: len(true) // 2]]
    kept.sort()
    heard = Heard(kept, kept)
    (said,) = heard.said
    assert "it declares 32 Hz, 1" in said
    assert not heard.clock.is_contradicted
    few = true[np.arange(len(true)) % 50 != 0]
    assert Heard(few, few).said == []


@pytest.mark.parametrize("unit", [1e3, 1e6])
def test_a_device_that_counts_milliseconds_is_refused(unit):
    true = taken(5)
    with pytest.raises(StreamError, match="are they in s"):
        Heard((true - BOOT) * unit, true)


@FEW
@given(
    slope=st.floats(-0.9, 0.9),
    noise=st.lists(st.integers(0, 5), min_size=400, max_size=400),
)
def test_the_line_lies_under_all_samples_and_touches_them(slope, noise):
    pace, arrived = Pace(), np.arange(400) * 0.5
    lateness = 3.0 + slope * arrived + np.array(noise)
    for at, late in zip(arrived.tolist(), lateness.tolist(), strict=True):
        pace.observe(at - late, at)
    line = pace.lateness()
    gap = lateness - line.now - line.slope * (arrived - arrived[-1])
    assert gap.min() > -1.0  # the open ends of windows
    assert gap.min() < 1e-6
