"""Sleep Heart Health Study, both visits: 8,444 nights at home; EEG 125 Hz, EOG 50 Hz.

    edfs/shhs1/shhs1-200001.edf
    annotations-events-nsrr/shhs1/shhs1-200001-nsrr.xml, or …-profusion.xml

Stages are of Rechtschaffen and Kales, by number; 3 and 4 are N3. `EEG` is C4-A1, `EEG(sec)` C3-A2.

Quan et al. 1997, PMID 9493915; Zhang et al. 2018, doi:10.1093/jamia/ocy064;
https://sleepdata.org/datasets/shhs. Channels as SleepDG has them (arXiv:2401.05363;
github.com/wjq-learning/SleepDG), which took the first 150 nights of the first visit, and what is
unscored for wakefulness; here it is not scored.
"""

import re

from models.recordings.psg.layout import Layout

_NIGHT = r"(?:.*/)?(?P<key>shhs(?P<visit>[12])-(?P<subject>\d{6}))"

LAYOUT = Layout(
    name="shhs",
    recording=re.compile(rf"{_NIGHT}\.edf", re.I),
    hypnograms=(
        re.compile(rf"{_NIGHT}-nsrr\.xml", re.I),
        re.compile(rf"{_NIGHT}-profusion\.xml", re.I),
    ),
    example="shhs1-200001.edf and shhs1-200001-nsrr.xml",
    preferred={"eeg": ("EEG", "C4-A1"), "eog": ("EOG(L)",)},
)
