"""The floor of the latency: the daemon's inlet and publisher with nothing between them.

`python -m tools.bench.floor SPEC` publishes a stage message as soon as an epoch's last sample
has come, in the daemon's own rhythm, but computes nothing. It prints where it publishes, and
ends when its standard input is closed.
"""

import select
import sys

import msgspec

from daemon.config import PublishConfig, StreamConfig, SubjectConfig
from daemon.lsl.inlet import Inlet
from daemon.service import TICK_S
from daemon.sockets.publisher import Publisher
from tools.bench.message import make_message


class FloorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What to read and when to publish."""

    name: str
    """Of the stream, and of the subject in its messages."""
    sfreq: float
    """Hz."""
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
        first = 0.0
        while not select.select([sys.stdin], [], [], 0)[0]:
            chunk = inlet.poll()
            if chunk is not None:
                first = first or float(chunk.timestamps[0])
                n_samples += len(chunk.timestamps)
            while n_samples >= spec.epoch + hop * spec.hop:
                onset = first + hop * spec.hop / spec.sfreq
                publisher.publish(make_message(spec.name, hop, "live", hop, onset))
                hop += 1
            publisher.serve(TICK_S)
    inlet.close()


if __name__ == "__main__":
    main()
