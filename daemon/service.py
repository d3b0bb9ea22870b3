"""The service: startup, main loop, shutdown. One thread reads, stages and publishes."""

import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import structlog

from daemon.baseline import read_baselines
from daemon.compose import VERSION, Composer, describe_run
from daemon.config import Config, load_config
from daemon.journal.file import journal_path
from daemon.journal.forecast import bytes_a_day
from daemon.journal.reader import Session
from daemon.journal.writer import Journal
from daemon.log import configure_log
from daemon.lsl.library import load_pylsl
from daemon.lsl.outlet import StageOutlet
from daemon.metrics import Metrics
from daemon.notify import Notifier
from daemon.outbox import Outbox
from daemon.restart.history import look_back
from daemon.restart.recall import Recall
from daemon.round import Rounds
from daemon.sockets.clients import Clients
from daemon.stager import Stager, hops_per_epoch
from daemon.state import StateWriter
from daemon.stderr import free_stderr
from daemon.stream import GuardedSink, Stream
from daemon.trigger.rules import check_model
from daemon.trigger.triggers import Triggers
from daemon.watch.engine import EngineWatch
from engines.bundle import open_bundle
from engines.errors import EngineError
from engines.select import open_engine

log = structlog.get_logger()

FORCED_EXIT = 128 + signal.SIGINT

TICK_S = 0.003
"""Sleep between two looks at the inlets, which have nothing to wait on."""
_HEALTHY_S = 10.0
"""Without a completed tick for this long the process is not healthy."""


def run_service(path: Path) -> None:
    """Run the daemon as this config file says, until SIGTERM or SIGINT.

    Raises:
        HypnodError: it cannot start, or no stream is left to stage.
    """
    metrics = Metrics()
    free_stderr(metrics.log_lost.inc)
    config = load_config(path)
    configure_log(config.log)
    Service(config, metrics).run()


class Service:
    """Everything between `hypnod run` and its exit.

    Args:
        config: what to do.
        metrics: show what it does.
    """

    def __init__(self, config: Config, metrics: Metrics) -> None:
        self._config = config
        self._session = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        self._began = time.time()
        self._started = self._progressed = time.monotonic()
        self._beat_due = self._started
        self._warm = False
        self._stop_signal: signal.Signals | None = None
        self._reload = False
        self._resources = ExitStack()
        self._problems: dict[str, str | None] = {}
        self._metrics = metrics
        self._notifier = Notifier()
        self._clock = load_pylsl().local_clock

    def run(self) -> None:
        """Start, stage until told to stop, and end in order.

        Raises:
            HypnodError: a part cannot start, the engine failed, or every stream failed.
        """
        with self._resources, _handling(self._on_signal):
            self.startup()
            try:
                self.main_loop()
            except EngineError as error:
                self._fail(error)
                raise
            finally:
                self.shutdown()

    def startup(self) -> None:
        """Check the config, bind sockets, warm the engine up, look for streams; then READY=1."""
        config, resources = self._config, self._resources
        resources.callback(self._notifier.close)
        self._bundle = open_bundle(config.engine.folder, config.engine.species)
        config.check_modalities(self._bundle.spec.modalities)
        check_model(config.triggers, self._bundle.spec)
        clients = Clients(
            config,
            journal_path(config.journal.path),
            lambda: self._journal.has_all,
            self._metrics,
            lambda: (self._unhealthy(), self._unready()),
        )
        resources.callback(clients.close)
        self._clients = clients
        bound = clients.listen()
        self._journal = resources.enter_context(Journal(config.journal, self._metrics))
        self._journal.expect(bytes_a_day(config, self._bundle.spec.epoch_s))
        self._outbox = Outbox(self._journal, clients)
        log.info("listening", **bound)
        history = look_back(self._journal)
        self._outbox.number_from(history.next_seq, history.first_seq)
        run = describe_run(self._session, self._began, config)
        self._journal.begin(run)
        self._states = StateWriter(
            config.streams, self._session, self._outbox, self._metrics, self._notifier
        )
        self._open_engine(run)
        self._recall = Recall(
            history, self._stager, config, self._bundle, self._compose, self._outbox, self._states
        )
        self._open_streams()
        self._recall.close_orphans()
        self._warm = True
        self._notifier.ready()
        self._outbox.sinks.append(self._notifier)
        log.info("ready", version=VERSION, session=self._session, config=config.hash)

    def main_loop(self) -> None:
        """Tick until a signal comes or no stream is left.

        Raises:
            HypnodError: the error of a stream, when every stream failed.
        """
        while self._stop_signal is None:
            if not self.on_tick():
                time.sleep(TICK_S)
            if self._reload:
                self._reload = False
                self._clients.reload()
            errors = [stream.error for stream in self._streams if stream.error is not None]
            if len(errors) == len(self._streams):
                raise errors[-1]

    def on_tick(self) -> bool:
        """Read every inlet, stage at most one epoch of each stream, publish; say if one was."""
        now = self._clock()
        for stream in self._streams:
            stream.poll(now)
            with stream.guard("going on after the restart"):
                self._recall.on_tick(stream, now)
        busy = self._rounds.go()
        if busy:  # the next epoch is as far away as can be
            self._record_pulses()
        self._engine.improve()  # also where no tick is without an epoch: then it is needed most
        self._show("journal", self._journal.problem)
        self._show("clients", self._clients.problem)
        self._progressed = time.monotonic()
        if self._progressed >= self._beat_due:
            self._beat_due = self._progressed + self._config.publish.heartbeat_s
            beat = self._compose.heartbeat(
                self._progressed - self._started,
                self._states.all,
                self._states.troubles,
                self._outbox.newest,
            )
            self._outbox.send([beat])
            self._record_pulses()
        return busy

    def shutdown(self) -> None:
        """Stage what is ready, publish the final estimates still due, and close everything."""
        self._notifier.stopping()
        self._warm = False
        log.info("stopping", signal=self._stop_signal.name if self._stop_signal else None)
        for stream in self._streams:
            with stream.guard("ending it"):
                stream.drain()
            with stream.guard("ending it"):
                self._recall.give_up(stream)
        self._rounds.finish()
        self._record_pulses()
        for stream in self._streams:
            with stream.guard("ending it"):
                stream.stop()
        self._resources.close()

    def _open_engine(self, run: Session) -> None:
        config = self._config
        subjects = {s.name: [subject.name for subject in s.subjects] for s in config.streams}
        engine = self._resources.enter_context(
            open_engine(
                self._bundle,
                config.engine.kind,
                n_rows=sum(map(len, subjects.values())),
                threads=config.engine.threads,
                precision=config.engine.precision,
                hops_per_epoch=hops_per_epoch(config.staging.hop_s, self._bundle.spec),
                n_read=config.staging.final_lag + 1,
                at_once=True,
            )
        )
        grammar = self._bundle.manifest.grammar
        self._stager = Stager(engine, subjects, config.staging, grammar)
        engine.warm_up()
        self._engine = EngineWatch(
            engine, self._bundle, run, self._journal, self._metrics, self._states
        )
        self._compose = Composer(
            self._engine, self._bundle.spec, hops_per_epoch=engine.hops_per_epoch
        )

    def _open_streams(self) -> None:
        """Look for the streams, and complete the list of sinks but for the watchdog."""
        config, spec, recall = self._config, self._bundle.spec, self._recall
        hop_s, reference = config.staging.hop_s, self._bundle.manifest.reference
        taken: dict[str, str] = {}
        self._streams = [
            Stream(
                stream,
                config,
                spec,
                self._states,
                self._metrics,
                recall.pasts[stream.name].begin,
                reference,
                taken,
            )
            for stream in config.streams
        ]
        for of, stream in zip(config.streams, self._streams, strict=True):
            with stream.guard("learning from its baselines"):
                recent = recall.adaptation(of.name)
                stream.learn(read_baselines(of, hop_s, config.quality, spec, reference, recent))
            if config.publish.lsl:
                with stream.guard("opening its outlet"):
                    outlet = StageOutlet(of, spec, self._bundle.hash[:12], config.hash)
                    self._resources.callback(outlet.close)
                    self._outbox.sinks.append(GuardedSink(outlet, stream))
        for rule in config.triggers:
            for subject in filter(rule.is_for, config.subjects):
                self._metrics.count_triggers_from_zero(rule.name, subject)
        self._outbox.sinks.append(self._metrics)
        self._rounds = Rounds(
            self._streams,
            self._stager,
            self._engine,
            recall,
            self._compose,
            Triggers(config, recall.triggers, self._journal, self._compose),
            self._outbox,
            self._metrics,
            lambda: self._clients.viewed,
        )

    def _record_pulses(self) -> None:
        """Journal and publish what `hypnod pulse` told, a bounded part of it."""
        if done := self._clients.done():
            outputs = self._config.pulse
            self._outbox.send([self._compose.pulse(d, outputs[d.output].driver) for d in done])

    def _fail(self, error: EngineError) -> None:
        """Without an engine nothing can be staged, now or later."""
        for stream in self._streams:
            stream.fail(error)
            while stream.pop() is not None:
                pass

    def _show(self, what: str, problem: str | None) -> None:
        if problem != self._problems.get(what):
            self._problems[what] = problem
            self._states.trouble(what, problem)

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


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Let a handler have SIGTERM, SIGINT and SIGHUP, and give them back at the end."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
