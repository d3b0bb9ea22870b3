"""What the journal commits together, and how."""

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from daemon.journal.packing import pack
from daemon.journal.reader import Session
from daemon.messages import Message, encode

_MESSAGE = "INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_SESSION = "INSERT OR REPLACE INTO session VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_STATE = "INSERT OR REPLACE INTO restart VALUES (?, ?)"
_SLOT = "INSERT OR REPLACE INTO slot VALUES (?, ?, ?, ?)"

Row = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class RestartPoint:
    """What one epoch of one stream adds to the journal, for a restart; see daemon/restart."""

    stream: str
    """As named in the config."""
    hop: int
    """The point of the time grid that was staged."""
    slot: int
    """Where its arrays go."""
    state: bytes
    """Of the stream, after it."""
    arrays: bytes
    """What it left in the subjects' context windows."""


@dataclass(frozen=True, slots=True)
class Tick:
    """What is committed together."""

    rows: Sequence[Row] = ()
    """Of the table `message`."""
    points: Sequence[RestartPoint] = ()
    session: Session | None = None


def rows_of(messages: Iterable[Message]) -> list[Row]:
    """Return the messages that are kept as the table `message` has them.

    It is JSON that is packed whatever is published, since `hypnod night` and who catches up read it
    without asking; where JSON is published as well, it is encoded once for both.
    """
    return [
        (
            message.topic,
            message.seq,
            message.session,
            getattr(message, "hop", None),
            getattr(message, "onset", None),
            getattr(message, "stage", None),
            _unix_time(message.utc),
            pack(encode(message, "json")),
        )
        for message in messages
        if message.KEPT
    ]


@lru_cache
def _unix_time(utc: str) -> float:
    return datetime.fromisoformat(utc).timestamp()


def commit(db: sqlite3.Connection, ticks: Sequence[Tick]) -> None:
    """Write ticks in one transaction, all or none.

    Raises:
        sqlite3.Error: they cannot be written.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        for tick in ticks:
            if tick.session is not None:
                db.execute(_SESSION, tick.session)
            db.executemany(_MESSAGE, tick.rows)
            for point in tick.points:
                db.execute(_STATE, (point.stream, point.state))
                db.execute(_SLOT, (point.stream, point.slot, point.hop, point.arrays))
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")
