"""Haaglanden Medisch Centrum: 151 nights of patients, 256 Hz.

    SN001.edf    SN001_sleepscoring.edf, or .txt

Stages are of the AASM: Sleep stage W, N1, N2, N3, R. `Lights off@@EEG F4-A1` is an event.

Alvarez-Estevez & Rijsman 2021, doi:10.1371/journal.pone.0256111;
https://physionet.org/content/hmc-sleep-staging/1.1/. Channels as SleepDG has them
(arXiv:2401.05363; github.com/wjq-learning/SleepDG).
"""

import re

from models.recordings.hypnograms.interpret import Legend
from models.recordings.psg.layout import Layout

LAYOUT = Layout(
    name="hmc",
    recording=re.compile(r"(?:.*/)?(?P<key>(?P<subject>SN\d{3}))\.edf", re.I),
    hypnograms=(
        re.compile(r"(?:.*/)?(?P<key>SN\d{3})_sleepscoring\.edf", re.I),
        re.compile(r"(?:.*/)?(?P<key>SN\d{3})_sleepscoring\.txt", re.I),
    ),
    example="SN001.edf and SN001_sleepscoring.edf",
    preferred={"eeg": ("F4-M1", "C4-M1"), "eog": ("E1-M2",)},
    legend=Legend(
        ignore=[f"Lights {which}{at}" for which in ("off", "on") for at in ("", "@@EEG F4-A1")]
    ),
)
