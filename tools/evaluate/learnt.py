"""Whether a bundle learnt from a recording: figures of what it has seen say nothing of others."""

from collections.abc import Iterable

from engines.bundle import Bundle
from models.errors import LearntError
from models.recordings.lab import LabRecording
from models.spec import LearntAs


def learnt_as(lab: LabRecording, bundle: Bundle) -> LearntAs | None:
    """Return what a bundle used a recording for, whatever its file is called now."""
    learnt = bundle.manifest.learnt_from
    found = lab.hash() if learnt else None
    return None if found is None else learnt.get(found)


def check_unseen(recordings: Iterable[LabRecording], bundle: Bundle) -> None:
    """Raise LearntError where a bundle learnt from some of the recordings."""
    learnt = [f"{lab.name} ({found})" for lab in recordings if (found := learnt_as(lab, bundle))]
    if learnt:
        raise LearntError(
            f"expected recordings that {bundle.manifest.name} did not learn from, found "
            f"{', '.join(learnt)}; --even-trained-on reports them all the same"
        )
