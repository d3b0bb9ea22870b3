"""Which engine computes, and why: shown at the start, and again when that is another one."""

import structlog

from daemon.journal.reader import Session
from daemon.journal.writer import Journal
from daemon.metrics import Metrics
from daemon.state import StateWriter
from engines.base import Engine
from engines.bundle import Bundle

log = structlog.get_logger()


class EngineWatch:
    """Shows which engine runs, at once and whenever that or the reason for it has changed.

    Args:
        engine: opened, and warm.
        bundle: what it runs.
        run: the run of the daemon, as far as it is known without an engine.
        journal: keeps it with the description of the run.
        metrics: have it as `hypnod_info`, and count engines that were lost.
        states: remark in systemd's status that one was lost, or cannot be had as the config says.
    """

    def __init__(
        self,
        engine: Engine,
        bundle: Bundle,
        run: Session,
        journal: Journal,
        metrics: Metrics,
        states: StateWriter,
    ) -> None:
        self._engine = engine
        self._journal = journal
        self._metrics = metrics
        self._states = states
        name = bundle.manifest.name
        self.run = run._replace(model=bundle.hash[:12], model_name=name)
        """The run, with the engine that computes now, as every stage message names it."""
        self._show()

    def look(self) -> None:
        """See whether the engine is still the one that was shown; call it after every step."""
        engine = self._engine
        if (engine.description, engine.why) == self._shown:
            return
        if engine.degraded:
            if engine.description != self.run.engine:
                self._metrics.engine_losses.inc()
            self._states.remark("engine", f"{engine.why}; {engine.description} goes on")
        self._show()

    def improve(self) -> None:
        """Let an engine that became ready take over; call it between two rounds."""
        self._engine.improve()
        self.look()

    def _show(self) -> None:
        self._shown = self._engine.description, self._engine.why
        run = self.run = self.run._replace(engine=self._engine.description)
        self._journal.begin(run)
        self._metrics.info.info(
            {
                "version": run.version,
                "model": run.model,
                "model_name": run.model_name,
                "engine": run.engine,
                "engine_why": self._engine.why,
                "config": run.config_hash,
            }
        )
        log.info("engine", engine=run.engine, why=self._engine.why, model=run.model_name)
