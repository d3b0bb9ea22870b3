"""The torch engine: the reference that other engines are compared with.

The only module of `engines/` that imports torch; it needs the extra `train`.
"""

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from engines.bundle import Bundle
from engines.host import Answer, ContextEngine
from models.weights import load_model


class TorchEngine(ContextEngine):
    """Runs a bundle's weights with torch's own operators on the processor.

    Args:
        bundle: the model.
        n_rows: subjects to keep a context window for.
        threads: threads of one step; torch has one setting for the whole process.
        hops_per_epoch: outputs per epoch length.
        n_read: slots of the window to answer for; default: all.
    """

    name: ClassVar[str] = "torch"

    def __init__(
        self,
        bundle: Bundle,
        n_rows: int,
        threads: int = 1,
        hops_per_epoch: int = 1,
        n_read: int | None = None,
    ) -> None:
        super().__init__(bundle.spec, n_rows, hops_per_epoch, n_read)
        torch.set_num_threads(threads)
        self._model = load_model(bundle.path)

    @property
    def description(self) -> str:
        """Library, version and device in one line."""
        return f"torch {torch.__version__} CPU"

    def close(self) -> None:
        """Release the weights; the engine must not be used any more."""
        del self._model

    def _read(
        self,
        epochs: NDArray[np.float32],
        rows: NDArray[np.intp],
        mask: NDArray[np.bool_],
        unimodal: NDArray[np.bool_],
    ) -> Answer:
        N = self.spec.n_context
        slots = torch.arange(N - self.n_read, N)
        with torch.inference_mode():
            seen = torch.from_numpy(mask)
            newest = self._model.encode(torch.from_numpy(epochs), seen[:, -1])
            window = torch.cat(
                [torch.from_numpy(self._context.tokens(rows)), newest[:, None]], dim=1
            )
            logits = torch.stack(self._model.read(window, seen, slots=slots), dim=1)
            return logits.softmax(-1).numpy(), newest.numpy()
