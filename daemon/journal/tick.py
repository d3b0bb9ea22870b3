"""What the journal commits together, and how."""

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from daemon.journal.reader import Session
from daemon.messages import Message, StageMessage, StreamMessage, encode, topic_of
from daemon.restart.checkpoint import Checkpoint

_MESSAGE = "INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SESSION = "INSERT OR REPLACE INTO session VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_STATE = "INSERT OR REPLACE INTO checkpoint VALUES (?, ?)"
_SLOT = "INSERT OR REPLACE INTO slot VALUES (?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Tick:
    """What is committed together."""

    messages: Sequence[Message]
    checkpoints: Sequence[Checkpoint]
    session: Session | None


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
            db.executemany(_MESSAGE, map(_row, tick.messages))
            for point in tick.checkpoints:
                db.execute(_STATE, (point.stream, point.state))
                db.execute(_SLOT, (point.stream, point.slot, point.epoch, point.arrays))
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")


def _row(message: Message) -> tuple[object, ...]:
    """Return a message as the table has it."""
    what: tuple[object, ...]
    if isinstance(message, StageMessage):
        what, stage = (message.kind, message.epoch, message.onset), message.stage
    elif isinstance(message, StreamMessage):
        what, stage = ("state", None, None), message.state
    else:
        raise TypeError(f"expected a message that is kept, found {type(message).__name__}")
    utc = datetime.fromisoformat(message.utc).timestamp()
    topic = topic_of(message)
    return topic, message.seq, message.session, *what, utc, stage, encode(message)
