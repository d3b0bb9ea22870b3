"""The rows in the pages of an SQLite file, found without its trees, which a damaged one lost.

Format: https://www.sqlite.org/fileformat2.html, "b-tree pages" and "record format". Rows that do
not fit in a page are not read, nor are those that only the write-ahead log has.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

_FILE_HEADER = 100
_LEAF = 13  # of a table, in the first byte of its header
_CELLS = 8  # its header's bytes; where each cell begins comes after it
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}  # bytes
_REAL, _ZERO, _ONE, _BLOB = 7, 8, 9, 12

Value = None | int | float | str | bytes


def read_rows(path: Path) -> Iterator[list[Value]]:
    """Yield every row of every table that lies whole in a page, damaged ones left out."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(18)[16:], "big")
        size = 1 << 16 if size == 1 else size
        if size < 512:
            return
        file.seek(0)
        number = 0
        while len(page := file.read(size)) == size:
            number += 1
            yield from _read_page(page, _FILE_HEADER if number == 1 else 0)


def _read_page(page: bytes, at: int) -> Iterator[list[Value]]:
    if page[at] != _LEAF:
        return
    (n,) = struct.unpack_from(">H", page, at + 3)
    if at + _CELLS + 2 * n > len(page):
        return
    for (cell,) in struct.iter_unpack(">H", page[at + _CELLS : at + _CELLS + 2 * n]):
        try:
            length, start = _varint(page, cell)
            _, start = _varint(page, start)  # the row's number
            if start + length <= len(page):
                yield _read_record(page[start : start + length])
        except (IndexError, struct.error, UnicodeDecodeError, ValueError):
            continue


def _read_record(record: bytes) -> list[Value]:
    end, at = _varint(record, 0)
    kinds = []
    while at < end:
        kind, at = _varint(record, at)
        kinds.append(kind)
    row: list[Value] = []
    for kind in kinds:
        value, at = _read_value(record, kind, at)
        row.append(value)
    return row


def _read_value(record: bytes, kind: int, at: int) -> tuple[Value, int]:
    """Return the value of this kind at a place, and where the next one is."""
    if kind in (0, _ZERO, _ONE):
        return (None if kind == 0 else kind - _ZERO), at
    n = _INTEGERS.get(kind, 8) if kind < _BLOB else (kind - _BLOB) // 2
    raw = record[at : at + n]
    if len(raw) < n:
        raise ValueError("a row that ends within a value")
    if kind == _REAL:
        return struct.unpack(">d", raw)[0], at + n
    if kind < _BLOB:
        return int.from_bytes(raw, "big", signed=True), at + n
    return (raw if kind % 2 == 0 else raw.decode()), at + n


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of up to nine bytes, and where it ends."""
    value = 0
    for i in range(8):
        byte = data[at + i]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + i + 1
    return value << 8 | data[at + 8], at + 9
