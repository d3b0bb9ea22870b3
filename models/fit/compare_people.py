"""Let a scorer that learnt from real people judge simulated ones: YASA, in a place of its own.

    python -m models.fit.compare_people ../shared/data --yasa /tmp/yasa/bin/python

`docs/yasa_stage.py` says how that place is made. Two questions are answered, printed and written to
docs/simulator-people.json, from which docs/simulator.md has its tables: does YASA find the stages
that were simulated, and do its features of simulated epochs look like those of real ones? Real are
the epochs of W and of S3 or S4 of eleven patients of the UCD sleep apnoea database
(human_raw/ucddb_dev.npz; its twelfth, 018, is left out: that night is kept to measure models).
"""

import argparse
import json
import subprocess
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from models.recordings.agreement import Agreement, compare
from models.simulator.human.simulate import SimulatedPeople
from models.stages import HUMAN

OUT = Path("docs/simulator-people.json")
FEATURES = {
    "eeg_sdelta": "share of 0.4 to 1 Hz",
    "eeg_fdelta": "1 to 4 Hz",
    "eeg_theta": "4 to 8 Hz",
    "eeg_alpha": "8 to 12 Hz",
    "eeg_sigma": "12 to 16 Hz",
    "eeg_beta": "16 to 30 Hz",
    "eeg_hmob": "Hjorth mobility",
    "eeg_hcomp": "Hjorth complexity",
    "eeg_perm": "permutation entropy",
    "eeg_higuchi": "Higuchi's fractal dimension",
    "eeg_nzc": "zero crossings in 30 s",
    "eeg_kurt": "kurtosis",
}
"""Of YASA's features those that no gain changes, and what they are."""

_SFREQ = 100.0
_EPOCH_S = 30
_FIRST_SEED = 985_000  # no training and no test draws these
_KEPT = "018"  # the patient whose whole night measures models
_UV = 150.0  # a unit of the real file, about: no figure here depends on it
_REAL = {"W": (0,), "N3": (4, 5)}
_QUANTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class Staged:
    """A night with its truth and what YASA made of it."""

    name: str
    truth: NDArray[np.str_]
    """(n_epochs,)."""
    eeg: NDArray[np.str_]
    """(n_epochs,) stages from the EEG alone."""
    both: NDArray[np.str_] | None
    """(n_epochs,) stages from EEG and EOG."""
    features: dict[str, NDArray[np.float64]]
    """(n_epochs,) each."""


def simulate(folder: Path, hours: float, wide: bool, seed: int) -> tuple[str, NDArray[np.str_]]:
    """Write a simulated night for YASA; return its name and its stages in epochs of 30 s."""
    night = SimulatedPeople(seed=seed, duration_s=3600 * hours, sfreq=_SFREQ, wide=wide)
    person = next(night.subjects())
    n = len(person.hypnogram) // _EPOCH_S
    seconds = np.array([HUMAN.index(s) for s in person.hypnogram[: n * _EPOCH_S]])
    counts = (seconds.reshape(n, _EPOCH_S, 1) == np.arange(len(HUMAN))).sum(axis=1)
    name = f"{seed} {' '.join(person.channel_names(1, 1))}"
    np.savez(folder / f"{name}.npz", data=person.data, sfreq=_SFREQ)
    return name, np.array(HUMAN)[counts.argmax(axis=1)]


def write_real(folder: Path, archive: Path) -> dict[str, NDArray[np.str_]]:
    """Write each patient's epochs one after the other for YASA; return the stages of each."""
    with np.load(archive) as file:
        x, sfreq = file["x"] * float(file["scale"]) * _UV, float(file["sfreq"])
        stage, subject = file["stage"], file["subject"]
    truths = {}
    for name in sorted({*subject.tolist()} - {_KEPT}):
        used = [np.flatnonzero((subject == name) & np.isin(stage, of)) for of in _REAL.values()]
        epochs = signal.resample_poly(x[np.concatenate(used)], round(_SFREQ), round(sfreq), axis=1)
        np.savez(folder / f"{name}.npz", data=epochs.reshape(-1, 1), sfreq=_SFREQ)
        truths[name] = np.repeat(list(_REAL), [len(epochs) for epochs in used])
    return truths


def stage(yasa: Path, folder: Path, truths: dict[str, NDArray[np.str_]]) -> list[Staged]:
    """Return what YASA, run by the interpreter `yasa`, makes of the nights in `folder`."""
    script = Path(__file__).parents[2] / "docs" / "yasa_stage.py"
    subprocess.run([yasa, script, folder], check=True)  # noqa: S603 - its user's own
    nights = []
    for name, truth in truths.items():
        with np.load(folder / f"{name}.stages.npz") as found:
            names = found["names"].tolist()
            nights.append(
                Staged(
                    name=name,
                    truth=truth,
                    eeg=found["eeg"],
                    both=found.get("both"),
                    features={f: found["features"][:, names.index(f)] for f in FEATURES},
                )
            )
    return nights


def agree(nights: list[Staged], *, both: bool) -> tuple[Agreement, list[float]]:
    """Return YASA's agreement with the truth over all nights, and κ of each."""
    found = [night.both if both and night.both is not None else night.eeg for night in nights]
    pairs = [(n.truth.tolist(), f.tolist()) for n, f in zip(nights, found, strict=True)]
    of_each = [compare(truth, stages, HUMAN).kappa or 0.0 for truth, stages in pairs]
    truth, stages = (np.concatenate(part).tolist() for part in zip(*pairs, strict=True))
    return compare(truth, stages, HUMAN), of_each


def overlap(real: list[Staged], simulated: list[Staged], stage: str, feature: str) -> list[float]:
    """Return quantiles of real and simulated epochs, then how well one tells them apart.

    That is the area under the ROC curve, 0.5 where they are alike, each person weighing the same.
    """
    samples = [
        [night.features[feature][night.truth == stage] for night in nights]
        for nights in (real, simulated)
    ]
    samples = [[values for values in each if len(values) > 0] for each in samples]
    rows = [float(q) for each in samples for q in np.quantile(np.concatenate(each), _QUANTILES)]
    chances = [
        np.mean(np.searchsorted(np.sort(a), b) / len(a)) for a in samples[0] for b in samples[1]
    ]
    area = float(np.mean(chances))
    return [float(f"{value:.3g}") for value in (*rows, area)]


def main() -> None:
    """Compare simulated people with real ones by what YASA makes of both."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--yasa", type=Path, required=True, help="the interpreter that has YASA")
    parser.add_argument("--people", type=int, default=40)
    parser.add_argument("--hours", type=float, default=7.5)
    parser.add_argument("--wide", action="store_true")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    seeds = range(_FIRST_SEED, _FIRST_SEED + arguments.people)
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        make = partial(simulate, Path(first), arguments.hours, arguments.wide)
        with ProcessPoolExecutor(arguments.processes) as pool:
            simulated = stage(arguments.yasa, Path(first), dict(pool.map(make, seeds)))
        archive = arguments.data / "human_raw" / "ucddb_dev.npz"
        real = stage(arguments.yasa, Path(second), write_real(Path(second), archive))
    report = {"simulated": _tell(simulated), "real": _tell(real), "features": {}}
    for stage_name in _REAL:
        report["features"][stage_name] = {
            feature: overlap(real, simulated, stage_name, feature) for feature in FEATURES
        }
    arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))  # noqa: T201


def _tell(nights: list[Staged]) -> dict[str, object]:
    told: dict[str, object] = {"people": len(nights)}
    for both in (False, True):
        if both and nights[0].both is None:
            continue
        agreement, of_each = agree(nights, both=both)
        told["EEG and EOG" if both else "EEG"] = {
            "kappa": round(agreement.kappa or 0.0, 3),
            "accuracy": round(agreement.accuracy or 0.0, 3),
            "kappa of each": [round(k, 2) for k in np.quantile(of_each, (0.1, 0.5, 0.9))],
            "confusion": agreement.confusion,
        }
    return told


if __name__ == "__main__":
    main()
