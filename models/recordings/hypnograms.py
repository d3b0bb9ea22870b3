"""The hypnograms of all subjects of a recording, out of one file."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from models.errors import RecordingError
from models.recordings.hypnogram import Hypnogram, check_length, read_hypnogram
from models.recordings.open import Recording

_NOBODY = "\0"  # a name that no subject has


def read_hypnograms(
    path: Path,
    subjects: Sequence[str],
    stages: Sequence[str],
    recording: Recording,
    epoch_s: float | None,
) -> dict[str, Hypnogram]:
    """Return each subject's hypnogram in a file.

    The only subject of a recording takes the stages that a file ascribes to nobody.

    Raises:
        RecordingError: the file cannot be used, is of another length than the recording, or does
            not tell several subjects apart.
    """
    read = partial(read_hypnogram, path, stages, epoch_s=epoch_s)
    if len(subjects) == 1:
        found = [read(subject=subjects[0] if _reads(read, subjects[0]) else None)]
    elif _reads(read, _NOBODY):
        raise RecordingError(
            f"{path}: expected stages of each of {', '.join(subjects)}, found stages of nobody"
        )
    else:
        found = [read(subject=subject) for subject in subjects]
    for hypnogram in found:
        check_length(hypnogram, recording)
    return dict(zip(subjects, found, strict=True))


def _reads(read: Callable[..., Hypnogram], subject: str) -> bool:
    """Whether a file has stages for a subject; one that names none has them for everybody."""
    try:
        read(subject=subject)
    except RecordingError:
        return False
    return True
