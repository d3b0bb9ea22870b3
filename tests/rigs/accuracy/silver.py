"""Real recordings with the stages that outside scorers agree on, as a folder that hypnod reads.

    python -m tests.rigs.accuracy.silver --out runs/stop-by

writes what the shipped bundle is stopped by: the 42 minutes of mouse_filtered with the consensus of
three scorers (machines, not experts), and the first hours of the scored mouse whose band powers are
known, synthesised epoch by epoch (`models.fit.semireal`). Neither is simulated sleep.
"""

import argparse
import csv
import shutil
from pathlib import Path

from models.fit.semireal import synthesise, write
from models.fit.signals import halves, read_band_powers
from tests.support.paths import DATA

STOP_BY = DATA / "mouse_filtered" / "mouse_42min.edf"
CONSENSUS = "consensus"
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


def write_stop_by(folder: Path, hours: float) -> None:
    """Write the recordings that the shipped bundle is stopped by."""
    write_labelled(STOP_BY, folder)
    first, _ = halves(read_band_powers(DATA / "mouse_bandpower"))
    write(folder, synthesise(first.first(hours), sfreq=_SFREQ), _SFREQ)


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--hours", type=float, default=3.0, help="of the synthesised night")
    arguments = parser.parse_args()
    write_stop_by(arguments.out, arguments.hours)


if __name__ == "__main__":
    main()
