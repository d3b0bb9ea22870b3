"""The Engine: one step per epoch, with a context window that stays inside the engine.

`step()` takes the newest epoch of some rows (a row is a subject), encodes it to an epoch
token, appends the token to the row's ring and reads the whole context window. Because the
token is position-free and nothing crosses epochs before the sequence stage, this equals
recomputing the whole window from its raw epochs, at a tenth of the work.

The window is time-aligned: every epoch takes a slot, also one that could not be scored; its
key is masked, per modality. So warm-up, a lost EMG and a ten-minute outage are all masks.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from engines.errors import EngineError
from models.spec import ModelSpec

Context = Mapping[str, NDArray[np.generic]]
"""What `save_context` gives and `load_context` takes: arrays by name."""


class Engine(ABC):
    """Runs one bundle for a fixed number of rows.

    Args:
        spec: the model.
        n_rows: subjects this engine keeps a context window for.
        hops_per_epoch: outputs per epoch length; the ring is kept at hop resolution and the
            window reads every `hops_per_epoch`-th token.
        n_read: slots of the window to answer for, the newest ones; default: all.
    """

    name: ClassVar[str]
    """What the config calls this engine."""

    why: str = ""
    """Why this engine runs, where there was a choice."""

    degraded: bool = False
    """It runs in the place of one that was lost or was asked for by name: see `why`."""

    def __init__(
        self, spec: ModelSpec, n_rows: int, hops_per_epoch: int = 1, n_read: int | None = None
    ) -> None:
        self.spec = spec
        self.n_rows = n_rows
        self.hops_per_epoch = hops_per_epoch
        self.n_read = min(n_read or spec.n_context, spec.n_context)

    @property
    @abstractmethod
    def description(self) -> str:
        """Library, version and device in one line, for logs and messages."""

    @abstractmethod
    def step(
        self,
        epochs: NDArray[np.float32],
        rows: NDArray[np.intp],
        valid: NDArray[np.bool_],
        *,
        unimodal: NDArray[np.bool_] | bool = False,
    ) -> NDArray[np.float32]:
        """Append the newest epoch of each given row and read its context window.

        Args:
            epochs: (n, n_modalities, n_inputs), conditioned.
            rows: (n,), each row at most once.
            valid: (n, n_modalities); False masks this slot's key of that modality for as long
                as it is in the window. The epoch's samples then do not matter.
            unimodal: (n,), of which rows to read the pathways of the single modalities as well,
                if the model has such.

        Returns:
            Probabilities (n, n_pathways, n_read, n_stages), a new array: slot -1 is the newest
            epoch, slot -1-j the one j epoch lengths before. NaN where a pathway has no valid slot
            to read, or was not to be read.

        Raises:
            EngineError: an array does not fit, or the engine failed.
        """

    @abstractmethod
    def slots_filled(self, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """Count the slots of each row's window that are valid in any modality; shape (n,)."""

    @abstractmethod
    def newest(self, rows: NDArray[np.intp]) -> dict[str, NDArray[np.generic]]:
        """Return a copy of what the last step appended to each row's context window.

        Args:
            rows: (n,).

        Returns:
            For each array of `save_context` its last entry, stacked: (n, …). Those of as many
            steps as the array is long make up the array.
        """

    @abstractmethod
    def save_context(self, row: int) -> dict[str, NDArray[np.generic]]:
        """Return a copy of a row's context window."""

    @abstractmethod
    def load_context(self, row: int, context: Context) -> None:
        """Put back a saved context window, exactly; raises EngineError if it does not fit."""

    @abstractmethod
    def clear_context(self, row: int) -> None:
        """Empty a row's context window: all slots masked."""

    @abstractmethod
    def close(self) -> None:
        """Release the engine's resources."""

    def improve(self) -> None:  # noqa: B027  most have nothing to wait for
        """Go on with a better engine if one became ready; call it between steps, as it takes ms."""

    def warm_up(self) -> None:
        """Run every code path once, so that the first real epoch is not the slow one."""
        saved = [self.save_context(row) for row in range(self.n_rows)]
        spec, rows = self.spec, np.arange(self.n_rows)
        epochs = np.zeros((self.n_rows, spec.n_modalities, spec.n_inputs), np.float32)
        valid = np.ones((self.n_rows, spec.n_modalities), bool)
        for unimodal in (False, True):
            self.step(epochs, rows, valid, unimodal=unimodal)
        for row, context in enumerate(saved):
            self.load_context(row, context)

    def check_inputs(
        self, epochs: NDArray[np.float32], rows: NDArray[np.intp], valid: NDArray[np.bool_]
    ) -> None:
        """Raise EngineError where the arrays given to `step` do not fit."""
        if rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer):
            raise EngineError(f"rows: expected (n,) integers, found {rows.shape} {rows.dtype}")
        numbers = rows.tolist()
        if any(not 0 <= row < self.n_rows for row in numbers) or len(set(numbers)) != len(rows):
            raise EngineError(
                f"rows: expected different numbers below {self.n_rows}, found {numbers}"
            )
        shape = (len(rows), self.spec.n_modalities, self.spec.n_inputs)
        if epochs.shape != shape or epochs.dtype != np.float32:
            raise EngineError(
                f"epochs: expected {shape} float32, found {epochs.shape} {epochs.dtype}"
            )
        if valid.shape != shape[:2] or valid.dtype != np.bool_:
            raise EngineError(
                f"valid: expected {shape[:2]} bool, found {valid.shape} {valid.dtype}"
            )
        if not np.isfinite(epochs[valid]).all():
            raise EngineError("epochs: expected finite samples where valid, found NaN or infinity")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
