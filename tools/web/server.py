"""The page's web server: one process, one thread that answers, and nothing kept for anybody."""

import errno
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Self

import uvicorn

from daemon.config import WebConfig
from daemon.errors import AddressError
from tools.live.board import Board
from tools.shared.day import Day
from tools.web.connection import Connection
from tools.web.guard import Guard, check_reach, read_token
from tools.web.site import Site
from tools.web.traces import Traces

_CONNECTIONS = 64
"""At a time; whoever comes then is told to come later."""
_IDLE_S, _END_S = 15, 2
_BACKLOG = 128


class Server:
    """Shows a board to browsers until SIGTERM or SIGINT.

    Args:
        config: where to listen, and who may come.
        board: what is shown.
        hours: how far back its histories reach.
        day: when it is light for the animals.
        traces: live signals; None: there are none.
        scored: where corrected nights are written, of a board that is a night.

    Raises:
        ConfigError: other machines would reach it without a token or TLS, or (KeyFileError) a file
            cannot be used.
        AddressError: the address is in use, or none of this machine.
    """

    def __init__(
        self,
        config: WebConfig,
        board: Board,
        hours: float,
        day: Day,
        traces: Traces | None,
        scored: Path | None = None,
    ) -> None:
        token = read_token(config)
        check_reach(config, token)
        site = Site(board, hours, day, traces, lambda: self._uvicorn.should_exit, scored)
        tls = {"ssl_certfile": config.certificate, "ssl_keyfile": config.key}
        self._uvicorn = _Uvicorn(
            uvicorn.Config(
                Guard(site.app(), token),
                loop="asyncio",
                http=Connection,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=_CONNECTIONS,
                timeout_keep_alive=_IDLE_S,
                timeout_graceful_shutdown=_END_S,
                **(tls if config.certificate else {}),  # type: ignore[arg-type]
            )
        )
        self._socket = _listen(config)
        port = self._socket.getsockname()[1]
        host = f"[{config.host}]" if ":" in config.host else config.host
        self.url = f"{'https' if config.certificate else 'http'}://{host}:{port}/"
        """Of the page."""

    def run(self) -> None:
        """Serve."""
        self._uvicorn.run(sockets=[self._socket])

    def end(self) -> None:
        """Let `run` return soon; from any thread."""
        self._uvicorn.should_exit = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._socket.close()


class _Uvicorn(uvicorn.Server):
    """Ends on a signal in order, with exit code 0; uvicorn itself would die of it then."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let SIGTERM and SIGINT end `serve`, and give them back at its end."""
        if threading.current_thread() is not threading.main_thread():
            yield  # signals are that one's
            return

        def end(_number: int, _frame: FrameType | None) -> None:
            self.should_exit = True

        before = {n: signal.signal(n, end) for n in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, former in before.items():
                signal.signal(number, former)


def _listen(config: WebConfig) -> socket.socket:
    where = f"{config.host} port {config.port}"
    try:
        return socket.create_server(
            (config.host, config.port),
            family=socket.AF_INET6 if ":" in config.host else socket.AF_INET,
            backlog=_BACKLOG,
        )
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AddressError(
                f"web.port: expected a free one, found {where} in use; choose one with --port"
            ) from error
        raise AddressError(
            f"web.host: expected an address of this machine, found {where}: {error.strerror}"
        ) from error
