"""A recording in the place of a stream."""

from collections.abc import Callable, Iterator, Mapping
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.errors import RecordingError
from models.recordings.open import Recording, open_recording
from models.signal.chunk import MIN_SFREQ, Chunk, StreamDescription
from models.signal.clock.bunches import Bunches
from models.signal.clock.timeline import Timeline
from models.signal.montage import StreamChannels, misfit, no_channel, parts_of
from models.signal.pipeline import EpochBatch, Pipeline
from models.signal.quality import QualityLimits
from models.spec import ModelSpec, Reference

CHUNK_S = 10.0


def describe(recording: Recording) -> StreamDescription:
    """Return what a recording would say of itself as a stream."""
    return StreamDescription(
        name=recording.path.name,
        ch_names=recording.ch_names,
        units=recording.units,
        sfreq=recording.sfreq,
        is_file=True,
    )


def chunks(recording: Recording, first: int = 0) -> Iterator[Chunk]:
    """Go through a recording from its sample `first` on; times count from its first sample, s."""
    size = max(1, round(CHUNK_S * recording.sfreq))
    for start in range(first, recording.n_samples, size):
        stop = min(start + size, recording.n_samples)
        times = recording.timestamps(start, stop)
        yield Chunk(recording.read(start, stop), times, arrived=float(times[-1]))


def needed_jitter(recording: Recording, jitter_s: float) -> float | None:
    """Return the `jitter_s` that a recording's timestamps need, s; None: this one does."""
    if not recording.is_stamped:
        return None
    timeline, bunches = Timeline(recording.sfreq, jitter_s), Bunches()
    needed: list[float] = []
    size = round(recording.sfreq)
    for start in range(0, recording.n_samples, size):
        times = recording.timestamps(start, min(start + size, recording.n_samples))
        timeline.place(times, float(times[-1]))
        found = bunches.look(timeline, len(times))
        needed += [] if found is None else [found]
    return max(needed, default=None)


def open_for(
    path: Path,
    stream: StreamChannels,
    match: Mapping[str, str] | None = None,
    min_sfreq: float = MIN_SFREQ,
) -> Recording:
    """Open a recording such that the stream's channels are in it, also slower ones.

    Raises:
        RecordingError: the file cannot be used, or a channel is missing or cannot be staged.
    """
    recording = open_recording(path, match=match, min_sfreq=min_sfreq)
    labels = [label for s in stream.subjects for label in s.channels.values()]
    wanted: list[str] = []
    for label in labels:
        parts = parts_of(label, recording.readable) or parts_of(label, recording.ch_names)
        if not parts:
            others = {n: w for n, w in recording.skipped.items() if n not in recording.readable}
            raise misfit(describe(recording), no_channel(label, recording.readable, others))
        wanted += parts
    if set(wanted) <= set(recording.ch_names):
        return recording
    return open_recording(path, list(dict.fromkeys(wanted)), match, min_sfreq)


def epochs_of(
    recording: Recording,
    stream: StreamChannels,
    spec: ModelSpec,
    reference: Reference | None = None,
    quality: QualityLimits | None = None,
) -> Iterator[EpochBatch]:
    """Yield a recording's epochs as the daemon would make them of a stream.

    Args:
        recording: the samples.
        stream: the subjects and their channels.
        spec: the model the epochs are for.
        reference: what its training animals look like; None: drift is not measured.
        quality: when an epoch cannot be used; default: the usual limits.

    Raises:
        HypnodError: the recording does not fit its channels or unit.
    """
    pipeline = Pipeline(stream, spec, describe(recording), reference, quality=quality)
    for chunk in chunks(recording):
        pipeline.push(chunk)
        yield from pipeline.pop_ready()


class Conditioned(NamedTuple):
    """All epochs of a recording."""

    epochs: NDArray[np.float32]
    """(n_subjects, n, M, n_inputs), what the net is given."""
    usable: NDArray[np.bool_]
    """(n_subjects, n, M)."""
    looks: NDArray[np.float64]
    """(n_subjects, n, M, features), what drift is measured from."""


def condition(
    recording: Recording,
    stream: StreamChannels,
    spec: ModelSpec,
    look: Callable[[EpochBatch], None] | None = None,
) -> Conditioned:
    """Return all of a recording's epochs, written in place: a day of eight mice may be 3 GB.

    Args:
        recording: the samples.
        stream: the subjects and their channels.
        spec: the model the epochs are for.
        look: called with each of them.

    Raises:
        HypnodError: the recording does not fit its channels or unit, or has no whole epoch.
    """
    most = ceil(recording.duration / spec.epoch_s)
    n = 0
    for batch in epochs_of(recording, stream, spec):
        if n == 0:
            epochs, usable, looks = (
                np.empty((len(x), most, *x.shape[1:]), x.dtype)
                for x in (batch.epochs, batch.usable, batch.looks)
            )
        epochs[:, batch.hop], usable[:, batch.hop] = batch.epochs, batch.usable
        looks[:, batch.hop] = batch.looks
        if look is not None:
            look(batch)
        n = batch.hop + 1
    if n == 0:
        raise RecordingError(
            f"{recording.path}: expected at least one epoch of {spec.epoch_s:g} s, "
            f"found {recording.duration:g} s"
        )
    return Conditioned(epochs[:, :n], usable[:, :n], looks[:, :n])
