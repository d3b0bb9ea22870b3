"""EDF, EDF+C, EDF+D, BDF and BDF+ files, of any size in little memory.

edfio decodes samples, block by block; annotations are read here, for it refuses a file for one text
that is not UTF-8, and staging never depends on them.

Formats: Kemp et al. 1992, doi:10.1016/0013-4694(92)90009-7; Kemp & Olivan 2003,
doi:10.1016/S1388-2457(03)00123-8; https://www.biosemi.com/faq/file_format.htm
"""

import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path

import edfio
import numpy as np
from numpy.typing import NDArray

from models.errors import RecordingError
from models.recordings.base import Annotation, Description, Recording, select_channels
from models.recordings.edf.annotations import read_annotations, record_onset
from models.recordings.edf.file import EdfFile, open_edf_file
from models.recordings.edf.times import read_record_times, read_start
from models.recordings.mixed_rates import REACH, interpolate
from models.signal.chunk import MIN_SFREQ, number_duplicates

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
        self._per_record = max(file.n_samples[i] for i in signals)
        self._per_block = max(1, _BLOCK_SAMPLES // self._per_record)
        self._block_at = -1
        self._block = np.zeros((0, len(signals)), np.float32)
        self._onsets = onsets
        self._runs = _runs(onsets, file)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return samples `start` to `stop`, (n_samples, n_channels), in the file's units."""
        stop = min(stop, self.n_samples)
        pieces = [np.zeros((0, len(self._signals)), np.float32)]
        while start < stop:
            index, offset = divmod(start, self._per_block * self._per_record)
            piece = self._load(index)[offset : offset + stop - start]
            pieces.append(piece)
            start += len(piece)
        return np.concatenate(pieces)

    def _load(self, index: int) -> NDArray[np.float32]:
        """Return a block of records, the slower channels at the rate of the fastest."""
        if index != self._block_at:
            start = index * self._per_block
            stop = min(start + self._per_block, len(self._file.records))
            fewest = min(self._file.n_samples[i] for i in self._signals)
            around = 0 if fewest == self._per_record else -(-REACH // fewest)
            first = max(0, start - around)
            last = min(stop + around, len(self._file.records))
            edf = self._file.decode(self._signals, first, last)
            decoded: Sequence[_Signal] = edf.signals
            columns = [
                self._at_full_rate(i, signal.data, first, range(start, stop))
                for i, signal in zip(self._signals, decoded, strict=True)
            ]
            self._block = np.stack(columns, axis=1).astype(np.float32)
            self._block_at = index
        return self._block

    def _at_full_rate(
        self, signal: int, data: NDArray[np.float64], first: int, records: range
    ) -> NDArray[np.floating]:
        """Return a channel in some records, from what was decoded from the record `first` on."""
        n, most = self._file.n_samples[signal], self._per_record
        if n == most:
            return data[(records.start - first) * n : (records.stop - first) * n]
        wanted = np.arange(records.start * most, records.stop * most)
        begin, end = (ends[wanted // most] for ends in self._runs)
        return interpolate(data, first * n, wanted, (n, most), (begin * n, end * n - 1))

    def timestamps(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return the times of samples `start` to `stop` since the first one, (n_samples,), s."""
        if self._onsets is None:
            return super().timestamps(start, stop)
        record, sample = np.divmod(np.arange(start, stop), self._per_record)
        return self._onsets[record] + sample / self.sfreq


def open_edf(
    path: Path, channels: Sequence[str] | None = None, min_sfreq: float = MIN_SFREQ
) -> EdfRecording:
    """Open an EDF or BDF file.

    Args:
        path: the file.
        channels: labels to read, of any rates that can be staged: all of them come at the highest;
            default: all that have the highest rate in the file.
        min_sfreq: rate of the slowest channel that can be staged, Hz.

    Raises:
        RecordingError: the file is broken, or a channel is missing.
    """
    file = open_edf_file(path)
    signals = [i for i in range(len(file.labels)) if i not in file.annotation_signals]
    if not signals:
        raise RecordingError(
            f"{path}: expected signals, found annotations alone: a hypnogram is named like "
            "night_hypnogram.edf beside night.edf, or given with --hypnogram"
        )
    if file.record_s <= 0:
        raise RecordingError(
            f"{path}: expected data records that last some time, found a header that gives them "
            f"{file.record_s:g} s: correct it to what the recorder was set to"
        )
    labels = dict(zip(signals, number_duplicates([file.labels[i] for i in signals]), strict=True))
    heads: dict[int, _Signal] = {}
    try:
        with _ignore_oddities():
            decoded: Sequence[_Signal] = file.decode(signals, 0, 1).signals
            heads = dict(zip(signals, decoded, strict=True))
            whys = {i: _why_no_numbers(signal, file.limits(i)) for i, signal in heads.items()}
            units = {i: signal.physical_dimension for i, signal in heads.items()}
    except Exception as error:  # a broken header breaks edfio in ways it does not name
        raise _broken(path, error) from error
    numeric = [i for i in signals if not whys[i]]
    if not numeric:
        why = "; ".join(f"{labels[i]} ({whys[i]})" for i in signals)
        raise RecordingError(f"{path}: expected numeric signals, found {why}")
    chosen = _choose(file, numeric, labels, channels, min_sfreq)
    n_samples = max(file.n_samples[i] for i in chosen)
    rates = {i: file.n_samples[i] / file.record_s for i in signals}
    annotations, flaws = read_annotations(file)
    times = read_record_times(file)
    start, contradiction = read_start(file, times.first)
    description = Description(
        ch_names=tuple(labels[i] for i in chosen),
        units=tuple(units[i] for i in chosen),
        sfreq=n_samples / (times.record_s or file.record_s),
        n_samples=n_samples * len(file.records),
        start=start,
        annotations=annotations,
        readable=tuple(labels[i] for i in numeric if rates[i] >= min_sfreq),
        skipped={
            labels[i]: whys[i] or _why_apart(rates[i], n_samples / file.record_s, min_sfreq)
            for i in signals
            if i not in chosen
        },
        flaws=(*file.flaws, *flaws, *filter(None, (contradiction, times.flaw))),
    )
    return EdfRecording(file, chosen, description, times.onsets)


def read_edf_annotations(
    path: Path,
) -> tuple[tuple[Annotation, ...], datetime | None, tuple[str, ...]]:
    """Return the annotations of an EDF+ or BDF+ file, with or without signals; start; what is lost.

    Raises:
        RecordingError: the file is broken.
    """
    file = open_edf_file(path)
    read, flaws = read_annotations(file)
    start, remark = read_start(file, record_onset(file, 0) or 0.0)
    return read, start, (*file.flaws, *flaws, *filter(None, (remark,)))


def _choose(
    file: EdfFile,
    numeric: list[int],
    labels: Mapping[int, str],
    channels: Sequence[str] | None,
    min_sfreq: float,
) -> list[int]:
    """Return the signals to read: the wanted ones, or all at the highest rate."""
    if channels is None:
        highest = max(file.n_samples[i] for i in numeric)
        return [i for i in numeric if file.n_samples[i] == highest]
    wanted = select_channels(file.path, [labels[i] for i in numeric], channels)
    chosen = [numeric[i] for i in wanted]
    if len({file.n_samples[i] for i in chosen}) > 1:
        for i in chosen:
            rate = file.n_samples[i] / file.record_s
            if rate < min_sfreq:
                raise RecordingError(
                    f"{file.path}: expected channels of at least {min_sfreq:g} Hz, found "
                    f"{labels[i]!r} at {rate:g} Hz"
                )
    return chosen


def _runs(
    onsets: NDArray[np.float64] | None, file: EdfFile
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first record of the piece that each record is in, and the one after its last."""
    n = len(file.records)
    apart = np.zeros(n - 1, bool) if onsets is None else np.diff(onsets) > 1.5 * file.record_s
    ends = np.append(np.flatnonzero(apart) + 1, n)
    piece = np.searchsorted(ends, np.arange(n), side="right")
    return np.insert(ends, 0, 0)[piece], ends[piece]


def _why_no_numbers(signal: _Signal, limits: Sequence[str]) -> str:
    """Say why a signal's samples have no size; nothing where they have."""
    try:
        low, high = signal.physical_range
        usable = low != high and all(abs(x) < _MAX_PHYSICAL for x in (low, high))
        if usable and signal.digital_min != signal.digital_max:
            return ""
    except ValueError:  # one is no number
        pass
    physical, digital = " to ".join(limits[:2]), " to ".join(limits[2:])
    return (
        f"no usable calibration: digital {digital} are {physical} {signal.physical_dimension}"
    ).rstrip()


def _why_apart(sfreq: float, highest: float, min_sfreq: float) -> str:
    """Say why a signal does not come along with those at the highest rate, Hz."""
    if sfreq < min_sfreq:
        return f"{sfreq:g} Hz, too slow to be staged"
    return "" if sfreq == highest else f"{sfreq:g} Hz"


def _ignore_oddities() -> AbstractContextManager[None]:
    """Silence edfio's remarks on harmless contradictions between date fields."""
    return warnings.catch_warnings(action="ignore")


def _broken(path: Path, error: Exception) -> RecordingError:
    return RecordingError(f"{path}: expected a valid EDF or BDF file, found: {error}")
