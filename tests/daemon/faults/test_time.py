"""Timestamps and delivery go wrong; real outlets in processes of their own.

Epoch k is always origin + k, and holds the samples of that time or none.
"""

import signal

import numpy as np
import pylsl
import pytest
import structlog

import models.signal.clock.pace
from daemon.config import StagingConfig
from daemon.lsl.inlet import BUFFER_S
from daemon.messages import StageMessage
from tests.rigs.daemon import Daemon, Listener, one_stream
from tests.rigs.lsl import Source, wait_until
from tests.rigs.stream import MISSING, OK, SFREQ, Rig
from tests.rigs.stream import signal as signal_at
from tests.support.bundles import TINY, make_bundle

QUICK = StagingConfig(stall_s=0.3)


def push(rig, source, stamps, time=None):
    """Push the signal of `time` with these timestamps, both in samples since the origin."""
    rig.origin = rig.origin or source.clock()
    time = stamps if time is None else time
    source.push(
        len(time),
        timestamps=rig.origin + np.asarray(stamps) / SFREQ,
        data=signal_at(np.asarray(time) / SFREQ),
    )


def test_a_frozen_source_and_its_burst(name, source):
    """What was given up in the silence stays given up; what comes too late changes nothing."""
    with Rig(name, QUICK) as rig:
        rig.until_connected()
        rig.push(source, 0, 4.3)
        rig.until_epoch(3)
        source.freeze()
        rig.until_state("STALLED", "connected, but no sample")
        rig.until_epoch(5)
        n = len(rig.batches)
        source.thaw()
        rig.push(source, 4.3, n + 4.01)  # all that it had recorded meanwhile
        rig.until_state("FILLING")
        rig.until_epoch(n + 3)
    rig.check_grid()
    assert rig.reasons() == [OK] * 4 + [MISSING] * (n - 4) + [OK] * 4


def test_a_frozen_source_that_lost_what_it_could_not_send(rig, source):
    rig.push(source, 0, 4.3)
    source.freeze()
    rig.poll()
    source.thaw()
    rig.push(source, 7.8, 12.01)
    rig.until_epoch(11)
    rig.check_grid()
    assert rig.reasons() == [OK] * 4 + [MISSING] * 4 + [OK] * 4


def test_repeated_samples_are_used_once(rig, source):
    order = np.r_[0:3000, 2700:3000, 3000 : 512 * 8 + 1]
    push(rig, source, order)
    rig.until_epoch(7)
    rig.check_grid()
    assert rig.reasons() == [OK] * 8
    assert rig.count("hypnod_dropped_samples_total") == 300


def test_samples_in_the_wrong_order_mask_their_epochs_only(rig, source):
    order = np.r_[0:2100, 2200:2300, 2100:2200, 2300 : 512 * 8 + 1]
    push(rig, source, order)
    rig.until_epoch(7)
    rig.check_grid()
    assert rig.reasons() == [OK] * 4 + [MISSING] + [OK] * 3


def test_bunches_within_the_jitter_are_smoothed(name, source):
    with Rig(name, jitter_s=0.08) as rig:
        rig.until_connected()
        time = np.arange(512 * 30)
        push(rig, source, np.floor(time / 32) * 32 + 16, time)  # 62 ms
        rig.until_epoch(28)
    assert rig.reasons() == [OK] * 29
    assert [b.onset for b in rig.batches] == [rig.batches[0].onset + k for k in range(29)]


def test_wider_bunches_are_masked_and_the_log_says_what_to_set(rig, source):
    with structlog.testing.capture_logs() as logs:
        time = np.arange(512 * 64)
        for begin in range(0, len(time), 512):
            part = time[begin : begin + 512]
            push(rig, source, np.floor(part / 64) * 64 + 63, part)  # 125 ms
            rig.poll()
        wait_until(lambda: rig.poll() or rig.count("hypnod_timestamp_gaps_total"), "the count")
        wait_until(lambda: rig.poll() or warnings(logs), "the warning")
    (warning,) = warnings(logs)
    assert warning["jitter_s"] == 0.02
    assert 0.1 < warning["needed_s"] <= 0.2
    assert [m for m in rig.said if f"jitter_s = {warning['needed_s']:g} would do" in m.reason]
    rig.until_epoch(60)
    assert MISSING in rig.reasons()
    assert [b.hop for b in rig.batches] == list(range(len(rig.batches)))


def warnings(logs):
    return [entry for entry in logs if "bunches" in entry["event"]]


@pytest.fixture
def short_windows(monkeypatch):
    """To be asked for before the rig, which has a pace from its beginning."""
    monkeypatch.setattr(models.signal.clock.pace, "_WINDOW_S", 0.3)


@pytest.mark.parametrize("jump_s", [2.0, -2.0, 1e6, -1e6])
def test_a_clock_that_is_set(short_windows, rig, source, jump_s):
    """By 2 s or to another year, forth or back: samples that come as time passes stay there."""
    began, sent = source.clock(), 0

    def sent_until(end_s, shift_s):
        nonlocal sent
        due = min(round((source.clock() - began) * SFREQ), round(end_s * SFREQ))
        if due > sent:
            stamps = np.arange(sent, due)
            push(rig, source, stamps + shift_s * SFREQ, stamps)
            sent = due
        rig.poll()
        return sent >= round(end_s * SFREQ)

    wait_until(lambda: sent_until(2.4, 0.0), "the time before")
    assert rig.stream._pipeline.timeline.pace.is_real
    with structlog.testing.capture_logs() as logs:
        wait_until(lambda: sent_until(5.1, jump_s), "the time after")
        rig.until_epoch(4)
    rig.check_grid()
    expected = [OK] * 5
    if jump_s < 0:
        expected[2:4] = [MISSING] * 2 if rig.reasons()[3] == MISSING else [MISSING, OK]
    assert rig.reasons() == expected
    (entry,) = [e for e in logs if "clock was set" in e["event"]]
    assert entry["by"] == pytest.approx(jump_s, abs=0.1)
    assert rig.count("hypnod_clock_sets_total") == 1
    assert [m for m in rig.said if "the source's clock was set by" in m.reason]


@pytest.mark.parametrize("jump_s", [30 * 365 * 86400.0, -30 * 365 * 86400.0])
def test_a_clock_reset_before_the_source_was_known(rig, source, jump_s):
    """Without a pace, a day is the longest gap, and 1.75 s of the past are its beginning."""
    time = np.arange(512 * 12)
    push(rig, source, time + np.where(time >= 512 * 5 + 100, jump_s * SFREQ, 0.0), time)
    rig.until_epoch(10)
    rig.check_grid()
    lost = 0 if jump_s > 0 else 2
    assert rig.reasons()[:11] == [OK] * 5 + [MISSING] * lost + [OK] * (6 - lost)


def test_a_long_gap_is_masked_bit_by_bit(rig, source):
    """Every epoch is there, but never so many at once that nothing else gets its turn."""
    rig.push(source, 0, 3)
    rig.push(source, 900, 903.01)
    most = 0
    while len(rig.batches) < 903:
        rig.stream.poll(source.clock())
        most = max(most, len(rig.stream._ready))
        if (batch := rig.stream.pop()) is not None:
            rig.batches.append(batch)
    rig.check_grid()
    assert [b.hop for b in rig.batches if b.usable.all()] == [0, 1, 2, 900, 901, 902]
    assert 1 < most <= 64


def test_drift_of_200_ppm(rig, source):
    """Five minutes in which the source's clock gains 60 ms; test_timeline.py has the 12 h."""
    sfreq = SFREQ * (1 + 200e-6)
    for begin in range(0, 300, 60):
        time = np.arange(round(begin * sfreq), round((begin + 60) * sfreq)) / sfreq
        rig.origin = rig.origin or source.clock()
        source.push(len(time), timestamps=rig.origin + time, data=signal_at(time))
        rig.until_epoch(begin + 58)
    rig.check_grid()
    assert set(rig.reasons()) == {OK}
    assert rig.stream._pipeline.sfreq == pytest.approx(sfreq, rel=1e-6)


def test_an_inlet_that_overflowed(name, tmp_path):
    """The daemon stood still for longer than LSL keeps samples: the oldest are a gap."""
    labels = ["EEG", "EMG", *(f"X{i}" for i in range(126))]
    bundle = make_bundle(tmp_path, n_context=5, **TINY)
    streams = one_stream(name, unit="µV")
    wide = {"sfreq": 100.0, "n_channels": 128, "labels": labels, "dtype": "double64"}
    with Source(name, **wide) as source, Daemon(tmp_path, streams, bundle) as hypnod:
        hypnod.listen()
        source.wait_for_consumers()
        with Listener(hypnod.endpoint, "stage.") as subscriber:
            source.push(300)
            subscriber.until(lambda m: m.epoch == 2)
            hypnod.signal(signal.SIGSTOP)
            for _ in range(9):
                source.push(10_000)
            hypnod.signal(signal.SIGCONT)
            subscriber.until(lambda m: m.epoch == 902)
    live = [m for m in subscriber.heard if isinstance(m, StageMessage) and m.kind == "live"]
    assert [m.epoch for m in live] == list(range(903))
    assert np.diff([m.onset for m in live]) == pytest.approx(np.ones(902))
    missing = [m.epoch for m in live if m.validity["eeg"] == MISSING]
    assert 50 < len(missing) < 600
    # Source and daemon keep the newest BUFFER_S each, and drop older ones at moments of their own:
    # what is lost may be several stretches, but never of the time before, nor of the newest.
    assert 2 < missing[0] < missing[-1] <= 903 - BUFFER_S
    assert {m.validity["eeg"] for m in live} == {MISSING, OK}


class Ticking:
    """Samples as time passes, at another rate than is declared, stamped as they are taken or not.

    Args:
        rig, source: who reads and who sends.
        sfreq: at which they come, Hz.
        stamped: the rate that their timestamps count by, Hz.
    """

    def __init__(self, rig, source, sfreq, stamped):
        self._rig, self._source, self._sfreq, self._stamped = rig, source, sfreq, stamped
        self._began, self._sent = source.clock(), 0

    def until(self, reached, what):
        """Go on until the stream has come so far."""

        def ticked():
            due = int((self._source.clock() - self._began) * self._sfreq)
            if due > self._sent:
                k = np.arange(self._sent, due)
                stamps = self._began + k / self._stamped
                self._source.push(len(k), timestamps=stamps, data=signal_at(k / SFREQ))
                self._sent = due
            self._rig.stream.poll(pylsl.local_clock())
            while self._rig.stream.pop() is not None:
                pass
            return reached()

        wait_until(ticked, what)


@pytest.mark.parametrize(
    ("stamped", "why"), [(SFREQ, "found them arriving at 2"), (SFREQ / 2, "found them at 2")]
)
def test_samples_at_half_the_rate_fail_the_stream(rig, source, monkeypatch, stamped, why):
    monkeypatch.setattr(models.signal.clock.pace, "_WINDOW_S", 0.5)
    ticking = Ticking(rig, source, SFREQ / 2, stamped)
    ticking.until(lambda: rig.stream.error is not None, "the end of it")
    assert f"expected samples at the {SFREQ:g} Hz" in str(rig.stream.error)
    assert why in str(rig.stream.error)
    assert rig.said[-1].state == "FAILED"
    assert rig.said[-1].sfreq == pytest.approx(SFREQ / 2, rel=0.1)


def test_a_source_that_comes_back_at_half_the_rate_is_waited_for(rig, source, monkeypatch):
    monkeypatch.setattr(models.signal.clock.pace, "_WINDOW_S", 0.5)
    rig.push(source, 0, 1.01)
    rig.until_epoch(0)
    source.restart()
    rig.until_connected(2)
    ticking = Ticking(rig, source, SFREQ / 2, SFREQ / 2)
    ticking.until(lambda: rig.said[-1].state == "STALLED", "a stream that waits")
    assert "correct the rate at the source" in rig.said[-1].reason
    assert rig.stream.error is None
