"""Stage a finished recording as a whole, by the offline teacher instead of a bundle's net."""

from collections.abc import Callable

import numpy as np
from msgspec.structs import replace

from daemon.stager import Estimate, unread
from models.recordings.as_stream import epochs_of
from models.recordings.open import Recording
from models.signal.montage import StreamChannels
from models.signal.quality import QualityLimits
from models.teacher import (
    NAME,
    Levels,
    Taught,
    TeacherWeights,
    check_modalities,
    teach,
    teacher_hash,
)
from tools.score.scored import StagedBy


def by_teacher(weights: TeacherWeights) -> StagedBy:
    """Return what there is to say of a teacher."""
    return StagedBy(
        name=NAME,
        hash=teacher_hash(weights.spec.species),
        spec=weights.spec,
        has_grammar=True,
        kinds={"final": NAME},  # it is the last word on each epoch
    )


def stage_whole(
    recording: Recording,
    stream: StreamChannels,
    weights: TeacherWeights,
    quality: QualityLimits,
    advance: Callable[[float], None],
) -> list[Estimate]:
    """Return the teacher's estimates of every subject, by subject and epoch.

    Args:
        recording: timestamps of estimates count from its first sample, s.
        stream: the subjects and their channels.
        weights: the teacher.
        quality: when an epoch cannot be used.
        advance: called with the end of each epoch that was measured, s.

    Raises:
        HypnodError: a modality is missing, or the recording does not fit its channels or unit.
    """
    spec, names = weights.spec, [s.name for s in stream.subjects]
    check_modalities(stream, weights)
    levels = Levels(spec, len(names))
    known: list[list[Estimate]] = [[] for _ in names]
    for batch in epochs_of(recording, stream, spec, quality=quality):
        levels.add(batch.microvolts, batch.usable)
        for mine, estimate in zip(known, unread(batch, names, spec), strict=True):
            mine.append(estimate)
        advance(batch.onset + spec.epoch_s)
    if not known[0]:
        return []
    return [
        estimate
        for i, mine in enumerate(known)
        for estimate in _complete(mine, teach(*levels.of(i), weights), spec.stages)
    ]


def _complete(known: list[Estimate], taught: Taught, stages: tuple[str, ...]) -> list[Estimate]:
    """Return the estimates of one subject with their stages, where anything was read."""
    n_read = sum(e.pathway is not None for e in known)
    return [
        replace(
            e,
            kind="final",
            slots_filled=n_read,
            **(
                {}
                if e.pathway is None
                else {
                    "stage": stages[taught.stages[k]],
                    "probabilities": taught.probabilities[k].astype(np.float32),
                    "evidence": taught.evidence[k].astype(np.float32),
                }
            ),
        )
        for k, e in enumerate(known)
    ]
