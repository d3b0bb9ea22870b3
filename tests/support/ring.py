"""The GPU engine with everything but the GPU: its network and its bookkeeping on the processor."""

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from engines.bundle import Bundle
from engines.gpu.buffers import input_buffers, output_buffers
from engines.gpu.flavour import Precision
from engines.gpu.network import derive_network
from engines.gpu.ring import RingEngine


class RingOnProcessor(RingEngine):
    """A ring whose device is an array, and whose tick is the GPU's network on ONNX Runtime."""

    name = "ring"
    description = "ring CPU"

    def __init__(
        self,
        bundle: Bundle,
        n_rows: int,
        hops_per_epoch: int = 1,
        n_read: int | None = None,
        precision: Precision = "fp32",
    ) -> None:
        super().__init__(bundle.spec, n_rows, hops_per_epoch, n_read)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            derive_network(bundle, precision, n_read), options, providers=["CPUExecutionProvider"]
        )
        self.inputs = input_buffers(bundle.spec)
        self.outputs = output_buffers(bundle.spec, self.n_read)
        self._host = {
            name: np.zeros((n_rows, *buffer.shape), buffer.dtype)
            for name, buffer in (self.inputs | self.outputs).items()
        }
        token = self.outputs["token"].shape
        self.ring = np.full((self._ring_slots, *token), 7, np.float32)  # junk: nothing may read it
        self.buckets_run: list[int] = []

    def _tick(self, bucket: int) -> None:
        self.buckets_run.append(bucket)
        feed = {name: self._host[name][:bucket] for name in self.inputs}
        names = [*self.outputs, "ring_out"]
        *answers, self.ring = self.session.run(names, feed | {"ring": self.ring})
        for name, answer in zip(self.outputs, answers, strict=True):
            self._host[name][:bucket] = answer

    def _upload(self, first: int, tokens: NDArray[np.float32]) -> None:
        self.ring[first : first + len(tokens)] = tokens

    def close(self) -> None:
        del self.session
