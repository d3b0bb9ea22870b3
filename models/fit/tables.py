"""Fitted numbers as files that a person can read and compare."""

import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

WHO = {"mouse": "mice", "human": "people"}
"""What many of a species are called."""


def rounded(values: Iterable[float], digits: int) -> tuple[float, ...]:
    """Return values with so many significant digits."""
    return tuple(float(f"{value:.{digits}g}") for value in values)


def write_table(path: Path, fitted: msgspec.Struct) -> None:
    """Write what was fitted as JSON, each row of numbers on a line."""
    text = msgspec.json.format(msgspec.json.encode(fitted), indent=1).decode()
    rows = re.sub(r"\[[^][{}]*\]", lambda row: " ".join(row[0].split()), text)
    path.write_text(rows + "\n", encoding="utf-8")
