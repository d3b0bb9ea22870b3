import contextlib
import re
import socket

import pytest
import structlog

from daemon.config import StreamConfig, SubjectConfig
from daemon.messages import StreamMessage
from daemon.metrics import Metrics
from daemon.notify import Notifier
from daemon.outbox import Outbox
from daemon.state import State, StateWriter

STREAMS = tuple(
    StreamConfig(
        name=name,
        match={"type": "EEG"},
        subjects=(SubjectConfig(name=f"{name}1", channels={"eeg": "E1"}),),
    )
    for name in ("cage", "den")
)


class Recorded:
    """A sink that keeps what was sent."""

    def __init__(self):
        self.sent = []

    def take(self, what):
        self.sent += what.messages


@pytest.fixture
def systemd(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "notify"))
        server.settimeout(10)
        yield server


@pytest.fixture
def recorded():
    return Recorded()


@pytest.fixture
def writer(recorded, systemd):
    metrics = Metrics()
    notifier = Notifier({"NOTIFY_SOCKET": systemd.getsockname()})
    writer = StateWriter(STREAMS, "session", Outbox(recorded), metrics, notifier)
    writer.metrics = metrics
    yield writer
    notifier.close()


def test_a_change_is_told_to_everyone(writer, recorded, systemd):
    with structlog.testing.capture_logs() as logs:
        writer.set("cage", State.RESOLVING, "no stream matches")
        writer.set("cage", State.FILLING, "samples come", sfreq=511.96)
    assert [(log["stream"], log["state"]) for log in logs] == [
        ("cage", "RESOLVING"),
        ("cage", "FILLING"),
    ]
    said = [m for m in recorded.sent if m.stream == "cage"]
    assert [(m.seq, m.state) for m in said] == [(0, "STARTING"), (1, "RESOLVING"), (2, "FILLING")]
    assert all(isinstance(m, StreamMessage) for m in said)
    assert said[2].subjects == ("cage1",)
    assert said[2].sfreq == 511.96
    statuses = [systemd.recv(1024) for _ in range(4)]
    assert statuses[-1] == b"STATUS=staging 1 of 2 streams, 1 of 2 subjects; den: starting"
    gauge = writer.metrics.registry.get_sample_value
    assert gauge("hypnod_stream_state", {"stream": "cage", "state": "FILLING"}) == 1
    assert gauge("hypnod_stream_state", {"stream": "cage", "state": "RESOLVING"}) == 0


@pytest.mark.parametrize(
    ("states", "status"),
    [
        ("STARTING STARTING", r"cage: starting; den: starting"),
        ("FILLING STAGING", r"staging 2 of 2 streams, 2 of 2 subjects"),
        (
            "STAGING STALLED",
            r"staging 1 of 2 streams, 1 of 2 subjects; den: it is silent since \d\d:\d\d UTC",
        ),
        (
            "RESOLVING FAILED",
            r"cage: it is silent since \d\d:\d\d UTC; den: failed at \d\d:\d\d UTC: it is silent",
        ),
        ("DRAINING STOPPED", r"cage: draining; den: stopped"),
    ],
)
def test_the_status_is_for_people(writer, systemd, states, status):
    for stream, state in zip(("cage", "den"), states.split(), strict=True):
        writer.set(stream, State(state), "it is silent")
    said = last_of(systemd)
    assert re.fullmatch(f"STATUS={status}", said), said


def last_of(systemd):
    """Return what was said last; nothing that was said is still on its way."""
    systemd.setblocking(False)
    said = b""
    with contextlib.suppress(BlockingIOError):
        while True:
            said = systemd.recv(4096)
    return said.decode()


def test_the_same_state_again_says_nothing(writer, recorded):
    before = len(recorded.sent)
    writer.set("cage", State.STARTING, "the daemon is starting")
    assert len(recorded.sent) == before


def test_the_same_state_for_another_reason_is_told(writer, recorded):
    writer.set("cage", State.STALLED, "no samples")
    writer.set("cage", State.STALLED, "two streams match")
    said = [(m.state, m.reason) for m in recorded.sent[-2:]]
    assert said == [("STALLED", "no samples"), ("STALLED", "two streams match")]


def test_ready_is_filling_or_staging(writer):
    writer.set("cage", State.STAGING, "")
    writer.set("den", State.STALLED, "no samples for 2 s")
    assert writer.not_ready == {"den": "STALLED: no samples for 2 s"}
    assert writer.all == {"cage": "STAGING", "den": "STALLED"}


def test_a_failure_is_an_error_in_the_log(writer):
    with structlog.testing.capture_logs() as logs:
        writer.set("cage", State.FAILED, "expected the channel E1, found E2")
    assert logs[0]["log_level"] == "error"
