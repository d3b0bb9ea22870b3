"""Messages for a journal."""

from datetime import UTC, datetime

from daemon.journal.reader import Session
from daemon.messages import StageMessage, StreamMessage

SESSION = Session("s1", 1.0, "0.1", "m" * 12, "model", "engine", "c" * 12, "{}")


def stage(seq: int, *, epoch: int | None = None, kind: str = "live", **fields: object):
    """A stage message of subject m1, an epoch of 1 s a number, from 1970 on."""
    epoch = seq if epoch is None else epoch
    content = {
        "session": "s1",
        "subject": "m1",
        "stream": "cage",
        "seq": seq,
        "kind": kind,
        "epoch": epoch,
        "hop": epoch,
        "onset": 100.0 + epoch,
        "utc": datetime.fromtimestamp(epoch, UTC).isoformat(timespec="milliseconds"),
        "epoch_s": 1.0,
        "hop_s": 1.0,
        "stage": "REM",
        "probabilities": {"Wake": 0.25, "NREM": 0.25, "REM": 0.5},
        "confidence": 0.5,
        "pathway": "mixed",
        "validity": {"eeg": "ok", "emg": "ok"},
        "reason": None,
        "slots_filled": 1,
        "n_context": 16,
        "latency_s": 0.01,
        "age_s": 0.02,
        "published_utc": "1970-01-01T00:00:00.000000+00:00",
        "model": "m" * 12,
        "engine": "engine",
        "config": "c" * 12,
    }
    return StageMessage(**{**content, **fields})


def state(seq: int, name: str = "STAGING") -> StreamMessage:
    """A state of the stream cage."""
    return StreamMessage(
        session="s1",
        stream="cage",
        seq=seq,
        state=name,
        reason="because",
        utc=datetime.fromtimestamp(seq, UTC).isoformat(timespec="milliseconds"),
        subjects=("m1",),
        sfreq=512.0,
    )
