"""Triggers of a running daemon: told, on record, gone with a restart, never told again."""

import json
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest

from daemon.config import load_config
from daemon.journal.reader import JournalReader
from daemon.messages import StageMessage, TriggerMessage
from daemon.trigger.armed import armed_path
from daemon.trigger.decide import Decision, RuleState, decide, interrupted
from daemon.trigger.sight import Sight
from tests.rigs.daemon import Daemon, Listener, is_live, one_stream
from tests.rigs.lsl import ROOT
from tools.client.catchup import CatchUpClient

SFREQ = 512
RULE = """
[[triggers]]
name = "any"
stages = ["Wake", "NREM", "REM"]
probability = 0
usable = 0
max_age_s = 60
on_s = 3
refractory_s = 2
"""
ALWAYS = f'{RULE}armed = "always"\n'


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "journal.sqlite"


@pytest.fixture
def run(name, source, bundle, tmp_path, journal):
    """Start a daemon with rules, connected to the source."""

    def start(rules, **more):
        section = f'{rules}\n[journal]\npath = "{journal}"\n'
        return Daemon(tmp_path, one_stream(name), bundle, more=section, **more)

    return start


def push(source, n_epochs):
    n = n_epochs * SFREQ
    source.push(n, data=np.random.default_rng(0).normal(0, 50, (n, 2)).round(1))


def ready(daemon, source):
    daemon.listen()
    daemon.event("ready")
    source.wait_for_consumers()
    daemon.event("stream", state="FILLING")


def is_trigger(epoch):
    return lambda m: isinstance(m, TriggerMessage) and m.epoch == epoch


def said(messages):
    return [m for m in messages if isinstance(m, TriggerMessage)]


def in_journal(path, topic):
    reader = JournalReader(path)
    last = reader.last_seq(topic)
    return [] if last is None else [e.message for e in reader.messages(topic, 0, last)]


def decide_again(path, rule):
    """Return every decision in a journal, as it is there and as it follows from the estimates."""
    lives = {(m.session, m.hop): m for m in in_journal(path, "stage.m1.live")}
    state, session, pairs = RuleState(), None, []
    for told in in_journal(path, "trigger.m1"):
        if told.session != session and session is not None:
            state = interrupted(rule, "m1", state)
        session = told.session
        sight = Sight.of(
            lives[told.session, told.hop], armed=told.armed, trouble=told.trouble, leads=told.leads
        )
        state, decision = decide(rule, state, sight)
        was = Decision(
            action=told.action, reason=told.reason, ttl_s=told.ttl_s, pulse=told.pulse
        )
        pairs.append((was, decision))
    return pairs


def test_every_live_estimate_is_decided_on_and_the_journal_decides_the_same_again(
    source, run, journal, tmp_path
):
    rules = f"{ALWAYS}sham = 0.5\nseed = 3\nexit_s = 1\n"
    with run(rules) as daemon:
        ready(daemon, source)
        with Listener(daemon.endpoint) as subscriber:
            subscriber.until(is_live(0)) if False else None
            push(source, 12)
            subscriber.until(is_trigger(11))
            heard = said(subscriber.heard)
        daemon.process.kill()
        daemon.process.wait()
    with run(rules) as daemon:
        ready(daemon, source)
        with Listener(daemon.endpoint) as subscriber:
            push(source, 8)
            subscriber.until(is_trigger(19))
            heard += said(subscriber.heard)
    assert [(m.seq, m.epoch) for m in heard] == [(k, k) for k in range(20)]
    assert {m.action for m in heard} >= {"on", "off", "refused"}
    assert all((m.ttl_s > 0) == (m.action in ("on", "sham")) for m in heard)
    assert heard == in_journal(journal, "trigger.m1")
    (rule,) = load_config(tmp_path / "hypnod.toml").triggers
    pairs = decide_again(journal, rule)
    assert len(pairs) == 20
    assert all(was == again for was, again in pairs)


def test_a_restart_within_a_pulse_ends_it_and_keeps_the_refractory(source, run, journal):
    rules = ALWAYS.replace("refractory_s = 2", "refractory_s = 5")
    with run(rules) as daemon:
        ready(daemon, source)
        with Listener(daemon.endpoint) as subscriber:
            push(source, 2)
            subscriber.until(is_trigger(1))
            assert said(subscriber.heard)[-1].action == "on"
        daemon.process.kill()
        daemon.process.wait()
    with run(rules) as daemon:
        ready(daemon, source)
        with Listener(daemon.endpoint) as subscriber:
            push(source, 8)
            subscriber.until(is_trigger(9))
            after = said(subscriber.heard)
    actions = [m.action for m in after]
    assert actions[:4] == ["refused"] * 4
    assert after[actions.index("on")].pulse == 1


def test_nobody_is_told_a_decision_again(source, run, journal):
    with run(ALWAYS) as daemon:
        ready(daemon, source)
        with Listener(daemon.endpoint) as subscriber:
            push(source, 3)
            subscriber.until(is_trigger(2))
            with Listener(daemon.endpoint) as late:
                late.until(lambda m: m.replayed)  # the stream's last message comes again
                push(source, 1)
                late.until(is_trigger(3))
            assert [m.epoch for m in said(late.heard)] == [3]
        assert "trigger.m1" not in subscriber.heard[-1].__dict__
        with CatchUpClient(daemon.catch_up) as client:
            reply = client.ask("trigger.m1") if hasattr(client, "ask") else None
            assert reply is None or "old decision" in reply.error


def arm(word, config, *options):
    return subprocess.run(
        [sys.executable, ROOT / "hypnod.py", word, "--config", config, *options],
        capture_output=True,
        text=True,
        check=False,
    )
