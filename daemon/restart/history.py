"""What a daemon that starts must know of the ones before it: it is all in the journal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from daemon.journal.reader import JournalReader
from daemon.messages import StageMessage
from daemon.restart.checkpoint import StreamState, boot_id, decode_arrays, decode_state

_STOPPED = "STOPPED"  # as daemon.state says; that module is above this one
Arrays = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class History:
    """The end of what was published, and the last checkpoints."""

    next_seq: Mapping[str, int]
    """Of every topic that has messages."""
    states: Mapping[str, StreamState]
    """Of every stream that has a checkpoint."""
    slots: Mapping[str, Mapping[int, Arrays]]
    """By stream and epoch."""
    due: Mapping[str, Sequence[StageMessage]]
    """Live estimates without a final one, by subject, oldest first."""
    next_epoch: Mapping[str, int]
    """By subject."""
    power_failed: bool = False
    """This computer was rebooted while a daemon ran: what it published last may not be here."""


NO_HISTORY = History({}, {}, {}, {}, {})


def read_history(path: Path) -> History:
    """Read a journal's end.

    Raises:
        JournalError: it cannot be read.
    """
    reader = JournalReader(path)
    next_seq = {topic: (reader.last_seq(topic) or 0) + 1 for topic in reader.topics()}
    due, next_epoch = {}, {}
    for topic in next_seq:
        what, _, subject = topic.partition(".")
        if what == "stage":
            lives, final_until = _tail(reader, topic)
            due[subject] = [m for m in lives if m.epoch > final_until]
            next_epoch[subject] = max((m.epoch for m in lives), default=final_until) + 1
    states, slots = {}, {}
    for stream, data in reader.checkpoints().items():
        try:
            slots[stream] = {k: decode_arrays(v) for k, v in reader.slots(stream).items()}
            states[stream] = decode_state(data)
        except (msgspec.MsgspecError, ValueError, TypeError):
            continue  # written by another version: this stream starts cold
    rebooted = [stream for stream, state in states.items() if state.boot != boot_id()]
    power_failed = not all(_was_stopped(reader, stream) for stream in rebooted)
    return History(next_seq, states, slots, due, next_epoch, power_failed)


def _was_stopped(reader: JournalReader, stream: str) -> bool:
    """Return whether the last that is known of a stream is that the daemon ended in order."""
    return [entry.stage for entry in reader.latest(f"stream.{stream}", 1)] == [_STOPPED]


def _tail(reader: JournalReader, topic: str) -> tuple[list[StageMessage], int]:
    """Return a topic's last live estimates and the last epoch that has a final one (-1: none)."""
    messages = [entry.message for entry in reader.latest(topic)]
    stages = [m for m in messages if isinstance(m, StageMessage)]
    finals = [m.epoch for m in stages if m.kind == "final"]
    return [m for m in stages if m.kind == "live"], max(finals, default=-1)
