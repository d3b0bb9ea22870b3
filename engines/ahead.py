"""An engine for recordings whose epochs are all there: it reads many of them in one call.

A token is position-free and a window holds so many of them and no more. So a recording can be read
at several places at once, each in a lane of its own that first takes in what one window spans;
`step` then gives out what was read, epoch by epoch, as the engine would have done. The network's
calls are larger by the number of lanes, and so its rounding is another one: probabilities agree
within 1e-6 with those of single steps.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from engines.base import Engine
from engines.errors import EngineError
from engines.host import Answer, ContextEngine

_LEAST_SHARE = 8
"""A lane reads at least so many times what it has to take in before; twice that, where it can."""


class AheadEngine(ContextEngine):
    """Reads ahead with another engine, which it closes.

    Args:
        engine: with `lanes` rows for each one here.
        lanes: places of the recording that are read at once.
    """

    name = "ahead"

    def __init__(self, engine: Engine, lanes: int) -> None:
        n_rows = engine.n_rows // lanes
        super().__init__(engine.spec, n_rows, engine.hops_per_epoch, engine.n_read)
        self._engine = engine
        self._lanes = lanes
        self._span = self.spec.ring_length(self.hops_per_epoch) - 1
        self.block = 2 * _LEAST_SHARE * self._span * lanes
        """Epochs that are best read at once."""
        self._back = (self.n_read - 1) * self.hops_per_epoch
        self._partial = np.zeros((self._back, self.n_rows), bool)
        self._answers = np.zeros((0, 0), np.float32)
        self._tokens = np.zeros((0, 0), np.float32)
        self._at = 0

    @property
    def description(self) -> str:
        """That of the engine that reads."""
        return f"{self._engine.description}, {self._lanes} epochs of a subject at once"

    def clear_context(self, row: int) -> None:
        """Empty a row's context window: all slots masked."""
        super().clear_context(row)
        self._partial[:, row] = False

    def prepare(self, epochs: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
        """Read the epochs of the next n steps, each of which is to be of all rows.

        Args:
            epochs: (n, n_rows, n_modalities, n_inputs), as for `step`.
            valid: (n, n_rows, n_modalities), likewise.

        Raises:
            EngineError: an array does not fit, or the engine failed.
        """
        n, rows = len(epochs), np.arange(self.n_rows)
        lanes = min(self._lanes, max(1, n // max(1, _LEAST_SHARE * self._span)))
        share = -(-n // lanes)
        unimodal = self._unimodal(valid)
        for row in rows:
            self._engine.load_context(int(row), self.save_context(int(row)))
        for lane in range(1, lanes):
            for row in rows:
                self._engine.clear_context(int(lane * self.n_rows + row))
        starts = share * np.arange(lanes)
        for before in range(-self._span, 0):
            self._step(epochs, valid, unimodal, starts[1:] + before, 1)
        for k in range(share):
            places = starts[starts + k < np.minimum(starts + share, n)] + k
            answer, tokens = self._step(epochs, valid, unimodal, places, 0)
            if k == 0:
                self._answers = np.empty((n, *answer.shape[1:]), np.float32)
                self._tokens = np.empty((n, *tokens.shape[1:]), np.float32)
            self._answers[places], self._tokens[places] = answer, tokens
        self._at = 0

    def _unimodal(self, valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return where a modality alone may be asked for, (n, n_rows)."""
        partial = valid.any(axis=-1) & ~valid.all(axis=-1)
        known = np.concatenate([self._partial, partial])
        self._partial = known[len(known) - self._back :]
        recent = sliding_window_view(known, self._back + 1, axis=0)
        found: NDArray[np.bool_] = np.logical_or.reduce(recent, axis=-1)
        return found

    def _step(
        self,
        epochs: NDArray[np.float32],
        valid: NDArray[np.bool_],
        unimodal: NDArray[np.bool_],
        places: NDArray[np.intp],
        first: int,
    ) -> Answer:
        """Read one epoch of all rows at each of some places, the first one in the lane `first`.

        Returns:
            By place and row.
        """
        if not len(places):
            nothing = np.zeros((0, self.n_rows), np.float32)
            return nothing, nothing
        shape = (len(places), self.n_rows)
        rows = np.arange(first * self.n_rows, (first + len(places)) * self.n_rows)
        answer = self._engine.step(
            epochs[places].reshape(-1, *epochs.shape[2:]),
            rows,
            valid[places].reshape(-1, valid.shape[-1]),
            unimodal=unimodal[places].reshape(-1),
        )
        tokens = np.asarray(self._engine.newest(rows)["tokens"], np.float32)
        return answer.reshape(*shape, *answer.shape[1:]), tokens.reshape(*shape, *tokens.shape[1:])

    def _read(
        self,
        epochs: NDArray[np.float32],
        rows: NDArray[np.intp],
        mask: NDArray[np.bool_],
        unimodal: NDArray[np.bool_],
    ) -> Answer:
        if self._at >= len(self._answers):
            raise EngineError(f"{self.name}: expected epochs that were prepared, found others")
        return self._answers[self._at, rows], self._tokens[self._at, rows]

    def step(
        self,
        epochs: NDArray[np.float32],
        rows: NDArray[np.intp],
        valid: NDArray[np.bool_],
        *,
        unimodal: NDArray[np.bool_] | bool = False,
    ) -> NDArray[np.float32]:
        """Append what was prepared of the next epoch of all rows, and give out what was read."""
        answer = super().step(epochs, rows, valid, unimodal=unimodal)
        self._at += 1
        return answer

    def close(self) -> None:
        """Release what the engine that reads has."""
        self._engine.close()
