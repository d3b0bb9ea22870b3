"""Puts what is known into messages: numbered, dated, and with what computed it."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from daemon.lsl import load_pylsl
from daemon.messages import SCHEMA, StageMessage
from daemon.stager import Estimate
from models.spec import ModelSpec


class Composer:
    """Composes the stage messages of one run of the daemon.

    Args:
        session: identifies the run.
        spec: the model.
        model: first 12 digits of the bundle's SHA-256.
        engine: library, version and device that compute; to be set anew where that changes.
        config: first 12 digits of the config's SHA-256.
        next_seq: numbers the messages of a topic.
    """

    def __init__(
        self,
        session: str,
        spec: ModelSpec,
        *,
        model: str,
        engine: str,
        config: str,
        next_seq: Callable[[str], int],
    ) -> None:
        self._session = session
        self._spec = spec
        self._model = model
        self.engine = engine
        self._config = config
        self._next_seq = next_seq
        self._clock = load_pylsl().local_clock

    def stage(self, estimate: Estimate, onset: float) -> StageMessage:
        """Compose the message of an estimate whose onset on this machine's LSL clock is given."""
        now, wall, spec = self._clock(), time.time(), self._spec
        found = estimate.probabilities
        probabilities = {} if found is None else dict(zip(spec.stages, found.tolist(), strict=True))
        return StageMessage(
            schema=SCHEMA,
            session=self._session,
            subject=estimate.subject,
            stream=estimate.stream,
            seq=self._next_seq(f"stage.{estimate.subject}"),
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
            latency_s=None if estimate.arrived is None else now - estimate.arrived,
            published_utc=iso(wall, "microseconds"),
            model=self._model,
            engine=self.engine,
            config=self._config,
        )

    def last_word(self, live: StageMessage) -> StageMessage:
        """Make the final message of a live one of a former run that will not be read again.

        Model, engine and config stay those that computed it.
        """
        return msgspec.structs.replace(
            live,
            session=self._session,
            seq=self._next_seq(f"stage.{live.subject}"),
            kind="final",
            latency_s=None,
            published_utc=iso(time.time(), "microseconds"),
        )


def iso(seconds: float, timespec: str = "milliseconds") -> str:
    """Return a Unix time in UTC, ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=timespec)
