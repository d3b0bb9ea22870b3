"""Stage a recording the way the daemon stages a stream: by the same code, without LSL."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from daemon.baseline import read_baselines
from daemon.config import Config, StagingConfig, StreamConfig
from daemon.stager import Estimate, Stager, hops_per_epoch
from engines.ahead import AheadEngine
from engines.base import Engine
from engines.bundle import Bundle
from engines.select import open_engine
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
    look: Callable[[EpochBatch], object] | None = None,
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
        look: called with each epoch before it is staged.

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
        for batch in batches:
            if drift is not None:
                drift.look(batch.drift, pipeline.explain_drift)
            if look is not None:
                look(batch)
        waiting += batches
        if len(waiting) >= at_once:
            yield n_read, _stage(stager, engine, waiting)
            waiting = []
    yield n_read, _stage(stager, engine, waiting) + stager.flush()


def open_configured(bundle: Bundle, kind: str | None, config: Config, n_rows: int) -> Engine:
    """Open the engine that a config asks for, or of another kind.

    Raises:
        EngineError: it is not available here.
        ConfigError: the hop does not fit the epoch.
    """
    return open_engine(
        bundle,
        kind or config.engine.kind,
        n_rows=n_rows,
        threads=config.engine.threads,
        precision=config.engine.precision,
        hops_per_epoch=hops_per_epoch(config.staging.hop_s, bundle.spec),
        n_read=config.staging.final_lag + 1,
    )


def stage_configured(
    bundle: Bundle,
    engine: Engine,
    recording: Recording,
    stream: StreamChannels,
    config: Config,
    drift: DriftLog | None = None,
    look: Callable[[EpochBatch], object] | None = None,
) -> Iterator[tuple[int, list[Estimate]]]:
    """Stage a recording by a bundle as a config says; see `stage_recording`."""
    staging, quality, manifest = config.staging, config.quality, bundle.manifest
    learnt = None
    if isinstance(stream, StreamConfig):  # only a config names baselines
        spec, reference = bundle.spec, manifest.reference
        learnt = read_baselines(stream, staging.hop_s, quality, spec, reference)
    return stage_recording(
        recording,
        stream,
        engine,
        staging,
        quality,
        manifest.reference,
        learnt,
        manifest.grammar,
        drift,
        look,
    )


def _stage(stager: Stager, engine: Engine, batches: Sequence[EpochBatch]) -> list[Estimate]:
    if isinstance(engine, AheadEngine) and batches:
        engine.prepare(np.stack([b.epochs for b in batches]), np.stack([b.usable for b in batches]))
    return stager.stage(batches)
