"""Hypnograms in XML: the National Sleep Research Resource's, and Compumedics Profusion's.

Both have the numbers of Rechtschaffen and Kales: 0 wake, 1 to 4, 5 REM, 6 movement, 9 unscored.
Zhang et al. 2018, doi:10.1093/jamia/ocy064; https://github.com/nsrr/edf-editor-translator/wiki.
"""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from models.errors import RecordingError
from models.recordings.hypnograms.marks import Mark, Marks, consecutive

_CODES = "rk"
_LARGEST = 1 << 26  # bytes; a night with all its events has some hundred thousand


def read_nsrr(path: Path) -> Marks:
    """Return the stages of an XML file; other events in it are not read.

    Raises:
        RecordingError: it is broken, or none of the two kinds.
    """
    root = _parse(path)
    if root.tag == "PSGAnnotation":
        marks: Sequence[Mark] = [
            Mark(
                _text(event, "EventConcept").rpartition("|")[2].strip(),
                _seconds(path, event, "Start"),
                _seconds(path, event, "Duration"),
                f"at {_text(event, 'Start')} s",
            )
            for event in root.iter("ScoredEvent")
            if _text(event, "EventType").lower().startswith("stages")
        ]
    elif root.tag == "CMPStudyConfig":
        stages = [(stage.text or "").strip() for stage in root.iter("SleepStage")]
        where = [f"epoch {i}" for i in range(1, len(stages) + 1)]
        marks = consecutive(stages, _seconds(path, root, "EpochLength"), where)
    else:
        raise RecordingError(
            f"{path}: expected PSGAnnotation (NSRR) or CMPStudyConfig (Profusion), found "
            f"{root.tag[:60]}"
        )
    if not marks:
        raise RecordingError(f"{path}: expected stages, found none in {root.tag}")
    return Marks(marks=marks, coded=_CODES)


def _parse(path: Path) -> ET.Element:
    if path.stat().st_size > _LARGEST:
        raise RecordingError(f"{path}: expected a hypnogram, found more than 64 MiB of XML")
    content = path.read_bytes()
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content or b"\0" in content:
        raise RecordingError(f"{path}: expected XML in UTF-8 without definitions, found other")
    try:
        return ET.fromstring(content)  # noqa: S314  nothing in it can expand
    except ET.ParseError as error:
        raise RecordingError(f"{path}: expected whole XML, found: {error}") from error


def _text(element: ET.Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()


def _seconds(path: Path, element: ET.Element, tag: str) -> float:
    text = _text(element, tag)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e8:
        raise RecordingError(f"{path}: expected seconds in {tag}, found {text[:60]!r}")
    return seconds
