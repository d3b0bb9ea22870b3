"""What happens when a GPU is lost in the night: the processor goes on, within the same tick."""

from typing import ClassVar

import numpy as np
import structlog
from numpy.typing import NDArray

from engines.base import Context, Engine
from engines.errors import EngineError

log = structlog.get_logger()


class FailoverEngine(Engine):
    """Runs one engine until it fails, then another with the same contexts, for good.

    The engine that failed must still give its contexts, as engines do that keep them in host
    memory. It is not closed then: asking a device that hangs to free memory could hang as well.

    Args:
        primary: runs as long as it works.
        spare: opened and warm; same model, rows, hops and slots read.

    Raises:
        EngineError: the two are not for the same.
    """

    name: ClassVar[str] = "failover"

    def __init__(self, primary: Engine, spare: Engine) -> None:
        for what in ("spec", "n_rows", "hops_per_epoch", "n_read"):
            expected, found = getattr(primary, what), getattr(spare, what)
            if expected != found:
                raise EngineError(f"failover: expected equal {what}, found {expected} and {found}")
        super().__init__(primary.spec, primary.n_rows, primary.hops_per_epoch, primary.n_read)
        self._primary, self._spare, self._active = primary, spare, primary

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
        if self._active is self._primary:
            try:
                return self._primary.step(epochs, rows, valid, unimodal=unimodal)
            except EngineError as error:
                self._switch(error)
        return self._spare.step(epochs, rows, valid, unimodal=unimodal)

    def _switch(self, error: EngineError) -> None:
        """Carry every context over; a step that failed has not touched them."""
        for row in range(self.n_rows):
            self._spare.load_context(row, self._primary.save_context(row))
        self._active = self._spare
        self.why = f"{self._primary.description} was lost: {error}"
        log.error("engine lost", reason=str(error), now=self.description)

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
        if self._active is self._primary:
            self._primary.close()
        self._spare.close()
