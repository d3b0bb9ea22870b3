"""One configured stream while the daemon runs: its inlet, its pipeline, and what state they are in.

The pipeline is made when the stream is first found. It outlives the connection: when a source
returns, samples go on in the same time grid, and what was missed is masked. A source that returns
with another rate or other channels gets a new pipeline in the same grid, as long as the labels in
the config are there. A misfit fails a stream only at the first connection, when somebody is
there to see it; later the stream waits, STALLED, for a source that fits.

Whatever is done for one stream is done within its `guard`: what it raises, foreseen or not, is that
stream's end alone.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import structlog
from numpy.typing import NDArray

from daemon.config import Config, StreamConfig
from daemon.errors import UnforeseenError
from daemon.lsl.inlet import Clocks, Inlet
from daemon.lsl.library import in_words
from daemon.lsl.surroundings import Surroundings
from daemon.metrics import Metrics
from daemon.outbox import Round, Sink
from daemon.state import READY, State, StateWriter
from daemon.watch.drift import DriftWatch
from daemon.watch.echo import EchoLines, Edge
from daemon.watch.timestamps import TimestampWatch
from models.errors import HypnodError, StreamError
from models.signal.chunk import Chunk, StreamDescription
from models.signal.clock.source_clock import SourceClock
from models.signal.pipeline import EpochBatch, Pipeline
from models.signal.state import Adaptation
from models.spec import ModelSpec, Reference
from models.species import contradict

log = structlog.get_logger()

_REMIND_S = 30.0
"""So often the log says that a stream is still waited for."""
_STAGING_FROM, _FILLING_BELOW = 0.75, 0.5
"""Filled fractions of the context window: a few artefacts do not make the state flicker."""
_STUCK_S = 4.0
"""Without a new epoch for so long after one was due, the timestamps do not advance."""
_FORGET_TROUBLE_S = 3.0
"""A source that does not fit says so again until it goes."""
_MAX_READY = 4
"""Epochs cut ahead of the staging; a stream that has more of them is not read on."""


Begin = Callable[[Pipeline, NDArray[np.float64], Clocks], None]
"""Sets where a pipeline begins, unless it has begun, from the timestamps of its next samples."""


class Stream:
    """Reads one stream and cuts it into epochs; its failure is its own.

    Args:
        stream: its part of the config.
        config: the whole of it.
        spec: the model.
        states: logs and publishes its states and what happens to it.
        metrics: counts its samples, reconnections and so on.
        begin: called before samples are pushed.
        reference: what the model's training animals look like; None: drift is not measured.
        taken: of every stream of the daemon, which source is read by which; see `Inlet`.

    Raises:
        ConfigError: its `match` cannot be searched for.
        StreamError: liblsl is missing.
    """

    def __init__(
        self,
        stream: StreamConfig,
        config: Config,
        spec: ModelSpec,
        states: StateWriter,
        metrics: Metrics,
        begin: Begin,
        reference: Reference | None = None,
        taken: dict[str, str] | None = None,
    ) -> None:
        self.name = stream.name
        self.subjects = tuple(subject.name for subject in stream.subjects)
        self.error: HypnodError | None = None
        """Why it failed, if it did."""
        self.contradiction: str | None = None
        """What of its labels is of another species than the model stages, if anything."""
        self._stream = stream
        self._config = config
        self._spec = spec
        self._reference = reference
        self._begin = begin
        self._learnt: Adaptation | None = None
        self._states = states
        self._metrics = metrics
        metrics.count_from_zero(stream.name)
        self._inlet = Inlet(stream, taken)
        self._surroundings = Surroundings()
        self._clock = SourceClock(stream.name)
        self._pipeline: Pipeline | None = None
        self._ready: deque[EpochBatch] = deque()
        self._connection = 0
        self._watch = TimestampWatch(stream.name, stream.jitter_s, metrics, self._note)
        hop_s = config.staging.hop_s or spec.epoch_s
        self._drift = DriftWatch(stream, spec.modalities, hop_s, metrics, states, self._note)
        self._echo = EchoLines(stream)
        self._notes: list[str] = []
        self._has_more = False
        self._trouble = ("", 0.0)
        self._filled = 0.0
        self._heard = self._cut_at = 0.0
        self._reminded: float | None = None

    @property
    def clock_offset(self) -> float:
        """To add to an onset for the time on this machine's LSL clock, s."""
        return self._clock.offset(self._inlet.clock_offset)

    @property
    def may_be_older(self) -> float:
        """By how much its samples may be older than that says, s."""
        return self._clock.may_be_older(self._inlet.clock_offset)

    @property
    def clocks(self) -> Clocks:
        """How its clock relates to this machine's now."""
        return self._inlet.clocks

    @property
    def nominal_sfreq(self) -> float:
        """Sampling rate that the source states, Hz; 0 before it was found."""
        return 0.0 if self._pipeline is None else self._pipeline.description.sfreq

    @contextmanager
    def guard(self, step: str) -> Iterator[None]:
        """Let whatever is raised in the `with` block fail this stream, and go no further.

        Args:
            step: what is done for the stream there, for people.
        """
        try:
            yield
        except HypnodError as error:
            self.fail(error)
        except Exception as error:
            self.fail(self._unforeseen(step, error))

    def learn(self, learnt: Adaptation | None) -> None:
        """Begin with what is known of its animals before it is found, if anything."""
        self._learnt = learnt

    def poll(self, now: float) -> None:
        """Take in what has come; never blocks. What does not fit the config fails the stream.

        Args:
            now: this machine's LSL clock, s.
        """
        if self.error is not None:
            return
        with self.guard("reading it"):
            if self._has_more:
                self._heard = self._cut_at = now
                self._cut()
            if not self._has_more:
                self._take_in(self._read(now), now)
            self._update_state(now)

    def fail(self, error: HypnodError) -> None:
        """Read no more, and never again; the first error stands. What was ready is dropped."""
        if self.error is not None:
            return
        self.error = error
        self._ready.clear()
        self._has_more = False
        try:
            self._inlet.close()
        except Exception:
            log.exception("the inlet cannot be closed", stream=self.name)
        reason = str(error).encode("utf-8", "backslashreplace").decode("utf-8")
        self._states.set(self.name, State.FAILED, reason, self._sfreq)

    def pop(self) -> EpochBatch | None:
        """Return the next ready epoch, if there is one."""
        if self._has_more and not self._ready:
            with self.guard("cutting its epochs"):
                self._cut()
        return self._ready.popleft() if self._ready else None

    def take_edges(self) -> list[Edge]:
        """Return how its echo lines have changed since the last call."""
        return self._echo.take()

    def show_filled(self, slots_filled: int) -> None:
        """Take note of how many slots of the fullest context window hold a usable signal."""
        self._filled = slots_filled / self._spec.n_context

    def drain(self) -> None:
        """Read no more; the ready epochs stay."""
        if self.error is None:
            self._inlet.close()
            self._states.set(self.name, State.DRAINING, "the daemon is stopping", self._sfreq)

    def stop(self) -> None:
        """Publish that it has ended, unless it failed."""
        if self.error is None:
            self._states.set(self.name, State.STOPPED, "the daemon stopped", self._sfreq)

    @property
    def _sfreq(self) -> float | None:
        return self._clock.sfreq or (None if self._pipeline is None else self._pipeline.sfreq)

    def _unforeseen(self, step: str, error: Exception) -> UnforeseenError:
        """Count and log what nobody expected, and put it in a sentence."""
        self._metrics.unforeseen.labels(self.name).inc()
        log.error("unforeseen", stream=self.name, step=step, exc_info=error)
        return UnforeseenError(
            f"stream {self.name!r}: {step} raised what hypnod did not foresee, "
            f"{type(error).__name__}: {error}; please report it with the traceback in the log"
        )

    def _note(self, what: str) -> None:
        """Publish something in the stream's topic, once its state is up to date."""
        self._notes.append(what)

    def _read(self, now: float) -> Chunk | None:
        """Return what has come, if it is of a source that fits.

        Raises:
            HypnodError: the first source found does not fit.
        """
        try:
            chunk = self._inlet.poll()
            if self._inlet.connection > self._connection:
                self._on_connection(now)
        except HypnodError as error:
            if self._pipeline is None:
                raise
            self._inlet.refuse(error)
            self._trouble = (str(error), now)
            return None
        return chunk

    def _take_in(self, chunk: Chunk | None, now: float) -> None:
        if self._pipeline is None:
            return
        if chunk is not None:
            try:
                self._push(chunk, self._pipeline)
            except StreamError as error:
                if self._connection == 1:
                    raise
                self._inlet.refuse(error)
                self._trouble = (str(error), now)
            self._heard = now
        if self._cut(now):
            self._cut_at = now

    def _push(self, chunk: Chunk, pipeline: Pipeline) -> None:
        """Hand samples to the pipeline, and hold their timestamps against their arrival.

        Raises:
            StreamError: the two contradict each other too much.
        """
        self._clock.check_unit(chunk.timestamps)
        self._begin(pipeline, chunk.timestamps, self.clocks)
        pipeline.push(chunk)
        self._echo.look(chunk, pipeline.timeline.clock_shift)
        self._count(chunk, pipeline)
        found = self._clock.look(
            pipeline.timeline, chunk.timestamps, chunk.arrived, self._inlet.clock_offset
        )
        for what in found:
            log.warning("the source's clock cannot be true", stream=self.name, why=what)
            self._note(what)
        self._metrics.clock_contradicted.labels(self.name).set(self._clock.is_contradicted)

    def _cut(self, now: float | None = None) -> bool:
        """Cut ready epochs, but no more than may wait, and tell whether there were any.

        Args:
            now: where all samples have been read: those that are overdue will not come.
        """
        if self._pipeline is None:
            return False
        room = _MAX_READY - len(self._ready)
        batches = self._pipeline.pop_ready(now, room)
        self._has_more = len(batches) == room
        self._ready += batches
        for doubt in self._pipeline.doubts:
            log.warning("the unit is in doubt", stream=self.name, why=doubt)
            self._note(doubt)
        self._pipeline.doubts.clear()
        for batch in batches:
            self._drift.look(batch.drift, self._pipeline.explain_drift)
        return bool(batches)

    def _on_connection(self, now: float) -> None:
        description = self._inlet.description
        self._connection = self._inlet.connection
        if description is None:
            return
        self._clock.connect(description.sfreq, is_live=self._inlet.is_live)
        if self._pipeline is None:
            self._pipeline = self._open(description)
        else:
            if self._pipeline.description != description:
                self._pipeline = self._succeed(self._pipeline, description)
            self._metrics.reconnects.labels(self.name).inc()
            log.info("reconnected", stream=self.name, clock_offset=self.clock_offset)
            self._note(
                f"reconnected to {description.name} with {description.sfreq:g} Hz and "
                f"{len(description.ch_names)} channels"
            )
        self._heard = self._cut_at = now
        self._trouble = ("", now)

    def _open(self, description: StreamDescription) -> Pipeline:
        log.info("connected", stream=self.name, **_summary(description))
        self._look_at_labels(description)
        if (found := self._stream.by_eog_alone) is not None:
            log.warning(found, stream=self.name)
            self._note(found)
        pipeline = Pipeline(
            self._stream,
            self._spec,
            description,
            self._reference,
            quality=self._config.quality,
            hop_s=self._config.staging.hop_s,
            stall_s=self._config.staging.stall_s,
        )
        self._echo.find(description)
        if self._learnt is not None:
            pipeline.adapt(self._learnt)
        return pipeline

    def _succeed(self, before: Pipeline, description: StreamDescription) -> Pipeline:
        pipeline = before.succeed(description)
        try:
            self._echo.find(description)
        except StreamError as error:  # no reason not to stage
            log.warning("an echo line is not seen", stream=self.name, why=str(error))
            self._note(str(error))
        was = {f"former_{key}": value for key, value in _summary(before.description).items()}
        log.warning("the source has changed", stream=self.name, **_summary(description), **was)
        self._look_at_labels(description)
        return pipeline

    def _look_at_labels(self, description: StreamDescription) -> None:
        """Say it where the labels are of another species than the model stages."""
        self.contradiction = found = contradict(description.ch_names, self._spec)
        if found is not None:
            log.warning("the labels contradict the model", stream=self.name, why=found)
            self._note(found)
        self._states.remark(self.name, found)

    def _count(self, chunk: Chunk, pipeline: Pipeline) -> None:
        metrics, name = self._metrics, self.name
        metrics.samples.labels(name).inc(len(chunk.timestamps))
        metrics.last_sample.labels(name).set_to_current_time()
        metrics.clock_offset.labels(name).set(self.clock_offset)
        metrics.sampling_rate.labels(name).set(pipeline.sfreq)
        self._watch.look(pipeline.timeline, len(chunk.timestamps))

    def _update_state(self, now: float) -> None:
        state, reason = self._judge(now)
        self._states.set(self.name, state, reason, self._sfreq)
        if state is State.RESOLVING and (others := self._surroundings.look(now)):
            log.info("not found", stream=self.name, others=others)
            self._note(f"{reason}; {others}")
        while self._notes:
            self._states.note(self.name, self._notes.pop(0), self._sfreq)
        if state in READY:
            self._reminded = None
        elif self._reminded is None:
            self._reminded = now
        elif now - self._reminded > _REMIND_S:
            self._reminded = now
            log.warning("still waiting", stream=self.name, state=state, reason=reason)

    def _judge(self, now: float) -> tuple[State, str]:
        stall_s = self._config.staging.stall_s
        trouble, since = self._trouble
        if trouble and now - since < _FORGET_TROUBLE_S:
            return State.STALLED, f"nothing is staged until a source fits: {trouble}"
        if self._pipeline is None:
            return State.RESOLVING, f"no stream with {in_words(self._stream.match)} is visible"
        if now - self._heard > stall_s:
            if self._inlet.connected:
                return State.STALLED, "connected, but no samples"
            return State.STALLED, "the connection was lost, no samples"
        if self._heard - self._cut_at > stall_s + self._spec.epoch_s + _STUCK_S:
            return State.STALLED, "samples come, but their timestamps do not advance"
        staging = self._states[self.name] is State.STAGING
        if self._filled >= (_FILLING_BELOW if staging else _STAGING_FROM):
            return State.STAGING, "the context window holds enough usable epochs"
        return State.FILLING, "the context window holds few usable epochs"


class GuardedSink:
    """A sink that is one stream's alone: what it raises is that stream's end.

    Args:
        sink: gets the rounds until the stream has failed.
        stream: whose it is.
    """

    def __init__(self, sink: Sink, stream: Stream) -> None:
        self._sink = sink
        self._stream = stream

    def take(self, what: Round) -> None:
        """Hand a round on."""
        if self._stream.error is None:
            with self._stream.guard("sending its stages as an LSL stream"):
                self._sink.take(what)


def _summary(description: StreamDescription) -> dict[str, object]:
    return {
        "source": description.name,
        "sfreq": description.sfreq,
        "n_channels": len(description.ch_names),
    }
