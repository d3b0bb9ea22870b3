import json
import random
import socket
import sqlite3

import msgspec
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from daemon.config import PublishConfig, SecurityConfig
from daemon.errors import AddressError
from daemon.messages import CatchUpReply, CatchUpRequest, decode, encode
from daemon.sockets.catchup import PIECE, PIECE_BYTES, CatchUp
from daemon.sockets.gate import LONGEST_REQUEST, Gate
from tests.support.nights import EVENING, iso, open_journal, stage, write_journal

TIMEOUT_MS = 20_000
ANYWHERE = PublishConfig(catchup_bind="tcp://127.0.0.1:*")


@pytest.fixture
def gate():
    with Gate(SecurityConfig()) as gate:
        yield gate


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


@pytest.fixture
def server(gate, path):
    with CatchUp(ANYWHERE, path, gate) as server:
        yield server


@pytest.fixture
def connect():
    """Return sockets of any kind, connected to an endpoint."""
    context = zmq.Context()
    sockets = []

    def connect(endpoint, kind=zmq.DEALER):
        client = context.socket(kind)
        client.setsockopt(zmq.RCVTIMEO, TIMEOUT_MS)
        client.setsockopt(zmq.LINGER, 0)
        client.connect(endpoint)
        sockets.append(client)
        return client

    yield connect
    for each in sockets:
        each.close()
    context.term()


def ask(client, **request):
    client.send(json.dumps(request).encode())
    head, *payloads = client.recv_multipart()
    return msgspec.json.decode(head, type=CatchUpReply), payloads


def fetch(client, **request):
    """Ask until nothing is left; return all replies and messages."""
    replies, payloads = [], []
    while True:
        reply, more = ask(client, **request)
        replies.append(reply)
        payloads += more
        if reply.next is None:
            return replies, payloads
        request["first"] = reply.next


def seqs(payloads):
    return [json.loads(payload)["seq"] for payload in payloads]


def test_a_late_answer_is_not_taken_for_the_next(server, path, connect):
    """A REQ socket may give up and ask anew, where it numbers its requests."""
    write_journal(path, [stage(seq) for seq in range(20)])
    client = connect(server.endpoint, zmq.REQ)
    client.setsockopt(zmq.REQ_CORRELATE, 1)
    client.setsockopt(zmq.REQ_RELAXED, 1)
    for seq in range(10):  # answered, but never read
        client.send(json.dumps({"topic": "stage.m1.live", "first": seq, "last": seq}).encode())
    assert seqs(ask(client, topic="stage.m1.live", first=15, last=16)[1]) == [15, 16]


@pytest.mark.parametrize("kind", [zmq.DEALER, zmq.REQ])
def test_what_is_asked_for_comes_as_it_was_published(server, path, connect, kind):
    messages = [stage(seq) for seq in range(20)]
    write_journal(path, messages)
    reply, payloads = ask(connect(server.endpoint, kind), topic="stage.m1.live", first=3, last=7)
    assert payloads == [encode(message) for message in messages[3:8]]
    assert (reply.n_messages, reply.next, reply.newest, reply.error) == (5, None, 19, None)


def test_a_night_comes_in_bounded_pieces(server, path, connect):
    write_journal(path, [stage(seq) for seq in range(2 * PIECE + 10)])
    replies, payloads = fetch(connect(server.endpoint), topic="stage.m1.live")
    assert [reply.n_messages for reply in replies] == [PIECE, PIECE, 10]
    assert seqs(payloads) == list(range(2 * PIECE + 10))


def test_large_messages_come_in_smaller_pieces(server, path, connect):
    reason = "x" * (PIECE_BYTES // 3)
    write_journal(path, [stage(seq, reason=reason) for seq in range(4)])
    replies, payloads = fetch(connect(server.endpoint), topic="stage.m1.live")
    assert [reply.n_messages for reply in replies] == [2, 2]
    assert seqs(payloads) == [0, 1, 2, 3]


def test_a_message_larger_than_a_piece_comes_alone(server, path, connect):
    reasons = {1: "x" * (PIECE_BYTES + 1)}
    write_journal(path, [stage(seq, reason=reasons.get(seq)) for seq in range(3)])
    replies, payloads = fetch(connect(server.endpoint), topic="stage.m1.live")
    assert [reply.n_messages for reply in replies] == [1, 1, 1]
    assert seqs(payloads) == [0, 1, 2]


def test_who_knows_the_time_need_not_know_the_number(server, path, connect):
    write_journal(path, [stage(seq) for seq in range(3 * PIECE)])
    client = connect(server.endpoint)
    _, payloads = fetch(client, topic="stage.m1.live", since=iso(EVENING + 700))
    assert seqs(payloads) == list(range(700, 3 * PIECE))
    _, payloads = fetch(
        client, topic="stage.m1.live", since=iso(EVENING + 700), first=1000, last=1001
    )
    assert seqs(payloads) == [1000, 1001]
    reply, payloads = ask(client, topic="stage.m1.live", since=iso(EVENING + 86400))
    assert (reply.n_messages, reply.next, payloads) == (0, None, [])


def test_numbers_that_the_journal_lacks_are_passed_over(server, path, connect):
    write_journal(path, [stage(seq) for seq in (5, 6, 9)])
    _, payloads = fetch(connect(server.endpoint), topic="stage.m1.live", first=0, last=100)
    assert seqs(payloads) == [5, 6, 9]


def test_without_a_journal_or_such_a_topic_there_is_nothing(server, path, connect):
    client = connect(server.endpoint)
    assert ask(client, topic="stage.m1.live")[0].newest is None
    write_journal(path, [stage(0)])
    assert ask(client, topic="stage.m2.live")[0].newest is None
    assert ask(client, topic="stage.m1.live")[0].newest == 0


def test_it_is_answered_from_while_it_is_written(server, path, connect):
    client = connect(server.endpoint)
    with open_journal(path) as journal:
        for seq in range(30):
            journal.write([stage(seq)])
            assert seqs(ask(client, topic="stage.m1.live", first=seq)[1]) == [seq]


def test_a_journal_that_cannot_be_read_is_an_answer(server, path, connect):
    path.write_bytes(b"no database" * 100)
    client = connect(server.endpoint)
    assert "expected a journal" in ask(client, topic="stage.m1.live")[0].error
    path.unlink()
    write_journal(path, [stage(0)])
    assert seqs(ask(client, topic="stage.m1.live")[1]) == [0]


def test_a_journal_of_another_format_is_an_answer(server, path, connect):
    write_journal(path, [stage(0)])
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    assert "format 99" in ask(connect(server.endpoint), topic="stage.m1.live")[0].error


@pytest.mark.parametrize(
    "frames",
    [
        [b""],
        [b"", b""],
        [b"1", b"", b""],
        [b"1", b"2", b"", b'{"topic": "stage.m1.live"}'],
        [b"{"],
        [b"\xff\xfe"],
        [b'{"topic": 3}'],
        [b'{"topic": "stage.m1.live", "first": -1}'],
        [b'{"topic": "stage.m1.live", "last": 9223372036854775808}'],
        [b'{"topic": "stage.m1.live", "first": 1.5}'],
        [b'{"topic": "stage.m1.live", "since": "yesterday"}'],
        [b'{"topic": "stage.m1.live", "since": "2026-01-01T00:00:00"}'],
        [b'{"topic": "\\ud800"}'],
        [b'{"topic": "stage.m1.live", "delete": true}'],
        [b'{"topic": "stage.m1.live"}', b'{"topic": "stage.m1.live"}'],
        [b"[" * 60_000],
        [b'{"topic": "' + b"x" * 300 + b'"}'],
    ],
)
def test_what_is_no_request_is_told_so(server, path, connect, frames):
    write_journal(path, [stage(0)])
    client = connect(server.endpoint)
    client.send_multipart(frames)
    (head,) = client.recv_multipart()[-1:]
    assert msgspec.json.decode(head, type=CatchUpReply).error.startswith("expected a request")
    assert seqs(ask(client, topic="stage.m1.live")[1]) == [0]


@pytest.fixture(scope="module")
def stocked(tmp_path_factory):
    """A server that many examples share."""
    path = write_journal(tmp_path_factory.mktemp("journal") / "j.sqlite", [stage(0)])
    with Gate(SecurityConfig()) as gate, CatchUp(ANYWHERE, path, gate) as server:
        yield server


requests = st.builds(CatchUpRequest, topic=st.text(max_size=256)).map(msgspec.json.encode)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
names = st.sampled_from(["topic", "first", "last", "since", "other"])
likely = st.dictionaries(names, json_values).map(json.dumps).map(str.encode)
frames = st.lists(st.binary(max_size=2000) | requests | likely, min_size=1, max_size=5)


@given(frames)
def test_any_bytes_get_one_reply(stocked, parts):
    head, *payloads = stocked.answer(parts)
    reply = msgspec.json.decode(head, type=CatchUpReply)
    assert reply.n_messages == len(payloads)
    assert reply.error is None or reply.error


def test_any_frames_leave_the_socket_working(stocked, connect):
    @given(frames)
    def disturb(parts):
        stranger.send_multipart(parts)
        assert stranger.recv_multipart()
        assert seqs(ask(client, topic="stage.m1.live")[1]) == [0]

    client, stranger = connect(stocked.endpoint), connect(stocked.endpoint)
    disturb()


def test_a_request_too_long_is_cut_off_and_others_go_on(stocked, connect):
    stranger, client = connect(stocked.endpoint), connect(stocked.endpoint)
    stranger.send(b"x" * (LONGEST_REQUEST + 1))
    assert seqs(ask(client, topic="stage.m1.live")[1]) == [0]
    stranger.setsockopt(zmq.RCVTIMEO, 0)
    with pytest.raises(zmq.Again):
        stranger.recv_multipart()


def test_who_asks_and_does_not_listen_or_goes_away_disturbs_nobody(server, path, connect):
    write_journal(path, [stage(seq) for seq in range(PIECE)])
    deaf, client = connect(server.endpoint), connect(server.endpoint)
    deaf.setsockopt(zmq.RCVHWM, 1)
    for _ in range(100):
        deaf.send(b'{"topic": "stage.m1.live"}')
    for _ in range(10):
        with zmq.Context() as context, context.socket(zmq.DEALER) as gone:
            gone.connect(server.endpoint)
            gone.send(b'{"topic": "stage.m1.live"}')
            gone.setsockopt(zmq.LINGER, 0)
    assert seqs(ask(client, topic="stage.m1.live")[1]) == list(range(PIECE))


def test_a_taken_endpoint_is_told(server, path):
    with (
        Gate(SecurityConfig()) as gate,
        pytest.raises(AddressError, match=r"publish\.catchup_bind: .* already in use"),
    ):
        CatchUp(PublishConfig(catchup_bind=server.endpoint), path, gate)


def test_a_message_is_read_as_the_live_one(server, path, connect):
    message = stage(0, reason="…µ")
    write_journal(path, [message])
    (payload,) = ask(connect(server.endpoint), topic="stage.m1.live")[1]
    assert decode("stage.m1.live", payload) == message


@pytest.mark.parametrize("greeting", [b"", b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f"])
def test_bytes_that_are_not_zeromq_disturb_nobody(stocked, connect, greeting):
    client = connect(stocked.endpoint)
    address, _, port = stocked.endpoint.removeprefix("tcp://").rpartition(":")
    for seed in range(20):
        with socket.create_connection((address, int(port))) as stranger:
            stranger.sendall(greeting + random.Random(seed).randbytes(5000))
        assert seqs(ask(client, topic="stage.m1.live")[1]) == [0]
