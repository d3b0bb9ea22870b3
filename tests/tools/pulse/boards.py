"""A board on a pseudo-terminal that speaks the sketch's protocol, its pin noted at every edge."""

import os
import pty
import select
import threading
import time
import tty

KEEP_ALIVE_S = 0.5


class Board:
    """Does what tools/pulse/arduino/ does; `port` is where it is, `edges` its pin's."""

    def __init__(self, *, answers: bool = True) -> None:
        self._own, self._other = pty.openpty()
        tty.setraw(self._other)
        self.port = os.ttyname(self._other)
        self.edges: list[tuple[float, bool]] = []
        self.answers = answers
        self._changed = threading.Condition()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @property
    def high(self) -> bool:
        return bool(self.edges) and self.edges[-1][1]

    def wait_for(self, *, high: bool, n: int = 0) -> None:
        """Wait until the pin is as said, after so many edges."""
        with self._changed:
            done = self._changed.wait_for(
                lambda: self.high == high and len(self.edges) >= n, timeout=60
            )
        assert done, f"expected the pin {'high' if high else 'low'}, found {self.edges}"

    def _run(self) -> None:
        heard = 0.0
        while not self._over.is_set():
            ready, _, _ = select.select([self._own], [], [], 0.01)
            if self.high and time.monotonic() - heard >= KEEP_ALIVE_S:
                self._set(high=False)
            if ready:
                byte = os.read(self._own, 1)
                if byte in b"01" and self.answers:
                    heard = time.monotonic()
                    self._set(high=byte == b"1")
                    os.write(self._own, byte)

    def _set(self, *, high: bool) -> None:
        if high != self.high:
            with self._changed:
                self.edges.append((time.monotonic(), high))
                self._changed.notify_all()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
        os.close(self._own)
        os.close(self._other)
