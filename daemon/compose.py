"""Puts what is known into messages: numbered, dated, and with what computed it."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata

import msgspec

from daemon.config import Config
from daemon.journal.reader import Session
from daemon.lsl.library import load_pylsl
from daemon.messages import SCHEMA, Heartbeat, StageMessage
from daemon.sockets.publisher import Publisher
from daemon.stager import Estimate
from models.spec import ModelSpec

VERSION = metadata.version("hypnod")


class Composer:
    """Composes the messages of one run of the daemon.

    Args:
        run: what it runs with.
        spec: the model.
        publisher: numbers the messages.
    """

    def __init__(self, run: Session, spec: ModelSpec, publisher: Publisher) -> None:
        self.run = run
        """What it runs with; to be set anew where that changes."""
        self._spec = spec
        self._publisher = publisher
        self._clock = load_pylsl().local_clock

    def stage(self, estimate: Estimate, onset: float) -> StageMessage:
        """Compose the message of an estimate whose onset on this machine's LSL clock is given."""
        now, wall, spec = self._clock(), time.time(), self._spec
        found = estimate.probabilities
        probabilities = {} if found is None else dict(zip(spec.stages, found.tolist(), strict=True))
        return StageMessage(
            schema=SCHEMA,
            session=self.run.id,
            subject=estimate.subject,
            stream=estimate.stream,
            seq=self._publisher.next_seq(f"stage.{estimate.subject}"),
            kind=estimate.kind,
            epoch=estimate.epoch,
            onset=estimate.onset,
            utc=iso(wall - now + onset),
            epoch_s=spec.epoch_s,
            stage=estimate.stage,
            probabilities=probabilities,
            confidence=max(probabilities.values(), default=0.0),
            pathway=estimate.pathway,
            validity=dict(estimate.validity),
            reason=estimate.reason,
            slots_filled=estimate.slots_filled,
            n_context=spec.n_context,
            drift=None if estimate.drift is None else round(estimate.drift, 3),
            latency_s=None if estimate.arrived is None else now - estimate.arrived,
            published_utc=iso(wall, "microseconds"),
            model=self.run.model,
            engine=self.run.engine,
            config=self.run.config_hash,
        )

    def last_word(self, live: StageMessage) -> StageMessage:
        """Make the final message of a live one of a former run that will not be read again.

        Model, engine and config stay those that computed it.
        """
        return msgspec.structs.replace(
            live,
            session=self.run.id,
            seq=self._publisher.next_seq(f"stage.{live.subject}"),
            kind="final",
            latency_s=None,
            published_utc=iso(time.time(), "microseconds"),
        )

    def heartbeat(self, uptime_s: float, states: Mapping[str, str]) -> Heartbeat:
        """Compose a heartbeat: the daemon has run for so long, its streams are in these states."""
        return Heartbeat(
            schema=SCHEMA,
            session=self.run.id,
            seq=self._publisher.next_seq("heartbeat"),
            utc=iso(time.time()),
            uptime_s=uptime_s,
            states=dict(states),
            version=VERSION,
            newest=self._publisher.newest,
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
