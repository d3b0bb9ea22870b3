"""Whatever comes in on the listener's port, Prometheus is answered and nothing is written."""

import contextlib
import socket
import threading
import urllib.error
import urllib.request

import pytest
import structlog
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest

from daemon.config import MetricsConfig
from daemon.metrics import Metrics
from daemon.sockets import metrics_server
from daemon.sockets.metrics_server import MetricsServer, Snapshot
from models.errors import ConfigError


def look():
    return Snapshot(generate_latest(Metrics().registry), {}, {})


@pytest.fixture
def server():
    server = MetricsServer(MetricsConfig(port=0), look)
    yield server
    server.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.168.1.20", "rig.example"])
def test_other_machines_are_kept_out_unless_allowed(host):
    with pytest.raises(ConfigError, match=r"^metrics\.host: expected an address of this machine"):
        MetricsServer(MetricsConfig(host=host, port=0), look)


def test_other_machines_are_let_in_where_the_config_says_so():
    config = MetricsConfig(host="0.0.0.0", port=0, open_to_network=True)
    server = MetricsServer(config, look)
    assert "hypnod" in scrape(server)
    server.close()


def connect(server):
    return socket.create_connection((server.host, server.port), timeout=30)


def scrape(server):
    url = f"http://{server.host}:{server.port}/metrics"
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read().decode()


def everything_from(client):
    answer = b""
    with contextlib.suppress(ConnectionError):
        while part := client.recv(65536):
            answer += part
    return answer


LINES = st.lists(st.binary(max_size=40), max_size=8).map(b"\r\n".join)
REQUESTS = st.builds(
    lambda method, path, rest: method + b" " + path + b" HTTP/1.1\r\n" + rest + b"\r\n\r\n",
    st.sampled_from([b"GET", b"POST", b"HEAD", b"PRI"]),
    st.sampled_from([b"/metrics", b"/readyz", b"*", b"/%ff%00", b"//", b"/metrics?name[]=%ff"])
    | st.binary(max_size=40),
    LINES,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=st.binary(max_size=200) | REQUESTS)
@example(b"")
@example(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")  # TLS
@example(b"GET /metrics HTTP/1.1\r\nAccept: ;;;=,\xff\r\nContent-Length: x\r\n\r\n")
@example(b"GET " + b"/" * 70_000)
@example(b"GET /metrics HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n")
def test_arbitrary_bytes_do_no_harm(server, capsys, sent):
    with connect(server) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
        everything_from(client)
    assert "hypnod_step_seconds" in scrape(server)
    assert capsys.readouterr() == ("", "")


def test_slow_clients_are_cut_off(server, monkeypatch):
    monkeypatch.setattr(metrics_server, "PATIENCE_S", 0.3)
    asking, reading = connect(server), connect(server)
    with asking, reading:
        asking.sendall(b"GET /metrics HTTP/1.1\r\n")
        assert everything_from(asking) == b""  # it never came to an end, so the listener made one
        reading.sendall(b"GET /met")
        assert everything_from(reading) == b""
    assert "hypnod_step_seconds" in scrape(server)


def test_many_clients_take_no_more_than_their_share(server):
    before = set(threading.enumerate())  # another server's last threads may be going
    clients = [connect(server) for _ in range(metrics_server.MAX_CONNECTIONS)]
    for client in clients:
        client.sendall(b"GET /metrics HTTP/1.1\r\n")
    with connect(server) as one_more:
        assert everything_from(one_more) == b""
    new = set(threading.enumerate()) - before
    threads = [t for t in new if "process_request" in t.name]
    assert len(threads) <= metrics_server.MAX_CONNECTIONS
    for client in clients:
        client.close()
    while True:
        with contextlib.suppress(ConnectionError, urllib.error.URLError):
            assert "hypnod_step_seconds" in scrape(server)
            break


def test_a_client_that_goes_away_is_no_news(server, capsys):
    with structlog.testing.capture_logs() as logs:
        capsys.readouterr()  # the thread of another test's client may have told of it before
        for sent in [b"", b"GET /metr", b"GET /metrics HTTP/1.1\r\n\r\n"] * 5:
            client = connect(server)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.sendall(sent)
            client.close()  # with a reset
        assert "hypnod_step_seconds" in scrape(server)
        assert capsys.readouterr() == ("", "")
    assert {entry["log_level"] for entry in logs} <= {"debug"}
