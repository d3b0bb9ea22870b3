"""PhysioNet/Computing in Cardiology Challenge 2018: 994 scored nights of patients, 200 Hz.

    tr03-0005/tr03-0005.hea, .mat    tr03-0005/tr03-0005.arousal

WFDB records, stages of the AASM among arousals and respiratory events; te… are not scored.

Ghassemi et al. 2018, doi:10.22489/CinC.2018.049; https://physionet.org/content/challenge-2018/.
Channels as SleepDG has them (arXiv:2401.05363; github.com/wjq-learning/SleepDG).
"""

import re

from models.recordings.psg.layout import Layout

LAYOUT = Layout(
    name="p2018",
    recording=re.compile(r"(?:.*/)?(?P<key>(?P<subject>t[re]\d{2}-\d{4}))\.hea", re.I),
    hypnograms=(re.compile(r"(?:.*/)?(?P<key>t[re]\d{2}-\d{4})\.arousal", re.I),),
    example="tr03-0005.hea, tr03-0005.mat and tr03-0005.arousal",
    preferred={"eeg": ("C3-M2",), "eog": ("E1-M2",)},
)
