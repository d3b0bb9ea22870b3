"""What pyxdf takes on trust in an XDF file: how many samples a chunk holds, of how many channels.

It makes room for what a chunk declares before it reads the chunk, so a damaged file of a few
bytes could ask for any amount of memory. Format: https://github.com/sccn/xdf/wiki/Specifications
"""

import struct
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree as ET

from models.errors import RecordingError

_MAGIC = 4
_HEADER, _SAMPLES = 2, 3
_LENGTHS = {1: "<B", 4: "<I", 8: "<Q"}
_BYTES = {"int8": 1, "int16": 2, "int32": 4, "int64": 8, "float32": 4, "double64": 8, "string": 2}
"""Of one value, at least."""


def check_chunks(path: Path) -> None:
    """Check that no chunk declares more samples than its bytes can hold.

    Raises:
        RecordingError: one does, or samples come before their stream's header.
        ElementTree.ParseError, struct.error, ValueError: the file is broken otherwise.
    """
    size = path.stat().st_size
    widths: dict[int, int] = {}
    with path.open("rb") as file:
        file.seek(_MAGIC)
        while file.tell() < size:
            length = _length(file)
            end = min(file.tell() + length, size)
            (tag,) = struct.unpack("<H", file.read(2))
            if tag in (_HEADER, _SAMPLES):
                (stream,) = struct.unpack("<I", file.read(4))
            if tag == _HEADER:
                widths[stream] = _width(file.read(end - file.tell()))
            elif tag == _SAMPLES:
                if stream not in widths:
                    raise RecordingError(f"{path}: expected a stream's header before its samples")
                n, room = _length(file), end - file.tell()
                if n * widths[stream] > room:
                    raise RecordingError(
                        f"{path}: expected a whole XDF file, found a chunk of {room} bytes that "
                        f"declares {n} samples of at least {widths[stream]} bytes"
                    )
            file.seek(end)


def _length(file: BinaryIO) -> int:
    """Return a number that is preceded by how many bytes it has."""
    n_bytes = file.read(1)[0]
    if n_bytes not in _LENGTHS:
        raise ValueError(f"a length of {n_bytes} bytes")
    return int(struct.unpack(_LENGTHS[n_bytes], file.read(n_bytes))[0])


def _width(header: bytes) -> int:
    """Return the least number of bytes of a sample: whether it has a time, and its values."""
    # As pyxdf reads it; the parser beneath refuses entities that grow.
    info = ET.fromstring(header.decode("utf-8", "replace"))  # noqa: S314
    kind = info.findtext("channel_format") or ""
    if kind not in _BYTES:
        raise ValueError(f"a channel_format {kind!r}")
    return 1 + int(info.findtext("channel_count") or "") * _BYTES[kind]
