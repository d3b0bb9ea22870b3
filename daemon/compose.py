"""Puts what is known into messages: dated, and with what computed it; the outbox numbers them."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata

import msgspec
import numpy as np
from numpy.typing import NDArray

from daemon.config import Config
from daemon.journal.reader import Session
from daemon.lsl.library import load_pylsl
from daemon.messages import (
    EchoMessage,
    Heartbeat,
    PulseDone,
    PulseMessage,
    StageMessage,
    TraceMessage,
    TriggerMessage,
)
from daemon.stager import Estimate
from daemon.trigger.rulebook import Told
from daemon.watch.echo import Edge
from daemon.watch.engine import EngineWatch
from models.signal.peaks import peaks
from models.signal.pipeline import EpochBatch
from models.spec import ModelSpec

VERSION = metadata.version("hypnod")


class Composer:
    """Composes the messages of one run of the daemon.

    Args:
        engine: what the daemon runs with, which may change.
        spec: the model.
        hops_per_epoch: points of the time grid an epoch length.
    """

    def __init__(self, engine: EngineWatch, spec: ModelSpec, hops_per_epoch: int) -> None:
        self._engine = engine
        self._spec = spec
        self._hops_per_epoch = hops_per_epoch
        self._clock = load_pylsl().local_clock

    def stages(
        self, estimates: Sequence[Estimate], offset: float, older: float
    ) -> list[StageMessage]:
        """Compose the messages of a stream's estimates.

        Args:
            estimates: what is known.
            offset: to add to an onset for the time on this machine's LSL clock, s.
            older: by how much samples may be older than that says, s.
        """
        now, wall, spec, run = self._clock(), time.time(), self._spec, self._engine.run
        hop_s, published = spec.epoch_s / self._hops_per_epoch, iso(wall, "microseconds")
        began = {onset: iso(wall - now + onset + offset) for onset in {e.onset for e in estimates}}
        composed = []
        for estimate in estimates:
            probabilities = self._by_stage(estimate.probabilities)
            seen_s = spec.epoch_s - estimate.unseen_s
            composed.append(
                StageMessage(
                    session=run.id,
                    subject=estimate.subject,
                    stream=estimate.stream,
                    kind=estimate.kind,
                    epoch=estimate.hop // self._hops_per_epoch,
                    hop=estimate.hop,
                    onset=estimate.onset,
                    utc=began[estimate.onset],
                    epoch_s=spec.epoch_s,
                    hop_s=hop_s,
                    stage=estimate.stage,
                    probabilities=probabilities,
                    evidence=self._by_stage(estimate.evidence),
                    confidence=max(probabilities.values(), default=0.0),
                    pathway=estimate.pathway,
                    validity=dict(estimate.validity),
                    lost_s=dict(estimate.lost_s),
                    reason=estimate.reason,
                    slots_filled=estimate.slots_filled,
                    n_context=spec.n_context,
                    drift=None if estimate.drift is None else round(estimate.drift, 3),
                    features=estimate.features if estimate.kind == "live" else None,
                    lead_off=estimate.lead_off if estimate.kind == "live" else None,
                    latency_s=None if estimate.arrived is None else now - estimate.arrived,
                    age_s=now - (estimate.onset + offset) - seen_s + older,
                    published_utc=published,
                    model=run.model,
                    engine=run.engine,
                    config=run.config_hash,
                )
            )
        return composed

    def triggers(
        self, lives: Mapping[str, StageMessage], told: Sequence[Told]
    ) -> list[TriggerMessage]:
        """Compose the messages of decisions that were just made.

        Args:
            lives: the live estimates that they were made on, by subject.
            told: the decisions.
        """
        wall = time.time()
        utc, published, composed = iso(wall), iso(wall, "microseconds"), []
        for rule, sight, decision in told:
            live = lives[sight.subject]
            composed.append(
                TriggerMessage(
                    session=live.session,
                    utc=utc,
                    subject=live.subject,
                    stream=live.stream,
                    rule=rule.name,
                    action=decision.action,
                    reason=decision.reason,
                    ttl_s=decision.ttl_s,
                    pulse=decision.pulse,
                    epoch=live.epoch,
                    hop=live.hop,
                    onset=live.onset,
                    age_s=live.age_s,
                    armed=sight.armed,
                    trouble=sight.trouble,
                    leads=sight.leads,
                    published_utc=published,
                    model=live.model,
                    config=live.config,
                )
            )
        return composed

    def pulse(self, done: PulseDone, driver: str) -> PulseMessage:
        """Compose the message of what an output of `hypnod pulse` did.

        Args:
            done: as that told.
            driver: of the output.
        """
        return PulseMessage(
            session=self._engine.run.id,
            utc=iso(done.utc.timestamp(), "microseconds"),
            subject=done.subject,
            rule=done.rule,
            pulse=done.pulse,
            decided_in=done.decided_in,
            done=done.done,
            output=done.output,
            driver=driver,
        )

    def echo(self, edge: Edge, stream: str, offset: float) -> EchoMessage:
        """Compose the message of a change of an echo line.

        Args:
            edge: the change.
            stream: the line is in.
            offset: to add to its time for this machine's LSL clock, s.
        """
        return EchoMessage(
            session=self._engine.run.id,
            utc=iso(time.time() - self._clock() + edge.time + offset, "microseconds"),
            subject=edge.subject,
            stream=stream,
            high=edge.high,
            time=edge.time,
            untold=edge.untold,
        )

    def trace(self, batch: EpochBatch, subject: int, name: str, offset: float) -> TraceMessage:
        """Compose what an epoch's newest samples of a subject look like.

        Args:
            batch: the epoch.
            subject: its row.
            name: of the subject.
            offset: to add to its onset for this machine's LSL clock, s.
        """
        spec = self._spec
        span_s = spec.epoch_s / self._hops_per_epoch
        newest = batch.microvolts[subject, :, -round(span_s * spec.sfreq) :]
        start = batch.onset + spec.epoch_s - span_s
        drawn = np.round(peaks(newest, spec.sfreq).astype(np.float64), 1).tolist()
        return TraceMessage(
            session=self._engine.run.id,
            utc=iso(time.time() - self._clock() + start + offset),
            subject=name,
            stream=batch.stream,
            hop=batch.hop,
            start=start,
            span_s=span_s,
            microvolts=dict(zip(spec.modalities, map(tuple, drawn), strict=True)),
        )

    def read_again(self, live: StageMessage, final: Estimate) -> StageMessage:
        """Put what a later reading of the same epoch said into a message of a former run."""
        probabilities = self._by_stage(final.probabilities)
        return msgspec.structs.replace(
            live,
            stage=final.stage,
            probabilities=probabilities,
            evidence=self._by_stage(final.evidence),
            confidence=max(probabilities.values(), default=0.0),
        )

    def last_word(self, live: StageMessage) -> StageMessage:
        """Make the final message of a live one of a former run that will not be read again.

        Model, engine and config stay those that computed it.
        """
        return msgspec.structs.replace(
            live,
            session=self._engine.run.id,
            kind="final",
            features=None,
            lead_off=None,
            latency_s=None,
            age_s=None,
            published_utc=iso(time.time(), "microseconds"),
        )

    def _by_stage(self, found: NDArray[np.float32] | None) -> dict[str, float]:
        return {} if found is None else dict(zip(self._spec.stages, found.tolist(), strict=True))

    def heartbeat(
        self,
        uptime_s: float,
        states: Mapping[str, str],
        troubles: Mapping[str, str],
        newest: Mapping[str, int],
    ) -> Heartbeat:
        """Compose a heartbeat.

        Args:
            uptime_s: for how long the daemon has run, s.
            states: of the streams.
            troubles: what is wrong beside them.
            newest: number of the newest message of each topic that is kept.
        """
        return Heartbeat(
            session=self._engine.run.id,
            utc=iso(time.time()),
            uptime_s=uptime_s,
            states=dict(states),
            version=VERSION,
            troubles=dict(troubles),
            newest=dict(newest),
        )


def describe_run(session: str, began: float, config: Config) -> Session:
    """Describe a run of the daemon for the journal, before it is known what computes it.

    Args:
        session: identifies it.
        began: Unix time, s.
        config: what it was told.
    """
    return Session(
        id=session,
        started=began,
        version=VERSION,
        model="",
        model_name="",
        engine="",
        config_hash=config.hash,
        config=msgspec.json.encode(config).decode(),
    )


def iso(seconds: float, timespec: str = "milliseconds") -> str:
    """Return a Unix time in UTC, ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=timespec)
