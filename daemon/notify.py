"""What systemd is told: ready, status, watchdog, stopping.

The protocol is one datagram of `KEY=value` lines to the socket in NOTIFY_SOCKET, see
sd_notify(3). Without that variable (no systemd) nothing is sent.
"""

import os
import socket
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress

from daemon.outbox import Round

_MICRO = 1e-6
_UNSENT = 32  # lines kept while the service manager is too busy to take them
_GONE = (ConnectionError, FileNotFoundError, PermissionError)
"""The service manager is not there: nobody to tell now, but it may come back."""


class Notifier:
    """Talks to the service manager that started this process, if one did.

    Args:
        environ: where NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are looked up.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):  # an abstract socket
            self._address = "\0" + self._address[1:]
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)  # a deaf service manager must not stop the staging
        self._unsent: deque[str] = deque(maxlen=_UNSENT)
        watched = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._watchdog_s = float(environ.get("WATCHDOG_USEC", "0")) * _MICRO if watched else 0.0
        self._fed = float("-inf")

    def ready(self) -> None:
        """Say that the start is over: sockets bound, engine warm."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """Show one line in `systemctl status`."""
        self._send(f"STATUS={text}")

    def take(self, _what: Round) -> None:
        """Feed the watchdog: a tick came to its end."""
        self.beat(time.monotonic())

    def beat(self, now: float) -> None:
        """Feed the watchdog, a few times per watchdog interval; call it on progress only.

        Args:
            now: a monotonic clock, s.
        """
        self._flush()
        if self._watchdog_s and now - self._fed >= self._watchdog_s / 4:
            self._fed = now
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that the shutdown has begun."""
        self._send("STOPPING=1")

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _send(self, line: str) -> None:
        if self._address:
            self._unsent.append(line)
            self._flush()

    def _flush(self) -> None:
        """Send what waits, until the service manager has no room; it reads when it can."""
        with suppress(BlockingIOError):
            while self._unsent:
                with suppress(*_GONE):
                    self._socket.sendto(self._unsent[0].encode(), self._address)
                self._unsent.popleft()
