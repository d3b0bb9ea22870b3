"""Sleep-EDF Expanded: 197 nights of healthy people (SC) and of people on temazepam (ST), 100 Hz.

    SC4001E0-PSG.edf    SC4001EC-Hypnogram.edf

The first five characters are the person's, the sixth is the night. Stages are of Rechtschaffen and
Kales: Sleep stage W, 1, 2, 3, 4, R, ? and Movement time; 3 and 4 are N3. A recording lasts a day,
of which 30 min of wakefulness before and after sleep are kept, as is usual.

Kemp et al. 2000, doi:10.1109/10.867928; https://physionet.org/content/sleep-edfx/1.0.0/. Channels
and wakefulness as SleepDG has them (arXiv:2401.05363; github.com/wjq-learning/SleepDG).
"""

import re

from models.recordings.psg.layout import Layout

LAYOUT = Layout(
    name="sleep-edfx",
    recording=re.compile(r"(?:.*/)?(?P<key>(?P<subject>S[CT]\d{3})\d)[A-Z]\d-PSG\.edf", re.I),
    hypnograms=(re.compile(r"(?:.*/)?(?P<key>S[CT]\d{4})[A-Z]{2}-Hypnogram\.edf", re.I),),
    example="SC4001E0-PSG.edf and SC4001EC-Hypnogram.edf",
    preferred={"eeg": ("EEG Fpz-Cz",), "eog": ("EOG horizontal",)},
    wake_s=1800.0,
)
