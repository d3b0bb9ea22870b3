"""Triggers of a running daemon: told, on record, gone with a restart, never told again."""

import resource
import signal
import threading
from datetime import datetime, timedelta

import numpy as np
import pytest

from daemon.config import load_config
from daemon.journal.reader import JournalReader
from daemon.messages import Heartbeat, StreamMessage, TriggerMessage
from daemon.trigger.armed import armed_path, read_armed, write_armed
from daemon.trigger.decide import Decision, RuleState, decide, interrupted
from daemon.trigger.sight import Sight
from models.simulator.mouse.simulate import SimulatedMice
from tests.rigs import forked
from tests.rigs.daemon import Daemon, Listener, one_stream, write_config
from tests.rigs.forked import Forked
from tests.rigs.lsl import Source, wait_until
from tools.client.catchup import CatchUpClient, CatchUpError

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
            state = interrupted(state)
        session = told.session
        sight = Sight.of(
            lives[told.session, told.hop], armed=told.armed, trouble=told.trouble, leads=told.leads
        )
        state, decision = decide(rule, state, sight)
        was = Decision(action=told.action, reason=told.reason, ttl_s=told.ttl_s, pulse=told.pulse)
        pairs.append((was, decision))
    return pairs


def test_every_live_estimate_is_decided_on_and_the_journal_decides_the_same_again(
    source, run, journal, tmp_path
):
    rules = f"{ALWAYS}sham = 0.5\nseed = 7\nexit_s = 1\n"
    with run(rules) as daemon:
        ready(daemon, source)
        with Listener(daemon.endpoint) as subscriber:
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


def test_noise_after_a_brain_switches_off_and_the_journal_decides_the_same_again(
    source, run, journal, tmp_path
):
    rules = f"{ALWAYS.replace('on_s = 3', 'on_s = 60')}[quality]\nno_brain = true\n"
    mouse = SimulatedMice(seed=1, duration_s=16, sfreq=SFREQ, n_subjects=1).record().data
    with run(rules) as daemon:
        ready(daemon, source)
        with Listener(daemon.endpoint) as subscriber:
            source.push(len(mouse), data=mouse.round(1))
            push(source, 4)
            subscriber.until(is_trigger(19))
            heard = said(subscriber.heard)
    assert {m.action for m in heard[:16]} == {"on"}
    off = [m.epoch for m in heard if "lead that has just come off" in m.reason]
    assert off
    assert off[0] in (16, 17, 18)
    live = in_journal(journal, "stage.m1.live")[:20]
    assert [m.epoch for m in live if m.lead_off is not None and m.lead_off > 0] == off
    (rule,) = load_config(tmp_path / "hypnod.toml").triggers
    pairs = decide_again(journal, rule)
    assert len(pairs) == 20
    assert all(was == again for was, again in pairs)


def test_an_estimate_is_as_old_as_the_newest_sample_of_it_that_came(source, run, journal):
    """So few are missing that the epoch is staged; no rule may take it for fresh."""
    with run(f"{ALWAYS}[quality]\nmax_missing = 0.1\n") as daemon:
        ready(daemon, source)
        with Listener(daemon.endpoint) as subscriber:
            data = np.random.default_rng(0).normal(0, 50, (6 * SFREQ, 2)).round(1)
            came = np.ones(len(data), bool)
            came[4 * SFREQ - 30 : 4 * SFREQ] = False
            times = source.clock() + np.arange(len(data)) / SFREQ
            source.push(np.count_nonzero(came), data=data[came], timestamps=times[came])
            subscriber.until(is_trigger(5))
            heard = said(subscriber.heard)
    found = in_journal(journal, "stage.m1.live")[:6]
    assert {m.stage for m in found} <= {"Wake", "NREM", "REM"}
    assert [m.age_s for m in heard] == [m.age_s for m in found]
    lost_s = {"eeg": round(30 / SFREQ, 3), "emg": round(30 / SFREQ, 3)}
    assert [m.lost_s for m in found] == [{}, {}, {}, lost_s, {}, {}]
    composed = [datetime.fromisoformat(m.published_utc) for m in found]
    ended = [datetime.fromisoformat(m.utc) + timedelta(seconds=m.epoch_s) for m in found]
    unseen = [
        m.age_s - (now - end).total_seconds()
        for m, now, end in zip(found, composed, ended, strict=True)
    ]
    assert unseen == pytest.approx([0, 0, 0, 30 / SFREQ, 0, 0], abs=2e-3)  # `utc` is in ms


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
        with Listener(daemon.endpoint) as subscriber, Feeder(source):
            begun = subscriber.until(lambda m: isinstance(m, TriggerMessage) and m.action == "on")
            after = said(subscriber.heard)
    assert [m.action for m in after[:-1]][:4] == ["refused"] * 4
    assert begun.pulse == 1


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
            subscriber.until(lambda m: isinstance(m, Heartbeat) and "stage.m1.live" in m.newest)
            assert "trigger.m1" not in subscriber.heard[-1].newest
        with (
            CatchUpClient(daemon.catch_up) as client,
            pytest.raises(CatchUpError, match="nobody may act on an old decision"),
        ):
            list(client.fetch("trigger.m1"))


def test_nothing_is_switched_on_that_the_journal_does_not_have(source, run, journal):
    with run(ALWAYS.replace("on_s = 3", "on_s = 60")) as daemon:
        ready(daemon, source)
        with Listener(daemon.endpoint, "trigger.") as subscriber:
            push(source, 2)
            subscriber.until(is_trigger(1))
            assert said(subscriber.heard)[-1].action == "on"
            limits = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (4096, limits[1]))
            push(source, 1)  # its decision is "on", but no longer on record before it is told
            daemon.event("journal failing")
            push(source, 2)
            subscriber.until(is_trigger(4))
            resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, limits)
    told = [(m.epoch, m.action) for m in said(subscriber.heard)]
    assert [epoch for epoch, action in told if action == "on" and epoch > 1] == []
    assert "the journal cannot be written" in said(subscriber.heard)[-1].reason


def test_nothing_is_switched_on_where_the_labels_are_of_a_person(name, bundle, tmp_path):
    labels = ["EEG", "EMG", "EOG horizontal"]
    with (
        Source(name, sfreq=SFREQ, n_channels=3, labels=labels) as person,
        Daemon(tmp_path, one_stream(name), bundle, more=ALWAYS) as daemon,
    ):
        ready(daemon, person)
        with Listener(daemon.endpoint, "trigger.") as subscriber:
            noise = np.random.default_rng(0).normal(0, 50, (3 * SFREQ, 3)).round(1)
            person.push(len(noise), data=noise)
            subscriber.until(is_trigger(2))
    assert {m.action for m in said(subscriber.heard)} == {"off"}
    expected = (
        "expected channels of a mouse, found EOG horizontal: labels of a person, whom the bundle "
        "sleepdifformer-human stages (--species human, or species under [engine])"
    )
    assert {m.reason for m in said(subscriber.heard)} == {expected}


def test_a_daemon_that_stops_switches_nothing_on_any_more(source, run):
    """It stages what is ready; the rules that were on until then are off."""
    with run(ALWAYS.replace("on_s = 3", "on_s = 90")) as daemon:
        ready(daemon, source)
        with Listener(daemon.endpoint) as subscriber:
            push(source, 59)
            subscriber.until(is_trigger(1))
            daemon.signal(signal.SIGTERM)
            subscriber.until(lambda m: isinstance(m, StreamMessage) and m.state == "STOPPED")
    told = [(m.action, m.reason) for m in said(subscriber.heard)]
    n_on = sum(action == "on" for action, _ in told)
    assert 0 < n_on < len(told)
    assert told[n_on:] == [("off", "the daemon is stopping")] * (len(told) - n_on)


def test_what_is_armed_outlives_a_restart_but_not_what_the_rules_remember(source, run, journal):
    """A journal that was moved away, or is damaged, knows of no cap and no refractory."""

    def first():
        with run(RULE) as daemon:
            ready(daemon, source)
            with Listener(daemon.endpoint, "trigger.") as subscriber:
                push(source, 2)
                armed = subscriber.until(lambda m: isinstance(m, TriggerMessage)).armed
            return armed, [e["rules"] for e in daemon.log if e["event"] == "no longer armed"]

    assert first() == (False, [])
    write_armed(armed_path(journal), {"any": ("m1",)})
    assert first() == (True, [])
    journal.unlink()
    assert first() == (False, [{"any": ["m1"]}])
    assert read_armed(armed_path(journal)) == {}


def command(word, config, *options):
    return forked.run(word, "--config", config, *options)


def test_arming_and_disarming_is_heeded_and_said(source, run, tmp_path):
    with run(RULE) as daemon:
        ready(daemon, source)
        config = tmp_path / "armed.toml"
        text = (tmp_path / "hypnod.toml").read_text("utf-8")
        free = ' bind = "tcp://127.0.0.1:*"'
        assert free in text
        config.write_text(text.replace(free, f' bind = "{daemon.endpoint}"'), "utf-8")
        with Listener(daemon.endpoint, "trigger.") as subscriber:
            push(source, 2)
            subscriber.until(is_trigger(1))
            assert said(subscriber.heard)[-1].reason == "not armed"
            with Feeder(source):
                armed = command("arm", config)
                assert (armed.stdout, armed.stderr) == ("armed: any for m1\n", "")
                subscriber.until(lambda m: m.action == "on")
                disarmed = command("disarm", config, "--rule", "any", "--subject", "m1")
                assert (disarmed.stdout, disarmed.stderr) == ("disarmed: any for m1\n", "")
                subscriber.until(lambda m: m.reason == "not armed")
    late = command("disarm", config, "--wait", "0.1")
    assert late.returncode == 11
    assert "to say within 0.1 s that any is disarmed for m1, found no such message" in late.stderr
    unheard = command("arm", config, "--wait", "0.1")
    assert unheard.returncode == 11
    assert "found no such message; it is left as it was" in unheard.stderr
    assert read_armed(armed_path(tmp_path / "journal.sqlite")) == {}


def test_what_is_always_armed_cannot_be_disarmed_and_that_is_said(name, bundle, tmp_path):
    config = write_config(tmp_path, one_stream(name), bundle, more=ALWAYS)
    for word in ("arm", "disarm"):
        refused = command(word, config)
        assert refused.returncode == 3
        assert 'found any: armed = "always"; to end its pulses now, end hypnod pulse' in (
            refused.stderr
        )


def test_an_arm_that_is_interrupted_is_taken_back(name, bundle, tmp_path, journal):
    config = write_config(
        tmp_path, one_stream(name), bundle, more=f'{RULE}\n[journal]\npath = "{journal}"\n'
    )
    told = tmp_path / "told.toml"  # an address that can be dialled
    told.write_text(config.read_text("utf-8").replace("127.0.0.1:*", "127.0.0.1:9", 1), "utf-8")
    journal.touch()
    with Forked(["arm", "--config", told, "--wait", "60"]) as process:
        wait_until(armed_path(journal).exists, "it is armed")
        process.send_signal(signal.SIGINT)
        process.wait()
    assert read_armed(armed_path(journal)) == {}


def test_where_no_daemon_has_its_journal_nothing_is_armed(name, bundle, tmp_path, journal):
    """As of a user of systemd's daemon, whose STATE_DIRECTORY nobody else has."""
    config = write_config(
        tmp_path, one_stream(name), bundle, more=f'{RULE}\n[journal]\npath = "{journal}"\n'
    )
    refused = command("arm", config)
    assert refused.returncode == 11
    assert f"{journal}: expected the journal of the daemon, found none" in refused.stderr
    assert not armed_path(journal).exists()


def test_an_emergency_disarms_what_it_can_and_says_what_goes_on(source, run, journal, tmp_path):
    with run(RULE + ALWAYS.replace('"any"', '"other"')) as daemon:
        ready(daemon, source)
        config = tmp_path / "armed.toml"
        text = (tmp_path / "hypnod.toml").read_text("utf-8")
        config.write_text(
            text.replace(' bind = "tcp://127.0.0.1:*"', f' bind = "{daemon.endpoint}"'), "utf-8"
        )
        was = {"any": ("m1",), "a rule of before": ("m1",)}
        write_armed(armed_path(journal), was)
        with Feeder(source):
            found = command("disarm", config)
    assert (found.returncode, found.stdout) == (11, "disarmed: any for m1\n")
    assert read_armed(armed_path(journal)) == {}
    assert 'found other: armed = "always"' in found.stderr


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--rule", "none"], "--rule: expected one of any, found 'none'"),
        (["--subject", "m9"], "--subject: expected one of m1, found 'm9'"),
    ],
)
def test_what_there_is_none_of_cannot_be_armed(name, bundle, tmp_path, options, sentence):
    config = write_config(tmp_path, one_stream(name), bundle, more=RULE)
    refused = command("arm", config, *options)
    assert refused.returncode == 3
    assert sentence in " ".join(refused.stderr.split())


class Feeder:
    """Pushes epochs, twice as fast as they last, until it is left."""

    def __init__(self, source):
        self._source = source
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._feed)

    def _feed(self):
        while not self._over.wait(0.5):
            push(self._source, 1)

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
