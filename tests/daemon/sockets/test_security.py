"""The whole daemon with keys, as its own process."""

import json
import re
import signal
import subprocess
import sys
import uuid

import msgspec
import pytest

from daemon.config import parse_config
from daemon.messages import Heartbeat
from daemon.sockets.keys import ClientKeys, write_pair
from tests.rigs.daemon import TIMEOUT_S, Daemon, one_stream, write_config
from tests.rigs.forked import run
from tests.rigs.lsl import wait_until
from tests.support.paths import ROOT
from tools.client.catchup import CatchUpClient, NoAnswerError
from tools.client.subscriber import Subscriber
from tools.pulse.gate import Pulse
from tools.pulse.teller import Teller


@pytest.fixture
def stream():
    return one_stream(f"absent-{uuid.uuid4().hex}")


@pytest.fixture
def keys(tmp_path):
    """A folder of keys; good.key is in the folder of allowed ones, too."""
    keys, clients = tmp_path / "keys", tmp_path / "clients"
    clients.mkdir()
    for name in ("hypnod", "good", "stranger"):
        write_pair(keys, name)
    allow(keys, "good")
    return keys


def allow(keys, name):
    (keys.parent / "clients" / f"{name}.key").write_bytes((keys / f"{name}.key").read_bytes())


def client(keys, name):
    return ClientKeys.read(keys / "hypnod.key", keys / f"{name}.key_secret")


def secret_texts(keys):
    return [path.read_text("utf-8").split('"')[-2] for path in keys.glob("*.key_secret")]


@pytest.fixture
def daemon(tmp_path, stream, bundle, keys):
    """A daemon that takes its secret from where systemd puts credentials."""
    more = f'[security]\nclients = "{tmp_path / "clients"}"'
    credentials = {"CREDENTIALS_DIRECTORY": str(keys)}
    with Daemon(tmp_path, stream, bundle, environ=credentials, more=more) as daemon:
        daemon.listen()
        daemon.event("ready")
        yield daemon


def beats(subscriber, n):
    """Wait for n new heartbeats."""
    heard = []
    while len(heard) < n:
        received = list(subscriber.receive(TIMEOUT_S))
        assert received, "no heartbeat came"
        heard += [r.message.seq for r in received if isinstance(r.message, Heartbeat)]
    return heard


def refused(daemon, reason):
    line = f'hypnod_refused_clients_total{{reason="{reason}"}}'
    return line in daemon.get("/metrics")[1]


def test_only_whom_it_knows_hears_and_a_hangup_adds_and_removes_keys(daemon, keys):
    with (
        Subscriber(daemon.endpoint, keys=client(keys, "good")) as good,
        Subscriber(daemon.endpoint, keys=client(keys, "stranger")) as stranger,
        Subscriber(daemon.endpoint) as plain,
    ):
        told = {daemon.event("refused a client")["reason"][:11] for _ in range(2)}
        assert told == {"unknown key", "it spoke no"}
        heard = beats(good, 5)
        assert list(stranger.receive(0)) == list(plain.receive(0)) == []
        assert refused(daemon, "unknown_key")
        assert refused(daemon, "no_handshake")

        allow(keys, "stranger")
        (keys.parent / "clients" / "good.key").unlink()
        daemon.signal(signal.SIGHUP)
        assert daemon.event("keys reloaded")["allowed"] == ["stranger"]
        with Subscriber(daemon.endpoint, keys=client(keys, "stranger")) as friend:
            beats(friend, 2)
        heard += beats(good, 2)  # connected before, it stays
        assert heard == list(range(heard[0], heard[0] + len(heard)))
        with Subscriber(daemon.endpoint, keys=client(keys, "good")):
            daemon.event("refused a client", reason=unknown(keys, "good"))
    metrics = daemon.get("/metrics")[1]
    daemon.signal(signal.SIGTERM)
    code, rest = daemon.end()
    assert code == 0
    everything = f"{daemon.log} {rest} {metrics}"
    assert not [secret for secret in secret_texts(keys) if secret in everything]


def unknown(keys, name):
    return f"unknown key {client(keys, name).own.public.decode()} from 127.0.0.1"


def test_who_was_refused_can_tell_of_pulses_once_it_is_known(daemon, keys, monkeypatch):
    """Here of one that nobody decided on, which the daemon counts."""
    monkeypatch.setattr("tools.pulse.teller.SILENT_S", 0.5)
    with Teller(daemon.catch_up, client(keys, "stranger")) as teller:
        daemon.event("refused a client", reason=unknown(keys, "stranger"))
        allow(keys, "stranger")
        daemon.signal(signal.SIGHUP)
        daemon.event("keys reloaded")
        teller.tell(0, Pulse("rem", "m1", "before", 5), "off", 1.0)
        wait_until(lambda: teller.send() or refused(daemon, "no_pulse"), "it was told")


def test_what_was_missed_is_for_whom_it_knows_too(daemon, keys):
    with CatchUpClient(daemon.catch_up, client(keys, "good")) as good:
        assert next(m.state for m in good.fetch("stream.cage")) == "STARTING"
    for stranger in (client(keys, "stranger"), None):
        with CatchUpClient(daemon.catch_up, stranger) as other, pytest.raises(NoAnswerError):
            list(other.fetch("stream.cage"))
    assert refused(daemon, "unknown_key")
    assert refused(daemon, "no_handshake")


def test_watch_with_keys_hears_and_without_says_so(daemon, keys):
    connect = ("watch", "--once", "--json", "--timeout", 3, "--connect", daemon.endpoint)
    server, own = ("--server-key", keys / "hypnod.key"), ("--client-key", keys / "good.key_secret")
    heard = run(*connect, *server, *own)
    assert heard.returncode == 0, heard.stderr
    assert "heartbeat" in {json.loads(line)["topic"] for line in heard.stdout.splitlines()}
    plain = run(*connect)
    assert (plain.returncode, plain.stdout) == (1, "")
    assert "does it know your key" in plain.stderr
    assert run(*connect, *server).returncode == 2


def test_the_config_that_is_kept_and_hashed_holds_paths_alone(keys, stream):
    secret = keys / "hypnod.key_secret"
    text = f"{stream}\n[security]\nclients = '{keys.parent}'\nsecret_key = '{secret}'"
    kept = msgspec.json.encode(parse_config(text, "f.toml")).decode()
    assert str(secret) in kept
    assert not [each for each in secret_texts(keys) if each in kept]


def test_the_client_in_the_docs_hears(daemon, keys):
    page = (ROOT / "docs" / "security.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    code = code.replace("tcp://rig:5570", daemon.endpoint).replace("dashboard", "good")
    with subprocess.Popen(
        [sys.executable, "-u", "-c", code], cwd=keys, stdout=subprocess.PIPE, text=True
    ) as client:
        assert any(line.startswith("heartbeat") for line in client.stdout)
        client.kill()


@pytest.mark.parametrize(
    ("section", "settings", "sentence"),
    [
        ("", {"bind": "tcp://*:*"}, "publish.bind: without keys expected an address of this"),
        ("[security]\nsecret_key = 'x'", {}, "security.clients: expected the folder"),
        ("[security]\nclients = 'x'\nsecret_key = 'x'", {}, "x: expected a readable file of CURVE"),
    ],
)
def test_an_unsafe_config_is_one_sentence_and_exit_3(
    tmp_path, stream, bundle, section, settings, sentence
):
    config = write_config(tmp_path, stream, bundle, more=section, **settings)
    done = run("run", "--config", config)
    assert done.returncode == 3
    assert done.stderr.startswith(f"hypnod: {sentence}")
    assert done.stderr.count("\n") == 1


def test_a_hangup_without_keys_ends_nothing(tmp_path, stream, bundle):
    with Daemon(tmp_path, stream, bundle) as daemon:
        daemon.listen()
        daemon.event("ready")
        daemon.signal(signal.SIGHUP)
        daemon.event("nothing to reload")
        with Subscriber(daemon.endpoint) as subscriber:
            beats(subscriber, 2)
