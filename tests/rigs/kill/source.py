"""The source that `tests.rigs.kill.run` feeds the daemon from: any sample can be made again."""

import numpy as np
from numpy.typing import NDArray

from daemon.lsl.library import load_pylsl

SFREQ = 512.0
SUBJECTS = ("m1", "m2")
LABELS = tuple(f"{m}{i}" for i in range(1, len(SUBJECTS) + 1) for m in ("EEG", "EMG"))


class KillSource:
    """An outlet that can send any of its samples, whose values follow from their number.

    Args:
        name: of the stream.
        seed: of the signal.
    """

    def __init__(self, name: str, seed: int) -> None:
        lsl = load_pylsl()
        info = lsl.StreamInfo(name, "EEG", len(LABELS), SFREQ, "float32", name)
        info.set_channel_labels(list(LABELS))
        info.set_channel_units(["microvolts"] * len(LABELS))
        self._outlet = lsl.StreamOutlet(info)
        self._seed = seed
        self.t0 = lsl.local_clock()
        self.sent = 0

    def push(self, n: int) -> None:
        """Send the next n samples."""
        numbers = np.arange(self.sent, self.sent + n)
        self._outlet.push_chunk(self.values(numbers), (self.t0 + numbers / SFREQ).tolist())
        self.sent += n

    def values(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return samples (n, n_channels), µV: noise whose amplitude changes every second."""
        block = round(SFREQ)
        out = np.empty((len(numbers), len(LABELS)), np.float32)
        for second in np.unique(numbers // block):
            rng = np.random.default_rng([self._seed, int(second)])
            noise = rng.normal(0, rng.uniform(20, 80, len(LABELS)), (block, len(LABELS)))
            here = numbers // block == second
            out[here] = noise[numbers[here] % block]
        return out
