"""A stage message as long as a real one, for what is measured without staging."""

from collections.abc import Sequence

from daemon.compose import iso
from daemon.messages import Features, Kind, StageMessage
from models.signal.features import BAND_EDGES_HZ
from models.stages import MOUSE

_T0_UTC = 1.7e9
_FEATURES = Features(eeg_db=(12.3,) * (len(BAND_EDGES_HZ) - 1), emg_db=12.3)


def make_message(
    subject: str,
    seq: int,
    kind: Kind,
    hop: int,
    onset: float,
    stages: Sequence[str] = MOUSE,
    modalities: Sequence[str] = ("eeg", "emg"),
) -> StageMessage:
    """Return the message of an epoch of a subject; what is not asked for is of one length."""
    return StageMessage(
        session="20260101T000000Z-abcdef",
        subject=subject,
        stream="bench",
        seq=seq,
        kind=kind,
        epoch=hop,
        hop=hop,
        onset=onset,
        utc=iso(_T0_UTC + hop),
        epoch_s=1.0,
        hop_s=1.0,
        stage=stages[0],
        probabilities=dict.fromkeys(stages, 1 / 3),
        evidence=dict.fromkeys(stages, 1 / 3),
        confidence=1 / 3,
        pathway="mixed",
        validity=dict.fromkeys(modalities, "ok"),
        reason=None,
        slots_filled=16,
        n_context=16,
        features=_FEATURES if kind == "live" else None,
        lead_off=-12.3 if kind == "live" else None,
        latency_s=0.0123456789,
        age_s=0.0123456789,
        published_utc="2026-01-01T00:00:00.123456+00:00",
        model="0" * 12,
        engine="onnxruntime 1.20.0 CPU 1 thread",
        config="0" * 12,
    )
