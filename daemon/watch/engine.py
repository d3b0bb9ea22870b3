"""Which engine computes: shown at the start, and again when another one has taken over."""

import structlog

from daemon.journal.reader import Session
from daemon.journal.writer import Journal
from daemon.metrics import Metrics
from daemon.state import StateWriter
from engines.base import Engine
from engines.bundle import Bundle

log = structlog.get_logger()


class EngineWatch:
    """Shows which engine runs, at once and whenever another has taken over.

    Args:
        engine: opened, and warm.
        bundle: what it runs.
        run: the run of the daemon, as far as it is known without an engine.
        journal: keeps it with the description of the run.
        metrics: have it as `hypnod_info`, and count engines that were lost.
        states: remark in systemd's status that one was lost.
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
        if self._engine.description != self.run.engine:
            self._metrics.engine_losses.inc()
            self._states.remark("engine", f"{self._engine.why}; {self._engine.description} goes on")
            self._show()

    def _show(self) -> None:
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
