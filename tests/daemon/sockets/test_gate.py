import random
import socket
from contextlib import ExitStack, suppress

import pytest
import structlog
import zmq

from daemon.sockets.gate import LONGEST_REQUEST
from daemon.sockets.keys import ClientKeys
from daemon.sockets.publisher import Publisher
from tests.support.site import LOCAL, TIMEOUT_S, Site


@pytest.fixture
def site(tmp_path):
    with ExitStack() as stack:
        yield Site(tmp_path, stack)


@pytest.fixture
def good(site):
    """A client with a good key, who heard the last value: it came late."""
    site.publish(1)
    subscriber = site.connect(site.make("good"))
    assert site.hear(subscriber, 1) == [0]
    return subscriber


def strangers_keys(site, who):
    other, good = site.make("stranger"), site.make("good")
    return {
        "unknown_key": other,
        "wrong_server_key": ClientKeys(other.own.public, good.own),
        "no_handshake": None,
    }[who]


@pytest.mark.parametrize("who", ["unknown_key", "wrong_server_key", "no_handshake"])
def test_a_stranger_hears_nothing_and_is_counted(site, good, who):
    stranger = site.connect(strangers_keys(site, who))
    site.serve_until(lambda: site.refused[who])
    site.publish(50)
    assert site.hear(good, 50) == list(range(1, 51))
    assert list(stranger.receive(0)) == []
    assert set(site.refused) <= {who, "no_handshake"}


def test_a_good_client_is_not_counted(site, good):
    assert not site.refused


def test_a_late_client_gets_the_last_value_marked(site, good):
    site.publish(3)
    late = site.connect(site.make("good"))
    received = []
    site.serve_until(lambda: received.extend(late.receive(0)) or received)
    assert [(r.message.seq, r.message.replayed) for r in received] == [(3, True)]


def test_a_key_is_added_while_others_listen(site, good):
    site.allow("new")
    early = site.connect(site.make("new"))
    site.serve_until(lambda: site.refused["unknown_key"])
    site.gate.reload()
    late = site.connect(site.make("new"))
    assert site.hear(late, 1) == [0]
    site.publish(1)
    assert site.hear(good, 1) == [1]
    assert list(early.receive(0)) == []  # who was refused does not try again by itself


def test_a_removed_key_is_refused_from_the_next_connection_on(site, good):
    (site.clients / "good.key").unlink()
    site.gate.reload()
    again = site.connect(site.make("good"))
    site.serve_until(lambda: site.refused["unknown_key"])
    site.publish(1)
    assert site.hear(good, 1) == [1]  # it was connected before
    assert list(again.receive(0)) == []


@pytest.mark.parametrize("spoil", ["file", "folder"])
def test_keys_that_cannot_be_read_again_leave_the_former_ones(site, good, spoil):
    if spoil == "file":
        (site.clients / "bad.key").write_text("nonsense", "utf-8")
    else:
        site.clients.rename(site.clients.with_name("gone"))
    with structlog.testing.capture_logs() as logs:
        site.gate.reload()
    assert logs[0]["event"] == "keys not reloaded"
    assert logs[0]["still_allowed"] == ["good"]
    assert site.hear(site.connect(site.make("good")), 1) == [0]


def test_the_log_names_an_unknown_key_once_and_no_secret(site):
    with structlog.testing.capture_logs() as logs:
        stranger = site.make("stranger")
        for n in (1, 2, 3):
            site.connect(stranger)
            site.serve_until(lambda n=n: site.refused["unknown_key"] == n)
    told = [entry["reason"] for entry in logs if entry["event"] == "refused a client"]
    assert told == [f"unknown key {stranger.own.public.decode()} from 127.0.0.1"]
    assert "secret" not in repr(logs)
    for path in site.keys.glob("*.key_secret"):
        secret = path.read_text("utf-8").split('"')[-2]
        assert secret not in f"{logs} {vars(site.gate)} {site.config}"


def test_the_client_has_a_name_for_the_server(site):
    router = site.gate.context.socket(zmq.ROUTER)
    endpoint = site.gate.bind(router, "tcp://127.0.0.1:*", "key")
    with router, zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        site.make("good").secure(dealer)
        dealer.connect(endpoint)
        dealer.send(b"hello")
        site.serve_until(lambda: router.poll(0))
        identity, request = router.recv_multipart(copy=False)
        assert request.bytes == b"hello"
        assert request.get("User-Id") == "good"
        router.send_multipart([identity.bytes, b"answer"])
        assert dealer.poll(TIMEOUT_S * 1000)
        dealer.close(linger=0)


def test_an_endless_request_is_cut_off(site, good):
    with zmq.Context() as context, context.socket(zmq.SUB) as greedy:
        site.make("good").secure(greedy)
        greedy.subscribe("x" * 2 * LONGEST_REQUEST)
        monitor = greedy.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        greedy.connect(site.publisher.endpoint)
        site.serve_until(lambda: monitor.poll(0))
        monitor.close()
        greedy.close(linger=0)
    site.publish(1)
    assert site.hear(good, 1) == [1]


GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00"
CURVE = GREETING + b"CURVE".ljust(20, b"\0") + bytes(32)


def nonsense():
    random_bytes = random.Random(1)
    yield from (random_bytes.randbytes(n) for n in (1, 10, 64, 1000, 100_000))
    yield b""
    yield b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
    yield GREETING[:20]
    yield b"\x01\x00\x02\x00\x01x"  # ZMTP 1.0, which knows no security
    yield b"\xff" + bytes(7) + b"\x01\x7f\x01\x01\x00\x00"  # ZMTP 2.0
    yield GREETING + b"NULL".ljust(20, b"\0") + bytes(32) + b"\x04\x19\x05READY"
    yield CURVE + b"\x06" + b"\xff" * 8  # a command of 2^64 bytes
    yield CURVE + b"\x04\xc8\x05HELLO\x01\x00" + bytes(192)
    yield from (CURVE + b"\x04\xc8" + random_bytes.randbytes(200) for _ in range(10))


@pytest.mark.parametrize("secured", [True, False])
def test_nonsense_on_the_port_disturbs_nobody(site, good, secured):
    publisher = site.publisher if secured else site._stack.enter_context(Publisher(LOCAL))
    listener = good
    if not secured:
        site.publisher, site.n_published = publisher, 0
        site.publish(1)
        listener = site.connect(None)
        assert site.hear(listener, 1) == [0]
    address = publisher.endpoint.removeprefix("tcp://").split(":")
    with ExitStack() as open_ones:
        raws = [
            (open_ones.enter_context(socket.create_connection(address, timeout=TIMEOUT_S)), thrown)
            for thrown in nonsense()
        ]
        for raw, thrown in raws:
            with suppress(OSError):  # hung up meanwhile
                raw.sendall(thrown)
                raw.shutdown(socket.SHUT_WR)
            site.publish(1)
            assert site.hear(listener, 1) == [site.n_published - 1]
        for raw, _ in raws:
            with suppress(OSError):
                while raw.recv(4096):  # until it is hung up
                    pass
            site.publish(1)
            assert site.hear(listener, 1) == [site.n_published - 1]


def test_who_shows_no_key_is_cut_off(site, good):
    address = site.publisher.endpoint.removeprefix("tcp://").split(":")
    with socket.create_connection(address, timeout=TIMEOUT_S) as raw:
        while raw.recv(4096):  # the server's greeting, then the end
            pass
    site.serve_until(lambda: site.refused["no_handshake"])


def test_a_crowd_at_the_gate_while_nobody_serves_it_keeps_nobody_out(site, good):
    address = site.publisher.endpoint.removeprefix("tcp://").split(":")
    for _ in range(3000):  # more than a monitor's default queue
        with socket.create_connection(address, timeout=TIMEOUT_S) as raw:
            raw.sendall(GREETING + b"NULL".ljust(20, b"\0") + bytes(32))
    site.publish(1)
    assert site.hear(good, 1) == [1]
    site.serve_until(lambda: site.refused.total() >= 3000)
