"""From one engine to another with all contexts: to a GPU that is ready, and from one that is lost.

The first happens between two steps, the second within one.
"""

from typing import ClassVar, Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from engines.base import Context, Engine
from engines.errors import EngineError

log = structlog.get_logger()


class Later(Protocol):
    """Gets an engine ready while another one runs."""

    required: bool
    """Somebody asked for this very engine."""

    def take(self) -> Engine | None:
        """Return the engine once it is ready; raises EngineError if there will be none."""

    def close(self) -> None:
        """Give it up, or close it if nobody took it."""


class FailoverEngine(Engine):
    """Runs one engine until it fails, then another with the same contexts, for good.

    The engine that failed must still give its contexts, as engines do that keep them in host
    memory. It is not closed then: asking a device that hangs to free memory could hang as well.

    Args:
        primary: runs as long as it works; or gets ready what will, and the spare runs until then.
        spare: opened and warm; same model, rows, hops and slots read.

    Raises:
        EngineError: the two are not for the same.
    """

    name: ClassVar[str] = "failover"

    def __init__(self, primary: Engine | Later, spare: Engine) -> None:
        super().__init__(spare.spec, spare.n_rows, spare.hops_per_epoch, spare.n_read)
        self._spare = self._active = spare
        self._later: Later | None = None
        if isinstance(primary, Engine):
            self._check(primary)
            self._active = primary
        else:
            self._later = primary

    @property
    def description(self) -> str:
        """That of the engine that runs now."""
        return self._active.description

    def step(
        self,
        epochs: NDArray[np.float32],
        rows: NDArray[np.intp],
        valid: NDArray[np.bool_],
        *,
        unimodal: NDArray[np.bool_] | bool = False,
    ) -> NDArray[np.float32]:
        """Step with the engine that works; see Engine."""
        self.check_inputs(epochs, rows, valid)  # what does not fit is no failure of the engine
        if self._active is not self._spare:
            try:
                return self._active.step(epochs, rows, valid, unimodal=unimodal)
            except EngineError as error:
                self._lose(error)
        return self._spare.step(epochs, rows, valid, unimodal=unimodal)

    def improve(self) -> None:
        """Let an engine that became ready take over; see Engine."""
        if self._later is None:
            return
        try:
            if (primary := self._later.take()) is None:
                return
            self._check(primary)
            self._go_on_with(primary)
            self.why = primary.why
        except EngineError as error:  # the spare goes on as before
            self.why, self.degraded = str(error), self._later.required
        self._later = None

    def _lose(self, error: EngineError) -> None:
        lost, now = self._active.description, self._spare.description
        self._go_on_with(self._spare)
        self.why, self.degraded = f"{lost} was lost: {error}", True
        log.error("engine lost", reason=str(error), now=now)

    def _check(self, primary: Engine) -> None:
        for what in ("spec", "n_rows", "hops_per_epoch", "n_read"):
            expected, found = getattr(primary, what), getattr(self._spare, what)
            if expected != found:
                raise EngineError(f"failover: expected equal {what}, found {expected} and {found}")

    def _go_on_with(self, engine: Engine) -> None:
        """Carry every context over; a step that failed has not touched them."""
        for row in range(self.n_rows):
            engine.load_context(row, self._active.save_context(row))
        self._active = engine

    def slots_filled(self, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """Count the slots of each row's window that are valid in any modality; shape (n,)."""
        return self._active.slots_filled(rows)

    def newest(self, rows: NDArray[np.intp]) -> dict[str, NDArray[np.generic]]:
        """Return a copy of what the last step appended to each row's context window."""
        return self._active.newest(rows)

    def save_context(self, row: int) -> dict[str, NDArray[np.generic]]:
        """Return a copy of a row's context window."""
        return self._active.save_context(row)

    def load_context(self, row: int, context: Context) -> None:
        """Put back a saved context window, exactly; raises EngineError if it does not fit."""
        self._active.load_context(row, context)

    def clear_context(self, row: int) -> None:
        """Empty a row's context window: all slots masked."""
        self._active.clear_context(row)

    def close(self) -> None:
        """Release both engines, but not one that was lost."""
        if self._later is not None:
            self._later.close()
        if self._active is not self._spare:
            self._active.close()
        self._spare.close()
