"""Stage a recording the way the daemon stages a stream: by the same code, without LSL."""

from collections.abc import Iterator, Sequence

import numpy as np

from daemon.config import StagingConfig
from daemon.stager import Estimate, Stager
from engines.ahead import AheadEngine
from engines.base import Engine
from models.recordings.as_stream import chunks, describe
from models.recordings.open import Recording
from models.signal.montage import StreamChannels
from models.signal.pipeline import EpochBatch, Pipeline
from models.signal.quality import QualityLimits
from models.signal.state import Adaptation
from models.spec import Grammar, Reference
from tools.score.drift import DriftLog


def stage_recording(
    recording: Recording,
    stream: StreamChannels,
    engine: Engine,
    staging: StagingConfig | None = None,
    quality: QualityLimits | None = None,
    reference: Reference | None = None,
    learnt: Adaptation | None = None,
    grammar: Grammar | None = None,
    drift: DriftLog | None = None,
) -> Iterator[tuple[int, list[Estimate]]]:
    """Stage a recording from its first to its last complete epoch.

    Args:
        recording: timestamps of estimates count from its first sample, s.
        stream: the subjects and their channels.
        engine: with a row for each subject, and an empty context window; one that reads ahead is
            given as many epochs at once as it likes.
        staging: hop and lag of the final reading.
        quality: when an epoch cannot be used.
        reference: what the model's training animals look like; None: drift is not measured.
        learnt: of the same animals before; None: everything is learnt from the first epoch on.
        grammar: of the bundle; None: the net's own probabilities are taken as they are.
        drift: keeps how unlike the training animals the subjects look.

    Yields:
        How many samples were read, and the estimates that are new since then; last the final
        ones that were still outstanding.

    Raises:
        HypnodError: the recording does not fit the config, or the engine failed.
    """
    staging = staging or StagingConfig()
    pipeline = Pipeline(
        stream,
        engine.spec,
        describe(recording),
        reference,
        quality=quality,
        hop_s=staging.hop_s,
    )
    if learnt is not None:
        pipeline.adapt(learnt)
    subjects = {stream.name: [s.name for s in stream.subjects]}
    stager = Stager(engine, subjects, staging, grammar)
    n_read, waiting = 0, list[EpochBatch]()
    at_once = engine.block if isinstance(engine, AheadEngine) else 1
    for chunk in chunks(recording):
        pipeline.push(chunk)
        n_read += len(chunk.data)
        batches = pipeline.pop_ready()
        if drift is not None:
            for batch in batches:
                drift.look(batch.drift, pipeline.explain_drift)
        waiting += batches
        if len(waiting) >= at_once:
            yield n_read, _stage(stager, engine, waiting)
            waiting = []
    yield n_read, _stage(stager, engine, waiting) + stager.flush()


def _stage(stager: Stager, engine: Engine, batches: Sequence[EpochBatch]) -> list[Estimate]:
    if isinstance(engine, AheadEngine) and batches:
        engine.prepare(np.stack([b.epochs for b in batches]), np.stack([b.usable for b in batches]))
    return stager.stage(batches)
