"""Read of a damaged journal what is whole, into a new one: a night is not lost to a bad sector.

SQLite refuses a query that meets one damaged page. Rows are read in the order in which they were
written, and where that fails from the next place on that can be read.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from daemon.errors import JournalError
from daemon.journal.file import check_format, connect, create_tables, is_corrupt
from daemon.messages import decode

_TIMEOUT_S = 5.0
_BEYOND = 1 << 40  # more rows than any journal has
_COLUMNS = {
    "session": "id, started, version, model, model_name, engine, config_hash, config",
    "message": "topic, seq, session, hop, onset, stage, utc, payload",
}


def is_damaged(error: JournalError) -> bool:
    """Whether a journal could not be read because its content is broken."""
    cause = error.__cause__
    if isinstance(cause, sqlite3.Error):
        return is_corrupt(cause)
    return isinstance(cause, msgspec.DecodeError)


def salvage(path: Path, into: Path) -> list[str]:
    """Copy sessions and messages that can be read into a new journal, and say what is missing.

    Args:
        path: the damaged journal, which is not changed.
        into: the new one.

    Raises:
        JournalError: nothing of it can be read.
    """
    try:
        with closing(connect(path, "ro", _TIMEOUT_S)) as old, closing(sqlite3.connect(into)) as new:
            old.execute("PRAGMA writable_schema = ON")  # without it a file cut short is not opened
            check_format(old, path)
            create_tables(new)
            with new:
                _copy(old, new)
            missing = _missing(new)
            return [*missing, "what was after the last messages, if anything, cannot be told"]
    except sqlite3.Error as error:
        raise JournalError(
            f"{path}: expected a journal of which something can be read, found: {error}"
        ) from error


def _copy(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    for row in _rows(old, "session"):
        _insert(new, "session", row)
    known = {name for (name,) in new.execute("SELECT id FROM session")}
    for row in _rows(old, "message"):
        topic, session, utc, payload = row[0], row[2], row[6], row[7]
        try:
            decode(topic, payload)
        except (msgspec.DecodeError, AttributeError, TypeError):
            continue  # its page is damaged, but not so that SQLite would see it
        if session not in known:  # its own row was lost
            known.add(session)
            _insert(new, "session", (session, utc, "", "", "", "", "", "{}"))
        _insert(new, "message", row)


def _insert(db: sqlite3.Connection, table: str, row: Sequence[Any]) -> None:
    marks = ",".join("?" * len(row))
    db.execute(f"INSERT OR IGNORE INTO {table} ({_COLUMNS[table]}) VALUES ({marks})", row)  # noqa: S608


def _rows(db: sqlite3.Connection, table: str) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a table that can be read, in the order in which they were written."""
    sql = f"SELECT rowid, {_COLUMNS[table]} FROM {table} WHERE rowid >= ? ORDER BY rowid"  # noqa: S608
    at: int | None = 0
    while at is not None:
        try:
            for row in db.execute(sql, (at,)):
                at = row[0] + 1
                yield row[1:]
            return
        except sqlite3.DatabaseError as error:
            if not is_corrupt(error):
                raise
            at = _next_readable(db, table, at)


def _next_readable(db: sqlite3.Connection, table: str, bad: int) -> int | None:
    """Return the row after which reading goes on, None where nothing more can be read."""
    low, high = bad, bad + 1
    while not _is_readable(db, table, high):
        low, high = high, 2 * high - bad
        if high > _BEYOND:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        if _is_readable(db, table, middle):
            high = middle
        else:
            low = middle
    return high


def _is_readable(db: sqlite3.Connection, table: str, at: int) -> bool:
    """Whether a row is there to be read, this one or a later one."""
    try:
        sql = f"SELECT * FROM {table} WHERE rowid >= ? ORDER BY rowid LIMIT 1"  # noqa: S608
        return db.execute(sql, (at,)).fetchone() is not None
    except sqlite3.DatabaseError as error:
        if is_corrupt(error):
            return False
        raise


def _missing(db: sqlite3.Connection) -> list[str]:
    """Say how many messages are missing between those that are there, by topic."""
    rows = db.execute(
        "SELECT topic, count(*), max(seq) - min(seq) + 1 - count(*) FROM message "
        "GROUP BY topic ORDER BY topic"
    )
    return [f"{n} of {n + there} messages of {topic} are missing" for topic, there, n in rows if n]
