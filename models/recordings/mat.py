"""The .mat files of the sDREAMER lab: eeg, emg, eeg_frequency and, once scored, sleep_scores.

sleep_scores holds one number a second: 0 Wake, 1 NREM, 2 REM; -1 or NaN where nobody scored.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import io

from models.errors import RecordingError
from models.recordings.base import ArrayRecording, Description, select_channels
from models.recordings.mat_file import check_arrays

_SIGNALS = ("eeg", "emg")
_HDF5 = b"\x89HDF"
_HDF5_OFFSETS = (0, 512)  # MATLAB puts its own text first


def open_mat(path: Path, channels: Sequence[str] | None = None) -> ArrayRecording:
    """Open a .mat recording; its channels are `eeg` and `emg`, and it names no unit.

    Raises:
        RecordingError: the file is broken, of version 7.3, or lacks a variable.
    """
    content = _load(path, (*_SIGNALS, "eeg_frequency"))
    columns = [_vector(path, content, name).astype(np.float32) for name in _SIGNALS]
    if len(columns[0]) != len(columns[1]) or len(columns[0]) == 0:
        raise RecordingError(
            f"{path}: expected eeg and emg of one length above 0, found "
            f"{len(columns[0])} and {len(columns[1])} samples"
        )
    frequency = _vector(path, content, "eeg_frequency")
    if len(frequency) != 1 or not 0 < frequency[0] < np.inf:
        raise RecordingError(f"{path}: expected one eeg_frequency above 0 Hz, found {frequency}")
    chosen = select_channels(path, _SIGNALS, _SIGNALS if channels is None else channels)
    description = Description(
        ch_names=tuple(_SIGNALS[i] for i in chosen),
        units=("",) * len(chosen),
        sfreq=float(frequency[0]),
        n_samples=len(columns[0]),
    )
    return ArrayRecording(path, description, np.stack([columns[i] for i in chosen], axis=1))


def read_mat_scores(path: Path) -> NDArray[np.int64]:
    """Return the numbers in `sleep_scores`, (n_epochs,), -1 where nobody scored.

    Raises:
        RecordingError: the file is broken, or holds no scores.
    """
    scores = _vector(path, _load(path, ("sleep_scores",)), "sleep_scores")
    return np.where(np.isnan(scores), -1, scores).astype(np.int64)


def has_mat_scores(path: Path) -> bool:
    """Return whether there are `sleep_scores` in a .mat; raises RecordingError if it is broken."""
    found = _load(path, ("sleep_scores",)).get("sleep_scores")
    return found is not None and found.size > 0


def _load(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[np.generic]]:
    try:
        with path.open("rb") as stream:
            start = stream.read(max(_HDF5_OFFSETS) + len(_HDF5))
        if any(start[offset:].startswith(_HDF5) for offset in _HDF5_OFFSETS):
            raise RecordingError(
                f"{path}: expected a MATLAB file of version 7 or older, found version 7.3 (HDF5); "
                "save it again with save(..., '-v7')"
            )
        check_arrays(path, names)
        content: dict[str, NDArray[np.generic]] = io.loadmat(path, variable_names=names)
    except RecordingError:
        raise
    except Exception as error:  # a broken file breaks scipy in ways it does not name
        found = str(error) or type(error).__name__
        raise RecordingError(f"{path}: expected a MATLAB file, found: {found}") from error
    return content


def _vector(path: Path, content: dict[str, NDArray[np.generic]], name: str) -> NDArray[np.float64]:
    """Return a variable that is a row, a column or a number, as one dimension."""
    found = content.get(name)
    if found is None:
        raise RecordingError(f"{path}: expected a variable {name!r}, found none")
    if not isinstance(found, np.ndarray):
        raise RecordingError(f"{path}: expected every number of {name!r}, found a sparse matrix")
    if not np.issubdtype(found.dtype, np.number) or np.iscomplexobj(found) or found.ndim != 2:
        raise RecordingError(f"{path}: expected numbers in {name!r}, found {found.dtype}")
    if min(found.shape) > 1:
        raise RecordingError(
            f"{path}: expected one row or column in {name!r}, found the shape {found.shape}"
        )
    return found.ravel().astype(np.float64)
