"""Ways to tell a person: a webhook, or mail; each has a thread and keeps no other waiting."""

import http.client
import queue
import smtplib
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from email.message import EmailMessage
from pathlib import Path

import msgspec
import structlog

from daemon.config import NotifyConfig
from models.errors import ConfigError, HypnodError
from tools.notify.watch import Notice

log = structlog.get_logger()

_ANSWER_S = 20.0
_RETRY_S = (10.0, 30.0, 60.0, 300.0)
KEPT = 1000
_END_S = 5.0
_STARTTLS = "starttls"
_TLS = "tls"

Send = Callable[[Notice], None]


class NotifyError(HypnodError):
    """A notice could not be sent."""

    exit_code = 13


class Sender:
    """Sends notices one after the other, and again until each has arrived.

    Args:
        config: how.
    """

    def __init__(self, config: NotifyConfig) -> None:
        self._send = way_of(config)
        self._waiting: queue.Queue[Notice | None] = queue.Queue(KEPT)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)
        self._thread.start()

    def put(self, notice: Notice) -> None:
        """Have a notice sent soon."""
        try:
            self._waiting.put_nowait(notice)
        except queue.Full:
            log.error("a notice is lost", text=notice.text, reason=f"{KEPT} wait to be sent")

    def close(self) -> None:
        """Send what waits, but not for long."""
        self._ending.set()
        with suppress(queue.Full):  # then it tries to send, and sees that this is the end
            self._waiting.put_nowait(None)
        self._thread.join(_END_S)

    def _run(self) -> None:
        while (notice := self._waiting.get()) is not None:
            attempt = 0
            while not self._try(notice):
                if self._ending.wait(_RETRY_S[min(attempt, len(_RETRY_S) - 1)]):
                    return
                attempt += 1

    def _try(self, notice: Notice) -> bool:
        try:
            self._send(notice)
        except NotifyError as error:
            log.error("a notice was not sent", text=notice.text, reason=str(error))
            return False
        log.info("told", text=notice.text)
        return True


def way_of(config: NotifyConfig) -> Send:
    """Return what sends a notice as configured; it raises NotifyError where that fails.

    Raises:
        ConfigError: a file with a secret cannot be read.
    """
    if config.mail_to:
        password = _read(config.password_file, "notify.password_file")
        return lambda notice: _mail(config, password, notice)
    url = config.webhook or _read(config.webhook_file, "notify.webhook_file")
    return lambda notice: _post(url, notice)


def _read(path: str, key: str) -> str:
    if not path:
        return ""
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{key}: expected a readable file, found: {error}") from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses to be sent elsewhere: what arrived there would be a question without the notice."""

    def redirect_request(self, *_: object) -> None:
        """Follow nothing: HTTPError is raised then."""


_web = urllib.request.build_opener(_NoRedirect)


def _post(url: str, notice: Notice) -> None:
    if not url.startswith(("http://", "https://")):
        raise NotifyError("expected a webhook that begins with https:// or http://, found another")
    content = msgspec.json.encode({**msgspec.to_builtins(notice), "host": socket.gethostname()})
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, content, headers, method="POST")  # noqa: S310  checked
    try:
        with _web.open(request, timeout=_ANSWER_S):
            pass
    except urllib.error.HTTPError as error:
        with error:
            raise NotifyError(f"expected the webhook to take a notice, found: {error}") from error
    except http.client.HTTPException as error:  # an answer that is none, or an address that is none
        what = type(error).__name__  # the address may be a secret: it is not repeated
        raise NotifyError(f"expected the webhook to take a notice, found: {what}") from error
    except (OSError, ValueError) as error:
        why = error.reason if isinstance(error, urllib.error.URLError) else error
        raise NotifyError(f"expected the webhook to take a notice, found: {why}") from error


def _dial(config: NotifyConfig, host: str, port: int, context: ssl.SSLContext) -> smtplib.SMTP:
    if config.smtp_security == _TLS:
        return smtplib.SMTP_SSL(host, port, timeout=_ANSWER_S, context=context)
    return smtplib.SMTP(host, port, timeout=_ANSWER_S)


def _mail(config: NotifyConfig, password: str, notice: Notice) -> None:
    mail = EmailMessage()
    subject = f"hypnod on {socket.gethostname()}: {notice.text}"
    mail["Subject"] = " ".join(subject.split())[:200]
    mail.set_content(f"{notice.text}\n")
    host, _, port = config.smtp.rpartition(":")
    context = ssl.create_default_context()
    try:
        mail["From"], mail["To"] = config.mail_from, ", ".join(config.mail_to)
        with _dial(config, host, int(port), context) as server:
            if config.smtp_security == _STARTTLS:
                server.starttls(context=context)
            if config.smtp_user:
                server.login(config.smtp_user, password)
            server.send_message(mail)
    except (OSError, ValueError, smtplib.SMTPException) as error:
        raise NotifyError(f"expected {config.smtp} to take a mail, found: {error}") from error
