"""ISRUC-Sleep: 126 nights of patients and healthy people in three groups, 200 Hz.

    1/1.rec    1/1_1.txt (the first of two experts)

In the second group a person has two nights, 1/1/1.rec and 1/2/2.rec. A line of the text is an epoch
of 30 s: 0 W, 1 N1, 2 N2, 3 N3, 5 REM. A .rec is an EDF.

Khalighi et al. 2016, doi:10.1016/j.cmpb.2015.10.013; https://sleeptight.isr.uc.pt. Channels as
SleepDG has them (arXiv:2401.05363; github.com/wjq-learning/SleepDG): F4-A1 and LOC-A2, which some
recordings call F4-M1 and E1-M2.
"""

import re

from models.recordings.hypnograms.interpret import Legend
from models.recordings.psg.layout import Layout

_PERSON = r"(?P<subject>(?:[^/]*[^/\d][^/]*/)*\d+)"

LAYOUT = Layout(
    name="isruc",
    recording=re.compile(rf"(?P<key>{_PERSON}(?:/\d+)*)\.rec", re.I),
    hypnograms=(re.compile(rf"(?P<key>{_PERSON}(?:/\d+)*)_1\.txt", re.I),),
    example="1/1.rec and 1/1_1.txt",
    preferred={"eeg": ("F4-A1", "C4-A1", "F3-A2"), "eog": ("LOC-A2",)},
    legend=Legend(epoch_s=30.0, codes="rk"),
)
