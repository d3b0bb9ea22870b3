"""A stretch of a recording, as if nothing had been recorded around it; that of a night in a day."""

from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from models.errors import RecordingError
from models.recordings.base import Description, Recording
from models.recordings.hypnogram import Hypnogram
from models.stages import ART, HUMAN, UNKNOWN

_NO_SLEEP = (HUMAN[0], ART, UNKNOWN)


def sleep_span(hypnogram: Hypnogram, around_s: float, duration_s: float) -> tuple[float, float]:
    """Return when what is kept of a person's recording begins and ends, s; all without sleep.

    Args:
        hypnogram: of the recording.
        around_s: what is kept before the first and after the last sleep, s.
        duration_s: of the recording, s.
    """
    asleep = [i for i, stage in enumerate(hypnogram.stages) if stage not in _NO_SLEEP]
    if not asleep:
        return 0.0, duration_s
    last = float(hypnogram.onsets[asleep[-1]] + hypnogram.durations[asleep[-1]])
    first = float(hypnogram.onsets[asleep[0]])
    return max(0.0, first - around_s), min(duration_s, last + around_s)


class Excerpt(Recording):
    """The samples of a recording from one on.

    Args:
        whole: the recording.
        first: its first sample that is read.
        n_samples: how many are read.

    Raises:
        RecordingError: there are not so many.
    """

    def __init__(self, whole: Recording, first: int, n_samples: int) -> None:
        if first < 0 or n_samples < 1 or first + n_samples > whole.n_samples:
            raise RecordingError(
                f"{whole.path}: expected {n_samples} samples from sample {first} on, found "
                f"{whole.n_samples} in all"
            )
        self._whole, self._first = whole, first
        self._since = float(whole.timestamps(first, first + 1)[0])
        start = None if whole.start is None else whole.start + timedelta(seconds=self._since)
        description = Description(
            ch_names=whole.ch_names,
            units=whole.units,
            sfreq=whole.sfreq,
            n_samples=n_samples,
            start=start,
            readable=whole.readable,
            skipped=whole.skipped,
            flaws=whole.flaws,
        )
        super().__init__(whole.path, description)

    @property
    def is_stamped(self) -> bool:
        """Whether each sample has a timestamp of its own, which may be off."""
        return self._whole.is_stamped

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return samples `start` to `stop`, (n_samples, n_channels), in the file's units."""
        return self._whole.read(self._first + start, self._first + min(stop, self.n_samples))

    def timestamps(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return the times of samples `start` to `stop` since the first one, (n_samples,), s."""
        return self._whole.timestamps(self._first + start, self._first + stop) - self._since
