"""`hypnod notify`, told by a daemon's messages, telling real servers."""

import json
import queue
import re
import signal
import socketserver
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from daemon.config import NotifyConfig
from tests.rigs.forked import Forked
from tests.support.talker import Talker
from tools.cli import app
from tools.notify.send import KEPT, Sender, way_of
from tools.notify.watch import DAEMON, Notice, Watch

TIMEOUT_S = 30.0
SUBJECTS = '[{ name = "m1", channels = { eeg = "E", emg = "M" } }]'


@contextmanager
def serving(server):
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def webhook():
    """A server of notices, in `told`; the first `refuse` of them it refuses."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.server.told.put(content)
            self.send_response(self.server.status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def do_GET(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.told, server.status = queue.Queue(), 200
    with serving(server):
        server.url = f"http://127.0.0.1:{server.server_port}/secret"
        yield server


@pytest.fixture
def mail_server():
    """A server of mails, in `told`."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            self.wfile.write(b"220 here\r\n")
            while line := self.rfile.readline():
                if line.upper().startswith(b"DATA"):
                    self.wfile.write(b"354 go on\r\n")
                    lines = list(iter(self.rfile.readline, b".\r\n"))
                    self.server.told.put(b"".join(lines).decode())
                self.wfile.write(
                    b"221 bye\r\n" if line.upper().startswith(b"QUIT") else b"250 yes\r\n"
                )

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.told = queue.Queue()
    with serving(server):
        yield server


def write_config(folder, way, binds=("tcp://127.0.0.1:9", "tcp://127.0.0.1:10")):
    file = folder / "hypnod.toml"
    file.write_text(
        f'[[streams]]\nname = "cage"\nmatch = {{ type = "EEG" }}\nsubjects = {SUBJECTS}\n'
        f'[publish]\nbind = "{binds[0]}"\ncatchup_bind = "{binds[1]}"\n'
        f"[[notify]]\n{way}\n"
    )
    return str(file)


def run(*options):
    return CliRunner().invoke(app, ["notify", *options])


def test_what_is_wrong_is_told_once_and_that_it_is_over(tmp_path, webhook):
    secret = tmp_path / "webhook"
    secret.write_text(f"{webhook.url}\n")
    with Talker(tmp_path / "j.sqlite", ["m1"]) as talker:
        way = f'webhook_file = "{secret}"\nafter_s = 0.1'
        config = write_config(tmp_path, way, talker.binds)
        process = Forked(["notify", "--config", config], {})
        try:
            silent = "epochs of stream cage"

            def told(but=silent):  # there may be none for a moment at the start
                notice = webhook.told.get(timeout=TIMEOUT_S)
                while notice["what"] == but:
                    notice = webhook.told.get(timeout=TIMEOUT_S)
                return notice["what"], notice["over"], notice["text"]

            flat = {"validity": {"eeg": "ok", "emg": "flat"}}
            talker.troubles = {"journal": "the disk is full"}
            first = told()
            what = "the daemon's journal"
            while first[0] != what:  # it was slow to come up
                first = told()
            assert first == (what, False, "the daemon's journal: the disk is full")
            talker.troubles = {}
            assert told()[:2] == (what, True)
            talker.changes["m1"] = flat
            assert told() == ("m1 emg", False, "m1 emg: EMG flat")
            talker.changes["m1"] = {}
            assert told() == ("m1 emg", True, "all clear: m1 emg, which was: EMG flat")
            talker.changes["m1"] = None
            text = f"{silent}: late, or none at all, of m1"
            assert told(but="") == (silent, False, text)
            talker.changes["m1"] = {}
            assert told(but="")[:2] == (silent, True)
            talker.close()
            what, over, text = told()
            assert (what, over) == (DAEMON, False)
            assert "no connection to the daemon" in text
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(TIMEOUT_S) == 0
            log = process.stderr.read()
            process.stderr.close()
    assert webhook.told.empty()
    assert "secret" not in log


def test_a_test_sends_one_notice(tmp_path, webhook):
    done = run("--config", write_config(tmp_path, f'webhook = "{webhook.url}"'), "--test")
    assert (done.exit_code, done.output) == (0, "sent to the webhook\n")
    assert "a test of hypnod notify" in webhook.told.get(timeout=TIMEOUT_S)["text"]


def test_a_test_tries_every_way_though_one_fails(tmp_path, webhook):
    way = f'webhook = "http://127.0.0.1:9/secret"\n[[notify]]\nwebhook = "{webhook.url}"'
    done = run("--config", write_config(tmp_path, way), "--test")
    assert (done.exception.exit_code, done.output) == (13, "sent to the webhook\n")
    assert str(done.exception).endswith("found: [Errno 111] Connection refused")
    assert "a test of hypnod notify" in webhook.told.get(timeout=TIMEOUT_S)["text"]


def test_by_mail(tmp_path, mail_server):
    smtp = f"127.0.0.1:{mail_server.server_address[1]}"
    way = f'mail_to = ["a@lab.example", "b@lab.example"]\nsmtp = "{smtp}"'
    done = run("--config", write_config(tmp_path, way), "--test")
    assert (done.exit_code, done.output) == (0, "sent to a@lab.example, b@lab.example\n")
    mail = mail_server.told.get(timeout=TIMEOUT_S)
    assert re.search(r"^Subject: hypnod on .*: a test of hypnod notify", mail, re.MULTILINE)
    assert "To: a@lab.example, b@lab.example" in mail


@pytest.fixture
def no_web_server():
    """The port of a server that speaks something else."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            self.wfile.write(b"SSH-2.0-OpenSSH\r\n")
            self.rfile.readline()

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    with serving(server):
        yield server.server_address[1]


def test_whatever_answers_in_the_place_of_the_webhook_is_one_sentence(
    tmp_path, webhook, no_web_server
):
    """Else the thread that sends would end, and nobody be told of anything any more."""
    webhook.status = 302  # what it leads to is not given the notice
    urls = [webhook.url, f"http://127.0.0.1:{no_web_server}/secret", "http://rig/se cret"]
    for url in urls:
        done = run("--config", write_config(tmp_path, f'webhook = "{url}"'), "--test")
        assert done.exception.exit_code == 13, url
        assert "expected the webhook to take a notice" in str(done.exception)
        assert "cret" not in str(done.exception)


def test_an_address_that_is_none_is_one_sentence_and_a_reason_of_lines_is_mailed(
    tmp_path, mail_server
):
    done = run("--config", write_config(tmp_path, 'mail_to = ["a\\nb"]'), "--test")
    assert done.exception.exit_code == 13
    smtp = f"127.0.0.1:{mail_server.server_address[1]}"
    way = NotifyConfig(mail_to=("a@lab.example",), smtp=smtp)
    way_of(way)(Notice(text="the disk\r\nis full", what="the daemon's journal", over=False))
    assert "the disk is full" in mail_server.told.get(timeout=TIMEOUT_S)


def test_it_ends_though_as_many_notices_as_are_kept_cannot_be_sent(webhook):
    webhook.status = 500
    with capture_logs() as logs:
        sender = Sender(NotifyConfig(webhook=webhook.url))
        for k in range(KEPT + 2):
            if k == 1:
                webhook.told.get(timeout=TIMEOUT_S)  # the first one waits to be sent again
            sender.put(Notice(text=f"{k}", what="m1 emg", over=False))
        closing = threading.Thread(target=sender.close, daemon=True)
        closing.start()
        closing.join(TIMEOUT_S)
        assert not closing.is_alive()
    assert "a notice is lost" in [told["event"] for told in logs]


@pytest.mark.parametrize("way", ["webhook", "mail"])
def test_what_cannot_be_sent_is_one_sentence_and_no_secret(tmp_path, webhook, way):
    webhook.status = 500
    ways = {
        "webhook": f'webhook = "{webhook.url}"',
        "mail": 'mail_to = ["a@lab.example"]\nsmtp = "127.0.0.1:9"',
    }
    done = run("--config", write_config(tmp_path, ways[way]), "--test")
    assert done.exception.exit_code == 13
    assert "secret" not in str(done.exception)


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("after_s = 1", "expected one of webhook, webhook_file and mail_to, found none"),
        ('webhook = "x"\nmail_to = ["y"]', "found webhook and mail_to"),
        ('mail_to = ["y"]\nsmtp_user = "me"', "smtp_user and password_file together"),
        ('mail_to = ["y"]\nsmtp = "host"', "a host and a port"),
        ('webhook_file = "nowhere"', "notify.webhook_file: expected a readable file"),
    ],
)
def test_a_way_that_is_none_is_one_sentence(tmp_path, way, said):
    done = run("--config", write_config(tmp_path, way), "--test")
    assert done.exception.exit_code == 3
    assert said in str(done.exception)


def test_a_trouble_is_told_when_it_has_lasted_and_not_again():
    watch = Watch(after_s=60.0)
    ill = {"journal": "full"}

    def told(now, found, lost=None):
        return [(n.what, n.over) for n in watch.look(found, lost, now)]

    assert told(0, ill) == told(59, ill) == []
    assert told(60, {}) == told(61, ill) == told(120, ill) == []  # it went away meanwhile
    assert told(121, ill) == [("journal", False)]
    assert told(500, ill) == []
    assert told(501, None, "gone") == []
    assert told(561, None, "gone") == [(DAEMON, False)]  # of the journal nothing is known
    assert told(900, {}) == []
    assert told(960, {}) == [(DAEMON, True), ("journal", True)]
