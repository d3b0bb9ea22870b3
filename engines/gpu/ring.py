"""An engine whose tokens stay on a device, beside a copy of them in host memory.

The device's ring is what the network reads. The host's window decides: it knows the places and
the masks, is what `save_context` gives, and outlives the device. Each tick's new tokens come
back with its probabilities, 1 KB a subject, so the copy costs next to nothing.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.base import Context
from engines.gpu.buffers import bucket_for, bucket_sizes, fill_inputs, ring_slots
from engines.host import Answer, ContextEngine
from models.spec import ModelSpec


class RingEngine(ContextEngine):
    """Everything about a device's ring but the device: `_tick` and `_upload` are what it lacks.

    Args:
        spec: the model.
        n_rows: subjects to keep a context window for.
        hops_per_epoch: outputs per epoch length.
        n_read: slots of the window to answer for; default: all.

    Attributes:
        buckets: the sizes of the batches that are run; a smaller one is padded.
    """

    def __init__(
        self, spec: ModelSpec, n_rows: int, hops_per_epoch: int = 1, n_read: int | None = None
    ) -> None:
        super().__init__(spec, n_rows, hops_per_epoch, n_read)
        self.buckets = bucket_sizes(n_rows)
        self._ring_slots = ring_slots(n_rows, self._context.n_slots)
        self._host: Mapping[str, NDArray[Any]] = {}
        """Buffers of a tick in host memory, by the network's names, for `n_rows` subjects."""

    @abstractmethod
    def _tick(self, bucket: int) -> None:
        """Run the network on the first `bucket` places of the host's buffers.

        Copies the inputs to the device, reads and writes its ring, and has copied the outputs
        back when it returns.

        Raises:
            EngineError: the device failed.
        """

    @abstractmethod
    def _upload(self, first: int, tokens: NDArray[np.float32]) -> None:
        """Write tokens (n, *token_shape) into the device's ring from a slot on."""

    def load_context(self, row: int, context: Context) -> None:
        """Put back a saved context window, exactly; raises EngineError if it does not fit."""
        super().load_context(row, context)  # the oldest token then lies in the row's first slot
        tokens = np.asarray(context["tokens"], np.float32)
        self._upload(row * self._context.n_slots, tokens)

    def _read(
        self,
        epochs: NDArray[np.float32],
        rows: NDArray[np.intp],
        mask: NDArray[np.bool_],
        unimodal: NDArray[np.bool_],
    ) -> Answer:
        n, bucket = len(rows), bucket_for(len(rows), self.buckets)
        fill_inputs(self._host, bucket, rows, epochs, mask, self._context)
        self._tick(bucket)
        return self._host["probabilities"][:n].copy(), self._host["token"][:n].copy()
