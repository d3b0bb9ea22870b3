"""Who asks for too much is cut off: every connection has so many requests in a while.

libzmq tells of each frame from which connection it came, by the number of its file. The next
connection may get that number while a few frames of the former one still wait: for a moment what
comes from there is dropped without cutting off anybody.
"""

import os
import socket
import time
from collections import Counter
from collections.abc import Callable

import structlog
import zmq

log = structlog.get_logger()

ALLOWED, WHILE_S = 1000, 10.0
"""Requests of one connection within this time, s; a long one counts as several."""
FLOOD = "flood"
_MOMENT_S = 0.02
_BYTES = 64  # of a request, for which it counts once more


class Meter:
    """Counts what comes by connection.

    Args:
        cut: told the reason of every connection that is cut off.
    """

    def __init__(self, cut: Callable[[str], object]) -> None:
        self._cut = cut
        self._counts: Counter[str] = Counter()
        self._cut_at: dict[str, float] = {}
        self._until = 0.0

    def allows(self, frame: zmq.Frame) -> bool:
        """Count a frame; False where its connection has asked for too much, and is cut off."""
        now = time.monotonic()
        if now >= self._until:
            self._until = now + WHILE_S
            self._counts.clear()
            self._cut_at.clear()
        try:
            connection = str(frame.get("__fd"))
        except zmq.ZMQError:  # libzmq's own: what a client that has gone no longer wants
            return True
        if now - self._cut_at.get(connection, -_MOMENT_S) < _MOMENT_S:
            return False
        self._counts[connection] += 1 + len(frame) // _BYTES
        if self._counts[connection] <= ALLOWED:
            return True
        self._cut_at[connection] = now
        del self._counts[connection]
        log.warning("cut a client off", reason="it asks for too much", address=_cut_off(connection))
        self._cut(FLOOD)
        return False


def _cut_off(connection: str) -> str:
    """Hang up on a connection; return the address of its client, empty where it is gone."""
    try:
        with socket.socket(fileno=os.dup(int(connection))) as client:
            address = client.getpeername()
            client.shutdown(socket.SHUT_RDWR)
    except OSError:
        return ""
    return address[0] if isinstance(address, tuple) else str(address)
