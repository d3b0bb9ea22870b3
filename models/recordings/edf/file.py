"""The layout of an EDF or BDF file, checked, and excerpts of it for edfio to decode.

edfio maps EDF files into memory but reads BDF files whole, so both get the same treatment: the
wanted signals of the wanted data records are cut out as a small file of their own. Every number
in the header is checked against the size of the file before anything of that size is allocated.
What is whole is read: records that the header counts and the file lacks are counted as lost.
"""

import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import edfio
import numpy as np
from numpy.typing import NDArray

from models.errors import RecordingError

_FIXED_HEADER = 256
_SIGNAL_FIELDS = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)  # bytes; label first, the rest per signal
_SAMPLES_FIELD = 8  # index in _SIGNAL_FIELDS
_LIMIT_FIELDS = slice(3, 7)  # likewise: the physical, then the digital minimum and maximum
_RECORDS = slice(236, 244)
_DURATION = slice(244, 252)
_BDF_VERSION = b"\xffBIOSEMI"


@dataclass(frozen=True)
class EdfFile:
    """Where things are in a file whose header fits its size."""

    path: Path
    header: bytes
    n_samples: tuple[int, ...]  # of each signal in a data record
    labels: tuple[str, ...]
    record_s: float
    records: NDArray[np.uint8]  # (n_records, bytes of a record), mapped
    flaws: tuple[str, ...]  # where the header says otherwise than its size
    mapped: mmap.mmap  # the whole file

    @property
    def is_bdf(self) -> bool:
        """Whether samples have 24 bits."""
        return self.header.startswith(_BDF_VERSION)

    @property
    def is_interrupted(self) -> bool:
        """Whether each record says when it starts."""
        return self.header[192:197] in (b"EDF+D", b"BDF+D")

    @property
    def annotation_signals(self) -> list[int]:
        """Which signals hold annotations."""
        label = "BDF Annotations" if self.is_bdf else "EDF Annotations"
        return [i for i, name in enumerate(self.labels) if name == label]

    def columns(self, signal: int) -> slice:
        """Return where a signal's bytes are in a record."""
        width = 3 if self.is_bdf else 2
        first = sum(self.n_samples[:signal]) * width
        return slice(first, first + self.n_samples[signal] * width)

    def limits(self, signal: int) -> list[str]:
        """Return what the header has for the physical, then digital minimum and maximum."""
        fields = _field_positions(len(self.labels))[_LIMIT_FIELDS]
        places = (slice(at + signal * width, at + (signal + 1) * width) for at, width in fields)
        return [self.header[place].decode("latin-1").strip() or "nothing" for place in places]

    def decode(self, signals: Sequence[int], start: int, stop: int) -> edfio.Edf | edfio.Bdf:
        """Return these signals of records `start` to `stop` as a recording of their own."""
        body = [self.records[start:stop, self.columns(signal)] for signal in signals]
        raw = self._excerpt_header(signals, stop - start) + np.hstack(body).tobytes()
        self.mapped.madvise(mmap.MADV_DONTNEED)  # what was read is no longer this process's memory
        read = edfio.read_bdf if self.is_bdf else edfio.read_edf
        return read(raw, header_encoding=_encoding(self.header))

    def _excerpt_header(self, signals: Sequence[int], n_records: int) -> bytes:
        n = len(signals)
        fixed = (
            self.header[:184]
            + f"{_FIXED_HEADER * (n + 1):<8}".encode()
            + self.header[192:236]
            + f"{n_records:<8}".encode()
            + self.header[_DURATION]
            + f"{n:<4}".encode()
        )
        fields = (
            self.header[first + signal * width : first + (signal + 1) * width]
            for first, width in _field_positions(len(self.labels))
            for signal in signals
        )
        return fixed + b"".join(fields)


def open_edf_file(path: Path) -> EdfFile:
    """Check the header against the file's size and map its data records.

    Raises:
        RecordingError: the file cannot be read, or its header contradicts itself or its size.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            fixed = stream.read(_FIXED_HEADER)
            n_signals = _signal_count(path, fixed, size)
            header = _plain(fixed + stream.read(_FIXED_HEADER * n_signals), n_signals)
    except OSError as error:
        raise RecordingError(f"{path}: expected a readable file, found: {error}") from error
    first, width = _field_positions(n_signals)[_SAMPLES_FIELD]
    n_samples = tuple(
        _integer(path, header[first + i * width : first + (i + 1) * width], "samples per record")
        for i in range(n_signals)
    )
    record_bytes = sum(n_samples) * (3 if header.startswith(_BDF_VERSION) else 2)
    n_records, flaws = _record_count(path, header, size, record_bytes, min(n_samples))
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    content = np.frombuffer(mapped, np.uint8, n_records * record_bytes, offset=len(header))
    encoding = _encoding(header)
    labels = (header[_FIXED_HEADER + 16 * i :][:16] for i in range(n_signals))
    return EdfFile(
        path,
        header,
        n_samples,
        tuple(label.decode(encoding, "replace").strip(" \0") for label in labels),
        _record_duration(path, header),
        content.reshape(n_records, record_bytes),
        flaws,
        mapped,
    )


def _plain(header: bytes, n_signals: int) -> bytes:
    """Return the header with points for decimal commas, and spaces for NULs, in its numbers."""
    fields = _field_positions(n_signals)
    spans = [(_RECORDS.start, _DURATION.stop)]
    spans += [
        (first, first + n_signals * width) for first, width in fields[_LIMIT_FIELDS] + fields[8:9]
    ]
    for start, stop in spans:
        text = header[start:stop].replace(b",", b".").replace(b"\0", b" ")
        header = header[:start] + text + header[stop:]
    return header


def _signal_count(path: Path, fixed: bytes, size: int) -> int:
    if size == 0:
        raise RecordingError(f"{path}: expected an EDF or BDF file, found an empty file")
    if len(fixed) < _FIXED_HEADER or fixed[:8] not in (b"0       ", _BDF_VERSION):
        raise RecordingError(
            f"{path}: expected an EDF or BDF header, found a file of {size} bytes "
            f"that starts with {fixed[:8]!r}"
        )
    n_signals = _integer(path, fixed[252:256], "signals")
    header_bytes = _integer(path, fixed[184:192], "header bytes")
    expected = _FIXED_HEADER * (n_signals + 1)
    if n_signals < 1 or header_bytes != expected or size < expected:
        raise RecordingError(
            f"{path}: expected a header of {expected} bytes for {n_signals} signals, "
            f"found one that says {header_bytes}, in a file of {size} bytes"
        )
    return n_signals


def _record_count(
    path: Path, header: bytes, size: int, record_bytes: int, fewest: int
) -> tuple[int, tuple[str, ...]]:
    """Return how many whole data records the file holds, and what is otherwise in its header."""
    if fewest < 1:
        raise RecordingError(
            f"{path}: expected at least 1 sample of each signal per record, found {fewest}"
        )
    declared = _integer(path, header[_RECORDS], "data records")
    found, rest = divmod(size - len(header), record_bytes)
    if found < 1:
        raise RecordingError(f"{path}: expected data records, found none")
    flaws = []
    if declared not in (-1, found):  # -1: still being recorded, or cut off
        flaws.append(f"its header counts {declared} data records, {found} whole ones are there")
    if rest:
        flaws.append(f"its last {rest} bytes are no whole data record of {record_bytes} bytes")
    return found, tuple(flaws)


def _record_duration(path: Path, header: bytes) -> float:
    text = header[_DURATION].decode("ascii", "replace").strip()
    try:
        duration = float(text)
    except ValueError:
        duration = -1.0
    if not (isfinite(duration) and 0 <= duration < 1e6):
        raise RecordingError(f"{path}: expected seconds per data record, found {text!r}")
    return duration


def _field_positions(n_signals: int) -> list[tuple[int, int]]:
    """Return (first byte, bytes per signal) of each field of the signals' header."""
    ends = _FIXED_HEADER + n_signals * np.cumsum(_SIGNAL_FIELDS)
    firsts = [_FIXED_HEADER, *ends.tolist()]
    return list(zip(firsts, _SIGNAL_FIELDS, strict=False))


def _integer(path: Path, field: bytes, what: str) -> int:
    try:
        return int(field.decode("ascii").strip(" \0"))
    except ValueError as error:
        raise RecordingError(f"{path}: expected the number of {what}, found {field!r}") from error


def _encoding(header: bytes) -> str:
    """Return how the text is encoded: the standard says ASCII, but µV is written in either."""
    try:
        header[8:].decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"
