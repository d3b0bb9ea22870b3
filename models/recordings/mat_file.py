"""What scipy takes on trust in a .mat file of version 5 to 7: an array's type and size.

scipy looks the type up in a table without checking that it is in there, and a damaged file ends
the process. It unpacks whatever size a compressed array declares, a thousand times the file's.
Format: MathWorks, MAT-File Format, "Level 5 MAT-File Format".
"""

import struct
import zlib
from collections.abc import Collection
from math import prod
from pathlib import Path

from models.errors import RecordingError

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


def check_arrays(path: Path, names: Collection[str]) -> None:
    """Check the arrays of these names; files of version 4 have no such types.

    Raises:
        RecordingError: one does not hold numbers.
        struct.error, zlib.error: the file is broken otherwise.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER)
        if len(header) < _HEADER or 0 in header[:4]:
            return
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
                _check_array(path, start, order, names, most)
            file.seek(end)


def _check_array(path: Path, start: bytes, order: str, names: Collection[str], most: int) -> None:
    (flags,) = struct.unpack_from(f"{order}I", start, 8)
    _, _, at = _element(start, 0, order)
    _, shape, at = _element(start, at, order)
    _, name, at = _element(start, at, order)
    if name.decode("latin-1").strip("\0") not in names:
        return
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
