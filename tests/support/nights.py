"""Messages of made-up nights, and journals that hold them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from daemon.config import JournalConfig
from daemon.journal.reader import Session
from daemon.journal.writer import Journal
from daemon.messages import (
    Action,
    Done,
    EchoMessage,
    Kind,
    Message,
    PulseMessage,
    StageMessage,
    StreamMessage,
    TraceMessage,
    TriggerMessage,
)
from daemon.metrics import Metrics
from models.stages import HUMAN
from tools.bench.message import make_message

EVENING = datetime(2026, 1, 31, 18, tzinfo=UTC).timestamp()
"""When made-up nights begin, Unix time, s."""


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def session(name: str = "s", started: float = EVENING, config: str = "{}") -> Session:
    return Session(name, started, "0.1.0", "0" * 12, "sdreamer-mouse", "onnxruntime", "c", config)


def stage(seq: int, subject: str = "m1", kind: Kind = "live", **changes: Any) -> StageMessage:
    """The estimate of epoch `seq`, unless told otherwise."""
    epoch = changes.get("epoch", seq)
    name = changes.get("stage", "NREM")
    found = {} if name in ("ART", "UNKNOWN") else dict.fromkeys(("Wake", "NREM", "REM"), 0.1)
    fields: dict[str, Any] = {
        "session": "s",
        "stream": "cage",
        "utc": iso(EVENING + epoch),
        "stage": name,
        "probabilities": found | ({name: 0.8} if found else {}),
        "confidence": 0.8 if found else 0.0,
        "pathway": "mixed" if found else None,
        "latency_s": 0.004,
        "age_s": 0.01,
        "published_utc": iso(EVENING + epoch + 1),
    }
    message = make_message(subject, seq, kind, hop=epoch, onset=1000.0 + epoch)
    return msgspec.structs.replace(message, **(fields | changes))


def human_stage(seq: int, subject: str = "p1", kind: Kind = "live", **changes: Any) -> StageMessage:
    """The estimate of epoch `seq` of 30 s of a person, unless told otherwise."""
    name = changes.get("stage", "N2")
    found = {} if name in ("ART", "UNKNOWN") else dict.fromkeys(HUMAN, 0.05) | {name: 0.8}
    fields: dict[str, Any] = {
        "probabilities": found,
        "evidence": found,
        "utc": iso(EVENING + 30 * seq),
        "onset": 1000.0 + 30 * seq,
        "epoch_s": 30.0,
        "hop_s": 30.0,
        "validity": {"eeg": "ok", "eog": "ok"},
        "published_utc": iso(EVENING + 30 * seq + 30),
        "stage": name,
    }
    return stage(seq, subject, kind, **(fields | changes))


def state(seq: int, name: str = "STAGING", **changes: Any) -> StreamMessage:
    fields: dict[str, Any] = {
        "session": "s",
        "stream": "cage",
        "seq": seq,
        "state": name,
        "reason": "as it is",
        "utc": iso(EVENING),
        "subjects": ("m1",),
        "sfreq": 512.0,
    }
    return StreamMessage(**(fields | changes))


@contextmanager
def open_journal(path: Path, run: Session | None = None) -> Iterator[Journal]:
    with Journal(JournalConfig(path=str(path)), Metrics()) as journal:
        journal.begin(run or session())
        yield journal


def write_journal(path: Path, messages: Iterable[Message], run: Session | None = None) -> Path:
    """Write a run of the daemon into a journal, a new one or one that is there."""
    with open_journal(path, run) as journal:
        journal.write(list(messages))
    return path


def trigger(seq: int, action: Action = "off", **changes: Any) -> TriggerMessage:
    """The decision on epoch `seq`, a little after its end, unless told otherwise."""
    acts = action in ("on", "sham")
    fields: dict[str, Any] = {
        "session": "s",
        "seq": seq,
        "utc": iso(EVENING + seq + 1),
        "subject": "m1",
        "stream": "cage",
        "rule": "rem",
        "reason": "REM for 2 s" if acts else "NREM, 90 %",
        "ttl_s": 2.0 if acts else 0.0,
        "pulse": 0 if acts else None,
        "epoch": seq,
        "hop": seq,
        "onset": 1000.0 + seq,
        "age_s": 0.01,
        "armed": True,
        "trouble": None,
        "leads": False,
        "published_utc": iso(EVENING + seq + 1),
        "model": "0" * 12,
        "config": "c",
    }
    return TriggerMessage(action=action, **(fields | changes))


def trace(seq: int, subject: str = "m1", **changes: Any) -> TraceMessage:
    """The signals of epoch `seq`."""
    fields: dict[str, Any] = {
        "session": "s",
        "utc": iso(EVENING + seq),
        "stream": "cage",
        "hop": seq,
        "start": 1000.0 + seq,
        "span_s": 1.0,
        "microvolts": {"eeg": (-80.0, 90.0) * 6, "emg": (-20.0, 30.0) * 6},
    }
    return TraceMessage(seq=seq, subject=subject, **(fields | changes))


def pulse(done: Done, after: float, **changes: Any) -> PulseMessage:
    """What a serial output did, so many s after the evening began, unless told otherwise."""
    fields: dict[str, Any] = {
        "session": "s",
        "utc": iso(EVENING + after),
        "subject": "m1",
        "rule": "rem",
        "pulse": 0,
        "decided_in": "s",
        "output": 0,
        "driver": "serial",
    }
    return PulseMessage(done=done, **(fields | changes))


def echo(high: bool, after: float, **changes: Any) -> EchoMessage:
    """A change of an echo line, so many s after the evening began."""
    fields: dict[str, Any] = {
        "session": "s",
        "utc": iso(EVENING + after),
        "subject": "m1",
        "stream": "cage",
        "time": 1000.0 + after,
    }
    return EchoMessage(high=high, **(fields | changes))
