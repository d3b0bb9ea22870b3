"""What readers tell a replay."""

import math
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest

from daemon.lsl.progress import ProgressReceiver, ProgressSender
from tests.support.paths import ROOT


@pytest.fixture
def receiver() -> Iterator[ProgressReceiver]:
    with closing(ProgressReceiver()) as receiver:
        yield receiver


def test_nobody_reads_at_first(receiver: ProgressReceiver) -> None:
    assert receiver.slowest() == math.inf
    assert receiver.readers == 0
    assert not receiver.update(10.0)


def test_the_slowest_reader_counts(receiver: ProgressReceiver) -> None:
    with (
        closing(ProgressSender(receiver.port)) as quick,
        closing(ProgressSender(receiver.port)) as slow,
    ):
        while receiver.readers < 2:
            receiver.update(10.0, 5.0)
        assert receiver.slowest() == 10.0  # who joins late starts at what was sent
        quick.send(20.0)
        slow.send(15.0)
        while receiver.slowest() < 15.0:
            receiver.update(25.0, 5.0)
        slow.send(20.0)
        while receiver.slowest() < 20.0:
            receiver.update(25.0, 5.0)


def test_readers_can_be_forgotten(receiver: ProgressReceiver) -> None:
    with closing(ProgressSender(receiver.port)):
        assert receiver.update(10.0, 5.0)
        receiver.forget()
        assert receiver.slowest() == math.inf


def test_telling_a_replay_that_has_gone_does_not_block() -> None:
    receiver = ProgressReceiver()
    port = receiver.port
    receiver.close()
    with closing(ProgressSender(port)) as sender:
        for timestamp in range(5000):
            sender.send(timestamp)


def test_a_reader_that_was_killed_is_forgotten_and_no_other(receiver: ProgressReceiver) -> None:
    script = (
        "import sys; from daemon.lsl.progress import ProgressSender\n"
        f"sender = ProgressSender({receiver.port}); sender.send(1.0); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, cwd=ROOT) as killed,
        closing(ProgressSender(receiver.port)) as other,
    ):
        while receiver.slowest() != 1.0 or receiver.readers < 2:
            receiver.update(10.0, 5.0)
        killed.kill()
        killed.wait()
        while receiver.readers > 1:
            other.send(20.0)
            receiver.update(10.0, 0.1)
        assert receiver.slowest() == 20.0
