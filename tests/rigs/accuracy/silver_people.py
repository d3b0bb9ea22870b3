"""Simulated people staged by YASA, which learnt from real ones: for `make bundle-human`.

    python -m tests.rigs.accuracy.silver_people --yasa /tmp/yasa/bin/python --out runs/people

`docs/yasa_stage.py` says how that place is made. Each person is written twice, EEG and EOG with the
stages that YASA finds in both, and the EEG alone with those that it finds in it: to `train`, and a
few to `stop-by`. What the simulator meant is not written: a net that learns it knows waveforms that
nobody has (docs/training.md). What YASA says of them it learnt of real nights.
"""

import argparse
import contextlib
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import edfio
import numpy as np
from numpy.typing import NDArray

from models.errors import RecordingError
from models.recordings.writers import write_table
from models.simulator.human.simulate import SimulatedPeople
from models.training.simulated import draw_sfreq

EPOCH_S = 30
STOP_BY = 8
"""People that training is stopped by."""
_TOGETHER = 4  # people that YASA is started for
_USUAL = 3  # one of so many people is not widened
_ARTEFACTS = 1.0  # an hour and channel
_SCRIPT = Path(__file__).parents[3] / "docs" / "yasa_stage.py"


def simulate(seed: int, hours: float) -> tuple[NDArray[np.float32], tuple[str, ...], float]:
    """Return a person's EEG and EOG (n_samples, 2) µV, their labels, and the sampling rate."""
    sfreq = draw_sfreq("human", seed)
    person = next(
        SimulatedPeople(
            seed=seed,
            duration_s=3600 * hours,
            sfreq=sfreq,
            artefacts_per_hour=_ARTEFACTS,
            every_stage=True,
            wide=seed % _USUAL != 0,
        ).subjects()
    )
    return person.data, person.channel_names(1, 1), sfreq


def write_staged(
    path: Path,
    data: NDArray[np.float32],
    labels: Sequence[str],
    sfreq: float,
    stages: Sequence[str],
) -> None:
    """Write a recording, (n_samples, n_channels) µV, and its stages beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    n = len(data) // round(sfreq) * round(sfreq)
    signals = [
        edfio.EdfSignal(x[:n], sfreq, label=label, physical_dimension="uV")
        for x, label in zip(data.T.astype(np.float64), labels, strict=False)
    ]
    edfio.Edf(signals).write(path)
    rows = ((k * EPOCH_S, EPOCH_S, stage) for k, stage in enumerate(stages))
    write_table(path.with_suffix(".csv"), ("onset", "duration", "stage"), rows)


def write_people(yasa: Path, folder: Path, hours: float, seeds: Sequence[int]) -> None:
    """Simulate people, have them staged, and write them to a folder each.

    Who never shows every stage, as somebody without N3 does not, is left out.
    """
    with tempfile.TemporaryDirectory() as scratch:
        nights = {}
        for seed in seeds:
            with contextlib.suppress(RecordingError):
                nights[seed] = simulate(seed, hours)
        for seed, (data, _, sfreq) in nights.items():
            np.savez(Path(scratch) / f"{seed}.npz", data=data, sfreq=sfreq)
        subprocess.run([yasa, _SCRIPT, scratch], check=True)
        for seed, (data, labels, sfreq) in nights.items():
            with np.load(Path(scratch) / f"{seed}.stages.npz") as found:
                person = folder / f"p{seed:04}"
                write_staged(person / "both.edf", data, labels, sfreq, found["both"].tolist())
                write_staged(person / "eeg.edf", data[:, :1], labels, sfreq, found["eeg"].tolist())


def main() -> None:
    """Write the folders."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--yasa", type=Path, required=True, help="interpreter that has YASA")
    parser.add_argument("--people", type=int, default=48)
    parser.add_argument("--hours", type=float, default=7.0, help="of each; default: %(default)s")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    seeds = range(arguments.people)
    parts = {"stop-by": seeds[:STOP_BY], "train": seeds[STOP_BY:]}
    with ThreadPoolExecutor(arguments.processes) as pool:
        for name, of_part in parts.items():
            some = [of_part[i : i + _TOGETHER] for i in range(0, len(of_part), _TOGETHER)]
            write = partial(write_people, arguments.yasa, arguments.out / name, arguments.hours)
            list(pool.map(write, some))


if __name__ == "__main__":
    main()
