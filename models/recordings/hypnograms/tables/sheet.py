"""A text file as rows of cells: encoding and delimiter are found, and the row of each line kept."""

import codecs
import csv
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models.errors import RecordingError

_DELIMITERS = ("\t", ";", ",", "|")
_MARKED = (  # the longer marks first: that of UTF-32 begins like that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ZIPPED = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # .xlsx, .ods; .xls
_END = "\x1a"  # of a text, in DOS
_SEEN = 200  # rows that tell the delimiter
_MOST_BYTES = 1 << 28  # of a text; a week of seconds has 20 MB with all of hypnod's columns


@dataclass(frozen=True, slots=True)
class Row:
    """A line that is not empty."""

    number: int
    """Of the line in the file, from 1 on."""
    cells: tuple[str, ...]
    """Without spaces at both ends."""


@dataclass(frozen=True)
class Sheet:
    """The rows of a text file."""

    rows: Sequence[Row]
    delimiter: str | None
    """None: every line is one cell."""


def read_sheet(path: Path) -> list[Sheet]:
    """Return the ways to take a text apart, those with the most even rows first.

    Raises:
        RecordingError: it is no text, or empty.
    """
    if path.stat().st_size > _MOST_BYTES:
        raise RecordingError(f"expected a table of at most {_MOST_BYTES >> 20} MiB, found more")
    lines = [
        (number, line)
        for number, line in enumerate(decode(path.read_bytes()).rstrip(_END).splitlines(), start=1)
        if line.strip()
    ]
    if not lines:
        raise RecordingError("expected stages, found an empty file")
    apart = {delimiter: _unevenness(_split(lines[:_SEEN], delimiter)) for delimiter in _DELIMITERS}
    fitting = sorted((d for d in _DELIMITERS if apart[d] < 1), key=lambda d: apart[d])
    whole = Sheet([Row(number, (line.strip(),)) for number, line in lines], None)
    return [*(Sheet(_split(lines, delimiter), delimiter) for delimiter in fitting), whole]


def decode(raw: bytes) -> str:
    """Return a text in UTF-8, UTF-16 or UTF-32, or else in the Windows code page 1252.

    An accent becomes one with its letter, which a Mac may write apart.

    Raises:
        RecordingError: it is none.
    """
    if raw.startswith(_ZIPPED):
        raise RecordingError("expected a text, found a spreadsheet or archive: save it as CSV")
    try:
        for mark, encoding in _MARKED:
            if raw.startswith(mark):
                return unicodedata.normalize("NFC", raw.decode(encoding))
        if b"\0" in raw:  # of every other character that is written in two bytes
            text = raw.decode("utf-16-le" if raw[1:2] == b"\0" else "utf-16-be")
        else:
            text = _in_one_byte(raw)
    except UnicodeDecodeError as error:
        raise RecordingError(f"expected a text, found: {error}") from error
    if "\0" in text:
        raise RecordingError("expected a text, found other bytes: NUL")
    return unicodedata.normalize("NFC", text)


def _in_one_byte(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")


def _split(lines: Sequence[tuple[int, str]], delimiter: str) -> list[Row]:
    """Return the rows; a line break inside quotes does not go on with a row."""
    try:
        cells = list(csv.reader([line for _, line in lines], delimiter=delimiter))
        if len(cells) != len(lines):
            cells = [next(csv.reader([line], delimiter=delimiter)) for _, line in lines]
    except csv.Error as error:
        raise RecordingError(f"expected a table, found: {error}") from error
    return [
        Row(number, tuple(map(str.strip, row)))
        for (number, _), row in zip(lines, cells, strict=True)
    ]


def _unevenness(rows: Sequence[Row]) -> float:
    """Return the share of rows without as many cells as most have; 1 where all have one."""
    counts = [len(row.cells) for row in rows]
    usual = max(set(counts), key=counts.count)
    return 1.0 if max(counts) == 1 else 1 - counts.count(usual) / len(counts)
