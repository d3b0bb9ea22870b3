import io
import json
import re
import signal
import subprocess
import time

import pytest
from rich.console import Console
from typer import BadParameter
from typer.testing import CliRunner

from daemon.config import PublishConfig
from daemon.messages import Heartbeat
from daemon.sockets.publisher import Publisher
from models.stages import ART
from tests.rigs.forked import Forked
from tests.support.nights import EVENING, iso, stage, state, trace, trigger
from tests.support.speaker import Speaker
from tools.cli import app
from tools.client.subscriber import Received, Subscriber
from tools.client.where import dial_config
from tools.view.live import LiveView, bar, draw_stages

TIMEOUT_S = 20.0


def heartbeat(seq=0):
    return Heartbeat(
        session="s",
        seq=seq,
        utc=iso(EVENING),
        uptime_s=61.0,
        states={"cage": "STAGING"},
        version="0.1.0",
    )


@pytest.fixture(params=["json", "msgpack"])
def publisher(request):
    config = PublishConfig(bind="tcp://127.0.0.1:*", encoding=request.param)
    with Publisher(config) as publisher:
        yield publisher


@pytest.fixture
def daemon_like():
    """A publisher for the tests whose subscriber is a process: one encoding will do."""
    with Publisher(PublishConfig(bind="tcp://127.0.0.1:*")) as publisher:
        yield publisher


def hear(publisher, subscriber, n):
    """Serve the subscription and return the next n messages that are no copies."""
    heard = []
    deadline = time.monotonic() + TIMEOUT_S
    while len(heard) < n:
        assert time.monotonic() < deadline, f"heard {heard}"
        publisher.serve(0)
        heard += [received.message for received in subscriber.receive(0.05)]
    return heard


def show(view, width=120):
    console = Console(file=io.StringIO(), width=width)
    console.print(view)
    return console.file.getvalue()


@pytest.mark.parametrize(("width", "why"), [(160, "REM for 2 s"), (90, "")])
def test_what_rules_say_last_stands_beside_the_subject(width, why):
    at_rest, acting = trigger(0), trigger(1, "on")
    other = trigger(1, "refused", rule="other", reason="not armed")
    assert "trigger" not in show(view_of(stage(0)), width)
    (line,) = [x for x in show(view_of(stage(0), at_rest, acting), width).splitlines() if "m1" in x]
    assert f"on {why}".strip() in line
    assert "off" not in line
    both = show(view_of(stage(0), acting, other), 160)
    assert "on rem REM for 2 s" in both
    assert "refused other not armed" in both


def view_of(*messages, ago_s=0.0, truth=None):
    with Subscriber("tcp://127.0.0.1:9", prefixes=()) as subscriber:
        view = LiveView(subscriber, truth)
        for message in messages:
            view.update(Received(message.topic, message, 0.0, time.monotonic() - ago_s))
        return view


@pytest.mark.parametrize(
    ("bind", "reached"),
    [
        ("tcp://127.0.0.1:5570", "tcp://127.0.0.1:5570"),
        ("tcp://*:5570", "tcp://127.0.0.1:5570"),
        ("tcp://0.0.0.0:1", "tcp://127.0.0.1:1"),
        ("tcp://[::]:5570", "tcp://[::1]:5570"),
        ("tcp://192.168.1.2:5570", "tcp://192.168.1.2:5570"),
        ("ipc:///run/hypnod", "ipc:///run/hypnod"),
    ],
)
def test_a_config_tells_where_its_daemon_is_reached(bind, reached):
    assert dial_config(bind) == reached


def test_a_daemon_is_found_by_its_config(tmp_path):
    """Which it published on, whatever its address is."""
    with Publisher(PublishConfig(bind="tcp://127.0.0.1:*")) as publisher:
        port = int(publisher.endpoint.rpartition(":")[2])
        config = tmp_path / "hypnod.toml"
        config.write_text(
            '[[streams]]\nname = "cage"\nmatch = { type = "EEG" }\n'
            'subjects = [{ name = "m1", channels = { eeg = "E" } }]\n'
            f'[publish]\nbind = "tcp://*:{port}"\ncatchup_bind = "tcp://*:{port + 1}"\n'
        )
        ask = Forked(["watch", "--once", "--json", "--config", config], stdout=subprocess.PIPE)
        publisher.serve(TIMEOUT_S)
        publisher.publish(heartbeat())
        deadline = time.monotonic() + TIMEOUT_S
        while ask.poll() is None and time.monotonic() < deadline:
            publisher.serve(0.05)
        assert json.loads(ask.communicate()[0].splitlines()[0])["topic"] == "heartbeat"


def test_a_free_port_in_the_config_is_no_address():
    with pytest.raises(BadParameter, match=r"with a port in the config.*--connect"):
        dial_config("tcp://127.0.0.1:*")


def test_a_late_subscriber_gets_the_last_final_one_and_counts_gaps_from_there(publisher):
    for seq in range(4):
        publisher.publish(stage(seq))
        publisher.publish(stage(seq, kind="final"))
    with Subscriber(publisher.endpoint) as subscriber:
        (last,) = hear(publisher, subscriber, 1)
        assert (last.seq, last.kind, last.replayed) == (3, "final", True)
        publisher.publish(stage(6, kind="final"))
        publisher.publish(stage(10))
        publisher.publish(stage(13))
        publisher.publish(stage(0, "m2"))
        assert [m.seq for m in hear(publisher, subscriber, 4)] == [6, 10, 13, 0]
        missed = {"stage.m1.final": 2, "stage.m1.live": 2, "stage.m2.live": 0}
        assert subscriber.missed == missed
        publisher.publish(stage(0, session="restarted"))
        publisher.publish(stage(2, session="restarted"))
        hear(publisher, subscriber, 2)
        assert subscriber.n_missed == 5


def test_copies_for_others_are_dropped(publisher):
    with Subscriber(publisher.endpoint) as early:
        publisher.serve(TIMEOUT_S)
        publisher.publish(stage(0, kind="final"))
        with Subscriber(publisher.endpoint) as late:
            assert [m.replayed for m in hear(publisher, late, 1)] == [True]
        publisher.publish(stage(1, kind="final"))
        heard = hear(publisher, early, 2)
        assert [(m.seq, m.replayed) for m in heard] == [(0, False), (1, False)]


def test_messages_of_another_schema_are_counted_not_fatal(publisher):
    with Subscriber(publisher.endpoint) as subscriber:
        publisher.serve(TIMEOUT_S)
        publisher._socket.send_multipart([b"stage.m1.live", b'{"subject": "m1"}'])
        publisher.publish(stage(0))
        assert [m.seq for m in hear(publisher, subscriber, 1)] == [0]
        assert subscriber.unread == 1


def test_the_view_shows_what_was_said():
    epochs = [stage(k, stage="REM" if k % 2 else "NREM") for k in range(8)]
    shown = show(view_of(heartbeat(), state(0), *epochs))
    for text in ("STAGING", "512.00 Hz", "up 0:01:01", "0 missed", "16/16", "4.0 ms", "mixed"):
        assert text in shown
    assert "▂▅▂▅▂▅▂▅" in shown


def test_the_view_shows_what_is_wrong():
    bad = stage(
        0,
        stage=ART,
        validity={"eeg": "clipped", "emg": "out_of_range"},
        latency_s=None,
    )
    shown = show(view_of(heartbeat(), state(0, "STALLED"), stage(0, "m2"), bad))
    for text in ("STALLED", "ART", "clipped", "out of range", "none", "×", "–"):
        assert text in shown
    assert "the daemon is silent for 20 s" in show(view_of(heartbeat(), ago_s=20.0))
    assert "waiting for a daemon" in show(view_of())


def test_the_view_shows_drift_where_it_is_measured():
    assert "drift" not in show(view_of(stage(0)))
    shown = show(view_of(stage(0, drift=1.7), stage(0, "m2", drift=None)))
    for text in ("drift", "1.70", "–"):
        assert text in shown


def test_an_age_is_red_when_three_hops_are_due():
    def is_red(ago_s, **changes):
        view = view_of(stage(0, age_s=0.0, **changes), ago_s=ago_s)
        console = Console(
            file=io.StringIO(), width=120, force_terminal=True, color_system="standard"
        )
        console.print(view)
        return re.search(rf"\x1b\[1;31m *{ago_s} s", console.file.getvalue()) is not None

    assert is_red(4.0)
    assert not is_red(2.0)
    assert is_red(2.0, hop_s=0.5)
    assert not is_red(1.0, hop_s=0.5)


def test_the_view_fits_any_terminal():
    view = view_of(heartbeat(), state(0), stage(0, drift=12.34), truth={"m1": ("REM",)})
    for width in (80, 100, 200):
        lines = show(view, width).splitlines()
        assert max(map(len, lines)) <= width
        assert not any("…" in line for line in lines[3:])


def test_missed_epochs_are_blank_in_the_strip():
    assert draw_stages({0: "Wake", 2: "REM"}, newest=2, cells=5).plain == "  ▇ ▅"


def test_bars_are_full_at_one_and_empty_at_zero():
    assert [bar(p, "red", 2).plain for p in (0.0, 0.5, 0.53, 1.0)] == ["  ", "█ ", "█ ", "██"]
    assert bar(0.6, "red", 2).plain == "█▎"


def watch(publisher, *options):
    command = ["watch", "--connect", publisher.endpoint, *options]
    return Forked(command, {"COLUMNS": "120"}, stdout=subprocess.PIPE)


@pytest.mark.parametrize("as_json", [True, False])
def test_once_shows_what_was_said_last_and_ends(tmp_path, as_json):
    with Speaker(tmp_path / "journal.sqlite") as speaker:
        speaker.say(state(0), *speaker.stages(0, 8))
        speaker.beat()
        options = ["--once", "--catch-up", speaker.catch_up.endpoint, *["--json"] * as_json]
        with watch(speaker.publisher, *options) as process:
            speaker.publisher.serve(TIMEOUT_S)
            out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    if as_json:
        said = {m["topic"]: m for m in map(json.loads, out.splitlines())}
        assert sorted(said) == ["heartbeat", "stage.m1.live", "stream.cage"]
        live = said["stage.m1.live"]
        assert (live["seq"], live["replayed"], said["stream.cage"]["state"]) == (7, True, "STAGING")
    else:
        assert "16/16" in out


def test_once_without_a_daemon_fails_in_one_sentence(daemon_like):
    with watch(daemon_like, "--once", "--timeout", "0.1") as process:
        out, err = process.communicate()
    assert (process.returncode, out) == (1, "")
    assert "no daemon answered at" in err


@pytest.mark.parametrize("endpoint", ["garbage", "tcp://127.0.0.1:port"])
def test_an_endpoint_that_is_none_is_wrong_usage(endpoint):
    found = CliRunner().invoke(app, ["watch", "--connect", endpoint])
    assert found.exit_code == 2
    assert "expected a ZeroMQ endpoint such as" in found.output


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_ctrl_c_ends_it_quietly(daemon_like, options):
    daemon_like.publish(stage(0, kind="final"))
    with watch(daemon_like, *options) as process:
        daemon_like.serve(TIMEOUT_S)
        daemon_like.publish(trace(0))
        daemon_like.publish(stage(1, kind="final"))
        assert process.stdout is not None
        if options:
            said = [json.loads(process.stdout.readline()) for _ in range(2)]
            assert {m["topic"] for m in said} == {"stage.m1.final"}  # traces are for pages
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert (process.returncode, err) == (0, "")
