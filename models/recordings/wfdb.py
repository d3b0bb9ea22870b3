"""WFDB records: a header, a file of 16-bit samples, annotations; the format of PhysioNet.

Format 16 alone, all signals in one file at one rate, as in the records of the PhysioNet/Computing
in Cardiology Challenge 2018, whose .mat files are such samples behind 24 bytes that MATLAB reads.
The library `wfdb` reads many more formats, by pandas, aiohttp and others that hypnod does not need.

Formats: https://physionet.org/physiotools/wag/header-5.htm, signal-5.htm, annot-5.htm (Moody).
"""

import mmap
import re
from collections.abc import Iterator, Sequence
from math import isfinite
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.errors import RecordingError
from models.recordings.base import Annotation, Description, Recording, select_channels
from models.signal.chunk import number_duplicates

_LONGEST_HEADER = 1 << 20  # bytes; one of a hundred signals has ten thousand
_FORMAT = re.compile(r"16(?:x1)?(?:\+(\d{1,9}))?$")
_GAIN = re.compile(r"([-+.\deE]+)(?:\((-?\d{1,9})\))?(?:/(\S+))?$")
_NUMBER = re.compile(r"[\d.]{1,20}(?:[eE][-+]?\d{1,2})?")
_USUAL_GAIN = 200.0  # of a header that says 0, or nothing
_MISSING = -32768
_SKIP, _AUX, _LEAST_SPECIAL = 59, 63, 59


class _Signal(NamedTuple):
    label: str
    unit: str
    gain: float
    baseline: float


class _Header(NamedTuple):
    sfreq: float
    n_samples: int
    """0: it does not say."""
    data: Path
    offset: int
    signals: list[_Signal]


class WfdbRecording(Recording):
    """A record whose samples are mapped into memory, one after the other for all signals."""

    def __init__(
        self,
        path: Path,
        signals: Sequence[_Signal],
        chosen: Sequence[int],
        samples: NDArray[np.int16],
        description: Description,
    ) -> None:
        super().__init__(path, description)
        self._samples = samples
        self._chosen = list(chosen)
        self._gain = np.array([signals[i].gain for i in chosen])
        self._baseline = np.array([signals[i].baseline for i in chosen])

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return samples `start` to `stop`, (n_samples, n_channels), NaN where one is missing."""
        raw = self._samples[start:stop, self._chosen]
        values = (raw - self._baseline) / self._gain
        return np.where(raw == _MISSING, np.nan, values).astype(np.float32)


def open_wfdb(path: Path, channels: Sequence[str] | None = None) -> WfdbRecording:
    """Open a record by its header.

    Args:
        path: the .hea file.
        channels: labels to read; default: all.

    Raises:
        RecordingError: header or samples are missing, broken or of another format, or a channel is
            missing.
    """
    header = _read_header(path)
    n = len(header.signals)
    try:
        with header.data.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # ValueError: it is empty
        raise RecordingError(
            f"{path}: expected its samples in {header.data.name}, found: {error}"
        ) from error
    found, rest = divmod(max(0, len(mapped) - header.offset), 2 * n)
    if found < 1:
        raise RecordingError(
            f"{header.data}: expected samples of {n} signals from byte {header.offset} on, found "
            f"a file of {len(mapped)} bytes"
        )
    n_samples = min(found, header.n_samples or found)
    flaws = []
    if header.n_samples > found:
        flaws.append(f"its header counts {header.n_samples} samples, {found} whole ones are there")
    elif rest:
        flaws.append(f"its last {rest} bytes are no whole sample of {n} signals")
    samples = np.frombuffer(mapped, "<i2", n_samples * n, header.offset).reshape(n_samples, n)
    labels = number_duplicates([signal.label for signal in header.signals])
    chosen = range(n) if channels is None else select_channels(path, labels, channels)
    description = Description(
        ch_names=tuple(labels[i] for i in chosen),
        units=tuple(header.signals[i].unit for i in chosen),
        sfreq=header.sfreq,
        n_samples=n_samples,
        readable=labels,
        skipped={label: "" for i, label in enumerate(labels) if i not in chosen},
        flaws=tuple(flaws),
    )
    return WfdbRecording(path, header.signals, chosen, samples, description)


def samples_of(path: Path) -> Path:
    """Return where a record's samples are, by its header; raises RecordingError if that is bad."""
    return _read_header(path).data


def read_wfdb_annotations(path: Path) -> tuple[list[Annotation], float]:
    """Return the texts of an annotation file beside its header; the record's length, s.

    Raises:
        RecordingError: the file or its header is missing or broken.
    """
    record = open_wfdb(path.with_suffix(".hea"))
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordingError(f"{path}: expected readable annotations, found: {error}") from error
    texts = [Annotation(sample / record.sfreq, 0.0, text) for sample, text in _texts(path, content)]
    return texts, record.duration


def _texts(path: Path, content: bytes) -> Iterator[tuple[int, str]]:
    """Yield sample and text of each annotation that has one.

    An annotation is a word of 16 bits, its code in the upper six and the samples since the one
    before in the others; further words may go before or after it.
    """
    at, sample = 0, 0
    while at + 2 <= len(content):
        word = int.from_bytes(content[at : at + 2], "little")
        code, low = word >> 10, word & 0x3FF
        at += 2
        if word == 0:
            return
        if code == _SKIP:
            if at + 4 > len(content):
                break
            high, rest = (int.from_bytes(content[at + k : at + k + 2], "little") for k in (0, 2))
            interval = (high << 16) + rest
            sample += interval - (1 << 32) * (interval >> 31)
            at += 4
        elif code == _AUX:
            text = content[at : at + low]
            if len(text) < low:
                break
            yield sample, text.decode("utf-8", "replace").strip(" \0")
            at += low + low % 2
        elif code < _LEAST_SPECIAL:
            sample += low
    raise RecordingError(
        f"{path}: expected WFDB annotations that end with a zero, found {len(content)} bytes that "
        "do not: the file is cut short"
    )


def _read_header(path: Path) -> _Header:
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST_HEADER + 1)
    except OSError as error:
        raise RecordingError(f"{path}: expected a readable header, found: {error}") from error
    if len(content) > _LONGEST_HEADER:
        raise RecordingError(f"{path}: expected a WFDB header, found a file of more than 1 MiB")
    lines = [
        line
        for line in content.decode("utf-8", "replace").splitlines()
        if line.strip() and not line.startswith("#")
    ]
    record = lines[0].split() if lines else []
    counts = [field for field in record[1:2] if field.isdecimal()]
    n = int(counts[0]) if counts and len(counts[0]) < 5 else 0
    if n < 1 or "/" in record[0] or len(lines) <= n:
        raise RecordingError(
            f"{path}: expected a WFDB header of a record in one piece with a line for each signal, "
            f"found {lines[0][:60] if lines else ''!r} and {max(0, len(lines) - 1)} lines after it"
        )
    rate = _NUMBER.match(record[2]) if len(record) > 2 else None
    sfreq = float(rate[0]) if rate and rate[0].count(".") < 2 and rate[0] != "." else 0.0
    declared = record[3] if len(record) > 3 else "0"
    if not declared.isdecimal() or len(declared) > 12:
        raise RecordingError(f"{path}: expected the number of samples, found {declared[:60]!r}")
    files, signals = zip(*(_read_signal(path, line) for line in lines[1 : n + 1]), strict=True)
    if len({*files}) > 1:
        raise RecordingError(f"{path}: expected all signals in one file, found several")
    name, offset = files[0]
    return _Header(sfreq, int(declared), path.with_name(name), offset, [*signals])


def _read_signal(path: Path, line: str) -> tuple[tuple[str, int], _Signal]:
    """Return the file of a signal with the bytes before its samples, and how to read these."""
    fields = line.split(maxsplit=8)
    name = fields[0]
    form = _FORMAT.match(fields[1]) if len(fields) > 1 else None
    if form is None or name in ("-", ".", "..") or set(name) & set("/\\|"):
        raise RecordingError(
            f"{path}: expected a file beside it in format 16, found {' '.join(fields[:2])[:80]!r}"
        )
    gain = _GAIN.match(fields[2]) if len(fields) > 2 else None
    try:
        each = (float(gain[1]) if gain else 0.0) or _USUAL_GAIN
        zero = float(fields[4]) if len(fields) > 4 else 0.0
        baseline = float(gain[2]) if gain and gain[2] else zero
    except ValueError as error:
        raise RecordingError(f"{path}: expected a gain, found {line[:80]!r}") from error
    if not (isfinite(each) and isfinite(baseline)):
        raise RecordingError(f"{path}: expected a finite gain, found {line[:80]!r}")
    unit = (gain[3] if gain else None) or "mV"  # what a header that names none means
    label = fields[8].strip() if len(fields) > 8 else ""
    return (name, int(form[1] or 0)), _Signal(label, unit, each, baseline)
