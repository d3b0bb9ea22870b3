"""The .mat files of the sDREAMER lab: eeg, emg, eeg_frequency and, once scored, sleep_scores.

sleep_scores holds one number a second: 0 Wake, 1 NREM, 2 REM; -1 or NaN where nobody scored.

scipy looks an array's type up in a table without checking that it is in there, and a damaged file
ends the process; it unpacks whatever size a compressed array declares, a thousand times the
file's. So both are looked at first. Format: MathWorks, MAT-File Format, "Level 5 MAT-File Format".
"""

import struct
import zlib
from collections.abc import Collection, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import io

from models.errors import RecordingError
from models.recordings.base import ArrayRecording, Description, select_channels

_SIGNALS = ("eeg", "emg")
_SCORES = ("sleep_scores", "labels")
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
_NUMBER_BYTES = 8
_MOST_PACKED = 100
"""Times that a signal may be larger than its bytes in the file; EEG packs by less than 10."""
_ALWAYS_BYTES = 1 << 29
"""That much may be unpacked out of any number of bytes: a day of silence at 512 Hz and more."""


def open_mat(path: Path, channels: Sequence[str] | None = None) -> ArrayRecording:
    """Open a .mat recording; its channels are `eeg` and `emg`, and it names no unit.

    Raises:
        RecordingError: the file is broken, of version 7.3, or lacks a variable.
    """
    content = _load(path, (*_SIGNALS, "eeg_frequency"))
    columns = [_vector(path, content, name).astype(np.float32) for name in _SIGNALS]
    if len(columns[0]) != len(columns[1]) or len(columns[0]) == 0:
        raise RecordingError(
            f"{path}: expected eeg and emg of one length above 0, found "
            f"{len(columns[0])} and {len(columns[1])} samples"
        )
    frequency = _vector(path, content, "eeg_frequency")
    if len(frequency) != 1 or not 0 < frequency[0] < np.inf:
        raise RecordingError(f"{path}: expected one eeg_frequency above 0 Hz, found {frequency}")
    chosen = select_channels(path, _SIGNALS, _SIGNALS if channels is None else channels)
    description = Description(
        ch_names=tuple(_SIGNALS[i] for i in chosen),
        units=("",) * len(chosen),
        sfreq=float(frequency[0]),
        n_samples=len(columns[0]),
    )
    return ArrayRecording(path, description, np.stack([columns[i] for i in chosen], axis=1))


def read_mat_scores(path: Path) -> tuple[str, list[str]]:
    """Return the variable with the scores, and each number as text, empty where nobody scored.

    It is `sleep_scores`, or else `labels`, as AccuSleep writes them.

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
    return name, ["" if np.isnan(score) else f"{score:.0f}" for score in scores]


def has_mat_scores(path: Path) -> bool:
    """Return whether somebody scored a .mat; raises RecordingError if it is broken."""
    content = _load(path, _SCORES)
    if not any(name in content and content[name].size for name in _SCORES):
        return False
    return any(score not in ("", "-1") for score in read_mat_scores(path)[1])


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
