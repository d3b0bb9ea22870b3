"""EDF+ annotations as labels with times, and whose they are."""

from collections.abc import Sequence
from datetime import datetime

from models.recordings.base import Annotation
from models.recordings.hypnograms.marks import STAGED_BY, Mark, Marks


def read_annotations(
    annotations: Sequence[Annotation], start: datetime | None, subject: str | None
) -> Marks:
    """Return one subject's annotations, `<subject> <label>`; without a subject all of them."""
    prefix = f"{subject} " if subject else ""
    owner = next((a.text for a in annotations if a.text.startswith(STAGED_BY)), None)
    marks = [
        Mark(a.text[len(prefix) :].strip(), a.onset, a.duration, f"at {a.onset:g} s")
        for a in annotations
        if a.text.startswith(prefix)
        and a.text[len(prefix) :].strip()
        and not a.text.startswith(STAGED_BY)
    ]
    return Marks(
        marks=marks,
        with_events=True,
        start=start,
        staged_by=None if owner is None else owner.removeprefix(STAGED_BY).strip(),
    )
