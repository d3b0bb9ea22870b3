"""The annotations of EDF+ and BDF+ files: texts with times, as many as can be read.

One that is broken loses no other. Texts are UTF-8, or else taken for Latin-1, as some recorders
write them; times may have a comma. Format: Kemp & Olivan 2003, doi:10.1016/S1388-2457(03)00123-8,
"time-stamped annotations lists".
"""

import re
from typing import NamedTuple

from models.recordings.base import Annotation
from models.recordings.edf.file import EdfFile

_TIME = rb"\d{1,15}(?:[.,]\d{0,15})?"
_LIST = re.compile(rb"([+-]%b)(?:\x15(%b)?)?\x14(.*)" % (_TIME, _TIME), re.DOTALL)
_RECORD_TIME = re.compile(rb"([+-]%b)\x14\x14" % _TIME)  # the first list of a record


class Annotations(NamedTuple):
    """What a file says beside its signals."""

    read: tuple[Annotation, ...]
    """In order of their onsets."""
    flaws: tuple[str, ...]
    """What cannot be read of them, a sentence each."""


def record_onset(file: EdfFile, record: int) -> float | None:
    """Return when a data record starts, s after the file's start; None where it does not say."""
    if not file.annotation_signals:
        return None
    column = file.columns(file.annotation_signals[0])
    match = _RECORD_TIME.match(file.records[record, column].tobytes())
    return None if match is None else _number(match[1])


def read_annotations(file: EdfFile) -> Annotations:
    """Return all that can be read; onsets are those since the first record's start, s."""
    start = record_onset(file, 0)
    first = start or 0.0
    found: list[Annotation] = []
    n_broken = 0
    for signal in file.annotation_signals:
        for record in file.records[:, file.columns(signal)]:
            for each in filter(None, record.tobytes().split(b"\0")):
                match = _LIST.fullmatch(each)
                if match is None:
                    n_broken += 1
                    continue
                onset = round(_number(match[1]) - first, 12)
                duration = _number(match[2] or b"0")
                texts = filter(None, match[3].split(b"\x14"))  # a record's own time has none
                found += (Annotation(onset, duration, _decode(text)) for text in texts)
    found.sort(key=lambda a: (a.onset, a.duration, a.text))
    flaws = []
    if start is None and file.annotation_signals:
        flaws.append("its first record has no time, from which those of its annotations count")
    if n_broken:
        flaws.append(f"{n_broken} of its annotations cannot be read")
    return Annotations(tuple(found), tuple(flaws))


def _number(text: bytes) -> float:
    return float(text.replace(b",", b"."))


def _decode(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")
