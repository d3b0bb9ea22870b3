"""Read of a damaged journal what is whole, into a new one: a night is not lost to a bad sector.

SQLite refuses a query that meets one damaged page. So rows are read from both ends, as far as that
goes, and then out of every page that still holds some.
"""

import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from daemon.errors import JournalError
from daemon.journal.file import check_format, connect, create_tables, is_corrupt
from daemon.journal.packing import unpack
from daemon.journal.pages import read_rows
from daemon.journal.reader import Entry
from daemon.messages import decode

_TIMEOUT_S = 5.0
_COLUMNS = {
    "session": "id, started, version, model, model_name, engine, config_hash, config",
    "message": "topic, seq, session, hop, onset, stage, utc, packed",
}


def is_damaged(error: JournalError) -> bool:
    """Whether a journal could not be read because its content is broken."""
    cause = error.__cause__
    if isinstance(cause, sqlite3.Error):
        return is_corrupt(cause)
    return isinstance(cause, (zlib.error, msgspec.DecodeError))


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
                _copy(path, old, new)
            missing = _missing(new)
            return [*missing, "what was after the last messages, if anything, cannot be told"]
    except sqlite3.Error as error:
        raise JournalError(
            f"{path}: expected a journal that can be read, found: {error}"
        ) from error


def _copy(path: Path, old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    for row in _rows(old, "session"):
        _insert(new, "session", row)
    known = {name for (name,) in new.execute("SELECT id FROM session")}
    for found in chain(_rows(old, "message"), read_rows(path)):
        if not _is_message(found):
            continue
        session, utc = found[2], found[6]
        if session not in known:  # its own row was lost
            known.add(session)
            _insert(new, "session", (session, utc, "", "", "", "", "", "{}"))
        _insert(new, "message", found)


def _is_message(row: Sequence[Any]) -> bool:
    """Whether these are the columns of a message; pages hold rows of all tables."""
    if len(row) != len(Entry._fields):
        return False
    topic, seq, session, utc, packed = row[0], row[1], row[2], row[6], row[7]
    if not (isinstance(topic, str) and isinstance(session, str) and isinstance(packed, bytes)):
        return False
    try:
        message = decode(topic, unpack(packed))
    except (zlib.error, msgspec.DecodeError):  # a damage that SQLite does not see
        return False
    return isinstance(utc, float | int) and getattr(message, "seq", seq) == seq


def _insert(db: sqlite3.Connection, table: str, row: Sequence[Any]) -> None:
    marks = ",".join("?" * len(row))
    db.execute(f"INSERT OR IGNORE INTO {table} ({_COLUMNS[table]}) VALUES ({marks})", row)  # noqa: S608


def _rows(db: sqlite3.Connection, table: str) -> Iterator[tuple[Any, ...]]:
    """Yield the rows before the first damaged page, and those after the last one, maybe twice."""
    for order in ("ASC", "DESC"):
        sql = f"SELECT {_COLUMNS[table]} FROM {table} ORDER BY rowid {order}"  # noqa: S608
        try:
            yield from db.execute(sql)
        except sqlite3.DatabaseError as error:
            if not is_corrupt(error):
                raise


def _missing(db: sqlite3.Connection) -> list[str]:
    """Say how many messages are missing between those that are there, by topic."""
    # By session, too: between two of them numbers may leap.
    rows = db.execute(
        "SELECT topic, sum(there), sum(span - there) FROM (SELECT topic, count(*) AS there, "
        "max(seq) - min(seq) + 1 AS span FROM message GROUP BY topic, session) "
        "GROUP BY topic ORDER BY topic"
    )
    return [f"{n} of {n + there} messages of {topic} are missing" for topic, there, n in rows if n]
