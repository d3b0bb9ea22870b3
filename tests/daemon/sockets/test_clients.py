"""The processes that serve clients: what becomes of the daemon when they end, or stand still."""

import os
import signal
import socket
import subprocess
import sys
import uuid
from contextlib import ExitStack
from pathlib import Path

import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.config import PublishConfig, SecurityConfig
from daemon.messages import StreamMessage
from daemon.sockets import link as module
from daemon.sockets.gate import Gate
from daemon.sockets.link import Link
from daemon.sockets.publisher import Publisher
from tests.rigs.daemon import Daemon, Listener, clients_of, one_stream
from tests.rigs.lsl import wait_until
from tests.support.nights import stage
from tests.support.paths import ROOT


@pytest.fixture
def daemon(tmp_path, bundle):
    with Daemon(tmp_path, one_stream(f"absent-{uuid.uuid4().hex}"), bundle) as daemon:
        daemon.listen()
        daemon.event("ready")
        yield daemon


@pytest.mark.parametrize("role", ["publish", "answer"])
def test_one_that_ends_is_told_and_started_again_where_it_was(daemon, role):
    before = clients_of(daemon.process.pid)
    with Listener(daemon.endpoint, "heartbeat") as listener:
        heard = listener.next().seq
        os.kill(before[role], signal.SIGKILL)
        assert "ended with code -9" in daemon.event("clients not served", role=role)["reason"]
        daemon.event("clients served again", role=role)
        assert listener.until(lambda m: not m.replayed).seq > heard
        with Listener(daemon.endpoint, "stream.") as late:
            message = late.next()
            assert isinstance(message, StreamMessage)
            assert message.replayed
    now = clients_of(daemon.process.pid)
    assert {r for r in now if now[r] != before[r]} == {role}
    assert "clients" not in daemon.get("/readyz")[1]
    daemon.signal(signal.SIGTERM)
    assert daemon.end()[0] == 0


def test_one_that_stands_still_keeps_the_daemon_from_nothing(daemon):
    pids = clients_of(daemon.process.pid).values()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    daemon.signal(signal.SIGTERM)
    assert daemon.end()[0] == 0
    wait_until(lambda: not any(map(_runs, pids)), "both have ended")


def test_they_end_with_the_daemon(daemon):
    pids = clients_of(daemon.process.pid).values()
    daemon.process.kill()
    daemon.process.wait()
    wait_until(lambda: not any(map(_runs, pids)), "both have ended")


def _runs(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@settings(max_examples=30)
@given(st.lists(st.binary(max_size=300_000), max_size=8))
def test_records_arrive_whole_and_in_order(contents):
    one, other = map(Link, socket.socketpair())
    for k, content in enumerate(contents):
        assert one.send("message", k, content)
    heard = []
    while len(heard) < len(contents):
        one.flush()
        heard += other.receive()
    assert heard == [["message", k, content] for k, content in enumerate(contents)]
    assert one.is_sent
    one.close()
    assert other.receive() is None
    other.close()


def test_what_the_other_end_never_takes_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "MAX_WAITING", 10_000)
    one, other = map(Link, socket.socketpair())
    while one.send(bytes(1000)):
        pass
    assert one._n_waiting <= 10_000
    other.close()
    one.close()


def test_a_flood_of_subscriptions_is_cut_off_and_others_hear_everything():
    """Without a bound it took all of the socket's time, and 3 million topics were kept."""
    refused = []
    with (
        zmq.Context() as context,
        context.socket(zmq.SUB) as listener,
        Gate(SecurityConfig(), refused.append) as gate,
        Publisher(PublishConfig(bind="tcp://127.0.0.1:*"), gate) as publisher,
    ):
        listener.subscribe("stage.m1.")
        listener.connect(publisher.endpoint)
        publisher.publish(stage(0, kind="final"))
        while not listener.poll(1):
            publisher.serve(0)
        flood = [sys.executable, "-m", "tests.rigs.floods.attack", "subscriptions"]
        with (
            subprocess.Popen([*flood, publisher.endpoint, "", ""], cwd=ROOT) as attacker,
            ExitStack() as stack,
        ):
            stack.callback(attacker.kill)
            seq = 0
            while len(refused) < 3:
                publisher.serve(0.001)
                publisher.publish(stage(seq))
                while listener.recv_multipart()[0] != b"stage.m1.live":
                    pass  # the final one, which may come twice: as news and as the late one's copy
                seq += 1
        assert set(refused) == {"flood"}
