"""Source, daemon and `hypnod pulse` in processes of their own; what becomes of a board's pin."""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import numpy as np
import pytest

from daemon.messages import EchoMessage, PulseMessage, TriggerMessage
from models.simulator.mouse.simulate import SimulatedMice
from tests.rigs import forked
from tests.rigs.daemon import Daemon, Listener, one_stream, write_config
from tests.rigs.forked import Forked
from tests.rigs.lsl import Source
from tests.support.bundles import TINY, make_bundle
from tools.bench.board import Board

SFREQ = 512
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
    with Forked(["pulse", "--config", config], stdout=subprocess.PIPE) as process:
        try:
            ready = json.loads(process.stdout.readline())
            assert (ready["event"], ready["outputs"]) == ("ready", ["serial"])
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()


@contextmanager
def running(source, bundle, folder, rule=RULE, **stream):
    """All three, `hypnod pulse` hearing the decisions of a daemon that stages already."""
    name = source.spec["name"]
    with Board() as board:
        output = f'[[pulse]]\ndriver = "serial"\noptions = {{ port = "{board.port}" }}\n'
        more = f"{rule}{output}[journal]\npath = '{folder / 'journal.sqlite'}'\n"
        streams = one_stream(name, **stream)
        with Daemon(folder, streams, bundle, more=more) as daemon:
            daemon.listen()
            with Listener(daemon.endpoint, "trigger.") as subscriber:
                subscriber.next()
            (folder / "pulse").mkdir()
            config = write_config(
                folder / "pulse",
                streams,
                bundle,
                more=rule + output,
                bind=daemon.endpoint,
                catchup_bind=daemon.catch_up,
            )
            with pulsing(config) as pulse:
                yield source, daemon, pulse, board
                # seen where the test fails
                sys.stderr.writelines([*daemon.last_lines, f"pulse ended with {pulse.poll()}\n"])


@pytest.fixture
def source(request):
    with Source(f"pulse-{request.node.name}-{os.getpid()}", sfreq=SFREQ, faults=[]) as source:
        yield source


@pytest.fixture
def rig(source, bundle, tmp_path):
    """All three, and the pin high."""
    with running(source, bundle, tmp_path) as rig:
        assert rig[-1].wait_for(high=True)
        yield rig


def limit_files(daemon, size):
    """Let the daemon's files grow up to a size: its journal cannot be written beyond."""
    _, hard = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(
        daemon.process.pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard)
    )


def test_the_pin_is_low_while_something_is_wrong_and_high_after(rig):
    source, daemon, _, board = rig
    for wrong, right in (
        (source.freeze, source.thaw),
        (lambda: limit_files(daemon, 4096), lambda: limit_files(daemon, None)),
        (
            lambda: daemon.process.send_signal(signal.SIGSTOP),
            lambda: daemon.process.send_signal(signal.SIGCONT),
        ),
    ):
        wrong()
        assert board.wait_for(high=False)
        n = len(board.edges)
        right()
        assert board.wait_for(high=True, n=n + 1)
    source.close()  # as a program that quits does
    assert board.wait_for(high=False)


@pytest.mark.parametrize("which", ["source", "daemon", "pulse"])
def test_the_pin_goes_low_whoever_is_killed(rig, which):
    source, daemon, pulse, board = rig
    process = {"source": source.process, "daemon": daemon.process, "pulse": pulse}[which]
    process.kill()
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["asked", "terminal"])
def test_an_orderly_end_switches_off(rig, number):
    """A terminal that is closed ends it in order too: not every output goes off by itself."""
    _, _, pulse, board = rig
    pulse.send_signal(number)
    assert pulse.wait(60) == 0
    assert board.wait_for(high=False)
    said = [json.loads(line) for line in pulse.stdout]
    assert said[0]["event"] == "on"
    assert said[0]["by"] == ["any/m1"]


SHORT = f"""{RULE.replace("on_s = 3600", "on_s = 1")}
refractory_s = 1
sham = 0.5
seed = 4
"""


def test_the_pin_is_high_once_for_a_pulse_decided_on_and_for_nothing_else(source, bundle, tmp_path):
    """What it is told too late, on a busy machine, it does not do: so not every pulse must be."""
    with (
        running(source, bundle, tmp_path, SHORT) as (_, daemon, pulse, board),
        Listener(daemon.endpoint, "trigger.") as subscriber,
    ):
        while len(_rises(board)) < 2 or "sham" not in {m.action for m in subscriber.heard}:
            subscriber.next()
        pulse.send_signal(signal.SIGTERM)
        said = [json.loads(line) for line in pulse.stdout]
        subscriber.until(lambda m: m.action == "on")  # nothing before it is left to hear
        assert board.wait_for(high=False)
        decided = {m.pulse for m in subscriber.heard if m.action == "on"}
        first = 1  # may have been decided before we listened
        done = [line for line in said if line["event"] == "on"]
        assert len(_rises(board)) == len(done) <= len(decided | {first})
        assert {"on", "off"} <= {line["event"] for line in said}
        assert all(line["by"] == ["any/m1"] for line in said)  # an "off": what has ended


def _rises(board):
    return [moment for moment, high in board.edges if high]


class Player:
    """Plays a mouse in real time, until it is told to play something else."""

    def __init__(self, source, more=0):
        self._source = source
        mouse = SimulatedMice(seed=1, duration_s=16, sfreq=SFREQ, n_subjects=1).record().data
        self._kept = np.concatenate([mouse, np.zeros((len(mouse), more))], axis=1)
        self.data = self._kept.copy()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        n, at, began = SFREQ // 4, 0, self._source.clock()
        while not self._over.wait(max(0.0, began + (at + n) / SFREQ - self._source.clock())):
            self._source.push(n, data=self.data[np.arange(at, at + n) % len(self.data)].round(2))
            at += n

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


def test_noise_in_the_place_of_a_brain_ends_a_pulse(request, bundle, tmp_path):
    name = f"pulse-{request.node.name}-{os.getpid()}"
    rule = f"{RULE}[quality]\nno_brain = true\n"
    with (
        Source(name, sfreq=SFREQ) as source,
        Player(source) as player,
        running(source, bundle, tmp_path, rule) as (_, daemon, _, board),
    ):
        assert board.wait_for(high=True)
        with Listener(daemon.endpoint, "trigger.") as subscriber:
            player.data = np.random.default_rng(0).normal(0, 50, player.data.shape)
            subscriber.until(lambda m: "no_brain" in m.reason)
        assert board.wait_for(high=False)


def test_what_was_done_and_what_was_seen_is_in_the_journal(request, bundle, tmp_path):
    name = f"pulse-{request.node.name}-{os.getpid()}"
    labels = ("EEG", "EMG", "TTL")
    subject = {"name": "m1", "channels": {"eeg": "EEG", "emg": "EMG"}, "echo": "TTL"}
    with (
        Source(name, sfreq=SFREQ, n_channels=3, labels=labels) as source,
        Player(source, more=1) as player,
        running(source, bundle, tmp_path, subjects=[subject]) as (_, daemon, pulse, board),
    ):
        with Listener(daemon.endpoint) as subscriber:
            assert board.wait_for(high=True)
            player.data[:, 2] = 1
            seen = subscriber.until(lambda m: isinstance(m, EchoMessage))
            assert seen.high
            done = [m for m in subscriber.heard if isinstance(m, PulseMessage)]
            if not done:
                done = [subscriber.until(lambda m: isinstance(m, PulseMessage))]
            pulse.send_signal(signal.SIGTERM)
            off = subscriber.until(lambda m: isinstance(m, PulseMessage))
        assert pulse.wait(60) == 0
        (on,) = done
        assert [(m.done, m.driver, m.output, m.rule) for m in (on, off)] == [
            ("on", "serial", 0, "any"),
            ("off", "serial", 0, "any"),
        ]
        decided = [
            m
            for m in subscriber.heard
            if isinstance(m, TriggerMessage) and (m.session, m.pulse) == (on.decided_in, on.pulse)
        ]
        assert decided
        assert on.utc < off.utc
        journal = tmp_path / "journal.sqlite"
        found = forked.run("night", journal, "--session", "last", "--json", check=True).stdout
        (told,) = json.loads(found)["triggers"]
        assert told["pulses"][0]["done"][0]["on_s"] >= 0
        assert told["pulses"][0]["seen"]["low_s"] is None


def test_where_only_the_daemon_knows_its_port_nothing_is_told_and_hardware_is_driven(tmp_path):
    """As of a config with free ports."""
    with Board() as board:
        output = f'[[pulse]]\ndriver = "serial"\noptions = {{ port = "{board.port}" }}\n'
        config = write_config(
            tmp_path, one_stream("absent"), tmp_path, more=RULE + output, bind="tcp://*:5570"
        )
        with Forked(["pulse", "--config", config], stdout=subprocess.PIPE) as process:
            ready = json.loads(process.stdout.readline())
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
    assert (ready["endpoint"], ready["told"]) == ("tcp://127.0.0.1:5570", None)
