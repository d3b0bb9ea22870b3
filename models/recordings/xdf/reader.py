"""XDF files, as LabRecorder writes them: one numeric stream, with the markers beside it.

pyxdf reads the whole file, for the streams in it are interleaved. Clocks are put on the
recorder's clock and clock resets are resolved; timestamps are not smoothed, for smoothing
shifts what follows a gap. What is damaged is left out before: see `chunks.py`.
"""

import logging
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyxdf
from numpy.typing import NDArray

from models.errors import RecordingError
from models.recordings.base import Annotation, ArrayRecording, Description, select_channels
from models.recordings.xdf.chunks import whole_chunks
from models.signal.chunk import are_times, number_duplicates

Stream = dict[str, Any]

_SIGNAL_TYPES = ("EEG", "EXG", "EMG", "ECOG", "LFP")
PROPERTIES = ("name", "type", "source_id", "hostname")
"""By which a stream is chosen, as live."""
STREAM_ID = "stream_id"
"""What alone tells apart pieces of one stream: its number in the file."""
_UNIT = 10.0  # timestamps that are so many times too far apart are not in s
_USUAL = 0.1  # samples of a second differ by less, as a fraction
_RATES_AGREE = 0.01  # as a fraction; further apart timestamps cannot be tracked


def open_xdf(
    path: Path, channels: Sequence[str] | None = None, match: Mapping[str, str] | None = None
) -> ArrayRecording:
    """Open the numeric stream of an XDF file; one that came back under its name goes on.

    Args:
        path: the file.
        channels: labels to read; default: all of the stream.
        match: LSL properties of the stream; default: the only numeric one with a rate and
            samples, or the only one of those whose type is a biosignal.

    Raises:
        RecordingError: the file is broken, or no or several streams fit.
    """
    streams, header, flaws = _load(path)
    chosen = _choose(path, streams, match or {}, flaws)
    labels, units = _labels(chosen[0])
    selected = (
        list(range(len(labels))) if channels is None else select_channels(path, labels, channels)
    )
    times = np.concatenate([_times(s) for s in chosen])
    first = _first_time(path, times, _declared(chosen[0]))
    data = np.concatenate([np.asarray(s["time_series"]).astype(np.float32) for s in chosen])
    sfreq, remark = _find_rate(chosen[0], times)
    others = [s for s in streams if _format(s) != "string" and all(s is not c for c in chosen)]
    description = Description(
        ch_names=tuple(labels[i] for i in selected),
        units=tuple(units[i] for i in selected),
        sfreq=sfreq,
        n_samples=len(times),
        start=_start(header),
        annotations=_annotations(streams, first),
        readable=labels,
        skipped={
            **{label: "" for i, label in enumerate(labels) if i not in selected},
            **dict.fromkeys(number_duplicates([_name(s) for s in others]), "another stream"),
        },
        flaws=(*flaws, *_missing(chosen), *remark),
    )
    return ArrayRecording(path, description, data[:, selected], times - first)


def _load(path: Path) -> tuple[list[Stream], Stream | None, list[str]]:
    """Return the streams, the file's header if it has one, and what of the file is lost."""
    try:
        whole, flaws = whole_chunks(path)
        with _log_of_pyxdf() as complaints, np.errstate(all="ignore"):
            streams, header = pyxdf.load_xdf(whole, dejitter_timestamps=False)
    except RecordingError:
        raise
    except Exception as error:  # a broken file breaks pyxdf in ways it does not name
        found = str(error) or type(error).__name__
        raise RecordingError(f"{path}: expected an XDF file, found: {found}") from error
    if complaints:
        flaws.append(f"{len(complaints)} of its chunks cannot be read ({complaints[0]})")
    if header is None and not streams:
        raise RecordingError(f"{path}: expected an XDF file, found no file header and no stream")
    return streams, header, flaws


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


def _choose(
    path: Path, streams: list[Stream], match: Mapping[str, str], flaws: Sequence[str]
) -> list[Stream]:
    """Return the stream to read, in all its pieces, in the order of time."""
    numeric = [s for s in streams if _format(s) != "string" and len(s["time_stamps"]) > 1]
    fit = [s for s in numeric if _matches(s, match)]
    if not match and len(fit) > 1:
        fit = [s for s in fit if _property(s, "type").upper() in _SIGNAL_TYPES] or fit
    if not match and len(fit) > 1:
        fit = [s for s in fit if _declared(s) > 0] or fit
    if fit and _are_one(fit):
        return sorted(fit, key=lambda s: float(_times(s)[0]))
    wanted = "one numeric stream with samples"
    wanted += f" and {', '.join(f'{k}={v}' for k, v in match.items())}" if match else ""
    others = fit or (numeric if match else [])
    telling = _telling(others) if others else ""
    found = "; ".join(_identify(s, telling) for s in (fit or streams)) or "no stream"
    how = ""
    if others:
        option = shlex.quote(f"{telling}={_property(others[0], telling)}")
        how = f": choose one, as in --match {option}"
    damaged = "".join(f"; {each}" for each in flaws)
    raise RecordingError(f"{path}: expected {wanted}, found {len(fit)} (in: {found}){how}{damaged}")


def _matches(stream: Stream, match: Mapping[str, str]) -> bool:
    """Whether a stream has these properties; a type in capitals or small letters, as live."""
    found = {key: _property(stream, key) for key in match}
    return all(
        found[key].lower() == value.lower() if key == "type" else found[key] == value
        for key, value in match.items()
    )


def _are_one(streams: Sequence[Stream]) -> bool:
    """Whether these are pieces of one stream, whose source came back: never two at a time."""
    alike = (*PROPERTIES, "channel_count", "channel_format", "nominal_srate")
    if len({tuple(_property(s, key) for key in alike) for s in streams}) > 1:
        return False
    if len({_labels(s) for s in streams}) > 1:
        return False
    spans = sorted((float(_times(s)[0]), float(_times(s)[-1])) for s in streams)
    return all(before[1] < after[0] for before, after in pairwise(spans))


def _telling(streams: Sequence[Stream]) -> str:
    """Return the property that tells the first of several streams from the others."""
    for key in PROPERTIES:
        values = [_property(s, key) for s in streams]
        if values[0] and values.count(values[0]) == 1:
            return key
    return STREAM_ID


def _identify(stream: Stream, telling: str) -> str:
    found = {key: _property(stream, key) for key in PROPERTIES[1:]}
    about = ", ".join(f"{key} {value!r}" for key, value in found.items() if value)
    number = f"{STREAM_ID} {_property(stream, STREAM_ID)}: " if telling == STREAM_ID else ""
    return f"{number}{_name(stream)!r}" + (f" ({about})" if about else "")


def _property(stream: Stream, key: str) -> str:
    found = stream["info"].get(key)
    if key == STREAM_ID:
        return str(found)
    return str(found[0] or "") if found else ""


def _times(stream: Stream) -> NDArray[np.float64]:
    return np.asarray(stream["time_stamps"], np.float64)


def _first_time(path: Path, times: NDArray[np.float64], declared: float) -> float:
    """Return the first timestamp that can be a time, s.

    Raises:
        RecordingError: there is none, they do not advance, or they cannot be in s.
    """
    known = times[are_times(times)]
    step = float(np.median(np.diff(known))) if len(known) > 1 else np.nan
    stands = step <= 0 and known[-1] <= known[0]
    if not len(known) or stands or step * declared > _UNIT:
        wanted = f"1/{declared:g} s apart, as declared" if declared > 0 else "in s"
        found = f"{times[0]:.15g} to {times[-1]:.15g} for {len(times)} samples"
        raise RecordingError(f"{path}: expected timestamps that advance, {wanted}, found {found}")
    return float(known[0])


def _find_rate(stream: Stream, times: NDArray[np.float64]) -> tuple[float, tuple[str, ...]]:
    """Return the declared sampling rate, or the measured one where they contradict, and say so."""
    declared = _declared(stream)
    known = times[are_times(times)]
    seconds = np.unique(np.floor(known - known[:1]), return_counts=True)[1][:-1]
    if len(seconds) == 0:
        return declared, ()
    typical = np.sort(seconds)[len(seconds) // 2]  # with a gap there are fewer
    measured = float(seconds[np.abs(seconds / typical - 1) < _USUAL].mean())
    step = float(np.median(np.diff(known)))  # of samples that do not come in bunches, some lost
    if any(
        abs(each / declared - 1) < _RATES_AGREE
        for each in (measured, 1 / (step or np.inf))
        if declared
    ):
        return declared, ()
    what = f"{declared:g} Hz" if declared > 0 else "no rate"
    return measured, (f"its stream declares {what}; {measured:.5g} Hz is measured and taken",)


def _missing(streams: Sequence[Stream]) -> tuple[str, ...]:
    """Say it where a stream's footer counts more samples than there are."""
    n = sum(len(s["time_stamps"]) for s in streams)
    try:
        counted = sum(int(s["footer"]["info"]["sample_count"][0]) for s in streams)
    except (KeyError, IndexError, TypeError, ValueError):
        return ()
    return (f"its footer counts {counted} samples, {n} are there",) * (counted > n)


def _labels(stream: Stream) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return label and unit of each channel, as of a live stream."""
    n = int(stream["info"]["channel_count"][0])
    try:
        described = stream["info"]["desc"][0]["channels"][0]["channel"]
    except (KeyError, IndexError, TypeError):
        described = []
    described = [*described, *[{}] * (n - len(described))] if len(described) <= n else [{}] * n
    labels = [(c.get("label") or [None])[0] or "" for c in described]
    units = tuple((c.get("unit") or [None])[0] or "" for c in described)
    return number_duplicates(labels), units


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


def _start(header: Stream | None) -> datetime | None:
    try:
        return None if header is None else datetime.fromisoformat(header["info"]["datetime"][0])
    except (KeyError, IndexError, TypeError, ValueError):
        return None


def _name(stream: Stream) -> str:
    return str(stream["info"]["name"][0])


def _format(stream: Stream) -> str:
    return str(stream["info"]["channel_format"][0])


def _declared(stream: Stream) -> float:
    return float(stream["info"]["nominal_srate"][0])
