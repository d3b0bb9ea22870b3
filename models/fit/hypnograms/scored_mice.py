"""The expert hypnograms of 92 mice that the simulator is fitted to and measured against.

Source: Mouse Sleep Staging Validation dataset, OpenNeuro ds006366 v1.0.1 (CC0),
doi:10.18112/openneuro.ds006366.v1.0.1: expert scores in 4 s epochs, without clock times.
"""

import csv
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import RecordingError
from models.recordings.bouts import find_runs

SOURCE = "OpenNeuro ds006366 v1.0.1 (CC0), doi:10.18112/openneuro.ds006366.v1.0.1"
EPOCH_S = 4.0
EPOCHS_PER_HOUR = 900
MIN_HOURS = 2.0  # a shorter record cuts too many bouts at its ends
MIN_HOURS_OF_COSINE = 20.0  # a shorter record does not show its own day

WAKE, NREM, REM, ARTEFACT = 1, 2, 3, 4

_ACTIVE_NOON = 18.0  # hour 0 to 12 is the half of rest, 12 to 24 of activity, as zeitgeber time


@dataclass(frozen=True)
class MouseRecord:
    """One scored recording of a mouse."""

    mouse: str
    lab: str
    codes: NDArray[np.uint8]
    """(n_epochs,) of 4 s: 1 Wake, 2 NREM, 3 REM; 4 artefact, where they are as scored."""

    @property
    def hours(self) -> float:
        """Length, h."""
        return len(self.codes) / EPOCHS_PER_HOUR


def read_records(folder: Path) -> list[MouseRecord]:
    """Return what `read_scored` does, artefacts filled."""
    return [replace(each, codes=fill_artefacts(each.codes)) for each in read_scored(folder)]


def read_scored(folder: Path) -> list[MouseRecord]:
    """Return every record of 4 s epochs that lasts `MIN_HOURS`, as it was scored.

    Raises:
        RecordingError: the folder does not hold the dataset.
    """
    records = []
    try:
        labs = read_labs(folder)
        with (folder / "epoch_seconds.csv").open(newline="") as file:
            epoch_s = {row["record"]: float(row["epoch_s"]) for row in csv.DictReader(file)}
        with np.load(folder / "mssv_stages.npz") as arrays:
            for name in arrays:
                mouse = name.split("_")[0]
                record = MouseRecord(mouse, labs[mouse], arrays[name])
                if epoch_s[name] == EPOCH_S and record.hours >= MIN_HOURS:
                    records.append(record)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise RecordingError(
            f"expected participants.tsv, epoch_seconds.csv and mssv_stages.npz in {folder}, "
            f"found: {error}"
        ) from error
    return records


def read_labs(folder: Path) -> dict[str, str]:
    """Return the lab of each mouse, from participants.tsv.

    Raises:
        OSError: there is no such file.
    """
    with (folder / "participants.tsv").open(newline="") as file:
        rows = csv.DictReader(file, delimiter="\t")
        return {row["participant_id"]: row["lab"] for row in rows}


def fill_artefacts(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Give each run of artefacts a stage: Wake where Wake is beside it, else the one before it.

    Mice move when they wake: dropping artefacts would cut the long Wake bouts to pieces.

    Args:
        codes: (n_epochs,), 1 Wake, 2 NREM, 3 REM, 4 artefact.

    Returns:
        (n_epochs,) without artefacts.
    """
    filled = codes.copy()
    onsets, lengths = find_runs(codes)
    for start, stop in zip(onsets.tolist(), (onsets + lengths).tolist(), strict=True):
        if codes[start] != ARTEFACT:
            continue
        before, after = codes[max(start - 1, 0)], codes[min(stop, len(codes) - 1)]
        filled[start:stop] = WAKE if WAKE in (before, after) or start == 0 else before
    return filled


def start_hour(codes: NDArray[np.uint8], wake_by_hour: Sequence[float] | None) -> float:
    """Return the hour of the mouse's day at which a record starts, 0 to 24.

    The dataset gives no clock times. A record of 20 h or more shows its own day: the cosine of
    24 h that fits its wakefulness best is at its top at hour 18. Of a shorter record we take
    the hour at which its wakefulness, hour by hour, is nearest to `wake_by_hour`.

    Args:
        codes: (n_epochs,) of 4 s.
        wake_by_hour: (24,) fraction of Wake in each hour of the day of the long records.

    Raises:
        RecordingError: a short record, and no `wake_by_hour`.
    """
    wake = codes == WAKE
    if len(codes) >= MIN_HOURS_OF_COSINE * EPOCHS_PER_HOUR:
        angle = 2 * np.pi * np.arange(len(codes)) / (24 * EPOCHS_PER_HOUR)
        waves = np.column_stack([np.ones(len(codes)), np.cos(angle), np.sin(angle)])
        _, cosine, sine = np.linalg.lstsq(waves, wake.astype(float))[0]
        return float((_ACTIVE_NOON - np.arctan2(sine, cosine) * 12 / np.pi) % 24)
    if wake_by_hour is None:
        raise RecordingError(
            f"expected a record of {MIN_HOURS_OF_COSINE:g} h or the wakefulness of long ones, "
            f"found {len(codes) / EPOCHS_PER_HOUR:.1f} h and none"
        )
    found = wake_of_hours(codes)
    starts = np.arange(0, 24, 0.5)
    expected = usual_wake(starts[:, None] + np.arange(len(found)), wake_by_hour)
    return float(starts[np.argmin(((found - expected) ** 2).sum(axis=1))])


def wake_of_hours(codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the fraction of Wake in each whole hour of a record, (n_hours,)."""
    n_hours = len(codes) // EPOCHS_PER_HOUR
    hours = codes[: n_hours * EPOCHS_PER_HOUR].reshape(n_hours, EPOCHS_PER_HOUR)
    return np.asarray((hours == WAKE).mean(axis=1))


def usual_wake(hours: NDArray[np.float64], wake_by_hour: Sequence[float]) -> NDArray[np.float64]:
    """Return the usual fraction of Wake in the 60 min from each hour of the day on."""
    return np.asarray(np.interp(hours % 24, np.arange(25), [*wake_by_hour, wake_by_hour[0]]))


def hours_of_day(codes: NDArray[np.uint8], start: float) -> NDArray[np.float64]:
    """Return the hour of the day of each epoch's onset, (n_epochs,), 0 to 24."""
    return np.asarray((start + np.arange(len(codes)) / EPOCHS_PER_HOUR) % 24)


def score_epochs(stages: NDArray[np.intp]) -> NDArray[np.uint8]:
    """Score a hypnogram of seconds in epochs of 4 s by majority, as codes.

    Args:
        stages: (n_seconds,) indices of the stage; of as many, the first wins.

    Returns:
        (n_epochs,); a last epoch that is not full is left out.
    """
    seconds = stages[: len(stages) // 4 * 4].reshape(-1, 4)
    counts = (seconds[:, :, None] == seconds[:, None, :]).sum(axis=2)
    first = np.argmax(counts, axis=1)
    return np.asarray(seconds[np.arange(len(seconds)), first] + 1, np.uint8)
