"""A recording in the place of a stream."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from daemon.chunk import Chunk, StreamDescription
from daemon.config import StreamConfig
from models.recordings.open import Recording, open_recording

CHUNK_S = 10.0


def describe(recording: Recording) -> StreamDescription:
    """Return what a recording would say of itself as a stream."""
    return StreamDescription(
        name=recording.path.name,
        ch_names=recording.ch_names,
        units=recording.units,
        sfreq=recording.sfreq,
    )


def chunks(recording: Recording, first: int = 0) -> Iterator[Chunk]:
    """Go through a recording from its sample `first` on; times count from its first sample, s."""
    size = max(1, round(CHUNK_S * recording.sfreq))
    for start in range(first, recording.n_samples, size):
        stop = min(start + size, recording.n_samples)
        times = recording.timestamps(start, stop)
        yield Chunk(recording.read(start, stop), times, arrived=float(times[-1]))


def open_for(path: Path, stream: StreamConfig) -> Recording:
    """Open a recording such that the stream's channels are in it, also slower ones.

    Raises:
        RecordingError: the file cannot be used, or the channels have several rates.
    """
    recording = open_recording(path)
    known = (*recording.ch_names, *recording.skipped)
    labels = [label for s in stream.subjects for label in s.channels.values()]
    wanted = dict.fromkeys(part for label in labels for part in _parts(label, known))
    if set(wanted) <= set(recording.ch_names) or not set(wanted) <= set(known):
        return recording  # where one is missing, the montage says so
    return open_recording(path, list(wanted))


def _parts(label: str, known: Sequence[str]) -> list[str]:
    """Return a label, or both labels of a difference `A-B`."""
    if label not in known:
        for i, character in enumerate(label):
            pair = [label[:i].strip(), label[i + 1 :].strip()]
            if character == "-" and set(pair) <= set(known):
                return pair
    return [label]
