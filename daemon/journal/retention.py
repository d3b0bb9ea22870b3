"""Forgets messages that are older than the user wants them kept, a small piece at a time."""

import sqlite3
import time

from daemon.config import JournalConfig

PIECE = 100
"""Most messages that are forgotten at once: a millisecond or two of the one thread that stages."""
LOOK_S = 60.0
"""From one look for old messages to the next, s."""

_DAY_S = 86400.0
# The last message of a topic stays: the numbers of the next ones go on from it.
_FORGET = """
DELETE FROM message WHERE rowid IN (
    SELECT rowid FROM message AS old INDEXED BY message_utc
    WHERE utc < ? AND seq < (SELECT max(seq) FROM message WHERE topic = old.topic)
    LIMIT ?
)
"""


class Retention:
    """Decides when to forget what.

    Args:
        config: says for how long messages are kept.
    """

    def __init__(self, config: JournalConfig) -> None:
        self._keep_s = None if config.keep_days is None else config.keep_days * _DAY_S
        self._began = time.time() - time.monotonic()
        self._look_at = 0.0

    @property
    def is_due(self) -> bool:
        """Whether it is time to look for old messages, or there are more of them."""
        return self._keep_s is not None and time.monotonic() >= self._look_at

    def forget(self, db: sqlite3.Connection) -> int:
        """Delete some of the messages that are too old; return how many.

        Raises:
            sqlite3.Error: they cannot be deleted.
        """
        if self._keep_s is None:
            return 0
        # A clock that was set forward by mistake would make all of them old.
        now = min(time.time(), self._began + time.monotonic())
        n = db.execute(_FORGET, (now - self._keep_s, PIECE)).rowcount
        if n < PIECE:
            self._look_at = time.monotonic() + LOOK_S
        return n
