"""The journal: what was published, committed before it is, so that a killed process loses nothing.

Where it cannot be written (disk full, no permission, locked, broken), staging and publishing go
on, loudly; what could not be written waits in memory, and is written in order as soon as that
is possible. The newest MAX_PENDING messages wait; the ones before them are lost to the journal.
"""

import os
import sqlite3
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Self

import structlog

from daemon.config import JournalConfig
from daemon.errors import JournalError
from daemon.journal.file import (
    check_format,
    companions,
    connect,
    create_tables,
    is_corrupt,
    is_new,
    journal_path,
)
from daemon.journal.forecast import Room
from daemon.journal.lock import JournalLock
from daemon.journal.reader import Session
from daemon.journal.retention import Retention
from daemon.journal.sync import Syncer
from daemon.journal.tick import RestartPoint, Tick, commit, rows_of
from daemon.messages import Message
from daemon.metrics import Metrics
from daemon.outbox import Round

log = structlog.get_logger()

MAX_PENDING = 100_000
"""Messages that wait in memory, some 100 MB."""
_RETRY_S = 2.0
_AT_ONCE = 2000  # messages written in one transaction, so that catching up delays no epoch
_LOCK_WAIT_S = 0.01  # a lock held for longer is a problem, and staging goes on


class Journal:
    """Writes the journal of this process; the only one that may.

    Args:
        config: where it is, and when it must be on disk.
        metrics: shows whether it can be written.

    Raises:
        JournalError: another daemon writes it, or it is not a journal of this version.
    """

    def __init__(self, config: JournalConfig, metrics: Metrics) -> None:
        self.path = journal_path(config.path)
        """The file."""
        self.syncs_each = config.fsync == "each"
        """Whether what is committed is on the disk before it is published."""
        self._metrics = metrics
        self._unwritable: str | None = None
        self._unsynced: str | None = None
        self._ticks: deque[Tick] = deque()
        self._pending = 0
        self._retry_at = 0.0
        self._session: Session | None = None
        self._db: sqlite3.Connection | None = None
        self._lock: JournalLock | None = None
        self._first_seq = 0
        self._lacks = False
        self._syncer = Syncer(self.path)
        self._retention = Retention(config)
        self._keep_days = config.keep_days
        self._bytes_a_day = 0.0
        self._room: Room | None = None
        self._losing = False
        self._new_again = False
        try:
            self._try_open()
        except JournalError:
            self.close()
            raise

    @property
    def problem(self) -> str | None:
        """Why it cannot be written or brought to the disk, if it cannot."""
        return self._unwritable or self._unsynced

    @property
    def has_all(self) -> bool:
        """Whether it has all that it was given so far."""
        return self.problem is None and not self._ticks

    def begin(self, session: Session) -> None:
        """Describe the run of the daemon that the messages from now on are of."""
        self._session = session
        self._add(Tick(session=session))

    def take(self, what: Round) -> None:
        """Commit a round, or what could not be written before; else forget some of what is old."""
        self.write(what.messages, what.points)
        self.retry()
        if not (what.messages or self._ticks) and self._retention.is_due:
            self._forget()

    def write(self, messages: Sequence[Message], points: Sequence[RestartPoint] = ()) -> None:
        """Commit messages, in one transaction with what they leave for a restart.

        Never fails: what cannot be written now is written later, in order.
        """
        rows = rows_of(messages)
        if rows or points:
            self._add(Tick(rows, points))

    @property
    def is_whole(self) -> bool:
        """Whether all that former runs committed is there to be read."""
        return self._db is not None and not self._new_again

    @property
    def first_seq(self) -> int:
        """No topic may go on below this number, which a message that is not here may have."""
        return self._first_seq if self._lock is None else self._lock.first_seq

    def skip_numbers(self) -> None:
        """Let all topics go on above every number that can have been used: at the time of day."""
        self._first_seq = time.time_ns() // 1_000_000
        if self._lock is not None:
            self._lock.raise_to(self._first_seq)

    def give_up(self, error: sqlite3.Error) -> None:
        """Leave a file that could not be read: a broken one is set aside and a new one begun."""
        self._on_error(error)

    def retry(self) -> None:
        """Write what could not be written so far, if there is any and it is time; call it often."""
        if self._ticks and time.monotonic() >= self._retry_at:
            self._flush()
        elif self._syncer.problem != self._unsynced:
            self._on_sync(self._syncer.problem)
        if (room := self._syncer.room) is not None and room is not self._room:
            self._show_room(room)

    def close(self) -> None:
        """Write what is left, bring it to the disk, and let another daemon have it."""
        self._retry_at = 0.0
        while self._ticks and self._flush():
            pass
        if self._pending:
            self._lose(self._pending)
        self._syncer.close()
        self._close_file()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def expect(self, bytes_a_day: float) -> None:
        """Tell, whenever it was brought to the disk, when that is full if so much is written."""
        self._bytes_a_day = bytes_a_day

    def _forget(self) -> None:
        if self._db is None:
            return
        try:
            if self._retention.forget(self._db):
                self._syncer.written()
        except sqlite3.Error as error:
            self._on_error(error)

    def _add(self, tick: Tick) -> None:
        self._ticks.append(tick)
        self._pending += len(tick.rows)
        lost = 0
        while self._pending > MAX_PENDING:
            dropped = self._ticks.popleft()
            lost += len(dropped.rows)
            self._pending -= len(dropped.rows)
        if lost:
            self._lose(lost)
        if self._unwritable is None or time.monotonic() >= self._retry_at:
            self._flush()
        self._show()

    def _flush(self) -> bool:
        """Write a part of what waits; return whether that went well."""
        part, n = [], 0
        for tick in self._ticks:
            part.append(tick)
            n += len(tick.rows)
            if n >= _AT_ONCE:
                break
        try:
            commit(self._db or self._open(), part)
        except (sqlite3.Error, OSError, JournalError) as error:
            self._on_error(error)
            return False
        for _ in part:
            self._ticks.popleft()
        self._pending -= n
        self._syncer.written()
        self._on_success()
        return True

    def _try_open(self) -> None:
        """Open it at the start; what may get better is no reason not to stage.

        Raises:
            JournalError: it is another daemon's, or not one of this version.
        """
        for _ in range(2):  # the second time a new one, if the first was broken
            try:
                self._open()
            except (sqlite3.Error, OSError) as error:
                self._on_error(error)
            if self._db is not None or self._unwritable is not None:
                return

    def _open(self) -> sqlite3.Connection:
        """Open the file, after making it if need be.

        Raises:
            JournalError: it is another daemon's, or not one of this version.
            sqlite3.Error, OSError: it cannot be written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._take_lock()
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o640))  # its group may read it
        db = connect(self.path, "rw", _LOCK_WAIT_S)
        try:
            if is_new(db):
                create_tables(db)
                if self._session is not None:  # the one before was set aside or deleted
                    self._lacks = True
                    commit(db, [Tick(session=self._session)])
            check_format(db, self.path)
            db.execute("PRAGMA wal_autocheckpoint = 0")  # the syncer does so
            db.execute(f"PRAGMA synchronous = {'FULL' if self.syncs_each else 'NORMAL'}")
        except BaseException:
            db.close()
            raise
        self._db = db
        return db

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        self._lock = JournalLock(self.path, syncs_each=self.syncs_each)
        if self._lock.behind:
            self.skip_numbers()
        self._lock.raise_to(self._first_seq)

    def _on_error(self, error: Exception) -> None:
        self._close_file()
        if isinstance(error, sqlite3.Error) and is_corrupt(error) and self._set_aside(error):
            self._retry_at = 0.0
            return
        self._retry_at = time.monotonic() + _RETRY_S
        reason = str(error)
        if reason != self._unwritable:
            log.error("journal failing", path=str(self.path), reason=reason)
        self._unwritable = reason
        self._show()

    def _on_sync(self, problem: str | None) -> None:
        """Say that what was written does not reach the disk, or does again."""
        self._unsynced = problem
        if problem is None:
            log.info("journal on disk again", path=str(self.path))
        else:
            log.error("journal not on disk", path=str(self.path), reason=problem)
            self._close_file()  # in place of one that was deleted a new one is made
        self._show()

    def _set_aside(self, error: sqlite3.Error) -> bool:
        """Rename a broken journal, for people to look into; return whether that was possible."""
        stamp = f"{self.path.stem}.corrupt-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
        aside = self.path.with_name(stamp + self.path.suffix)
        try:
            with self._syncer.files:
                pairs = zip(companions(self.path), companions(aside), strict=True)
                for file, moved in reversed(list(pairs)):  # its log first: it means nothing alone
                    if file.exists():
                        file.rename(moved)
        except OSError as rename_error:
            log.error("broken journal stays", path=str(self.path), reason=str(rename_error))
            return False
        self._new_again = True
        log.error("journal set aside", path=str(self.path), moved_to=str(aside), reason=str(error))
        return True

    def _on_success(self) -> None:
        if self._unwritable is not None:
            log.info("journal goes on", path=str(self.path), pending=self._pending)
        self._unwritable = None
        self._losing = False
        self._show()

    def _close_file(self) -> None:
        if self._db is not None:
            with suppress(sqlite3.Error), self._syncer.files:
                self._db.close()
            self._db = None

    def _lose(self, n: int) -> None:
        self._metrics.journal_lost.inc(n)
        self._lacks = True
        if not self._losing:
            log.error("journal loses messages: too many wait", path=str(self.path), n_messages=n)
        self._losing = True

    def _show_room(self, room: Room) -> None:
        self._room = room
        self._metrics.journal_size.set(room.size)
        self._metrics.journal_disk_free.set(room.free)
        if self._bytes_a_day:
            days = room.full_in_days(self._bytes_a_day, self._keep_days)
            self._metrics.journal_full.set(time.time() + days * 86400)

    def _show(self) -> None:
        self._metrics.journal_failing.set(self.problem is not None)
        self._metrics.journal_pending.set(self._pending)
        if self._lock is not None:
            self._lock.set_behind(self._lacks or self._pending > 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
