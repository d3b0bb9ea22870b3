"""What the daemon and its server of clients say to each other: records over a pair of sockets.

A record is a MessagePack array: what it is, then what belongs to it. Nobody waits for the other
one: what finds no room in the socket waits here, up to a bound.
"""

import socket
import threading
from collections import deque
from typing import Any

import msgspec

MAX_WAITING = 64 * 2**20
"""Bytes that wait for the other end; what comes on top is lost."""
_LENGTH = 4
_AT_ONCE = 2**20

Record = list[Any]


class Link:
    """One end of a pair of connected stream sockets; any thread may send.

    Args:
        end: the socket, which is this object's from now on.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._received = bytearray()
        self._waiting: deque[bytes] = deque()
        self._n_waiting = 0
        self._change = threading.Lock()

    def fileno(self) -> int:
        """For who waits until something comes."""
        return self._socket.fileno()

    @property
    def is_sent(self) -> bool:
        """Whether nothing waits here."""
        return not self._waiting

    def send(self, *record: object) -> bool:
        """Send a record now or with the next; return whether it found room."""
        content = msgspec.msgpack.encode(record)
        data = len(content).to_bytes(_LENGTH, "big") + content
        with self._change:
            fits = self._n_waiting + len(data) <= MAX_WAITING
            if fits:
                self._waiting.append(data)
                self._n_waiting += len(data)
            self._flush()
        return fits

    def flush(self) -> None:
        """Send what waits, as far as there is room; call it often."""
        if self._waiting:
            with self._change:
                self._flush()

    def receive(self) -> list[Record] | None:
        """Return the records that have come; None where the other end is closed."""
        try:
            data = self._socket.recv(_AT_ONCE)
        except BlockingIOError:
            return []
        except ConnectionError:
            return None
        if not data:
            return None
        self._received += data
        records, begin = [], 0
        while len(self._received) - begin >= _LENGTH:
            end = begin + _LENGTH
            end += int.from_bytes(self._received[begin:end], "big")
            if len(self._received) < end:
                break
            records.append(msgspec.msgpack.decode(self._received[begin + _LENGTH : end]))
            begin = end
        del self._received[:begin]
        return records

    def finish(self) -> None:
        """Tell the other end that nothing more comes."""
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def _flush(self) -> None:
        try:
            while self._waiting:
                n = self._socket.send(self._waiting[0])
                self._n_waiting -= n
                if n < len(self._waiting[0]):
                    self._waiting[0] = self._waiting[0][n:]
                    return
                self._waiting.popleft()
        except BlockingIOError:
            pass
        except OSError:  # the other end is gone, which `receive` tells
            self._waiting.clear()
            self._n_waiting = 0
