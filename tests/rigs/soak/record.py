"""The accounts of a soak: what a subscriber received, what the journal has, and what was due."""

import math
import sqlite3
from array import array
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import astuple, dataclass, field
from datetime import datetime
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from daemon.journal.packing import unpack
from daemon.messages import StageMessage
from tools.client.subscriber import Received

Rows = NDArray[np.int64]
"""(n_messages, 2): twice `seq` and twice `hop`, each plus 1 where it is final."""


@dataclass(slots=True)
class Heard:
    """The stage messages of every subject, in the order in which they came."""

    _values: dict[str, "array[int]"] = field(default_factory=dict)

    def add(self, message: StageMessage) -> None:
        """Take a message."""
        values = self._values.setdefault(message.subject, array("q"))
        is_final = message.kind == "final"
        values.extend((2 * message.seq + is_final, 2 * message.hop + is_final))

    def add_all(self, received: Iterable[Received]) -> int:
        """Take what a subscriber received; return the newest live hop among it, -1: none."""
        newest = -1
        for each in received:
            if isinstance(each.message, StageMessage):
                self.add(each.message)
                if each.message.kind == "live":
                    newest = max(newest, each.message.hop)
        return newest

    def count(self, subject: str) -> int:
        """Return how many different messages of a subject there are."""
        return len(np.unique(self.rows(subject)[:, 0]))

    def rows(self, subject: str) -> Rows:
        """Return a subject's messages."""
        return np.array(self._values.get(subject, array("q")), np.int64).reshape(-1, 2)


def read_journal(path: Path, subject: str) -> Rows:
    """Return a subject's messages as they are in the file, without the daemon's own reader."""
    sql = "SELECT 2 * seq + ?, 2 * hop + ? FROM message WHERE topic = ? ORDER BY seq"
    found = []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        for is_final, kind in enumerate(("live", "final")):
            found += db.execute(sql, (is_final, is_final, f"stage.{subject}.{kind}")).fetchall()
    return np.array(found, np.int64).reshape(-1, 2)


def newest_hop(path: Path, subject: str) -> int:
    """Return the hop of a subject's newest live epoch in the journal; -1: none."""
    sql = "SELECT hop FROM message WHERE topic = ? ORDER BY seq DESC LIMIT 1"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        found = db.execute(sql, (f"stage.{subject}.live",)).fetchone()
    return -1 if found is None else int(found[0])


@dataclass(frozen=True, slots=True)
class Account:
    """What became of the epochs that were due of one or all subjects, live and final alike."""

    expected: int
    """Estimates due."""
    journalled: int
    """Of those; epochs after the last sample do not count."""
    received: int
    """The same."""
    duplicates: int
    """Messages of an epoch that had one already, in the journal or received, or of a used seq."""
    seq_gaps: int
    """Numbers that are missing in the journal or were not received."""
    differing: int
    """Numbers under which something else was received than is in the journal."""

    @property
    def lost(self) -> int:
        """Estimates due that are not in the journal or were not received."""
        return self.expected - min(self.journalled, self.received)

    @property
    def is_whole(self) -> bool:
        """Whether every estimate due is there once, and nothing else is told."""
        wrong = self.lost or self.duplicates or self.seq_gaps or self.differing
        return not wrong and self.journalled == self.expected

    def __add__(self, other: "Account") -> "Account":
        mine, others = astuple(self), astuple(other)
        return Account(*(a + b for a, b in zip(mine, others, strict=True)))


def account(epochs: int, journal: Rows, received: Rows, hops_per_epoch: int = 1) -> Account:
    """Hold a subject's record against what was due.

    Args:
        epochs: so many are due live, one a hop, and the first one of an epoch length final.
        journal, received: the messages.
        hops_per_epoch: grid points an epoch length.
    """
    return Account(
        expected=epochs + math.ceil(epochs / hops_per_epoch),
        journalled=_due(journal, epochs),
        received=_due(received, epochs),
        duplicates=_doubled(journal) + _doubled(received),
        seq_gaps=_missing(journal) + _missing(received),
        differing=len(set(map(tuple, received.tolist())) - set(map(tuple, journal.tolist()))),
    )


def _due(rows: Rows, epochs: int) -> int:
    return len(np.unique(rows[rows[:, 1] < 2 * epochs, 1]))


def _doubled(rows: Rows) -> int:
    return sum(len(rows) - len(np.unique(rows[:, column])) for column in (0, 1))


def _missing(rows: Rows) -> int:
    """Return how many numbers from 0 to the highest one of each kind are not there."""
    kinds = (rows[rows[:, 0] % 2 == is_final, 0] // 2 for is_final in (0, 1))
    return sum(int(seqs.max()) + 1 - len(np.unique(seqs)) for seqs in kinds if len(seqs))


@dataclass(frozen=True, slots=True)
class Silence:
    """The longest time without, s."""

    wall_s: float
    """Between the publishing of two consecutive live estimates, kills included."""
    recording_s: float
    """Of recording time in which no live estimate names a stage."""


def longest_silence(path: Path, subjects: Iterable[str], expected: Mapping[str, int]) -> Silence:
    """Return the longest silences of some subjects, out of the journal."""
    sql = "SELECT packed FROM message WHERE topic = ? AND hop < ? ORDER BY seq"
    wall = recording = 0.0
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        for subject in subjects:
            before, unstaged = None, 0.0
            for (packed,) in db.execute(sql, (f"stage.{subject}.live", expected[subject])):
                message = msgspec.json.decode(unpack(packed), type=StageMessage)
                now = datetime.fromisoformat(message.published_utc).timestamp()
                wall = max(wall, now - (before or now))
                before = now
                unstaged = 0.0 if message.probabilities else unstaged + message.hop_s
                recording = max(recording, unstaged)
    return Silence(wall, recording)


def count_restarts(path: Path) -> dict[str, int]:
    """Return how many streams went on warm, and how many cold, as the journal tells.

    In the last session nothing is played any more.
    """
    sql = (
        "SELECT packed FROM message WHERE topic LIKE 'stream.%' AND session != "
        "(SELECT id FROM session ORDER BY started DESC LIMIT 1)"
    )
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        texts = [unpack(packed) for (packed,) in db.execute(sql)]
    return {how: sum(words in t for t in texts) for how, words in _HOW.items()}


_HOW = {"warm": b"resumed warm", "cold": b"started cold"}
