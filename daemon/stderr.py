"""Standard error that never blocks and never raises.

A log on a full disk, or whose reader stands still or is gone, must not end a night. What is
written waits for a thread that hands it on; what finds no room, or cannot be handed on, is lost and
counted.
"""

import atexit
import io
import os
import queue
import select
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

import structlog

log = structlog.get_logger()

MAX_WAITING = 256
"""Pieces, mostly lines, that wait to be written."""
_LAST_WORDS_S = 1.0  # at the end, for what still waits


class FreeStderr(io.TextIOBase):
    """Takes text for a file descriptor, at once, from any thread.

    Args:
        descriptor: where lines go.
        lost: told how many lines were lost.
    """

    encoding = "utf-8"

    def __init__(self, descriptor: int, lost: Callable[[int], object]) -> None:
        self._descriptor, self._lost = descriptor, lost
        self._begun = ""  # of a line
        self._n_lost = 0
        self._change = threading.Lock()
        self._waiting: queue.Queue[str | None] = queue.Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._run, name="stderr", daemon=True)
        self._thread.start()

    def write(self, text: str) -> int:
        """Take text; whole lines leave together."""
        with self._change:
            whole, newline, self._begun = (self._begun + text).rpartition("\n")
            if newline:
                try:
                    self._waiting.put_nowait(whole + newline)
                except queue.Full:
                    self._lose(whole + newline)
        return len(text)

    def isatty(self) -> bool:
        """Whether a person reads it."""
        return os.isatty(self._descriptor)

    def fileno(self) -> int:
        """Where lines go."""
        return self._descriptor

    def finish(self) -> None:
        """Wait a moment for what is not written yet."""
        with suppress(queue.Full):  # its reader stands still
            self._waiting.put(None, timeout=_LAST_WORDS_S)
            self._thread.join(_LAST_WORDS_S)

    def _run(self) -> None:
        torn = False  # a line ended in its middle
        while (piece := self._waiting.get()) is not None:
            data = ("\n" * torn + piece).encode("utf-8", "backslashreplace")
            left = self._hand_on(data)
            if left:
                torn = left < len(data) or torn
                with self._change:
                    self._lose(piece)
                continue
            torn = False
            with self._change:
                n_lost, self._n_lost = self._n_lost, 0
            if n_lost:
                log.error("log lost lines: it could not be written", n_lines=n_lost)

    def _hand_on(self, data: bytes) -> int:
        """Write bytes, and return how many could not be."""
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [])
            except OSError:
                break
        return len(data)

    def _lose(self, piece: str) -> None:
        n = piece.count("\n")
        self._n_lost += n
        self._lost(n)


def free_stderr(lost: Callable[[int], object]) -> None:
    """Let all that this process writes to `sys.stderr` from now on go through a `FreeStderr`."""
    stderr = FreeStderr(2, lost)
    sys.stderr = stderr
    atexit.register(stderr.finish)
