"""Who is answered what, without a browser."""

import asyncio
import hashlib
import http.client
import json
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import pytest
import uvicorn
from typer.testing import CliRunner

from daemon.config import DayConfig, WebConfig
from tests.support.nights import EVENING, stage, state
from tests.support.talker import Talker
from tests.tools.web.conftest import serve, serve_from
from tools.cli import app
from tools.client.subscriber import Received
from tools.live.board import Board
from tools.shared.day import Day
from tools.web.connection import Connection
from tools.web.events import Events
from tools.web.server import Server
from tools.web.site import STATIC
from tools.web.updates import Updates

TIMEOUT_S = 20.0
KINDS = ("live", "final")
TOKEN = "0123456789abcdef" * 4


def ask(url, path, method="GET", **headers):
    """Return the status, headers and body of an answer."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=TIMEOUT_S)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def read_event(stream):
    """Return the next event of an answer."""
    line = stream.readline()
    while not line.startswith(b"data: "):
        assert line, "the answer ended"
        line = stream.readline()
    return json.loads(line.removeprefix(b"data: "))


@pytest.fixture
def follow():
    """Ask for events; they are those of the answer's lines."""
    connections = []

    def start(url, **headers):
        where = urlsplit(url)
        connection = http.client.HTTPConnection(where.hostname, where.port, timeout=TIMEOUT_S)
        connection.request("GET", "/api/events", headers=headers)
        connections.append(connection)
        return connection.getresponse()

    yield start
    for connection in connections:
        connection.close()


def test_browsers_are_told_to_run_nothing_and_ask_nobody_else(server):
    for path in ("/", "/static/app.js", "/static/vendor/uplot/uPlot.esm.js", "/api/about"):
        status, headers, _ = ask(server.url, path)
        assert status == 200, path
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in policy
        assert "Set-Cookie" not in headers
    assert "Server" not in headers


def test_what_others_wrote_is_as_they_published_it():
    folder = STATIC / "vendor" / "uplot"
    told = re.findall(
        r"^([0-9a-f]{64})  (\S+)$", (folder / "VERSION.txt").read_text(), re.MULTILINE
    )
    assert [name for _, name in told] == ["uPlot.esm.js", "uPlot.min.css"]
    for digest, name in told:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert (folder / "LICENSE").read_text().startswith("The MIT License")


def test_it_can_only_be_read(server):
    for path in ("/", "/api/about", "/api/subjects/m1"):
        for method in ("POST", "PUT", "DELETE"):
            assert ask(server.url, path, method)[0] == 405


def test_a_question_that_is_none_is_refused(server, follow):
    stream = follow(server.url)
    while not read_event(stream)["names"]:  # the server has just begun to listen
        pass
    for path, status in (
        ("/api/subjects/nobody?start=0&end=1&steps=1", 404),
        ("/api/subjects/m1", 400),
        ("/api/subjects/m1?start=0&end=inf&steps=1", 400),
        ("/api/subjects/m1?start=nan&end=1&steps=1", 400),
        ("/api/subjects/m1?start=5&end=1&steps=1", 400),
        ("/api/subjects/m1?start=0&end=1&steps=0", 400),
        ("/api/subjects/m1?start=0&end=100&steps=1e10", 200),
        ("/static/../command.py", 404),
        ("/static/%2e%2e/command.py", 404),
    ):
        assert ask(server.url, path)[0] == status, path


def test_without_a_token_only_names_of_this_machine_are_answered(server):
    """Else any page that the browser has open could read this one by pointing its name here."""
    assert ask(server.url, "/api/about", Host="evil.example")[0] == 421
    assert ask(server.url, "/api/about", Host="localhost:1")[0] == 200


def test_with_a_token_nothing_is_told_without_it(tmp_path, follow):
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    with (
        Talker(tmp_path / "j.sqlite", ["m1"]) as talker,
        serve_from(talker, "--token", str(file)) as server,
    ):
        assert ask(server.url, "/")[0] == 200  # the page, which asks for it
        for path in ("/api/about", "/api/events", "/api/subjects/m1"):
            for shown in ({}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": TOKEN}):
                assert ask(server.url, path, **shown)[0] == 401
        shown = {"Authorization": f"Bearer {TOKEN}"}
        assert ask(server.url, "/api/about", Host="rig.example", **shown)[0] == 200
        stream = follow(server.url, **shown)
        while not read_event(stream)["names"]:
            pass


def test_over_tls(tmp_path):
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    made += ["-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=localhost"]
    made += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(made, cwd=tmp_path, check=True, capture_output=True)
    files = [f"--{o}={tmp_path / f}" for o, f in (("certificate", "cert.pem"), ("key", "key.pem"))]
    with serve("--connect", "tcp://127.0.0.1:9", *files) as server:
        assert server.url.startswith("https://")
        trusted = ssl.create_default_context(cafile=tmp_path / "cert.pem")
        port = urlsplit(server.url).port
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=trusted)
        connection.request("GET", "/api/about")
        assert connection.getresponse().status == 200
        connection.close()


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--host", "0.0.0.0"], 3, "a token (web.token, --token) and a certificate"),
        (["--host", "0.0.0.0", "--token", "TOKEN"], 3, "a certificate and its key"),
        (["--token", "SHORT"], 3, "at least 32 characters"),
        (["--token", "OPEN"], 3, "found it open to others"),
        (["--token", "nowhere"], 3, "a readable file with a token"),
        (["--certificate", "TOKEN"], 3, "together, found one of them"),
        (["--certificate", "TOKEN", "--key", "TOKEN"], 3, "a certificate and its key without"),
        (["--connect", "garbage"], 2, "expected a ZeroMQ endpoint"),
        (["--port", "TAKEN"], 7, "in use; choose one with --port"),
        (["--host", "192.0.2.1", "--token", "TOKEN"], 3, "192.0.2.1"),
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path, monkeypatch, options, code, said):
    for name, text, mode in (
        ("TOKEN", TOKEN, 0o600),
        ("SHORT", "x", 0o600),
        ("OPEN", TOKEN, 0o644),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        options = [port if option == "TAKEN" else option for option in options]
        done = CliRunner().invoke(app, ["web", *options])
    assert getattr(done.exception, "exit_code", done.exit_code) == code
    words = f"{done.output} {done.exception}".replace("│", " ").split()
    assert said in " ".join(words)


def test_connections_that_ask_nothing_keep_nobody_out_for_long(monkeypatch):
    """Whoever reaches the port could else take all of them, without the token."""
    monkeypatch.setattr(Connection, "check_s", 0.2)
    board, found = Board("tcp://rig:5570", hours=1.0), []

    def crowd(server):
        where = urlsplit(server.url)
        address, begun = (
            (where.hostname, where.port),
            b"GET /api/events HTTP/1.1\r\nHost: localhost",
        )
        try:
            with socket.create_connection(address, TIMEOUT_S) as listener, ExitStack() as stack:
                listener.sendall(begun + b"\r\n\r\n")
                stream = listener.makefile("rb")
                read_event(stream)
                others = [socket.create_connection(address, TIMEOUT_S) for _ in range(80)]
                for k, other in enumerate(others):
                    stack.enter_context(other)
                    with suppress(ConnectionError):  # it may be cut already
                        other.sendall(begun[:k])  # some begin to ask
                for other in others:
                    with suppress(ConnectionError):
                        assert other.recv(1) == b""
                read_event(stream)  # who listens is not cut
                found.append(ask(server.url, "/api/about")[0])
        finally:
            server.end()

    with Server(WebConfig(port=0), board, 1.0, Day(DayConfig()), None) as server:
        thread = threading.Thread(target=server.run)  # Playwright's loop has this one
        thread.start()
        crowd(server)
        thread.join()
    assert found == [200]


def test_a_browser_that_takes_nothing_keeps_nobody_waiting_and_nothing_is_kept_for_it(
    monkeypatch,
):
    monkeypatch.setattr(Connection, "check_s", 0.2)
    asked = {"/taking": 0, "/stuck": 0}

    async def answer(scope, receive, send):
        async def contents():
            while True:
                asked[scope["path"]] += 1
                yield b'"' + b"x" * 2**20 + b'"'
                await asyncio.sleep(0)

        await Events(contents())(scope, receive, send)

    config = uvicorn.Config(answer, http=Connection, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        where = listener.getsockname()
        with socket.create_connection(where) as stuck, socket.create_connection(where) as taking:
            for path, one in (("/stuck", stuck), ("/taking", taking)):
                one.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            with taking.makefile("rb") as stream:
                for _ in range(50):
                    read_event(stream)
                while len(server.server_state.connections) > 1:  # it is given up at last
                    read_event(stream)
        server.should_exit = True
        thread.join()
    assert asked["/stuck"] < 20 < 50 <= asked["/taking"]


def test_it_ends_at_once_though_somebody_listens(tmp_path, follow):
    with serve("--connect", "tcp://127.0.0.1:9") as server:
        read_event(follow(server.url))
        server.send_signal(signal.SIGTERM)
        assert server.wait(TIMEOUT_S) == 0


def test_it_ends_soon_though_nobody_answers_for_the_past(tmp_path, follow):
    names = [f"m{k}" for k in range(8)]
    with (
        Talker(tmp_path / "j.sqlite", names) as talker,
        serve("--connect", talker.binds[0], "--catch-up", "tcp://127.0.0.1:9") as server,
    ):
        stream = follow(server.url)
        while not read_event(stream)["names"]:
            pass
        server.send_signal(signal.SIGTERM)
        assert server.wait(TIMEOUT_S) == 0


def test_an_update_has_what_changed_since_the_last_one_alone():
    board = Board("tcp://rig:5570", hours=1.0)
    said = [state(0, subjects=("m1", "m2"))]
    said += [stage(k, name, kind) for k in range(40) for name in ("m1", "m2") for kind in KINDS]
    for message in said:
        board.take(Received(message.topic, message, EVENING, time.monotonic()))
    updates = Updates(board, Day(DayConfig(lights_on="07:00", zone="UTC")), hours=1.0)
    first, second = (json.loads(updates.next()) for _ in range(2))
    assert [(t["name"], t["strip"]["whole"]) for t in first["tiles"]] == [
        ("m1", True),
        ("m2", True),
    ]
    assert [len(t["strip"]["letters"]) for t in first["tiles"]] == [2, 2]
    assert len(first["lights"]) >= 1
    assert all(end - start <= 12 * 3600 for start, end in first["lights"])
    assert second["lights"] is None
    assert (second["names"], second["tiles"]) == (["m1", "m2"], [])
    for k in (40, 41):
        board.take(Received("", stage(k, kind="final"), EVENING, time.monotonic()))
    (changed,) = json.loads(updates.next())["tiles"]
    assert (changed["name"], changed["strip"]["whole"]) == ("m1", False)
    assert len(changed["strip"]["letters"]) == 2  # the cell that was the newest, and the new one
