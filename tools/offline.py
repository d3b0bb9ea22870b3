"""Stage a recording the way the daemon stages a stream: by the same code, without LSL."""

from collections.abc import Iterator

from daemon.chunk import Chunk, StreamDescription
from daemon.config import QualityConfig, StagingConfig, StreamConfig
from daemon.pipeline import Pipeline
from daemon.stager import Estimate, Stager
from engines.base import Engine
from models.recording import Recording

CHUNK_S = 10.0


def describe(recording: Recording) -> StreamDescription:
    """Return what a recording would say of itself as a stream."""
    return StreamDescription(
        name=recording.path.name,
        ch_names=recording.ch_names,
        units=recording.units,
        sfreq=recording.sfreq,
    )


def stage_recording(
    recording: Recording,
    stream: StreamConfig,
    engine: Engine,
    staging: StagingConfig | None = None,
    quality: QualityConfig | None = None,
) -> Iterator[tuple[int, list[Estimate]]]:
    """Stage a recording from its first to its last complete epoch.

    Args:
        recording: timestamps of estimates count from its first sample, s.
        stream: the subjects and their channels.
        engine: with a row for each subject, and an empty context window.
        staging: hop and lag of the final reading.
        quality: when an epoch cannot be used.

    Yields:
        How many samples were read, and the estimates that are new since then; last the final
        ones that were still outstanding.

    Raises:
        HypnodError: the recording does not fit the config, or the engine failed.
    """
    staging = staging or StagingConfig()
    pipeline = Pipeline(
        stream, staging, quality or QualityConfig(), engine.spec, describe(recording)
    )
    stager = Stager(engine, {stream.name: [s.name for s in stream.subjects]}, staging)
    n_read = 0
    for data, times in recording.chunks(max(1, round(CHUNK_S * recording.sfreq))):
        pipeline.push(Chunk(data, times, arrived=float(times[-1])))
        n_read += len(data)
        yield n_read, stager.stage(pipeline.pop_ready())
    yield n_read, stager.flush()
