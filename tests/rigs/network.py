"""A TCP way to a port of this machine that fails as networks do."""

import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Self


class _Line:
    """One connection. Once it is dead all is lost on it, without a word to either end."""

    def __init__(self, near: socket.socket, far: socket.socket, limit: float) -> None:
        self.ends, self.dead, self.left = [near, far], False, limit
        ways = ((near, far), (far, near))
        self.threads = [threading.Thread(target=self._relay, args=way) for way in ways]
        for thread in self.threads:
            thread.start()

    def _relay(self, source: socket.socket, to: socket.socket) -> None:
        with suppress(OSError):
            while (data := source.recv(65536)) and self.left >= 0:
                if not self.dead:
                    to.sendall(data)
                    self.left -= len(data)
        if not self.dead:
            self._break()

    def _break(self) -> None:
        for end in self.ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._break()
        for thread in self.threads:
            thread.join()
        for end in self.ends:
            end.close()


class Network:
    """Relays every connection to an endpoint; `limits`: bytes after which the first ones break."""

    def __init__(self, endpoint: str, limits: Sequence[float] = ()) -> None:
        host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        self._target, self._limits = (host, int(port)), list(limits)
        self._lines: list[_Line] = []
        self._unplugged, self._change = False, threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    @property
    def broken(self) -> int:
        """Connections that have broken at their limit."""
        return sum(line.left < 0 for line in self._lines)

    def unplug(self) -> None:
        """Let every connection go dead, and every new one until it is plugged in again."""
        with self._change:
            self._unplugged = True
            for line in self._lines:
                line.dead = True

    def plug_in(self) -> None:
        """Let new connections through; those of before stay dead."""
        with self._change:
            self._unplugged = False

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket()
                with suppress(OSError):  # nobody may be there any more
                    far.connect(self._target)
                with self._change:
                    limit = self._limits.pop(0) if self._limits else float("inf")
                    line = _Line(near, far, limit)
                    line.dead = self._unplugged
                    self._lines.append(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for line in self._lines:
            line.close()
