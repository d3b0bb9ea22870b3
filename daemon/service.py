"""The service: startup, main loop, shutdown. One thread reads, stages and publishes."""

import os
import secrets
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import structlog

from daemon.catchup import CatchUp
from daemon.checkpoint import Checkpoint
from daemon.compose import VERSION, Composer, describe_run
from daemon.config import Config, load_config
from daemon.gate import Gate
from daemon.journal import Journal
from daemon.journal_reader import Session
from daemon.log import configure_log
from daemon.lsl import load_pylsl
from daemon.messages import StageMessage
from daemon.metrics import Metrics
from daemon.metrics_server import MetricsServer
from daemon.notify import Notifier
from daemon.outbox import Outbox
from daemon.outlet import StageOutlet
from daemon.pipeline import EpochBatch
from daemon.publisher import Publisher
from daemon.recall import Recall
from daemon.signals import handling
from daemon.stager import Estimate, Stager, hops_per_epoch
from daemon.state import StateWriter
from daemon.stream import Stream
from engines.bundle import open_bundle
from engines.errors import EngineError
from engines.select import open_engine

log = structlog.get_logger()

FORCED_EXIT = 128 + signal.SIGINT

TICK_S = 0.003
"""Longest sleep between two looks at the inlets, which have nothing to wait on beside ZeroMQ."""
_HEALTHY_S = 10.0
"""Without a completed tick for this long the process is not healthy."""


def run_service(path: Path) -> None:
    """Run the daemon as this config file says, until SIGTERM or SIGINT.

    Raises:
        HypnodError: it cannot start, or no stream is left to stage.
    """
    config = load_config(path)
    configure_log(config.log)
    Service(config).run()


class Service:
    """Everything between `hypnod run` and its exit.

    Args:
        config: what to do.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._session = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        self._began = time.time()
        self._started = self._progressed = time.monotonic()
        self._beat_due = self._started
        self._warm = False
        self._stop_signal: signal.Signals | None = None
        self._reload = False
        self._resources = ExitStack()
        self._journal_problem: str | None = None
        self._metrics = Metrics()
        self._notifier = Notifier()
        self._clock = load_pylsl().local_clock

    def run(self) -> None:
        """Start, stage until told to stop, and end in order.

        Raises:
            HypnodError: a part cannot start, the engine failed, or every stream failed.
        """
        with self._resources, handling(self._on_signal):
            self.startup()
            try:
                self.main_loop()
            except EngineError as error:
                self._fail(error)
                raise
            finally:
                self.shutdown()

    def startup(self) -> None:
        """Bind the sockets, open and warm the engine, look for the streams; then READY=1."""
        config, resources = self._config, self._resources
        resources.callback(self._notifier.close)
        server = MetricsServer(
            config.metrics, self._metrics.registry, self._unhealthy, self._unready
        )
        resources.callback(server.close)
        self._journal = resources.enter_context(Journal(config.journal, self._metrics))
        self._gate = resources.enter_context(
            Gate(config.security, lambda reason: self._metrics.refused.labels(reason).inc())
        )
        self._publisher = resources.enter_context(Publisher(config.publish, self._gate))
        catch_up = resources.enter_context(CatchUp(config.publish, self._journal.path, self._gate))
        log.info(
            "listening",
            publish=self._publisher.endpoint,
            catch_up=catch_up.endpoint,
            metrics=f"{server.host}:{server.port}",
        )
        history, first_seq = self._journal.history()
        self._publisher.number_from(history.next_seq, first_seq)
        self._outbox = Outbox(self._journal, self._publisher)
        self._journal.begin(describe_run(self._session, self._began, config))
        self._states = StateWriter(
            config.streams, self._session, self._outbox, self._metrics, self._notifier
        )
        self._open_engine()
        self._recall = Recall(history, self._stager, config, self._bundle)
        self._send_last_words(self._recall.orphans())
        self._open_streams()
        self._warm = True
        self._notifier.ready()
        log.info("ready", version=VERSION, session=self._session, config=config.hash)

    def main_loop(self) -> None:
        """Tick until a signal comes or no stream is left.

        Raises:
            HypnodError: the error of a stream, when every stream failed.
        """
        while self._stop_signal is None:
            busy = self.on_tick()
            self._publisher.serve(0 if busy else TICK_S)
            self._gate.serve()
            if self._reload:
                self._reload = False
                self._gate.reload()
            errors = [stream.error for stream in self._streams if stream.error is not None]
            if len(errors) == len(self._streams):
                raise errors[-1]

    def on_tick(self) -> bool:
        """Read every inlet, stage at most one epoch of each stream, publish; say if one was."""
        now = self._clock()
        for stream in self._streams:
            stream.poll(now)
            self._settle(stream)
        self._watch_journal()
        busy = self._stage_round()
        self._progressed = time.monotonic()
        self._metrics.last_tick.set_to_current_time()
        self._notifier.beat(self._progressed)
        if self._progressed >= self._beat_due:
            self._beat_due = self._progressed + self._config.publish.heartbeat_s
            uptime_s, states = time.monotonic() - self._started, self._states.all
            self._publisher.publish(self._compose.heartbeat(uptime_s, states))
        return busy

    def shutdown(self) -> None:
        """Stage what is ready, publish the final estimates still due, and close everything."""
        self._notifier.stopping()
        self._warm = False
        log.info("stopping", signal=self._stop_signal.name if self._stop_signal else None)
        for stream in self._streams:
            stream.drain()
            stream.past.give_up("the daemon stopped before it was found")
            self._settle(stream)
        while self._stage_round():
            pass
        self._publish(self._stager.flush())
        for stream in self._streams:
            stream.stop()
        self._resources.close()

    def _open_engine(self) -> None:
        config = self._config
        self._bundle = open_bundle(Path(config.engine.bundle) if config.engine.bundle else None)
        subjects = {s.name: [subject.name for subject in s.subjects] for s in config.streams}
        self._engine = self._resources.enter_context(
            open_engine(
                self._bundle,
                config.engine.kind,
                n_rows=sum(map(len, subjects.values())),
                threads=config.engine.threads,
                precision=config.engine.precision,
                hops_per_epoch=hops_per_epoch(config.staging.hop_s, self._bundle.spec),
            )
        )
        self._stager = Stager(self._engine, subjects, config.staging)
        self._engine.warm_up()
        self._compose = Composer(self._describe(), self._bundle.spec, self._publisher)

    def _describe(self) -> Session:
        """Tell the journal, the metrics and the log what this run computes with."""
        run = describe_run(
            self._session, self._began, self._config, self._bundle, self._engine.description
        )
        self._journal.begin(run)
        self._metrics.info.info(
            {
                "version": run.version,
                "model": run.model,
                "model_name": run.model_name,
                "engine": run.engine,
                "config": run.config_hash,
            }
        )
        log.info("engine", engine=run.engine, model=run.model_name)
        return run

    def _open_streams(self) -> None:
        config, spec, model = self._config, self._bundle.spec, self._bundle.hash[:12]
        self._streams = [
            Stream(
                stream, config, spec, self._states, self._metrics, self._recall.pasts[stream.name]
            )
            for stream in config.streams
        ]
        self._outlets: dict[str, StageOutlet] = {}
        for stream in config.streams if config.publish.lsl else ():
            outlet = StageOutlet(stream, spec, model, config.hash)
            self._outlets[stream.name] = outlet
            self._resources.callback(outlet.close)

    def _fail(self, error: EngineError) -> None:
        """Without an engine nothing can be staged, now or later."""
        for stream in self._streams:
            stream.fail(error)
            while stream.pop() is not None:
                pass

    def _stage_round(self) -> bool:
        batches = [batch for stream in self._streams if (batch := stream.pop()) is not None]
        if not batches:
            return False
        with self._metrics.step.time():
            estimates = self._stager.stage(batches)
        if self._engine.description != self._compose.run.engine:
            self._announce_engine()
        self._publish(estimates, [self._checkpoint(batch) for batch in batches])
        for stream in self._streams:
            stream.show_filled(max(self._stager.slots_filled(stream.name)))
        return True

    def _announce_engine(self) -> None:
        """Say which engine runs since the one before was lost."""
        self._compose.run = self._describe()
        self._metrics.engine_losses.inc()

    def _checkpoint(self, batch: EpochBatch) -> Checkpoint:
        (stream,) = (stream for stream in self._streams if stream.name == batch.stream)
        return self._recall.checkpoint(batch, stream.nominal_sfreq, stream.clocks)

    def _settle(self, stream: Stream) -> None:
        """Act on what a restart is to a stream, as soon as that is known."""
        verdict = stream.past.verdict
        if verdict is None or not self._recall.is_news(stream.name):
            return
        self._send_last_words(self._recall.settle(stream.name))
        stream.show_filled(max(self._stager.slots_filled(stream.name)))
        self._states.note(stream.name, verdict.reason)

    def _send_last_words(self, lives: Sequence[StageMessage]) -> None:
        self._outbox.send([self._compose.last_word(live) for live in lives])

    def _watch_journal(self) -> None:
        self._journal.retry()
        if self._journal.problem != self._journal_problem:
            self._journal_problem = self._journal.problem
            self._states.trouble("journal", self._journal_problem)

    def _publish(
        self, estimates: Sequence[Estimate], checkpoints: Sequence[Checkpoint] = ()
    ) -> None:
        offsets = {stream.name: stream.clock_offset for stream in self._streams}
        lived: dict[tuple[str, float], dict[str, str]] = {}
        messages: list[StageMessage] = []
        for estimate in estimates:
            onset = estimate.onset + offsets[estimate.stream]
            messages.append(self._compose.stage(estimate, onset))
            if estimate.kind == "live":
                lived.setdefault((estimate.stream, onset), {})[estimate.subject] = estimate.stage
        self._outbox.send(messages, checkpoints)
        for message in messages:
            if message.kind == "live":
                self._metrics.observe(message, time.time())
        for (stream_name, onset), stages in lived.items():
            if stream_name in self._outlets:
                self._outlets[stream_name].push(stages, onset)

    def _unhealthy(self) -> dict[str, str]:
        silent_s = time.monotonic() - self._progressed
        return {"loop": f"no progress for {silent_s:.0f} s"} if silent_s > _HEALTHY_S else {}

    def _unready(self) -> dict[str, str]:
        return self._states.not_ready if self._warm else {"engine": "not running"}

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        # No logging here: the signal may have come while the log's lock is held.
        if number == signal.SIGHUP:
            self._reload = True
            return
        if number == signal.SIGINT and self._stop_signal is not None:
            os._exit(FORCED_EXIT)
        self._stop_signal = self._stop_signal or signal.Signals(number)
