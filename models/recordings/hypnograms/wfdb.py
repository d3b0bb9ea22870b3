"""Hypnograms in WFDB annotations, as in the PhysioNet/Computing in Cardiology Challenge 2018.

A stage stands where it begins, W, N1, N2, N3, R or U (undefined), among events in brackets such as
`(resp_hypopnea`; it lasts until the next stage, the last one until the end of the record.
Ghassemi et al. 2018, doi:10.22489/CinC.2018.049.
"""

from itertools import pairwise
from pathlib import Path

from models.recordings.hypnograms.marks import Mark, Marks
from models.recordings.wfdb import read_wfdb_annotations
from models.stages import HUMAN, find_stage


def read_wfdb_marks(path: Path) -> Marks:
    """Return the stages of an annotation file, and its events as points.

    Raises:
        RecordingError: the file or its header is missing or broken.
    """
    found, end = read_wfdb_annotations(path)
    named = [a for a in found if a.text]
    stages = [a for a in named if find_stage(a.text, HUMAN) is not None]
    until = [*(after.onset for _, after in pairwise(stages)), end]
    marks = [
        Mark(a.text, a.onset, max(0.0, stop - a.onset), f"at {a.onset:g} s")
        for a, stop in zip(stages, until, strict=False)
    ]
    marks += [Mark(a.text, a.onset) for a in named if find_stage(a.text, HUMAN) is None]
    return Marks(marks=marks, with_events=True)
