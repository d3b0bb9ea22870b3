"""Real recordings that `make bundle` learns from and is stopped by, as folders to read.

    python -m tests.rigs.accuracy.silver --out runs/real

writes `train`: the 42 minutes of mouse_filtered with the stages of somnus-eeg, and the first hours
of the scored mouse whose band powers are known, synthesised epoch by epoch (`models.fit.semireal`);
and `stop-by`: the 4 minutes of mouse_filtered where three scorers agree, and that mouse's next
hours. The scorers are machines, not experts; the synthesised hours are no simulated sleep.
"""

import argparse
import csv
import shutil
from pathlib import Path

from models.fit.semireal import synthesise, write
from models.fit.signals import halves, read_band_powers
from tests.support.paths import DATA

TRAIN = DATA / "mouse_filtered" / "mouse_42min.edf"
STOP_BY = DATA / "mouse_filtered" / "mouse_4min.edf"
CONSENSUS = "consensus"
_SCORER = "somnus"  # an expert agreed with it on another recording of this animal: κ 0.97
_SFREQ = 512.0


def write_labelled(recording: Path, folder: Path, column: str = CONSENSUS) -> Path:
    """Copy a recording and write one scorer's stages beside it; return the copy's path."""
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / recording.name
    shutil.copyfile(recording, copy)
    scorers = recording.with_name(f"{recording.stem}_scorers.csv")
    with (
        scorers.open(encoding="utf-8", newline="") as source,
        copy.with_suffix(".csv").open("w", encoding="utf-8", newline="") as target,
    ):
        rows = csv.writer(target)
        rows.writerow(["onset", "duration", "stage"])
        for row in csv.DictReader(source):
            stage = "UNKNOWN" if row[column] == "n/a" else row[column]
            rows.writerow([row["onset"], row["duration"], stage])
    return copy


def write_real(folder: Path, hours: float) -> None:
    """Write what is learnt from and what is stopped by, with so many synthesised hours each."""
    train, stop_by = folder / "train", folder / "stop-by"
    write_labelled(TRAIN, train, _SCORER)
    write_labelled(STOP_BY, stop_by)
    first, _ = halves(read_band_powers(DATA / "mouse_bandpower"))
    learnt = first.first(hours)
    write(train, synthesise(learnt, sfreq=_SFREQ), _SFREQ)
    rest = first[len(learnt.stages) :].first(hours)
    write(stop_by, synthesise(rest, sfreq=_SFREQ), _SFREQ)


def main() -> None:
    """Write the folders."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--hours", type=float, default=3.0, help="synthesised, of each part")
    arguments = parser.parse_args()
    write_real(arguments.out, arguments.hours)


if __name__ == "__main__":
    main()
