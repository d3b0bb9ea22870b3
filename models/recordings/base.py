"""What every reader of recordings gives: a `Recording`, read piece by piece."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from models.errors import RecordingError


@dataclass(frozen=True, slots=True)
class Annotation:
    """A text with a time."""

    onset: float
    """From the recording's first sample, s."""
    duration: float
    """0 where the file gives none, s."""
    text: str
    """What the file says, unchanged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What is known about a recording before its samples are read."""

    ch_names: tuple[str, ...]
    """Label of each channel."""
    units: tuple[str, ...]
    """Unit of each channel as the file writes it; empty where it says none."""
    sfreq: float
    """Nominal sampling rate, Hz."""
    n_samples: int
    """Samples of each channel."""
    start: datetime | None = None
    """When the first sample was taken, on the recorder's clock; None where the file hides it. The
    first of January 1985 stands for a date that is hidden."""
    annotations: tuple[Annotation, ...] = ()
    """In order of their onsets."""
    readable: tuple[str, ...] = ()
    """Labels of all channels that can be opened together by name; default: `ch_names`."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Why the other channels, by label, are not among `ch_names`; empty: nobody asked for it."""
    flaws: tuple[str, ...] = ()
    """Where the file is not whole, or contradicts itself, a sentence each."""


_RATES = (1e-3, 1e6)
"""Sampling rates that a recording of sleep can have, Hz; others overflow what computes with it."""


class Recording(ABC):
    """A recorded night: what the file says of itself, and its samples on demand.

    Raises:
        RecordingError: no recording of sleep can have its sampling rate.
    """

    def __init__(self, path: Path, description: Description) -> None:
        if not _RATES[0] <= description.sfreq <= _RATES[1]:
            raise RecordingError(
                f"{path}: expected a sampling rate from {_RATES[0]:g} to {_RATES[1]:g} Hz, "
                f"found {description.sfreq:g} Hz"
            )
        self.path = path
        self.ch_names = description.ch_names
        self.units = description.units
        self.sfreq = description.sfreq
        self.n_samples = description.n_samples
        self.start = description.start
        self.annotations = description.annotations
        self.readable = description.readable or description.ch_names
        self.skipped = description.skipped
        self.flaws = description.flaws

    @abstractmethod
    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return samples `start` to `stop`, (n_samples, n_channels), in the file's units.

        Any division into pieces gives the same values.
        """

    @property
    def is_stamped(self) -> bool:
        """Whether each sample has a timestamp of its own, which may be off."""
        return False

    def timestamps(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return the times of samples `start` to `stop` since the first one, (n_samples,), s.

        Where the recording was interrupted they jump: samples are never made up.
        """
        return np.arange(start, stop) / self.sfreq

    @property
    def duration(self) -> float:
        """From the first sample to the end of the last one, interruptions included, s."""
        return float(self.timestamps(self.n_samples - 1, self.n_samples)[0]) + 1 / self.sfreq

    def chunks(self, n_samples: int) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float64]]]:
        """Go through the recording, at most `n_samples` at a time: samples and timestamps."""
        for start in range(0, self.n_samples, n_samples):
            stop = min(start + n_samples, self.n_samples)
            yield self.read(start, stop), self.timestamps(start, stop)


class ArrayRecording(Recording):
    """A recording whose format can only be read whole.

    Args:
        path: the file.
        description: what it says.
        data: (n_samples, n_channels).
        times: (n_samples,), s since the first sample; default: evenly spaced.
    """

    def __init__(
        self,
        path: Path,
        description: Description,
        data: NDArray[np.float32],
        times: NDArray[np.float64] | None = None,
    ) -> None:
        super().__init__(path, description)
        self._data = data
        self._times = times

    @classmethod
    def of_microvolts(
        cls, name: str, ch_names: Sequence[str], sfreq: float, data: NDArray[np.float32]
    ) -> Self:
        """Return signals that no file holds, (n_samples, n_channels) µV, as a recording."""
        description = Description(
            ch_names=tuple(ch_names),
            units=("µV",) * len(ch_names),
            sfreq=sfreq,
            n_samples=len(data),
        )
        return cls(Path(name), description, data)

    @property
    def is_stamped(self) -> bool:
        """Whether each sample has a timestamp of its own, which may be off."""
        return self._times is not None

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return a copy of samples `start` to `stop`, (n_samples, n_channels)."""
        return self._data[start:stop].copy()

    def timestamps(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return the times of samples `start` to `stop` since the first one, (n_samples,), s."""
        if self._times is None:
            return super().timestamps(start, stop)
        return self._times[start:stop].copy()


def select_channels(path: Path, labels: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Return the index of each wanted label.

    Raises:
        RecordingError: a label is missing.
    """
    for label in wanted:
        if label not in labels:
            raise RecordingError(f"{path}: expected a channel {label!r}, found {', '.join(labels)}")
    return [labels.index(label) for label in wanted]
