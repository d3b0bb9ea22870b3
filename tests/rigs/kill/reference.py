"""What a daemon that nobody killed would have said of the samples that the killed one received."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from daemon.config import StagingConfig, StreamConfig
from daemon.stager import Estimate, Stager
from engines.bundle import Bundle
from engines.select import open_engine
from models.signal.chunk import Chunk, StreamDescription
from models.signal.pipeline import Pipeline
from tests.rigs.kill.source import LABELS, SFREQ, SUBJECTS, KillSource


@dataclass(frozen=True, slots=True)
class Life:
    """What one process of the daemon staged."""

    first: int
    """The first sample that it received."""
    first_epoch: int
    last_epoch: int
    warm: bool


def reference(
    lives: Sequence[Life], source: KillSource, stream: StreamConfig, bundle: Bundle
) -> Iterator[Estimate]:
    """Stage, without an interruption, what the daemon received, as often as it started anew."""
    lives = list(lives)
    while lives:
        warm = next((i for i, life in enumerate(lives[1:], 1) if not life.warm), len(lives))
        yield from _stage(lives[:warm], source, stream, bundle)
        lives = lives[warm:]


def _stage(
    lives: Sequence[Life], source: KillSource, stream: StreamConfig, bundle: Bundle
) -> Iterator[Estimate]:
    """Stage lives that went on from one another."""
    spec, staging = bundle.spec, StagingConfig()
    description = StreamDescription(stream.name, LABELS, ("uV",) * len(LABELS), SFREQ)
    pipeline = Pipeline(stream, spec, description, stall_s=staging.stall_s)
    pipeline.count_from(lives[0].first_epoch)
    origin = source.t0 + lives[0].first / SFREQ
    with open_engine(bundle, "onnxruntime", n_rows=len(SUBJECTS)) as engine:
        stager = Stager(engine, {stream.name: list(SUBJECTS)}, staging)
        end, after = origin, None
        for life in lives:
            if after is not None and life.first / SFREQ + source.t0 - end < stream.jitter_s:
                # Too few samples are missing to be a gap, but a restart starts the filters anew.
                pipeline = Pipeline(stream, spec, description, stall_s=staging.stall_s)
                pipeline.recall(after)
            n_epochs = life.last_epoch + 1 - lives[0].first_epoch
            end = origin + n_epochs * spec.epoch_s
            numbers = np.arange(life.first, round((end - source.t0) * SFREQ))
            parts = np.array_split(numbers, len(numbers) // 500 + 1)
            for part in filter(len, parts):  # none where it staged but what was missing
                times = source.t0 + part / SFREQ
                values = source.values(part)
                pipeline.push(Chunk(values, times, float(times[-1])))
                batches = pipeline.pop_ready()
                after = batches[-1].after if batches else after
                yield from stager.stage(batches)
            # As long after the end as it takes to give up what is missing before it.
            batches = pipeline.pop_ready(end + staging.stall_s)
            after = batches[-1].after if batches else after
            yield from stager.stage(batches)
        yield from stager.flush()
