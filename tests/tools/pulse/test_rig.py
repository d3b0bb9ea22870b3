"""Source, daemon and `hypnod pulse` in processes of their own; what becomes of a board's pin."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from daemon.messages import EchoMessage, PulseMessage, TriggerMessage
from tests.rigs import forked, pin
from tests.rigs.daemon import Listener, one_stream, write_config
from tests.rigs.forked import Forked
from tests.rigs.lsl import Source
from tests.rigs.pin import RULE, SFREQ, Player, knows_lead, limit_files
from tests.support.bundles import TINY, make_bundle
from tools.bench.board import Board


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle"), n_context=5, **TINY)


@contextmanager
def running(*of, **settings):
    """All three; what they said last is seen where the test fails."""
    with pin.running(*of, **settings) as rig:
        yield rig
        sys.stderr.writelines([*rig.daemon.last_lines, f"pulse ended with {rig.pulse.poll()}\n"])


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


def test_noise_in_the_place_of_a_brain_ends_a_pulse(request, bundle, tmp_path):
    name = f"pulse-{request.node.name}-{os.getpid()}"
    rule = f"{RULE}[quality]\nno_brain = true\n"
    with (
        Source(name, sfreq=SFREQ) as source,
        Player(source) as player,
        running(source, bundle, tmp_path, rule) as (_, daemon, _, board),
    ):
        assert board.wait_for(high=True)
        with Listener(daemon.endpoint, "") as subscriber:
            subscriber.until(knows_lead)
            player.play_noise()
            told = subscriber.until(is_doubted)
            assert told.reason == "noise in the place of EEG, as of a lead that has just come off"
            assert board.wait_for(high=False)
            subscriber.until(lambda m: isinstance(m, TriggerMessage) and m.hop > told.hop)
            (live,) = [m for m in subscriber.heard if knows_lead(m) and m.hop == told.hop]
            assert live.lead_off > 0
            assert live.stage in live.probabilities  # no stage rests on it
            subscriber.until(lambda m: isinstance(m, TriggerMessage) and "no_brain" in m.reason)


def is_doubted(message):
    return isinstance(message, TriggerMessage) and message.action == "off"


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


def test_without_the_keys_that_the_daemon_asks_for_it_does_not_begin(tmp_path):
    (tmp_path / "clients").mkdir()
    more = f'{RULE}[[pulse]]\ndriver = "lsl"\n[security]\nclients = "{tmp_path}/clients"\n'
    config = write_config(tmp_path, one_stream("absent"), tmp_path, more=more)
    found = forked.run("pulse", "--config", config)
    assert found.returncode == 3
    assert "expected --server-key and --client-key, since [security] clients" in found.stderr


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
