"""The bridge against a stand-in that sends what the plugin's documentation says."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pylsl
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.errors import AddressError
from models.errors import StreamError
from tests.rigs.forked import Forked
from tests.rigs.lsl import wait_until
from tools.bridge.openephys import Assembler, Block, Layout, OpenEphys
from tools.bridge.outlet import SampleClock, SampleOutlet

N = 20
"""Samples of a block."""


def value(sample, channel):
    return np.float32(sample + 10_000 * channel)


def message(first, channel, sfreq=1000.0, n=N, data=None, **changes):
    """One channel's part of a block, as the plugin's source writes it."""
    content = {
        "stream": "Rhythm Data",
        "channel_num": channel,
        "num_samples": n,
        "sample_num": first,
        "sample_rate": sfreq,
    } | changes
    header = {"message_num": 1, "type": "data", "content": content, "data_size": 4 * n}
    if data is None:
        data = value(np.arange(first, first + n), channel)
    return [b"DATA\0", json.dumps(header).encode(), np.asarray(data, "<f4").tobytes()]


EVENT = [b"EVENT\0", b'{"message_num": 7, "type": "event", "content": {"type": 3}}', b"\1"]
SPIKE = [b"EVENT\0", b'{"message_num": 7, "type": "spike", "spike": {}}', b"\1"]


class StandIn:
    """The plugin's sockets: data on one port, heartbeats on the next."""

    def __init__(self):
        self._context = zmq.Context()
        self._data, self._beats = (self._context.socket(k) for k in (zmq.XPUB, zmq.REP))
        while True:
            port = self._data.bind_to_random_port("tcp://127.0.0.1", max_port=60_000)
            try:
                self._beats.bind(f"tcp://127.0.0.1:{port + 1}")
                break
            except zmq.ZMQError:
                self._data.unbind(f"tcp://127.0.0.1:{port}")
        self.endpoint = f"tcp://127.0.0.1:{port}"

    def wait_for_client(self):
        """Return the first heartbeat, once its sender has subscribed."""
        assert self._data.poll(60_000), "nobody subscribed"
        assert self._beats.poll(60_000), "no heartbeat"
        beat = json.loads(self._beats.recv())
        self._beats.send(b"heartbeat received")
        return beat

    def send(self, first, channels=range(4), **changes):
        for channel in channels:
            self._data.send_multipart(message(first, channel, **changes))
        self._data.send_multipart(EVENT)

    def close(self):
        for socket in (self._data, self._beats):
            socket.close(0)
        self._context.term()


@pytest.fixture
def plugin():
    stand_in = StandIn()
    yield stand_in
    stand_in.close()


@contextmanager
def bridged(plugin, name) -> Iterator[Forked]:
    process = Forked(["bridge", "openephys", plugin.endpoint, "--name", name])
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 0


def test_a_rack_becomes_a_stream_with_its_gaps(plugin, request):
    name = request.node.name
    with bridged(plugin, name):
        beat = plugin.wait_for_client()
        assert (beat["application"], beat["type"]) == ("hypnod", "heartbeat")
        for first in range(0, 5 * N, N):
            plugin.send(first)
        (found,) = pylsl.resolve_byprop("name", name, timeout=60)
        inlet = pylsl.StreamInlet(found)
        inlet.open_stream(timeout=60)
        info = inlet.info(timeout=60)
        assert info.get_channel_labels() == ["CH1", "CH2", "CH3", "CH4"]
        assert info.get_channel_units() == ["microvolts"] * 4
        assert info.nominal_srate() == 1000
        for first in (*range(100, 200, N), *range(300, 400, N)):
            plugin.send(first)
        rows, times = [], []

        def complete():
            more, stamps = inlet.pull_chunk(0.0)
            rows.extend(more)
            times.extend(stamps)
            return rows and rows[-1][0] == 399

        wait_until(complete, "the last sample")
        sent = np.array(rows)
        samples = sent[:, 0]
        expected = np.column_stack([value(samples, channel) for channel in range(4)])
        np.testing.assert_array_equal(sent, expected)
        np.testing.assert_allclose(np.diff(times), np.diff(samples) / 1000, atol=1e-6)
        assert np.max(np.diff(samples)) == 101
        age = pylsl.local_clock() - times[-1]
        assert -samples[-1] / 1000 <= age < 60  # its 0.4 s were sent at once, and count as 0.4 s
        inlet.close_stream()


def test_a_message_that_cannot_be_read_ends_nothing_that_has_begun(plugin, request):
    with bridged(plugin, request.node.name) as process:
        plugin.wait_for_client()
        for first in range(0, 5 * N, N):
            plugin.send(first)
        assert "4 channels" in process.stderr.readline()
        plugin.send(100, n="many", data=np.zeros(N))
        assert "messages left out so far: 1; expected messages" in process.stderr.readline()
        plugin.send(120, sfreq=500.0)
        plugin.send(140, sfreq=500.0)
        assert "from 500 Hz" in process.stderr.readline()


def test_two_streams_by_turns_are_refused(plugin, request):
    command = ["bridge", "openephys", plugin.endpoint, "--name", request.node.name]
    with Forked(command) as process:
        plugin.wait_for_client()
        for first in range(0, 20 * N, N):
            plugin.send(first, stream="AP" if first % (2 * N) else "LFP")
        _, said = process.communicate()
    assert process.returncode == 5
    assert "and another by turns: choose one in the plugin" in said


@given(
    lost=st.sets(st.tuples(st.integers(0, 9), st.integers(0, 3)), max_size=12),
    amid=st.integers(0, 3),
)
@settings(max_examples=50)
def test_every_sample_lies_where_its_number_says_whatever_is_lost(lost, amid):
    """All from the second block on; the block in which one subscribes is left out."""
    assembler, blocks = Assembler(), []
    sent = [(b, c) for b in range(10) for c in range(4)][amid:]
    lost = {(b, c) for b, c in lost if b > 1}
    for b, c in sent:
        if (b, c) not in lost:
            blocks += assembler.take(message(b * N, c))
            blocks += assembler.take(SPIKE)
    blocks += assembler.take(message(10 * N, 0))
    for block in blocks:
        b = block.first // N
        assert block.channels == (0, 1, 2, 3)
        for c in range(4):
            expected = value(np.arange(block.first, block.first + N), c)
            expected = np.full(N, np.nan) if (b, c) in lost else expected
            np.testing.assert_array_equal(block.data[:, c], expected)
    there = [b for b in range(1, 10) if not {(b, c) for c in range(4)} <= lost]
    assert [block.first // N for block in blocks] == there


@pytest.mark.parametrize(
    ("frames", "found"),
    [
        ([b"DATA\0"], "header cannot be read"),
        ([b"DATA\0", b'{"type": "data", "content": {"n_channels": 4}}', b""], "stream"),
        (message(0, 0, num_samples=19), "expected 19 float32 samples .* found 80 bytes"),
        (message(0, -1), "channel_num"),
        (message(0, 0, sample_rate=0.0), "sample_rate"),
    ],
)
def test_what_is_not_as_documented_is_a_sentence(frames, found):
    with pytest.raises(StreamError, match=found):
        list(Assembler().take(frames))


@pytest.mark.parametrize("endpoint", ["localhost", "tcp://*", "tcp://a:b", "tcp://a:65535"])
def test_an_endpoint_that_is_none_is_a_sentence(endpoint):
    with pytest.raises(AddressError, match="expected tcp://HOST:PORT"):
        OpenEphys(endpoint)


@given(drift_ppm=st.floats(-80, 80), delays=st.lists(st.floats(0, 0.04), min_size=20, max_size=20))
@settings(max_examples=20)
def test_stamps_follow_a_crystal_that_is_off(drift_ppm, delays):
    clock, sfreq, block_s = SampleClock(1000.0), 1000.0 * (1 + drift_ppm * 1e-6), 0.5
    n = round(block_s * 1000)
    for k in range(4 * 7200):
        end = 100.0 + (k + 1) * n / sfreq
        stamp, follows = clock.stamp(k * n, n, end + delays[k % 20])
        assert follows == (k > 0)
    assert abs(stamp - (end - n / sfreq) - min(delays)) < 0.05


def test_an_acquisition_that_is_started_again_begins_anew():
    clock = SampleClock(1000.0)
    clock.stamp(5000, 100, 50.0)
    assert clock.stamp(0, 100, 70.0) == (pytest.approx(69.9), False)
    assert clock.stamp(100, 100, 70.1) == (pytest.approx(70.0), True)


def test_a_pause_in_which_nothing_is_counted_is_found():
    clock = SampleClock(1000.0)
    clock.stamp(0, 100, 10.0)
    for k in range(1, 250):
        stamp, _ = clock.stamp(100 * k, 100, 3600.0 + 0.1 * k)
    assert stamp == pytest.approx(3600.0 + 0.1 * k - 0.1)


@given(cuts=st.lists(st.integers(1, 2999), max_size=8, unique=True))
@settings(max_examples=20)
def test_fast_samples_are_decimated_the_same_in_any_blocks(cuts, outlet):
    time = np.arange(3000) / 30_000
    data = np.column_stack([np.sin(2 * np.pi * f * time) for f in (20, 1700)]).astype(np.float32)

    def decimated(edges):
        outlet._state, out = None, []
        for begin, end in pairwise(edges):
            block = Block(outlet.layout, (0, 1), begin, data[begin:end])
            rows, at = outlet._decimate(block, follows=begin > 0)
            out += [(begin + i, *row) for i, row in zip(at, rows, strict=True)]
        return np.array(out)

    found = decimated([0, *sorted(cuts), 3000])
    np.testing.assert_array_equal(found[:, 0], np.arange(0, 3000, 30))
    np.testing.assert_array_equal(found, decimated([0, 3000]))
    assert np.abs(found[50:, 2]).max() < 0.01
    assert np.abs(found[50:, 1]).max() > 0.9


@pytest.fixture(scope="module")
def outlet():
    layout = Layout("Rhythm Data", 30_000.0)
    block = Block(layout, (0, 1), 0, np.zeros((1, 2), np.float32))
    outlet = SampleOutlet("decimated", "decimated", block)
    assert outlet.sfreq == 1000
    yield outlet
    outlet.close()
