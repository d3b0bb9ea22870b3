"""A board on a pseudo-terminal that does what the sketch of `hypnod pulse` does."""

import os
import pty
import select
import threading
import time
import tty
from typing import Self

KEEP_ALIVE_S = 0.5
_LOOK_S = 0.01


class Board:
    """Sets a pin by the sketch's protocol, and notes its edges; low without a keep-alive.

    Attributes:
        port: where it is.
        edges: when the pin changed, on this machine's monotonic clock, s, and whether to high.
        answers: whether it sends back what it did; if not, it is as though it heard nothing.

    Args:
        answers: as above.
    """

    def __init__(self, *, answers: bool = True) -> None:
        self._own, self._other = pty.openpty()
        tty.setraw(self._other)
        self.port = os.ttyname(self._other)
        self.edges: list[tuple[float, bool]] = []
        self.answers = answers
        self._changed = threading.Condition()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="board")
        self._thread.start()

    @property
    def high(self) -> bool:
        """Whether the pin is high."""
        return bool(self.edges) and self.edges[-1][1]

    def wait_for(self, *, high: bool, n: int = 0, timeout_s: float = 60.0) -> bool:
        """Wait until the pin is as said, after so many edges; return whether it is."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self.high == high and len(self.edges) >= n, timeout_s
            )

    def _run(self) -> None:
        heard = 0.0
        while not self._over.is_set():
            ready, _, _ = select.select([self._own], [], [], _LOOK_S)
            now = time.monotonic()
            if self.high and now - heard >= KEEP_ALIVE_S:
                self._set(now, high=False)
            if ready:
                byte = os.read(self._own, 1)
                if byte in (b"0", b"1") and self.answers:
                    heard = now
                    self._set(now, high=byte == b"1")
                    os.write(self._own, byte)

    def _set(self, now: float, *, high: bool) -> None:
        if high != self.high:
            with self._changed:
                self.edges.append((now, high))
                self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()
        os.close(self._own)
        os.close(self._other)
