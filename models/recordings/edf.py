"""EDF, EDF+C, EDF+D, BDF and BDF+ files, of any size in little memory.

edfio decodes, block by block.

Formats: Kemp et al. 1992, doi:10.1016/0013-4694(92)90009-7; Kemp & Olivan 2003,
doi:10.1016/S1388-2457(03)00123-8; https://www.biosemi.com/faq/file_format.htm
"""

import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from math import isfinite
from pathlib import Path

import edfio
import numpy as np
from numpy.typing import NDArray

from models.errors import RecordingError
from models.recordings.base import Annotation, Description, Recording, select_channels
from models.recordings.edf_file import EdfFile, open_edf_file
from models.recordings.edf_times import read_first_onset, read_record_times, read_start

_Signal = edfio.EdfSignal | edfio.BdfSignal

_BLOCK_SAMPLES = 1 << 16  # decoded at a time, of each channel
_MAX_PHYSICAL = 1e30  # beyond it float32 ends; no unit makes such a header sensible


class EdfRecording(Recording):
    """A recording in an EDF or BDF file; holds one block of decoded samples at a time."""

    def __init__(
        self,
        file: EdfFile,
        signals: Sequence[int],
        description: Description,
        onsets: NDArray[np.float64] | None,
    ) -> None:
        super().__init__(file.path, description)
        self._file = file
        self._signals = signals
        self._per_record = file.n_samples[signals[0]]
        self._per_block = max(1, _BLOCK_SAMPLES // self._per_record) * self._per_record
        self._block_at = -1
        self._block = np.zeros((0, len(signals)), np.float32)
        self._onsets = onsets

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return samples `start` to `stop`, (n_samples, n_channels), in the file's units."""
        stop = min(stop, self.n_samples)
        pieces = [np.zeros((0, len(self._signals)), np.float32)]
        while start < stop:
            index, offset = divmod(start, self._per_block)
            piece = self._load(index)[offset : offset + stop - start]
            pieces.append(piece)
            start += len(piece)
        return np.concatenate(pieces)

    def _load(self, index: int) -> NDArray[np.float32]:
        if index != self._block_at:
            n = self._per_block // self._per_record
            stop = min((index + 1) * n, len(self._file.records))
            edf = self._file.decode(self._signals, index * n, stop)
            self._block = np.stack([s.data for s in edf.signals], axis=1).astype(np.float32)
            self._block_at = index
        return self._block

    def timestamps(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return the times of samples `start` to `stop` since the first one, (n_samples,), s."""
        if self._onsets is None:
            return super().timestamps(start, stop)
        record, sample = np.divmod(np.arange(start, stop), self._per_record)
        return self._onsets[record] + sample / self.sfreq


def open_edf(path: Path, channels: Sequence[str] | None = None) -> EdfRecording:
    """Open an EDF or BDF file.

    Args:
        path: the file.
        channels: labels to read; default: all at the highest sampling rate.

    Raises:
        RecordingError: the file is broken, or a channel is missing.
    """
    file = open_edf_file(path)
    readable = [i for i in range(len(file.labels)) if i not in file.annotation_signals]
    if not readable or file.record_s <= 0:
        raise RecordingError(f"{path}: expected signals, found annotations alone")
    try:
        with _ignore_oddities():
            signals: Sequence[_Signal] = file.decode(readable, 0, 1).signals
            head = dict(zip(readable, signals, strict=True))
            numeric = [i for i, signal in head.items() if _is_numeric(signal)]
            units = {i: signal.physical_dimension for i, signal in head.items()}
    except Exception as error:  # a broken header breaks edfio in ways it does not name
        raise _broken(path, error) from error
    chosen = _choose(file, numeric, channels)
    n_samples = file.n_samples[chosen[0]]
    annotations, times = _annotations(file), read_record_times(file)
    start, contradiction = read_start(file, times.first)
    description = Description(
        ch_names=tuple(file.labels[i] for i in chosen),
        units=tuple(units[i] for i in chosen),
        sfreq=n_samples / file.record_s,
        n_samples=n_samples * len(file.records),
        start=start,
        annotations=annotations,
        skipped=tuple(
            file.labels[i] for i in readable if i not in numeric or file.n_samples[i] != n_samples
        ),
        remarks=tuple(filter(None, (contradiction, times.remark))),
    )
    return EdfRecording(file, chosen, description, times.onsets)


def read_edf_annotations(path: Path) -> tuple[tuple[Annotation, ...], datetime | None]:
    """Return the annotations of an EDF+ or BDF+ file, with or without signals, and their start.

    Raises:
        RecordingError: the file is broken.
    """
    file = open_edf_file(path)
    annotations = _annotations(file)
    return annotations, read_start(file, read_first_onset(file))[0]


def _choose(file: EdfFile, numeric: list[int], channels: Sequence[str] | None) -> list[int]:
    """Return the signals to read: the wanted ones, or all at the highest rate."""
    if not numeric:
        raise RecordingError(f"{file.path}: expected numeric signals, found none")
    if channels is None:
        highest = max(file.n_samples[i] for i in numeric)
        return [i for i in numeric if file.n_samples[i] == highest]
    labels = [file.labels[i] for i in numeric]
    chosen = [numeric[i] for i in select_channels(file.path, labels, channels)]
    rates = {file.n_samples[i] / file.record_s for i in chosen}
    if len(rates) != 1:
        found = ", ".join(f"{rate:g}" for rate in sorted(rates)) or "none"
        raise RecordingError(
            f"{file.path}: expected channels of one sampling rate, found rates of {found} Hz"
        )
    return chosen


def _annotations(file: EdfFile) -> tuple[Annotation, ...]:
    if not file.annotation_signals:
        return ()
    try:
        with _ignore_oddities():
            found = file.decode(file.annotation_signals, 0, len(file.records)).annotations
        annotations = tuple(Annotation(a.onset, a.duration or 0.0, a.text) for a in found)
        if not all(isfinite(a.onset) and isfinite(a.duration) for a in annotations):
            raise ValueError("an annotation at no finite time")
    except Exception as error:  # a broken file breaks edfio in ways it does not name
        raise _broken(file.path, error) from error
    return annotations


def _is_numeric(signal: _Signal) -> bool:
    low, high = signal.physical_range
    usable = low != high and all(abs(x) < _MAX_PHYSICAL for x in (low, high))
    return usable and signal.digital_min != signal.digital_max


def _ignore_oddities() -> AbstractContextManager[None]:
    """Silence edfio's remarks on harmless contradictions between date fields."""
    return warnings.catch_warnings(action="ignore")


def _broken(path: Path, error: Exception) -> RecordingError:
    return RecordingError(f"{path}: expected a valid EDF or BDF file, found: {error}")
