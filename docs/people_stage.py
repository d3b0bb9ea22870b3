"""Stage the real people of accuracy.md with YASA 0.7.0 or GSSC 0.0.9, one EEG, into a CSV.

    python -m venv /tmp/yasa && /tmp/yasa/bin/pip install yasa==0.7.0
    /tmp/yasa/bin/python docs/people_stage.py yasa ucddb_dev.npz docs/people-scorers.csv
    python -m venv /tmp/gssc && /tmp/gssc/bin/pip install gssc==0.0.9
    /tmp/gssc/bin/python docs/people_stage.py gssc ucddb_dev.npz docs/people-scorers.csv

Each adds its column. A subject's epochs are put one after the other; hypnod itself neither needs
nor imports either (Vallat & Walker 2021, doi:10.7554/eLife.70092; Hanna & Flöel 2023,
doi:10.1038/s41598-023-38746-x). GSSC's weights are a pickle of its own package, which is loaded.
"""

import csv
import sys
import warnings
from pathlib import Path

import mne
import numpy as np

warnings.filterwarnings("ignore")
mne.set_log_level("ERROR")
STAGES = ("W", "N1", "N2", "N3", "REM")


def yasa(x: np.ndarray, sfreq: float) -> list[str]:
    """Return the stages of µV (n_samples,) by YASA."""
    from yasa import SleepStaging  # noqa: PLC0415

    raw = mne.io.RawArray(x[None] * 1e-6, mne.create_info(["EEG"], sfreq, "eeg"))
    found = SleepStaging(raw, eeg_name="EEG").predict()
    names = {"WAKE": "W", "R": "REM"}
    return [names.get(str(s), str(s)) for s in np.asarray(getattr(found, "hypno", found))]


def gssc(x: np.ndarray, sfreq: float) -> list[str]:
    """Return the same by GSSC."""
    import torch  # noqa: PLC0415
    from gssc.infer import EEGInfer  # noqa: PLC0415

    load = torch.load
    torch.load = lambda *a, **k: load(*a, **{**k, "weights_only": False})
    raw = mne.io.RawArray(x[None] * 1e-6, mne.create_info(["C3"], sfreq, "eeg"))
    found = EEGInfer(use_cuda=False).mne_infer(raw, eeg=["C3"], eog=[], filter=True)
    torch.load = load
    stages = [STAGES[int(k)] for k in np.asarray(found[0]).ravel()]
    n = round(x.size / sfreq / 30)  # it drops the last, a sample short
    return (stages + [stages[-1]] * n)[:n]


scorer, source, out = sys.argv[1], np.load(sys.argv[2]), Path(sys.argv[3])
rows = list(csv.DictReader(out.open(encoding="utf-8", newline=""))) if out.exists() else []
known = {(row["subject"], row["epoch"]): row for row in rows}
for name in np.unique(source["subject"]):
    mine = np.flatnonzero(source["subject"] == name)
    mine = mine[np.argsort(source["epoch"][mine])]
    x = source["x"][mine].astype(float).ravel()
    x -= np.median(x)
    stages = {"yasa": yasa, "gssc": gssc}[scorer](
        x * 12.0 / np.median(np.abs(x)), float(source["sfreq"])
    )
    for k, stage in zip(source["epoch"][mine], stages, strict=True):
        row = known.setdefault((str(name), str(k)), {"subject": str(name), "epoch": str(k)})
        row[scorer] = stage
columns = list(dict.fromkeys(c for row in known.values() for c in row))
with out.open("w", encoding="utf-8", newline="") as file:
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(known.values())
