"""Read a night: EDF, EDF+, BDF, the sDREAMER lab's .mat, XDF and WFDB."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from models.errors import RecordingError
from models.recordings.base import Annotation, ArrayRecording, Description, Recording
from models.recordings.edf.reader import open_edf
from models.recordings.mat import open_mat
from models.recordings.wfdb import open_wfdb
from models.recordings.xdf.reader import open_xdf
from models.signal.chunk import MIN_SFREQ

__all__ = [
    "Annotation",
    "ArrayRecording",
    "Description",
    "Recording",
    "open_recording",
]

_EXTENSIONS = (".edf", ".bdf", ".rec", ".mat", ".xdf", ".hea")


def open_recording(
    path: Path,
    channels: Sequence[str] | None = None,
    match: Mapping[str, str] | None = None,
    min_sfreq: float = MIN_SFREQ,
) -> Recording:
    """Open a recording by its extension.

    Args:
        path: the file.
        channels: labels of the channels to read, in this order, the slower ones at the rate of the
            fastest; default: all channels at the highest sampling rate.
        match: LSL properties of the stream to read, in an XDF file; default: the only fitting one.
        min_sfreq: rate of the slowest channel that can be staged beside faster ones, Hz.

    Raises:
        RecordingError: the file is missing, broken, of an unknown kind, or lacks a channel.
    """
    check_file(path, _EXTENSIONS)
    extension = path.suffix.lower()
    if extension == ".mat":
        return open_mat(path, channels)
    if extension == ".xdf":
        return open_xdf(path, channels, match)
    if extension == ".hea":
        return open_wfdb(path, channels)
    return open_edf(path, channels, min_sfreq)


def check_match(paths: Sequence[Path], match: Mapping[str, str]) -> None:
    """Raise RecordingError where somebody chose a stream, and no recording has streams."""
    if match and not any(path.suffix.lower() == ".xdf" for path in paths):
        given = " ".join(f"--match {key}={value}" for key, value in match.items())
        raise RecordingError(
            f"{given}: expected an XDF file to choose a stream of, found "
            f"{', '.join(map(str, paths))}; leave it out"
        )


def check_file(path: Path, extensions: Sequence[str]) -> None:
    """Raise RecordingError unless `path` is a file with one of the extensions."""
    if path.suffix.lower() not in extensions:
        raise RecordingError(
            f"{path}: expected a file ending in {', '.join(extensions)}, found "
            f"{path.suffix or 'no extension'}"
        )
    if not path.is_file():
        found = "a directory" if path.is_dir() else "nothing"
        raise RecordingError(f"{path}: expected a file, found {found}")
