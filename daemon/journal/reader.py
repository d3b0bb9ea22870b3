"""Read a journal, also while the daemon writes it.

Every call opens the file anew, reads one bounded piece and closes it: nothing keeps the daemon
from recycling its write-ahead log, and a journal that was set aside is left at once.
"""

import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from daemon.errors import JournalError
from daemon.journal.file import check_format, connect, is_new
from daemon.journal.packing import unpack
from daemon.messages import Message, decode

T = TypeVar("T")

PIECE = 1000
"""Most messages that are read at once."""
_TIMEOUT_S = 5.0
_COLUMNS = "topic, seq, session, hop, onset, stage, utc, packed"


class Session(NamedTuple):
    """One run of the daemon."""

    id: str
    """As in the messages."""
    started: float
    """Unix time, s."""
    version: str
    """Of hypnod."""
    model: str
    """First 12 digits of the bundle's SHA-256."""
    model_name: str
    """Name of the bundle."""
    engine: str
    """Library, version and device that computed it."""
    config_hash: str
    """First 12 digits of the config's SHA-256."""
    config: str
    """The config in JSON, defaults included."""


class Entry(NamedTuple):
    """One published message."""

    topic: str
    """Such as `stage.<subject>.live` or `stream.<name>`."""
    seq: int
    """Its number in the topic."""
    session: str
    """The run of the daemon that published it."""
    hop: int | None
    """Of a stage: the point of its stream's time grid."""
    onset: float | None
    """Of a stage, on the stream's LSL clock, s."""
    stage: str | None
    """Of a stage."""
    utc: float
    """Of a stage's onset, or of what the message is about; Unix time, s."""
    packed: bytes
    """The message as the journal keeps it."""

    @property
    def payload(self) -> bytes:
        """The message in JSON, as it was published; raises JournalError where it is damaged."""
        try:
            return unpack(self.packed)
        except zlib.error as error:
            raise self._damaged(error) from error

    @property
    def message(self) -> Message:
        """The message itself; raises JournalError where it is damaged, or of another version."""
        try:
            return decode(self.topic, self.payload)
        except msgspec.DecodeError as error:
            raise self._damaged(error) from error

    def decode(self, decoder: msgspec.json.Decoder[T]) -> T:
        """Return what a decoder makes of it; raises JournalError where it is damaged."""
        try:
            return decoder.decode(self.payload)
        except msgspec.DecodeError as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> JournalError:
        return JournalError(
            f"{self.topic} {self.seq}: expected a message in the journal, found: {error}"
        )


class JournalReader:
    """Reads the journal in a file; of one that is not there yet, everything is empty.

    Every method raises JournalError where the file cannot be read or is of another format.

    Args:
        path: the file.
        name: for people; default: the path.
        missing: what it does not hold that it should, a sentence each.
    """

    def __init__(self, path: Path, name: str = "", missing: Sequence[str] = ()) -> None:
        self.path = path
        self.name = name or str(path)
        self.missing = tuple(missing)

    def sessions(self) -> list[Session]:
        """Return all runs of the daemon, oldest first."""
        return [Session(*row) for row in self._query("SELECT * FROM session ORDER BY rowid")]

    def topics(self) -> list[str]:
        """Return the topics that have messages, sorted."""
        # A loose index scan: one look-up a topic, however many messages there are.
        return [
            topic
            for (topic,) in self._query(
                "WITH RECURSIVE t(topic) AS (SELECT min(topic) FROM message UNION ALL "
                "SELECT (SELECT min(topic) FROM message WHERE topic > t.topic) FROM t "
                "WHERE t.topic IS NOT NULL) SELECT topic FROM t WHERE topic IS NOT NULL"
            )
        ]

    def first_seq(self, topic: str) -> int | None:
        """Return the number of a topic's first message, None where it has none."""
        return self._one("SELECT min(seq) FROM message WHERE topic = ?", topic)

    def last_seq(self, topic: str) -> int | None:
        """Return the number of a topic's last message, None where it has none."""
        return self._one("SELECT max(seq) FROM message WHERE topic = ?", topic)

    def messages(self, topic: str, first: int, last: int, limit: int = PIECE) -> list[Entry]:
        """Return a topic's messages from `first` to `last`, both included, at most `limit`."""
        return self._entries(
            "topic = ? AND seq BETWEEN ? AND ? ORDER BY seq LIMIT ?", topic, first, last, limit
        )

    def latest(self, topic: str, limit: int = PIECE) -> list[Entry]:
        """Return the last messages of a topic, oldest first."""
        return self._entries("topic = ? ORDER BY seq DESC LIMIT ?", topic, limit)[::-1]

    def between(self, topic: str, since: float, until: float) -> Iterator[Entry]:
        """Yield a topic's messages whose `utc` lies in [since, until), in the order of `seq`.

        They are read piece by piece: a night need not fit in memory.

        Args:
            topic: of the messages.
            since: Unix time, s.
            until: Unix time, s.
        """
        rows = self._query(
            "SELECT min(seq), max(seq) FROM message INDEXED BY message_utc "
            "WHERE utc >= ? AND utc < ? AND topic = ?",
            since,
            until,
            topic,
        )
        for first, last in (row for row in rows if row[0] is not None):
            for entry in self._pieces(topic, first, last):
                if since <= entry.utc < until:
                    yield entry

    def of_session(self, topic: str, session: str) -> Iterator[Entry]:
        """Yield a topic's messages of one run of the daemon, by its id, in the order of `seq`."""
        rank = {each.id: i for i, each in enumerate(self.sessions())}
        last = self.last_seq(topic)
        if session not in rank or last is None:
            return
        first = self._first_seq_of(topic, rank[session], rank)
        for entry in self._pieces(topic, first, last):
            if entry.session != session:
                return
            yield entry

    def span_of(self, topic: str, session: str) -> tuple[Entry, Entry] | None:
        """Return a topic's first and last message of one run of the daemon, None without any."""
        rank = {each.id: i for i, each in enumerate(self.sessions())}
        if session not in rank or self.last_seq(topic) is None:
            return None
        first = self._first_seq_of(topic, rank[session], rank)
        after = self._first_seq_of(topic, rank[session] + 1, rank)
        begin = self.messages(topic, first, after - 1, 1)
        end = self._entries("topic = ? AND seq < ? ORDER BY seq DESC LIMIT 1", topic, after)
        return (begin[0], end[0]) if begin else None

    def restart_states(self) -> dict[str, bytes]:
        """Return the last state of each stream; see daemon/restart/point.py."""
        return dict(self._query("SELECT stream, state FROM restart"))

    def slots(self, stream: str) -> dict[int, bytes]:
        """Return what a stream's last epochs left in the context windows, by hop."""
        return dict(self._query("SELECT hop, arrays FROM slot WHERE stream = ?", stream))

    def _first_seq_of(self, topic: str, wanted: int, rank: dict[str, int]) -> int:
        """Bisect a topic's messages, whose sessions follow one another."""
        low, high = self.first_seq(topic) or 0, (self.last_seq(topic) or 0) + 1
        while low < high:
            middle = (low + high) // 2
            ((found, seq),) = self._query(
                "SELECT session, seq FROM message WHERE topic = ? AND seq >= ? "
                "ORDER BY seq LIMIT 1",
                topic,
                middle,
            )
            if rank[found] < wanted:
                low = seq + 1
            else:
                high = middle
        return low

    def _pieces(self, topic: str, first: int, last: int) -> Iterator[Entry]:
        while first <= last and (piece := self.messages(topic, first, last)):
            yield from piece
            first = piece[-1].seq + 1

    def _entries(self, where: str, *parameters: object) -> list[Entry]:
        sql = f"SELECT {_COLUMNS} FROM message WHERE {where}"  # noqa: S608  constants, all of it
        return [Entry(*row) for row in self._query(sql, *parameters)]

    def _one(self, sql: str, *parameters: object) -> int | None:
        rows = self._query(sql, *parameters)
        return rows[0][0] if rows else None

    def _query(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        with self._open() as db:
            return [] if db is None else db.execute(sql, parameters).fetchall()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection | None]:
        try:
            if not self.path.exists() or self.path.stat().st_size == 0:
                yield None
                return
            with closing(connect(self.path, "ro", _TIMEOUT_S)) as db:
                if is_new(db):
                    yield None
                    return
                check_format(db, self.path)
                yield db
        except (sqlite3.Error, OSError) as error:
            raise JournalError(
                f"{self.path}: expected a journal that can be read, found: {error}"
            ) from error
