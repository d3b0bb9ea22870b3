"""What clients tell of outputs: taken where it is of the config, refused and counted where not."""

import uuid
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from daemon.config import PublishConfig, SecurityConfig, parse_config
from daemon.journal.reader import JournalReader
from daemon.messages import CatchUpRequest, PulseDone, PulseMessage
from daemon.sockets.catchup import CatchUp
from daemon.sockets.gate import Gate
from daemon.sockets.pulses import AT_ONCE, KIND, MAX_WAITING, Pulses
from tests.rigs.daemon import Daemon, Listener, one_stream
from tests.rigs.lsl import wait_until
from tests.support.bundles import TINY, make_bundle
from tools.pulse.gate import Pulse
from tools.pulse.teller import Teller

CONFIG = parse_config(
    """
[[streams]]
name = "cage"
match = { name = "cage" }
subjects = [{ name = "m1", channels = { eeg = "1" } }, { name = "m2", channels = { eeg = "2" } }]
[[triggers]]
name = "rem"
subjects = ["m1"]
stages = ["REM"]
on_s = 2
[[pulse]]
driver = "lsl"
""",
    "test",
)
DONE = {
    "subject": "m1",
    "rule": "rem",
    "pulse": 3,
    "decided_in": "20260131T180000Z-abcdef",
    "done": "on",
    "output": 0,
}


def now():
    return datetime.now(UTC)


@pytest.fixture
def refused():
    return []


@pytest.fixture
def pulses(refused):
    return Pulses(CONFIG, refused.append)


def test_what_is_of_the_config_is_passed_on(pulses, refused):
    told = [{**DONE, "utc": now(), "done": done} for done in ("on", "off", "sham")]
    pulses.take([msgspec.json.encode(each) for each in told])
    assert pulses.pass_on() == [PulseDone(**each) for each in told]
    assert pulses.pass_on() == refused == []


@pytest.mark.parametrize(
    "change",
    [
        {"subject": "m9"},
        {"subject": "m2"},  # the rule is not for it
        {"rule": "other"},
        {"output": 1},
        {"output": -1},
        {"pulse": -1},
        {"pulse": 2**64},
        {"done": "refused"},
        {"decided_in": "x" * 1000},
        {"decided_in": ""},
        {"utc": "2026-01-01T00:00:00"},
        {"utc": -timedelta(days=2)},
        {"utc": timedelta(minutes=1)},
        {"more": 1},
    ],
)
def test_what_is_not_is_refused(pulses, refused, change):
    change = {key: now() + v if isinstance(v, timedelta) else v for key, v in change.items()}
    pulses.take([msgspec.json.encode({**DONE, "utc": now(), **change})])
    assert pulses.pass_on() == []
    assert refused == ["no_pulse"]


@given(
    st.binary(max_size=300)
    | st.recursive(st.none() | st.text(), st.lists).map(repr).map(str.encode)
)
def test_whatever_comes_is_refused_and_counted(frame):
    refused = []
    pulses = Pulses(CONFIG, refused.append)
    pulses.take([frame, b"[" * 60_000, b'{"decided_in": "\\ud800"'])
    assert (pulses.pass_on(), refused) == ([], ["no_pulse"] * 3)


def test_half_a_character_is_no_session(pulses, refused):
    frame = msgspec.json.encode({**DONE, "utc": now(), "decided_in": "half"})
    pulses.take([frame.replace(b"half", b"\\ud800")])
    assert (pulses.pass_on(), refused) == ([], ["no_pulse"])


def test_of_many_a_bounded_part_waits_and_is_passed_on(pulses, refused):
    frame = msgspec.json.encode({**DONE, "utc": now()})
    pulses.take([frame] * (MAX_WAITING + 5))
    assert refused == ["flood"] * 5
    assert len(pulses.pass_on()) == AT_ONCE


@pytest.fixture
def server(tmp_path, pulses, refused):
    with (
        Gate(SecurityConfig(), refused.append) as gate,
        CatchUp(
            PublishConfig(catchup_bind="tcp://127.0.0.1:*"), tmp_path / "j.sqlite", gate, pulses
        ) as server,
    ):
        yield server


def test_what_is_told_arrives_in_order_also_what_is_told_at_the_end(server, pulses):
    heard = []
    with Teller(server.endpoint) as teller:
        for number in range(8):
            teller.tell(0, Pulse("rem", "m1", "s", number), "on", now().timestamp())

        def told():
            teller.send()
            heard.extend(pulses.pass_on())
            return heard

        wait_until(told, "the first one")
    wait_until(lambda: heard.extend(pulses.pass_on()) or len(heard) == 8, "all of them")
    assert [each.pulse for each in heard] == [*range(8)]


def test_what_is_told_while_nobody_listens_waits(server, pulses):
    with Teller("tcp://127.0.0.1:9") as alone:  # where nobody is
        alone.tell(0, Pulse("rem", "m1", "s", 0), "on", now().timestamp())
        alone.send()
        assert len(alone._waiting) == 1
    with Teller("") as nowhere:
        nowhere.tell(0, Pulse("rem", "m1", "s", 0), "on", now().timestamp())
        nowhere.send()


def test_a_flood_of_pulses_is_cut_off_and_requests_are_answered(server, refused):
    frame = msgspec.json.encode({**DONE, "utc": now()})
    with zmq.Context() as context, context.socket(zmq.DEALER) as flood:
        flood.setsockopt(zmq.LINGER, 0)
        flood.connect(server.endpoint)

        def cut_off():
            for _ in range(100):
                flood.send_multipart([KIND, frame])
            return "flood" in refused

        wait_until(cut_off, "it is cut off")
        with context.socket(zmq.REQ) as client:
            client.setsockopt(zmq.RCVTIMEO, 20_000)
            client.connect(server.endpoint)
            client.send(msgspec.json.encode(CatchUpRequest(topic="stage.m1.live")))
            assert b'"error":null' in client.recv_multipart()[0]


def test_what_is_told_reaches_the_journal_of_a_daemon_and_what_is_wrong_is_counted(tmp_path):
    config = """
[[triggers]]
name = "rem"
stages = ["REM"]
on_s = 2
[[pulse]]
driver = "lsl"
"""
    more = f"{config}[journal]\npath = '{tmp_path / 'journal.sqlite'}'\n"
    streams = one_stream(f"absent-{uuid.uuid4().hex}")
    bundle = make_bundle(tmp_path, n_context=5, **TINY)
    wrong = msgspec.json.encode({**DONE, "utc": now(), "rule": "no-such-rule"})
    with Daemon(tmp_path, streams, bundle, more=more) as daemon:
        daemon.listen()
        with (
            Listener(daemon.endpoint, "") as subscriber,
            Teller(daemon.catch_up) as teller,
            zmq.Context() as context,
            context.socket(zmq.DEALER) as client,
        ):
            subscriber.next()
            client.setsockopt(zmq.LINGER, 1000)
            client.connect(daemon.catch_up)
            client.send_multipart([KIND, wrong, b"nonsense", b""])
            counted = 'hypnod_refused_clients_total{reason="no_pulse"} 3.0'
            wait_until(lambda: counted in daemon.get("/metrics")[1], counted)
            at = now()
            teller.tell(0, Pulse("rem", "m1", "before", 5), "off", at.timestamp())
            teller.send()
            wait_until(lambda: teller.send() or not teller._waiting, "it was told")
            found = subscriber.until(lambda m: isinstance(m, PulseMessage))
    reader = JournalReader(tmp_path / "journal.sqlite")
    assert reader.topics() == ["pulse.m1", "stream.cage"]
    (entry,) = reader.messages("pulse.m1", 0, 9)
    assert entry.message == found
    assert (found.rule, found.pulse, found.decided_in) == ("rem", 5, "before")
    assert (found.done, found.output, found.driver) == ("off", 0, "lsl")
    assert datetime.fromisoformat(found.utc) == at
