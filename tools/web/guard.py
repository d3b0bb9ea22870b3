"""Who may see the page: everyone on this machine, or whoever shows the token, over TLS."""

import os
import re
import ssl
from hmac import compare_digest
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from daemon.config import WebConfig
from daemon.errors import KeyFileError
from daemon.sockets.gate import is_loopback
from models.errors import ConfigError

CREDENTIAL = "hypnod-web.token"
_LEAST = 32  # characters of a token
_TOO_OPEN = 0o077
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def read_token(config: WebConfig) -> str | None:
    """Return the token that a browser must show, None where none is asked for.

    Raises:
        KeyFileError: its file cannot be read, others can, or it is too short.
    """
    path = Path(config.token) if config.token else _credential()
    if path is None:
        return None
    try:
        token, mode = path.read_text("utf-8").strip(), path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"{path}: expected a readable file with a token: {error}") from error
    if mode & _TOO_OPEN:
        raise KeyFileError(
            f"{path}: expected a token for its owner alone, found it open to others; "
            f"chmod 600 {path}"
        )
    if not re.fullmatch(rf"[!-~]{{{_LEAST},}}", token):
        raise KeyFileError(
            f"{path}: expected a token of at least {_LEAST} characters without a space, found "
            "another; make one with: openssl rand -hex 32"
        )
    return token


def check_reach(config: WebConfig, token: str | None) -> None:
    """Raise ConfigError where other machines reach the page without a token or without TLS."""
    missing = [
        *["a token (web.token, --token)"] * (token is None),
        *["a certificate and its key (web.certificate, web.key)"] * (not config.certificate),
    ]
    if missing and not is_loopback(config.host):
        raise ConfigError(
            f"web.host: expected, for an address that other machines reach, {' and '.join(missing)}"
            f", found none with {config.host}; behind a proxy that speaks TLS, listen on 127.0.0.1"
        )
    if bool(config.certificate) != bool(config.key):
        raise ConfigError("expected web.certificate and web.key together, found one of them")
    if config.certificate:
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(config.certificate, config.key, password="")
        except (OSError, ssl.SSLError) as error:
            raise KeyFileError(
                f"{config.certificate}, {config.key}: expected a certificate and its key without "
                f"a password, PEM, found: {error}"
            ) from error


class Guard:
    """Asks for the token, and tells browsers how little the page needs.

    Without a token it answers only to names of this machine: else a page of anybody's could read
    it through the browser that has both open (DNS rebinding).

    Args:
        app: what is guarded.
        token: to be shown as `Authorization: Bearer …` for everything under /api/; None: nobody is
            asked.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = None if token is None else token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        refusal = self._refuse(scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refuse(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        if self._token is None:
            host = re.sub(r":\d*$", "", headers.get("host", "")).strip("[]")
            if not is_loopback(host):
                return PlainTextResponse("expected a name of this machine, such as localhost", 421)
        elif scope["path"].startswith("/api/"):
            kind, _, shown = headers.get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not compare_digest(shown.encode(), self._token):
                return PlainTextResponse("expected the token", 401, {"WWW-Authenticate": "Bearer"})
        return None


def _credential() -> Path | None:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    path = None if folder is None else Path(folder) / CREDENTIAL
    return path if path is not None and path.exists() else None
