"""Stage the EEG and EMG of an EDF with misleep 0.3.3, and write its hypnograms as CSV.

    python -m venv /tmp/misleep
    /tmp/misleep/bin/pip install "misleep[analysis]==0.3.3"
    /tmp/misleep/bin/python docs/misleep_stage.py NIGHT.edf docs/misleep-0.3.3.csv

misleep has a model for frontal and one for parietal electrodes; both are run, as two `subject`s.
hypnod itself neither needs nor imports misleep.
"""

import csv
import sys

import pyedflib
from misleep.analysis import auto_stage_gbm

STAGES = {1: "NREM", 2: "REM", 3: "Wake"}

with pyedflib.EdfReader(sys.argv[1]) as edf:
    labels = edf.getSignalLabels()
    eeg, emg = (edf.readSignal(labels.index(name)) for name in ("EEG", "EMG"))
    sfreq = edf.getSampleFrequency(labels.index("EEG"))

with open(sys.argv[2], "w", newline="", encoding="utf-8") as file:  # noqa: PTH123 - as short as can be
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["subject", "onset", "duration", "stage"])
    for subject, site in (("frontal", "F"), ("parietal", "P")):
        seconds = auto_stage_gbm(eeg, emg, [], sfreq, EEG_channel=site)
        bouts = [0, *(k for k in range(1, len(seconds)) if seconds[k] != seconds[k - 1])]
        for onset, end in zip(bouts, [*bouts[1:], len(seconds)], strict=True):
            table.writerow([subject, onset, end - onset, STAGES[seconds[onset]]])
