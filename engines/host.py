"""What engines share: the context window in host memory, and one step of it."""

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from engines.base import Context, Engine
from engines.context import ContextWindow
from engines.errors import EngineError
from models.spec import ModelSpec

Answer = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Probabilities (n, n_pathways, n_read, n_stages) and the newest epoch's tokens
(n, *token_shape)."""


class ContextEngine(Engine):
    """An engine whose context window is a ring in host memory; `_read` is all it lacks.

    Args:
        spec: the model.
        n_rows: subjects to keep a context window for.
        hops_per_epoch: outputs per epoch length.
        n_read: slots of the window to answer for; default: all.
    """

    def __init__(
        self, spec: ModelSpec, n_rows: int, hops_per_epoch: int = 1, n_read: int | None = None
    ) -> None:
        super().__init__(spec, n_rows, hops_per_epoch, n_read)
        self._context = ContextWindow(spec, n_rows, hops_per_epoch)

    @abstractmethod
    def _read(
        self,
        epochs: NDArray[np.float32],
        rows: NDArray[np.intp],
        mask: NDArray[np.bool_],
        unimodal: NDArray[np.bool_],
    ) -> Answer:
        """Run the network on the newest epochs of some rows and their windows.

        Args:
            epochs: (n, n_modalities, n_inputs), zeros where not valid.
            rows: (n,).
            mask: (n, n_context, n_modalities), newest last; no row is masked throughout.
            unimodal: (n,), of which rows the single modalities are wanted; what is given of the
                others does not matter.
        """

    def step(
        self,
        epochs: NDArray[np.float32],
        rows: NDArray[np.intp],
        valid: NDArray[np.bool_],
        *,
        unimodal: NDArray[np.bool_] | bool = False,
    ) -> NDArray[np.float32]:
        """Append the newest epoch of each given row and read its context window; see Engine."""
        self.check_inputs(epochs, rows, valid)
        spec, n = self.spec, len(rows)
        mask = np.concatenate([self._context.mask(rows), valid[:, None]], axis=1)
        # one modality after the other: numpy takes ten times as long for all at once
        anywhere = np.stack([of.any(axis=1) for of in mask.transpose(2, 0, 1)], axis=-1)
        readable = spec.readable(anywhere)  # (n, n_pathways)
        wanted = readable.copy()
        wanted[:, 1:] &= np.broadcast_to(unimodal, n)[:, None]
        shape = (n, len(spec.pathways), self.n_read, len(spec.stages))
        answer = np.full(shape, np.nan, np.float32)
        newest = np.zeros((n, *spec.token_shape), np.float32)
        run = readable[:, 0]
        if run.any():
            some = slice(None) if run.all() else run  # a view where nothing need be left out
            epochs = np.where(valid[..., None], epochs, np.float32(0))[some]
            single: NDArray[np.bool_] = np.logical_or.reduce(wanted[some, 1:], axis=1)
            answer[some], newest[some] = self._read(epochs, rows[some], mask[some], single)
            if not (np.isfinite(answer[some, 0]).all() and np.isfinite(newest).all()):
                raise EngineError(f"{self.name}: expected finite probabilities, found NaN")
        answer[~wanted] = np.nan
        self._context.append(rows, newest, valid)
        return answer

    def slots_filled(self, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """Count the slots of each row's window that are valid in any modality; shape (n,)."""
        return self._context.slots_filled(rows)

    def newest(self, rows: NDArray[np.intp]) -> dict[str, NDArray[np.generic]]:
        """Return a copy of what the last step appended to each row's context window."""
        return self._context.newest(rows)

    def save_context(self, row: int) -> dict[str, NDArray[np.generic]]:
        """Return a copy of a row's context window."""
        return self._context.save(row)

    def load_context(self, row: int, context: Context) -> None:
        """Put back a saved context window, exactly; raises EngineError if it does not fit."""
        self._context.load(row, context)

    def clear_context(self, row: int) -> None:
        """Empty a row's context window: all slots masked."""
        self._context.clear(row)
