"""Learns each channel's amplitude from a recording of the same animal, made before.

It goes through the same pipeline as the live stream. What stays is each channel's running
amplitude and what drift is measured from, so the first epochs are normalised as the later ones.
"""

from pathlib import Path

import msgspec
import numpy as np
import structlog

from daemon.config import StreamConfig, SubjectConfig
from models.errors import ConfigError, HypnodError
from models.recordings.as_stream import chunks, describe, open_for
from models.signal.pipeline import Pipeline
from models.signal.quality import QualityLimits
from models.signal.state import Adaptation
from models.spec import ModelSpec, Reference

log = structlog.get_logger()

_LEAST = 1 / 3
"""Of the normaliser's time constant: less usable signal is too little to know the amplitude by."""
_LAST = 2.0
"""Of the time constant: no more of the end is read, as what was before is forgotten."""


def read_baselines(
    stream: StreamConfig,
    hop_s: float | None,
    quality: QualityLimits,
    spec: ModelSpec,
    reference: Reference | None,
    recent: Adaptation | None = None,
) -> Adaptation | None:
    """Learn from the baseline recordings of a stream's subjects.

    Args:
        stream: the subjects, their channels and where their recordings are.
        hop_s: as for the live stream, s.
        quality: likewise.
        spec: the model the epochs are for.
        reference: what the model's training animals look like; None: drift is not measured.
        recent: what was learnt live until just now; it is newer than any recording.

    Returns:
        What was learnt, nothing of a subject without a recording; None where none has one.

    Raises:
        ConfigError: a recording cannot be used, lacks a channel, or is too short.
    """
    paths = dict.fromkeys(s.baseline for s in stream.subjects if s.baseline)
    found = recent if paths else None
    if found is not None:
        return found
    for path in paths:
        rows = [i for i, s in enumerate(stream.subjects) if s.baseline == path]
        subjects = [stream.subjects[i] for i in rows]
        learnt = _read(Path(path), stream, subjects, hop_s, quality, spec, reference)
        found = found or _nothing(learnt, len(stream.subjects))
        for name in Adaptation.__slots__:
            getattr(found, name)[rows] = getattr(learnt, name)
    return found


def _read(
    path: Path,
    stream: StreamConfig,
    subjects: list[SubjectConfig],
    hop_s: float | None,
    quality: QualityLimits,
    spec: ModelSpec,
    reference: Reference | None,
) -> Adaptation:
    """Return what the end of one recording teaches of its subjects."""
    names = ", ".join(subject.name for subject in subjects)
    try:
        part = msgspec.structs.replace(stream, subjects=tuple(subjects))
        recording = open_for(path, part, stream.match, spec.min_sfreq)
        if all(recording.units) and path.suffix.lower() != ".xdf":
            # A file knows its unit; the config mends what the stream says, and XDF repeats that.
            part = msgspec.structs.replace(part, unit=None)
        pipeline = Pipeline(
            part,
            spec,
            describe(recording),
            reference,
            quality=quality,
            hop_s=hop_s,
        )
        first = max(0, recording.n_samples - round(_LAST * spec.normaliser_s * recording.sfreq))
        for chunk in chunks(recording, first):
            pipeline.push(chunk)
            pipeline.pop_ready()
    except HypnodError as error:
        raise ConfigError(f"baseline of {names}: {error}") from error
    seen_s = pipeline.adaptation.seen_s
    for i, subject in enumerate(subjects):
        for modality in subject.channels:
            usable_s = seen_s[i, spec.modalities.index(modality)]
            if usable_s < _LEAST * spec.normaliser_s:
                raise ConfigError(
                    f"baseline of {subject.name}: expected at least "
                    f"{_LEAST * spec.normaliser_s:g} s of usable "
                    f"{modality} at the end of {path}, found {usable_s:g} s"
                )
    log.info("baseline", stream=stream.name, subjects=names, path=str(path))
    return pipeline.adaptation


def _nothing(like: Adaptation, n_subjects: int) -> Adaptation:
    """Return an adaptation of as many subjects of which nothing was learnt yet."""
    shapes = {name: getattr(like, name).shape[1:] for name in Adaptation.__slots__}
    return Adaptation(**{name: np.zeros((n_subjects, *s)) for name, s in shapes.items()})
