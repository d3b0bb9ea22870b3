"""What a daemon that starts must know of the ones before it: it is all in the journal."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import dropwhile
from pathlib import Path

import structlog

from daemon.errors import JournalError
from daemon.journal.reader import PIECE, JournalReader
from daemon.journal.writer import Journal
from daemon.messages import Kind, StageMessage, StreamMessage, is_read_again
from daemon.restart.point import Arrays, StreamState, boot_id, decode_arrays, decode_state
from daemon.state import State

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class History:
    """The end of what was published, and what the streams left for a restart."""

    next_seq: Mapping[str, int]
    """Of every topic that has messages."""
    states: Mapping[str, StreamState]
    """Of every stream that left one."""
    slots: Mapping[str, Mapping[int, Arrays]]
    """By stream and hop."""
    due: Mapping[str, Sequence[StageMessage]]
    """Live estimates from the oldest one on that has no final one but is to get it, by subject."""
    next_hop: Mapping[str, int]
    """By subject."""
    next_epoch: Mapping[str, int]
    """By subject."""
    first_seq: int = 0
    """No topic may go on below this number."""
    power_failed: bool = False
    """This computer was rebooted while a daemon ran: what it published last may not be here."""


_NOTHING = History({}, {}, {}, {}, {}, {})


def look_back(journal: Journal) -> History:
    """Return what former runs left; nothing, with a word in the log, where it cannot be read.

    Where it is not known which numbers were used, those of the time of day were not: where the
    journal cannot be read or written, lacks what was published, or lacks its end since the power
    failed before it was synced.
    """
    try:
        history = read_history(journal.path)
    except JournalError as error:
        log.error("journal cannot be read", path=str(journal.path), reason=str(error))
        if isinstance(error.__cause__, sqlite3.Error):
            journal.give_up(error.__cause__)
        history, known = _NOTHING, False
    else:
        known = journal.is_whole
        if history.power_failed and not journal.syncs_each:
            log.warning("numbers go on from the time of day", reason="the power may have failed")
            known = False
    if not known:
        journal.skip_numbers()
    return replace(history, first_seq=journal.first_seq)


def read_history(path: Path) -> History:
    """Read a journal's end.

    Raises:
        JournalError: it cannot be read.
    """
    reader = JournalReader(path)
    next_seq = {topic: (reader.last_seq(topic) or 0) + 1 for topic in reader.topics()}
    due, next_hop, next_epoch = {}, {}, {}
    for subject in {topic.split(".")[1] for topic in next_seq if topic.startswith("stage.")}:
        lives, finals = _stages(reader, subject, "live"), _stages(reader, subject, "final", 1)
        final_until = finals[-1].hop if finals else -1
        later = [m for m in lives if m.hop > final_until]
        due[subject] = list(
            dropwhile(lambda m: not is_read_again(m.hop, m.epoch_s, m.hop_s), later)
        )
        next_hop[subject] = max(m.hop for m in lives + finals) + 1
        next_epoch[subject] = max(m.epoch for m in lives + finals) + 1
    states, slots = {}, {}
    for stream, data in reader.restart_states().items():
        try:
            slots[stream] = {k: decode_arrays(v) for k, v in reader.slots(stream).items()}
            states[stream] = decode_state(data)
        except Exception as error:
            log.warning("cannot go on where it was", stream=stream, reason=str(error))
            continue  # this stream starts cold
    rebooted = [stream for stream, state in states.items() if state.boot != boot_id()]
    power_failed = not all(_was_stopped(reader, stream) for stream in rebooted)
    return History(next_seq, states, slots, due, next_hop, next_epoch, power_failed=power_failed)


def _was_stopped(reader: JournalReader, stream: str) -> bool:
    """Return whether the last that is known of a stream is that the daemon ended in order."""
    last = [entry.message for entry in reader.latest(f"stream.{stream}", 1)]
    return [m.state for m in last if isinstance(m, StreamMessage)] == [State.STOPPED]


def _stages(
    reader: JournalReader, subject: str, kind: Kind, limit: int = PIECE
) -> list[StageMessage]:
    """Return a subject's last messages of a kind, oldest first."""
    messages = [entry.message for entry in reader.latest(f"stage.{subject}.{kind}", limit)]
    return [m for m in messages if isinstance(m, StageMessage)]
