"""Stage nights of one EEG, with and without an EOG, with YASA 0.7.0; beside them YASA's features.

    python -m venv /tmp/yasa
    /tmp/yasa/bin/pip install yasa==0.7.0
    /tmp/yasa/bin/python docs/yasa_stage.py FOLDER

Each FOLDER/*.npz has `data` (n_samples, 1 or 2) µV, EEG and EOG, and `sfreq`. Its stages come to
lie beside it as .stages.npz: `eeg` and, where there is an EOG, `both`, (n_epochs,) W, N1, N2, N3,
REM, `features` (n_epochs, n_features) and their `names`. hypnod itself neither needs nor imports
YASA (Vallat & Walker 2021, doi:10.7554/eLife.70092), which learnt from some 3,000 real nights.
"""

import sys
import warnings
from pathlib import Path

import mne
import numpy as np
import yasa

warnings.filterwarnings("ignore")
mne.set_log_level("ERROR")
STAGES = {"W": "W", "WAKE": "W", "N1": "N1", "N2": "N2", "N3": "N3", "R": "REM", "REM": "REM"}


def stage(raw: mne.io.RawArray, eog: str | None) -> tuple[yasa.SleepStaging, np.ndarray]:
    """Return what YASA worked with, and its stages (n_epochs,)."""
    staging = yasa.SleepStaging(raw, eeg_name="EEG", eog_name=eog)
    found = staging.predict()
    return staging, np.array([STAGES[str(s)] for s in np.asarray(getattr(found, "hypno", found))])


for path in sorted(Path(sys.argv[1]).glob("*.npz")):
    if path.name.endswith(".stages.npz"):
        continue
    night = np.load(path)
    kinds = ["eeg", "eog"][: night["data"].shape[1]]
    info = mne.create_info([kind.upper() for kind in kinds], float(night["sfreq"]), kinds)
    raw = mne.io.RawArray(night["data"].T.astype(float) * 1e-6, info)
    staging, eeg = stage(raw, None)
    table = staging.get_features()
    found = {"eeg": eeg, "features": table.to_numpy(), "names": np.array(list(table.columns))}
    if len(kinds) > 1:
        found["both"] = stage(raw, "EOG")[1]
    np.savez(path.with_suffix(".stages.npz"), **found)
