"""XDF files, as LabRecorder writes them: one numeric stream, with the markers beside it.

pyxdf reads the whole file, for the streams in it are interleaved. Clocks are put on the
recorder's clock and clock resets are resolved; timestamps are not smoothed, for smoothing
shifts what follows a gap.

pyxdf makes room for what a chunk declares before it reads the chunk, so a damaged file of a few
bytes could ask for any amount of memory: chunks are looked at first. Format:
https://github.com/sccn/xdf/wiki/Specifications
"""

import logging
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree as ET

import numpy as np
import pyxdf

from models.errors import RecordingError
from models.recordings.base import Annotation, ArrayRecording, Description, select_channels

Stream = dict[str, Any]

_MAGIC = b"XDF:"
_HEADER, _SAMPLES = 2, 3
_LENGTHS = {1: "<B", 4: "<I", 8: "<Q"}
_BYTES = {"int8": 1, "int16": 2, "int32": 4, "int64": 8, "float32": 4, "double64": 8, "string": 2}
"""Of one value, at least."""
_SIGNAL_TYPES = ("EEG", "EXG", "EMG", "ECOG", "LFP")


def open_xdf(
    path: Path, channels: Sequence[str] | None = None, stream: str | None = None
) -> ArrayRecording:
    """Open the numeric stream of an XDF file.

    Args:
        path: the file.
        channels: labels to read; default: all of the stream.
        stream: name of the stream; default: the only numeric one with a sampling rate and
            samples, or the only one of those whose type is a biosignal.

    Raises:
        RecordingError: the file is broken, or no or several streams fit.
    """
    streams, header = _load(path)
    chosen = _choose(path, streams, stream)
    labels, units = _labels(chosen)
    selected = (
        list(range(len(labels))) if channels is None else select_channels(path, labels, channels)
    )
    times = np.asarray(chosen["time_stamps"], np.float64)
    skipped = (s for s in streams if s is not chosen and _format(s) != "string")
    description = Description(
        ch_names=tuple(labels[i] for i in selected),
        units=tuple(units[i] for i in selected),
        sfreq=_rate(chosen),
        n_samples=len(times),
        start=_start(header),
        annotations=_annotations(streams, float(times[0])),
        skipped=tuple(_name(s) for s in skipped),
    )
    data = np.asarray(chosen["time_series"]).astype(np.float32)[:, selected]
    return ArrayRecording(path, description, data, times - times[0])


def _load(path: Path) -> tuple[list[Stream], Stream]:
    try:
        with path.open("rb") as file:
            start = file.read(len(_MAGIC))
        if start != _MAGIC:
            raise RecordingError(f"{path}: expected an XDF file, found one that starts {start!r}")
        _check_chunks(path)
        with _log_of_pyxdf() as complaints:
            streams, header = pyxdf.load_xdf(path, dejitter_timestamps=False)
    except RecordingError:
        raise
    except Exception as error:  # a broken file breaks pyxdf in ways it does not name
        found = str(error) or type(error).__name__
        raise RecordingError(f"{path}: expected an XDF file, found: {found}") from error
    if complaints:
        raise RecordingError(f"{path}: expected a whole XDF file, found: {complaints[0]}")
    if header is None:
        raise RecordingError(f"{path}: expected an XDF file, found no file header")
    return streams, header


class _Complaints(logging.Handler):
    """Keeps the errors that pyxdf logs where it does not raise."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextmanager
def _log_of_pyxdf() -> Iterator[list[str]]:
    logger, handler = logging.getLogger("pyxdf.pyxdf"), _Complaints()
    propagate = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield handler.messages
    finally:
        logger.propagate = propagate
        logger.removeHandler(handler)


def _choose(path: Path, streams: list[Stream], name: str | None) -> Stream:
    fit = [
        s for s in streams if _format(s) != "string" and _rate(s) > 0 and len(s["time_stamps"]) > 0
    ]
    if name is not None:
        fit = [s for s in fit if _name(s) == name]
    elif len(fit) > 1:
        fit = [s for s in fit if s["info"]["type"][0] in _SIGNAL_TYPES] or fit
    if len(fit) != 1:
        wanted = "one numeric stream with a sampling rate and samples"
        wanted += f" named {name!r}" if name is not None else ""
        found = ", ".join(repr(_name(s)) for s in (fit or streams)) or "no stream"
        raise RecordingError(f"{path}: expected {wanted}, found {len(fit)} (in: {found})")
    return fit[0]


def _labels(stream: Stream) -> tuple[list[str], list[str]]:
    """Return label and unit of each channel; channels without a label are numbered from 1."""
    n = int(stream["info"]["channel_count"][0])
    try:
        described = stream["info"]["desc"][0]["channels"][0]["channel"]
    except (KeyError, IndexError, TypeError):
        described = []
    if len(described) != n:
        described = [{}] * n
    labels = [(c.get("label") or [None])[0] or f"ch{i + 1}" for i, c in enumerate(described)]
    units = [(c.get("unit") or [None])[0] or "" for c in described]
    return labels, units


def _annotations(streams: list[Stream], first: float) -> tuple[Annotation, ...]:
    """Return every text of every marker stream, s from the chosen stream's first sample."""
    found = (
        Annotation(float(time) - first, 0.0, text)
        for stream in streams
        if _format(stream) == "string"
        for time, texts in zip(stream["time_stamps"], stream["time_series"], strict=True)
        for text in texts
        if text
    )
    return tuple(sorted(found, key=lambda annotation: annotation.onset))


def _start(header: Stream) -> datetime | None:
    try:
        return datetime.fromisoformat(header["info"]["datetime"][0])
    except (KeyError, IndexError, TypeError, ValueError):
        return None


def _name(stream: Stream) -> str:
    return str(stream["info"]["name"][0])


def _format(stream: Stream) -> str:
    return str(stream["info"]["channel_format"][0])


def _rate(stream: Stream) -> float:
    return float(stream["info"]["nominal_srate"][0])


def _check_chunks(path: Path) -> None:
    """Check that no chunk declares more samples than its bytes can hold.

    Raises:
        RecordingError: one does, or samples come before their stream's header.
        ElementTree.ParseError, struct.error, ValueError: the file is broken otherwise.
    """
    size = path.stat().st_size
    widths: dict[int, int] = {}
    with path.open("rb") as file:
        file.seek(len(_MAGIC))
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
