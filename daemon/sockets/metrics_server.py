"""The small HTTP listener: /metrics for Prometheus, /healthz and /readyz for probes.

Whatever comes in on its port, staging is not touched: each connection has a thread of its own for a
bounded time, and there are never more than a few of them.
"""

import json
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import Any, NamedTuple
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

import structlog
from prometheus_client import CONTENT_TYPE_LATEST

from daemon.config import MetricsConfig
from daemon.errors import AddressError
from daemon.sockets.gate import is_loopback
from models.errors import ConfigError

log = structlog.get_logger()

_POLL_S = 0.1  # a shutdown waits at most this long for the listener
MAX_CONNECTIONS = 64
"""Connections answered at a time; the next one is closed at once."""
_PATHS = ("/metrics", "/healthz", "/readyz")
PATIENCE_S = 5.0
"""A client that takes longer than this to ask, or to take its answer, is cut off, s."""


class Snapshot(NamedTuple):
    """How the daemon is."""

    metrics: bytes
    """In Prometheus' text format; empty where the daemon did not answer."""
    unhealthy: dict[str, str]
    """What is wrong, by name; empty when all is well."""
    unready: dict[str, str]
    """Likewise."""


Look = Callable[[], Snapshot]
"""Asked from other threads."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, *args: Any) -> None:
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Cut the client off when its time is over, however it spends it."""
        cut = threading.Timer(PATIENCE_S, _hang_up, [request])
        cut.daemon = True
        cut.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            cut.cancel()
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay calm: a client that sent nonsense or went away is no news."""
        log.debug("metrics client", client=client_address, exc_info=True)


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing: a scrape every few seconds is no news."""


class MetricsServer:
    """Serves /metrics, /healthz and /readyz in a thread of its own.

    Args:
        config: where to listen.
        look: how the daemon is.

    Raises:
        ConfigError: other machines reach the address, and the config does not say that they may.
        AddressError: the port is in use, or the address is none of this machine.
    """

    def __init__(self, config: MetricsConfig, look: Look) -> None:
        _check(config)
        self._look = look
        server_class = _Server6 if ":" in config.host else _Server
        try:
            self._server = make_server(
                config.host, config.port, self._answer, server_class, _Handler
            )
        except (OSError, UnicodeError) as error:
            raise AddressError(
                f"metrics: expected a free port of this machine, found "
                f"{config.host}:{config.port}: {error}"
            ) from error
        self.host = config.host
        """The address listened on."""
        self.port: int = self._server.server_port
        """The port listened on; of port 0, the one that was taken."""
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path not in _PATHS:
            found = {"found": path, "expected": _PATHS}
            return _answer_json(start, HTTPStatus.NOT_FOUND, found)
        metrics, unhealthy, unready = self._look()
        if path == "/metrics" and metrics:
            start("200 OK", [("Content-Type", CONTENT_TYPE_LATEST)])
            return [metrics]
        problems = unready if path == "/readyz" else unhealthy
        if problems:
            bad = {"ok": False, "problems": problems}
            return _answer_json(start, HTTPStatus.SERVICE_UNAVAILABLE, bad)
        return _answer_json(start, HTTPStatus.OK, {"ok": True})


def _check(config: MetricsConfig) -> None:
    if not (config.open_to_network or is_loopback(config.host)):
        raise ConfigError(
            "metrics.host: expected an address of this machine alone such as 127.0.0.1, found "
            f"{config.host!r}; set metrics.open_to_network = true to let everyone read the metrics"
        )


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):  # it is closed already
        connection.shutdown(socket.SHUT_RDWR)


def _answer_json(start: StartResponse, status: HTTPStatus, content: object) -> list[bytes]:
    start(f"{status.value} {status.phrase}", [("Content-Type", "application/json")])
    return [json.dumps(content, ensure_ascii=False).encode()]
