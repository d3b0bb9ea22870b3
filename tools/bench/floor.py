"""The floor of the latency: the daemon's inlet and publisher with nothing between them.

`python -m tools.bench.floor SPEC` publishes a stage message as soon as an epoch's last sample
has come, in the daemon's own rhythm, but computes nothing. It prints where it publishes, and
ends when its standard input is closed.
"""

import select
import sys
from datetime import UTC, datetime

import msgspec

from daemon.config import PublishConfig, StreamConfig, SubjectConfig
from daemon.lsl.inlet import Inlet
from daemon.messages import StageMessage
from daemon.service import TICK_S
from daemon.sockets.publisher import Publisher
from models.stages import MOUSE


class FloorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What to read and when to publish."""

    name: str
    """Of the stream, and of the subject in its messages."""
    epoch: int
    """Samples of an epoch."""
    hop: int
    """Samples from one epoch's onset to the next one's."""


def main() -> None:
    """Publish an epoch after the other until standard input is closed."""
    spec = msgspec.json.decode(sys.argv[1], type=FloorSpec)
    subject = SubjectConfig(name=spec.name, channels={"eeg": "EEG1", "emg": "EMG1"})
    inlet = Inlet(StreamConfig(name=spec.name, match={"name": spec.name}, subjects=(subject,)))
    with Publisher(PublishConfig(bind="tcp://127.0.0.1:*")) as publisher:
        sys.stdout.write(publisher.endpoint + "\n")
        sys.stdout.flush()
        hop = n_samples = 0
        onset = 0.0
        while not select.select([sys.stdin], [], [], 0)[0]:
            chunk = inlet.poll()
            if chunk is not None:
                onset = onset or float(chunk.timestamps[0])
                n_samples += len(chunk.timestamps)
            while n_samples >= spec.epoch + hop * spec.hop:
                publisher.publish(_message(spec, hop, onset))
                hop += 1
            publisher.serve(TICK_S)
    inlet.close()


def _message(spec: FloorSpec, hop: int, onset: float) -> StageMessage:
    """Return a message as long as a real one; its onset is that of the stream's first sample."""
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    return StageMessage(
        session="floor",
        subject=spec.name,
        stream=spec.name,
        seq=hop,
        kind="live",
        epoch=hop * spec.hop // spec.epoch,
        hop=hop,
        onset=onset,
        utc=now,
        epoch_s=1.0,
        hop_s=spec.hop / spec.epoch,
        stage=MOUSE[0],
        probabilities=dict.fromkeys(MOUSE, 1 / 3),
        confidence=1 / 3,
        pathway="mixed",
        validity={"eeg": "ok", "emg": "ok"},
        reason=None,
        slots_filled=16,
        n_context=16,
        latency_s=0.0,
        age_s=0.0,
        published_utc=now,
        model="0" * 12,
        engine="none: the floor computes nothing",
        config="0" * 12,
    )


if __name__ == "__main__":
    main()
