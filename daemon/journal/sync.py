"""Brings the journal to the disk every few seconds, in a thread of its own.

A commit is safe from the end of the process, but not from that of the power until the operating
system has written it. That takes milliseconds on a good day and a second on a bad one, so the
staging does not wait for it. The same thread moves the write-ahead log into the database.
"""

import os
import sqlite3
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

from daemon.journal.file import connect
from daemon.journal.forecast import Room, measure_room

SYNC_S = 4.0
"""From one sync to the next; with its own time, no more than 5 s."""


class Syncer:
    """Syncs a journal while it is open.

    Args:
        path: the journal.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stop = threading.Event()
        self._written = threading.Event()
        self.files = threading.Lock()
        """Held while the files are in use here; whoever renames them takes it."""
        self.problem: str | None = None
        """Why the journal is not on disk."""
        self.room: Room | None = None
        """What it takes and what is left for it; None: not known yet."""
        self._thread = threading.Thread(target=self._run, name="journal-sync", daemon=True)
        self._thread.start()

    def written(self) -> None:
        """Say that there is something to sync."""
        self._written.set()

    def close(self) -> None:
        """Sync what is left, and end."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._stop.wait(SYNC_S)
            if self._written.is_set():
                self._written.clear()
                self._sync()

    def _sync(self) -> None:
        try:
            with self.files:
                sync(self._path)
                self.room = measure_room(self._path)
        except (OSError, sqlite3.Error) as error:
            self.problem = str(error)
            self._written.set()
        else:
            self.problem = None


def sync(path: Path) -> float:
    """Bring all that was committed to the disk; return how long it took, s.

    Raises:
        OSError, sqlite3.Error: it cannot be written.
    """
    started = time.monotonic()
    # Explicitly, as SQLite does so only for frames that no reader keeps it from moving. Whoever
    # closed the database last has moved all of them, and there is no log.
    with suppress(FileNotFoundError):
        _fsync(path.with_name(path.name + "-wal"))
    try:
        with closing(connect(path, "rw", 0.0)) as db:
            db.execute("PRAGMA wal_checkpoint(PASSIVE)")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:  # it is on the disk, in the log
            raise
    return time.monotonic() - started


def _fsync(file: Path) -> None:
    opened = os.open(file, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
