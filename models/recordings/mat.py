"""The .mat files of the sDREAMER lab: eeg, emg, eeg_frequency and, once scored, sleep_scores.

The EMG may have a rate of its own, emg_frequency.

sleep_scores holds one number a second: 0 Wake, 1 NREM, 2 REM; -1 or NaN where nobody scored.

scipy looks an array's type up in a table without checking that it is in there, and a damaged file
ends the process; it unpacks whatever size a compressed array declares, a thousand times the
file's. So both are looked at first. Format: MathWorks, MAT-File Format, "Level 5 MAT-File Format".
"""

import struct
import zlib
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import io

from models.errors import RecordingError
from models.recordings.base import ArrayRecording, Description, select_channels
from models.recordings.mixed_rates import interpolate
from models.signal.chunk import MIN_SFREQ

_SIGNALS = ("eeg", "emg")
_SCORES = ("sleep_scores", "labels")
_RATES = ("eeg_frequency", "emg_frequency")
_SAME_S = 1.0
"""Signals of two rates may be so much longer than each other."""
_MOST_PHASES = 100_000
"""A ratio of rates is taken to that precision: less than half a second in 12 h."""
_PIECE = 1 << 16
_NAMES = "__names__"
_SCIPYS = {"__header__", "__version__", "__globals__"}
_HDF5 = b"\x89HDF"
_HDF5_OFFSETS = (0, 512)  # MATLAB puts its own text first
_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_NUMERIC_CLASSES = range(6, 16)
_NUMBER_TYPES = (*range(1, 8), 9, 12, 13)
_COMPLEX = 0x0800
_ENOUGH = 4096  # of an array, for its description
_LARGEST_KIND = 5000  # of a matrix of version 4, in the order of bytes that is its own
_SPARSE = 2
_OLD_NUMBER_BYTES = (8, 4, 4, 2, 2, 1)
_NUMBER_BYTES = 8
_MOST_PACKED = 100
"""Times that a signal may be larger than its bytes in the file; EEG packs by less than 10."""
_ALWAYS_BYTES = 1 << 29
"""That much may be unpacked out of any number of bytes: a day of silence at 512 Hz and more."""


def open_mat(path: Path, channels: Sequence[str] | None = None) -> ArrayRecording:
    """Open a .mat recording; its channels are `eeg` and `emg`, and it names no unit.

    An EMG of another rate, `emg_frequency`, comes with the EEG at the higher one of both.

    Raises:
        RecordingError: the file is broken, of version 7.3, or lacks a variable.
    """
    content = _load(path, (*_SIGNALS, *_RATES))
    signals = {name: _vector(path, content, name).astype(np.float32) for name in _SIGNALS}
    eeg_rate = _rate(path, content, _RATES[0])
    emg_rate = _rate(path, content, _RATES[1]) if _RATES[1] in content else eeg_rate
    rates = dict(zip(_SIGNALS, (eeg_rate, emg_rate), strict=True))
    seconds = _common_length(path, signals, rates)
    slow = {
        name: f"{rate:g} Hz, too slow to be staged"
        for name, rate in rates.items()
        if rate < min(MIN_SFREQ, max(rates.values()))
    }
    readable = tuple(name for name in _SIGNALS if name not in slow)
    wanted = readable if channels is None else channels
    chosen = [_SIGNALS[i] for i in select_channels(path, _SIGNALS, wanted)]
    sfreq = max(rates[name] for name in chosen)
    n_samples = max(1, round(seconds * sfreq))
    columns = [_at_rate(signals[name], rates[name] / sfreq, n_samples) for name in chosen]
    others = [name for name in content[_NAMES] if name not in (*_SIGNALS, *_RATES, *_SCORES)]
    description = Description(
        ch_names=tuple(chosen),
        units=("",) * len(chosen),
        sfreq=sfreq,
        n_samples=n_samples,
        readable=readable,
        skipped=slow | dict.fromkeys((name for name in readable if name not in chosen), ""),
        flaws=(f"not read of its variables: {', '.join(others)}",) if others else (),
    )
    return ArrayRecording(path, description, np.stack(columns, axis=1))


def _rate(path: Path, content: Mapping[str, Any], name: str) -> float:
    frequency = _vector(path, content, name)
    if len(frequency) != 1 or not 0 < frequency[0] < np.inf:
        raise RecordingError(f"{path}: expected one {name} above 0 Hz, found {frequency}")
    return float(frequency[0])


def _common_length(
    path: Path, signals: Mapping[str, NDArray[np.float32]], rates: Mapping[str, float]
) -> float:
    """Return how long both signals are, s.

    Raises:
        RecordingError: one is longer than the other.
    """
    n_samples = [len(signals[name]) for name in _SIGNALS]
    seconds = [len(signals[name]) / rates[name] for name in _SIGNALS]
    alike = n_samples[0] == n_samples[1]
    if len({*rates.values()}) > 1:
        alike = abs(seconds[0] - seconds[1]) <= _SAME_S
    if not alike or 0 in n_samples:
        raise RecordingError(
            f"{path}: expected eeg and emg of one length above 0, found {n_samples[0]} and "
            f"{n_samples[1]} samples, at {rates['eeg']:g} and {rates['emg']:g} Hz; a rate of the "
            "EMG's own is named emg_frequency"
        )
    return min(seconds)


def _at_rate(x: NDArray[np.float32], rate: float, n_samples: int) -> NDArray[np.float32]:
    """Return a signal at a higher rate, piece by piece.

    Args:
        x: (n,).
        rate: of it, as a part of the higher one.
        n_samples: how many are wanted.
    """
    if rate == 1.0:
        return x[:n_samples]
    ratio = Fraction(rate).limit_denominator(_MOST_PHASES)
    terms = ratio.numerator, ratio.denominator
    old = x.astype(np.float64)
    out = np.empty(n_samples, np.float32)
    for start in range(0, n_samples, _PIECE):
        wanted = np.arange(start, min(start + _PIECE, n_samples))
        run = np.zeros_like(wanted), np.full_like(wanted, len(x) - 1)
        out[wanted] = interpolate(old, 0, wanted, terms, run)
    return out


class MatScores(NamedTuple):
    """What a .mat says of the stages."""

    name: str
    """The variable: `sleep_scores`, or else `labels`, as AccuSleep writes them."""
    numbers: list[str]
    """As text, empty where nobody scored."""
    flaws: tuple[str, ...]
    """That there is the other variable, too, which was not read."""


def read_mat_scores(path: Path) -> MatScores:
    """Return the scores in a .mat.

    Raises:
        RecordingError: the file is broken, or holds no whole numbers of the name.
    """
    content = _load(path, _SCORES)
    name = next((name for name in _SCORES if name in content), _SCORES[0])
    scores = _vector(path, content, name)
    broken = np.isfinite(scores) & (scores != np.round(scores))
    if broken.any() or np.isinf(scores).any():
        at = int(np.argmax(broken | np.isinf(scores)))
        raise RecordingError(
            f"{path}: expected whole numbers in {name!r}, found {scores[at]:g} at {at + 1}"
        )
    others = [other for other in _SCORES if other in content and other != name]
    return MatScores(
        name,
        ["" if np.isnan(score) else f"{score:.0f}" for score in scores],
        tuple(f"its variable {name} was read, {other} was not" for other in others),
    )


def has_mat_scores(path: Path) -> bool:
    """Return whether somebody scored a .mat; raises RecordingError if it is broken."""
    content = _load(path, _SCORES)
    if not any(name in content and content[name].size for name in _SCORES):
        return False
    return any(score not in ("", "-1") for score in read_mat_scores(path).numbers)


def _load(path: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the variables of these names, and under _NAMES those that the file has."""
    try:
        with path.open("rb") as stream:
            start = stream.read(max(_HDF5_OFFSETS) + len(_HDF5))
        if any(start[offset:].startswith(_HDF5) for offset in _HDF5_OFFSETS):
            raise RecordingError(
                f"{path}: expected a MATLAB file of version 7 or older, found version 7.3 (HDF5); "
                "save it again with save(..., '-v7')"
            )
        found_names = _check_arrays(path, names)
        content: dict[str, Any] = io.loadmat(path, variable_names=names)
    except RecordingError:
        raise
    except Exception as error:  # a broken file breaks scipy in ways it does not name
        found = str(error) or type(error).__name__
        raise RecordingError(f"{path}: expected a MATLAB file, found: {found}") from error
    return content | {_NAMES: found_names or sorted(content.keys() - _SCIPYS)}


def _vector(path: Path, content: Mapping[str, Any], name: str) -> NDArray[np.float64]:
    """Return a variable that is a row, a column or a number, as one dimension."""
    found = content.get(name)
    if found is None:
        there = ", ".join(map(repr, content.get(_NAMES, ()))) or "none"
        raise RecordingError(
            f"{path}: expected a variable {name!r}, found {there}; save it under that name"
        )
    if not isinstance(found, np.ndarray):
        raise RecordingError(f"{path}: expected every number of {name!r}, found a sparse matrix")
    if not np.issubdtype(found.dtype, np.number) or np.iscomplexobj(found) or found.ndim != 2:
        raise RecordingError(f"{path}: expected numbers in {name!r}, found {found.dtype}")
    if min(found.shape) > 1:
        raise RecordingError(
            f"{path}: expected one row or column in {name!r}, found the shape {found.shape}"
        )
    return found.ravel().astype(np.float64)


def _check_arrays(path: Path, names: Collection[str]) -> list[str]:
    """Check the arrays of these names, and return those of all; files of version 4 have no types.

    Raises:
        RecordingError: one does not hold numbers.
        struct.error, zlib.error: the file is broken otherwise.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER)
        if len(header) < _HEADER or 0 in header[:4]:
            _check_matrices(path, file)
            return []
        found = []
        order = "<" if header[126:] == b"IM" else ">"
        while len(tag := file.read(8)) == 8:
            kind, size = struct.unpack(f"{order}II", tag)
            end = file.tell() + size
            start = file.read(min(size, _ENOUGH))
            if kind == _COMPRESSED:
                inner = zlib.decompressobj().decompress(start, _ENOUGH)
                kind, start = struct.unpack_from(f"{order}I", inner)[0], inner[8:]
            if kind == _MATRIX and size:
                most = max(_ALWAYS_BYTES, _MOST_PACKED * size)
                found.append(_check_array(path, start, order, names, most))
            file.seek(end)
    return list(filter(None, found))


def _check_matrices(path: Path, file: BinaryIO) -> None:
    """See that no matrix of a file of version 4 ends before it begins: scipy would read for ever.

    Raises:
        RecordingError: one does.
        struct.error, IndexError: the file is broken otherwise.
    """
    file.seek(0)
    kind = int.from_bytes(file.read(4), "little", signed=True)
    order = "<" if 0 <= kind <= _LARGEST_KIND else ">"
    at, size = 0, path.stat().st_size
    while at < size:
        file.seek(at)
        kind, n_rows, n_columns, is_complex, n_name = struct.unpack(f"{order}5i", file.read(20))
        if min(n_rows, n_columns, n_name) < 0:
            raise RecordingError(
                f"{path}: expected matrices of at least 0 x 0, found {n_rows} x {n_columns}, "
                f"with a name of {n_name} bytes"
            )
        n_numbers = n_rows * n_columns * (2 if is_complex and kind % 10 != _SPARSE else 1)
        at += 20 + n_name + n_numbers * _OLD_NUMBER_BYTES[kind % 100 // 10]


def _check_array(path: Path, start: bytes, order: str, names: Collection[str], most: int) -> str:
    """Check an array if it is one of these names, and return its name."""
    (flags,) = struct.unpack_from(f"{order}I", start, 8)
    _, _, at = _element(start, 0, order)
    _, shape, at = _element(start, at, order)
    _, name, at = _element(start, at, order)
    called = name.decode("latin-1").strip("\0")
    if called not in names:
        return called
    if flags & 0xFF not in _NUMERIC_CLASSES or flags & _COMPLEX:
        raise RecordingError(f"{path}: expected numbers in {name.decode()!r}, found no numbers")
    kind, _, _ = _element(start, at, order)
    if kind not in _NUMBER_TYPES:
        raise RecordingError(
            f"{path}: expected numbers in {name.decode()!r}, found an unknown type {kind}"
        )
    n = prod(struct.unpack(f"{order}{len(shape) // 4}i", shape[: len(shape) // 4 * 4]))
    n_bytes = max(_NUMBER_BYTES * n, _size(start, at, order))
    if n_bytes > most:
        raise RecordingError(
            f"{path}: expected at most {most} bytes in {name.decode()!r}, as it is packed, "
            f"found {n_bytes}"
        )
    return called


def _size(data: bytes, at: int, order: str) -> int:
    """Return how many bytes the element at a place declares."""
    kind, size = struct.unpack_from(f"{order}II", data, at)
    return int(kind >> 16 or size)


def _element(data: bytes, at: int, order: str) -> tuple[int, bytes, int]:
    """Return type and content of the element at a place, and where the next one is."""
    kind, size = struct.unpack_from(f"{order}II", data, at)
    if kind >> 16:  # small enough to lie in its own tag
        return kind & 0xFFFF, data[at + 4 : at + 4 + (kind >> 16)], at + 8
    return kind, data[at + 8 : at + 8 + size], at + 8 + -(-size // 8) * 8
