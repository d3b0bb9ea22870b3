"""The chunks of an XDF file, those alone that are whole.

pyxdf makes room for what a chunk declares before it reads the chunk, so a damaged file of a few
bytes could ask for any amount of memory: chunks are looked at first, and what is damaged or cut off
is left out. Format: https://github.com/sccn/xdf/wiki/Specifications
"""

import struct
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree as ET

from models.errors import RecordingError

_MAGIC = b"XDF:"
_BOUNDARY = bytes.fromhex("43a546dccbf5410fb30ed5467383cbe4")
"""Ends the chunks that the recorder writes now and then, for readers that lost their way."""
_FILE, _HEADER, _SAMPLES, _CLOCK, _FOOTER = 1, 2, 3, 4, 6
_TAGS = range(1, 7)
_CLOCK_BYTES = 16
_LENGTHS = {1: "<B", 4: "<I", 8: "<Q"}
_BYTES = {"int8": 1, "int16": 2, "int32": 4, "int64": 8, "float32": 4, "double64": 8, "string": 2}
"""Of one value, at least."""
_BLOCK = 1 << 20


def whole_chunks(path: Path) -> tuple[Path | BytesIO, list[str]]:
    """Return the file, or what is whole of it, for pyxdf; and say what is left out.

    Raises:
        RecordingError: it is no XDF file.
    """
    size = path.stat().st_size
    widths: dict[int, int] = {}
    whole: list[tuple[int, int]] = []
    n_damaged = n_bytes = 0
    with path.open("rb") as file:
        start = file.read(len(_MAGIC))
        if start != _MAGIC:
            raise RecordingError(f"{path}: expected an XDF file, found one that starts {start!r}")
        at = len(_MAGIC)
        while at < size:
            end, is_whole = _look(file, at, size, widths)
            if is_whole:
                whole.append((at, end))
            else:
                n_damaged, n_bytes = n_damaged + 1, n_bytes + end - at
            at = end
        if not n_damaged:
            return path, []
        kept = BytesIO(_MAGIC + b"".join(_read(file, *span) for span in whole))
    return kept, [f"{n_bytes} bytes of it, in {n_damaged} places, are damaged or cut off"]


def _look(file: BinaryIO, at: int, size: int, widths: dict[int, int]) -> tuple[int, bool]:
    """Return where the next chunk begins, and whether the one that begins here is whole.

    Args:
        file: is read at any place.
        at: where a chunk should begin.
        size: of the file, bytes.
        widths: of a sample of each stream so far, bytes; a stream's header adds its own.
    """
    file.seek(at)
    try:
        tag, end = _start(file, size)
    except (IndexError, ValueError, struct.error):
        return _after_boundary(file, at, size), False
    try:
        _check(file, tag, end, widths)
    except (IndexError, ValueError, struct.error, ET.ParseError):
        file.seek(end)
        try:
            if end < size:
                _start(file, size)
        except (IndexError, ValueError, struct.error):
            end = _after_boundary(file, at, size)
        return end, False
    return end, True


def _start(file: BinaryIO, size: int) -> tuple[int, int]:
    """Return a chunk's tag and where it ends.

    Raises:
        IndexError, ValueError, struct.error: no chunk begins here, or the file ends within it.
    """
    length = _length(file)
    end = file.tell() + length
    (tag,) = struct.unpack("<H", file.read(2))
    if tag not in _TAGS or length < 2 or end > size:
        raise ValueError(f"a chunk {tag} of {length} bytes")
    return tag, end


def _check(file: BinaryIO, tag: int, end: int, widths: dict[int, int]) -> None:
    """Check what pyxdf would trip over in a chunk after its tag, and that it has room for itself.

    Raises:
        IndexError, ValueError, struct.error, ParseError: it is damaged.
    """
    if tag == _FILE:
        _parse(file.read(end - file.tell()))
    elif tag in (_HEADER, _SAMPLES, _CLOCK, _FOOTER):
        (stream,) = struct.unpack("<I", file.read(4))
        if tag == _HEADER:
            widths[stream] = _width(file.read(end - file.tell()))
        elif stream not in widths:
            raise ValueError("a stream without a header")
        elif tag == _FOOTER:
            _parse(file.read(end - file.tell()))
        elif tag == _CLOCK and end - file.tell() != _CLOCK_BYTES:
            raise ValueError("a clock offset of another length")
        elif tag == _SAMPLES and _length(file) * widths[stream] > end - file.tell():
            raise ValueError("more samples than there is room for")


def _after_boundary(file: BinaryIO, at: int, size: int) -> int:
    """Return the place after the next boundary, the file's end where there is none."""
    tail = b""
    file.seek(at)
    while block := file.read(_BLOCK):
        found = (tail + block).find(_BOUNDARY)
        if found >= 0:
            return file.tell() - len(tail) - len(block) + found + len(_BOUNDARY)
        tail = (tail + block)[1 - len(_BOUNDARY) :]
    return size


def _read(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(end - start)


def _length(file: BinaryIO) -> int:
    """Return a number that is preceded by how many bytes it has."""
    n_bytes = file.read(1)[0]
    if n_bytes not in _LENGTHS:
        raise ValueError(f"a length of {n_bytes} bytes")
    return int(struct.unpack(_LENGTHS[n_bytes], file.read(n_bytes))[0])


def _width(header: bytes) -> int:
    """Return the least number of bytes of a sample: whether it has a time, and its values."""
    info = _parse(header.decode("utf-8", "replace"))
    kind = info.findtext("channel_format") or ""
    if kind not in _BYTES:
        raise ValueError(f"a channel_format {kind!r}")
    return 1 + int(info.findtext("channel_count") or "") * _BYTES[kind]


def _parse(text: str | bytes) -> ET.Element:
    # As pyxdf reads it; the parser beneath refuses entities that grow.
    return ET.fromstring(text)  # noqa: S314
