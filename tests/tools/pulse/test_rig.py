"""Source, daemon and `hypnod pulse` in processes of their own; what becomes of a board's pin."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.rigs.daemon import Daemon, Listener, one_stream, write_config
from tests.rigs.lsl import ROOT, Source
from tests.support.bundles import TINY, make_bundle
from tools.bench.board import Board

RULE = """
[[triggers]]
name = "any"
stages = ["Wake", "NREM", "REM"]
probability = 0
usable = 0
max_age_s = 5
on_s = 3600
armed = "always"
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle"), n_context=5, **TINY)


@contextmanager
def pulsing(config):
    """`hypnod pulse` of a config, once its outputs are open."""
    command = [sys.executable, ROOT / "hypnod.py", "pulse", "--config", config]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert json.loads(process.stdout.readline())["event"] == "ready"
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()


@pytest.fixture
def rig(request, bundle, tmp_path):
    """All three, and the pin high."""
    name = f"pulse-{request.node.name}-{os.getpid()}"
    with Source(name, sfreq=512, faults=[]) as source, Board() as board:
        more = f"{RULE}[journal]\npath = '{tmp_path / 'journal.sqlite'}'\n"
        with Daemon(tmp_path, one_stream(name), bundle, more=more) as daemon:
            daemon.listen()
            with Listener(daemon.endpoint, "trigger.") as subscriber:
                subscriber.until(lambda m: m.action == "on")
            output = f'[[pulse]]\ndriver = "serial"\noptions = {{ port = "{board.port}" }}\n'
            folder = tmp_path / "pulse"
            folder.mkdir()
            config = write_config(
                folder, one_stream(name), bundle, more=RULE + output, bind=daemon.endpoint
            )
            with pulsing(config) as pulse:
                assert board.wait_for(high=True)
                yield source, daemon, pulse, board


def test_the_daemon_is_killed(rig):
    _, daemon, _, board = rig
    daemon.process.kill()
    assert board.wait_for(high=False)


def test_the_daemon_stands_still_and_goes_on(rig):
    _, daemon, _, board = rig
    daemon.process.send_signal(signal.SIGSTOP)
    assert board.wait_for(high=False)
    n = len(board.edges)
    daemon.process.send_signal(signal.SIGCONT)
    assert board.wait_for(high=True, n=n + 1)


def test_the_source_is_frozen(rig):
    source, _, _, board = rig
    source.freeze()
    assert board.wait_for(high=False)
    source.thaw()


def test_the_pulse_process_is_killed(rig):
    _, _, pulse, board = rig
    pulse.kill()
    assert board.wait_for(high=False)


def test_the_pulse_process_stands_still_and_does_nothing_old_after(rig):
    _, daemon, pulse, board = rig
    pulse.send_signal(signal.SIGSTOP)
    assert board.wait_for(high=False)
    with Listener(daemon.endpoint, "trigger.") as subscriber:
        subscriber.until(lambda m: m.action == "on")
    n = len(board.edges)
    daemon.process.kill()
    daemon.process.wait()
    pulse.send_signal(signal.SIGCONT)  # what waits for it is old by now, or soon
    assert board.wait_for(high=False)
    assert len(board.edges) - n <= 2


def test_another_subscriber_joins(rig):
    _, daemon, _, board = rig
    n = len(board.edges)
    with Listener(daemon.endpoint) as subscriber:
        for _ in range(3):
            subscriber.until(lambda m: m.topic == "trigger.m1")
        assert not any(m.replayed for m in subscriber.heard if m.topic.startswith("trigger"))
    assert len(board.edges) == n


def test_an_orderly_end_switches_off(rig):
    _, _, pulse, board = rig
    pulse.send_signal(signal.SIGTERM)
    assert pulse.wait(60) == 0
    assert board.wait_for(high=False)
    said = [json.loads(line) for line in pulse.stdout]
    assert said[0]["event"] == "on"
    assert said[0]["by"] == ["any/m1"]
