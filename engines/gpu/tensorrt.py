"""The TensorRT engine: the tokens of every subject stay in the GPU's memory.

A tick (epochs in, step, token into the ring, probabilities out) was recorded once for each batch
size as a CUDA graph and is replayed with one call; where it cannot be recorded, its calls are made
one by one. Nothing here needs torch.

The device's ring of tokens is what the network reads. The host's window decides: it knows the
places and the masks, is what `save_context` gives, and outlives the device. Each tick's new tokens
come back with its probabilities, 1 KB a subject, so the copy costs next to nothing.

**Nobody has run this module on a GPU yet.** It is tested on a device that is none: CUDA's memory
and graphs with every access checked, and ONNX Runtime as the plan (`tests/support/fake_gpu.py`).
The compilation of plans is tested with TensorRT-RTX itself. `make gpu-check` tests the rest on a
computer that has a GPU.
"""

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from engines.base import Context
from engines.errors import EngineError
from engines.gpu.buffers import (
    bucket_for,
    bucket_sizes,
    fill_inputs,
    input_buffers,
    output_buffers,
    ring_slots,
    token_bytes,
)
from engines.gpu.cuda import Gpu, GpuDevice
from engines.gpu.flavour import Library, get_log, load_library
from engines.gpu.plan_cache import Plan
from engines.host import Answer, ContextEngine
from models.graphs import BATCH, ring_step_inputs, ring_step_outputs
from models.spec import ModelSpec

if TYPE_CHECKING:
    import tensorrt

_FIRST_RUN_S = 120.0
"""TensorRT-RTX finishes compiling in the first run of each batch size, s."""
_PRODUCT = {"tensorrt": "tensorrt", "rtx": "tensorrt-rtx"}


@dataclass(frozen=True, slots=True)
class _Recorded:
    """The tick of one batch size."""

    context: "tensorrt.IExecutionContext"
    """With this batch's shapes, which must not change under the graph."""
    graph: int | None
    """The CUDA graph; None where it cannot be recorded."""


class TensorRtEngine(ContextEngine):
    """Runs a plan of TensorRT or TensorRT-RTX on a GPU.

    Args:
        spec: the model.
        plan: compiled for this model, this GPU and at least as many rows.
        device: the GPU.
        n_rows: subjects to keep a context window for.
        hops_per_epoch: outputs per epoch length.
        n_read: slots of the window to answer for, as the plan was compiled; default: all.

    Attributes:
        buckets: the sizes of the batches that are run; a smaller one is padded.
        not_recorded: why a tick is no CUDA graph; empty where it is one.

    Raises:
        EngineError: the plan does not load or fit, or the GPU refuses something.
    """

    name: ClassVar[str] = "tensorrt"

    def __init__(
        self,
        spec: ModelSpec,
        plan: Plan,
        device: GpuDevice,
        n_rows: int,
        hops_per_epoch: int = 1,
        n_read: int | None = None,
    ) -> None:
        super().__init__(spec, n_rows, hops_per_epoch, n_read)
        self.buckets = bucket_sizes(n_rows)
        self._ring_slots = ring_slots(n_rows, self._context.n_slots)
        self._key, self._device = plan.key, device
        self._inputs, self._outputs = input_buffers(spec), output_buffers(spec, self.n_read)
        self._log = get_log(plan.key.flavour)
        self._recorded: dict[int, _Recorded] = {}
        self.not_recorded = ""
        self._runtime: Any = None
        self._engine: Any = None
        self._gpu = Gpu()
        try:
            self._engine = self._load(load_library(plan.key.flavour), plan)
            self._allocate()
            self._recorded = {bucket: self._record(bucket) for bucket in self.buckets}
        except BaseException:
            self.close()
            raise

    @property
    def description(self) -> str:
        """Library, version and device in one line."""
        key, device = self._key, self._device
        return (
            f"{_PRODUCT[key.flavour]} {key.version} {key.precision} GPU {device.name} "
            f"driver {device.driver}"
        )

    def load_context(self, row: int, context: Context) -> None:
        """Put back a saved context window, exactly; raises EngineError if it does not fit."""
        super().load_context(row, context)  # the oldest token then lies in the row's first slot
        tokens = np.asarray(context["tokens"], np.float32)
        self._upload(row * self._context.n_slots, tokens)

    def close(self) -> None:
        """Give the GPU's memory back; the engine must not be used any more."""
        with contextlib.suppress(EngineError):  # what is still written to, until it is done
            self._gpu.wait()
        self._recorded.clear()
        self._engine = self._runtime = None
        self._gpu.close()

    def _load(self, library: Library, plan: Plan) -> "tensorrt.ICudaEngine":
        with self._log.listening() as log:
            runtime = self._runtime = library.Runtime(log.logger)  # must outlive its engine
            engine: tensorrt.ICudaEngine | None = runtime.deserialize_cuda_engine(plan.read())
            if engine is None:
                raise EngineError(f"{plan.path}: expected a plan for this GPU, found: {log.reason}")
        names = {engine.get_tensor_name(i) for i in range(engine.num_io_tensors)}
        expected = (*ring_step_inputs(self.spec), *ring_step_outputs(self.spec, self.n_read))
        if names != {*expected}:
            raise EngineError(
                f"{plan.path}: expected the tensors {', '.join(expected)}, "
                f"found {', '.join(sorted(names))}"
            )
        return engine

    def _allocate(self) -> None:
        """Reserve everything once: fixed addresses are what a graph is recorded with."""
        n_ring = self._ring_slots * token_bytes(self.spec)
        buffers = self._inputs | self._outputs
        self._addresses = {
            name: self._gpu.allocate(buffer.n_bytes(self.n_rows))
            for name, buffer in buffers.items()
        }
        self._addresses |= {name: self._gpu.allocate(n_ring) for name in ("ring", "ring_out")}
        self._host = {
            name: self._gpu.pin((self.n_rows, *buffer.shape), buffer.dtype)
            for name, buffer in buffers.items()
        }
        self._staging = self._gpu.pin((self._context.n_slots, *self.spec.token_shape), np.float32)
        engine: tensorrt.ICudaEngine = self._engine
        self._scratch_bytes = engine.device_memory_size_v2
        self._scratch = self._gpu.allocate(self._scratch_bytes)
        self._gpu.wait()

    def _record(self, bucket: int) -> _Recorded:
        """Record the tick of a batch size, between a run that lets TensorRT settle and a first one.

        They are of padding, which writes to the spare slot.
        """
        nobody = np.arange(0)
        epochs, mask = (self._host[name][:0] for name in ("epochs", "mask"))
        fill_inputs(self._host, bucket, nobody, epochs, mask, self._context)
        with self._log.listening():
            context = self._make_context(bucket)
            self._run_tick(bucket, context)
            self._gpu.wait(_FIRST_RUN_S)
            recorded = _Recorded(context, self._capture(bucket, context))
            self._replay(bucket, recorded)
            self._gpu.wait(_FIRST_RUN_S)
        return recorded

    def _capture(self, bucket: int, context: "tensorrt.IExecutionContext") -> int | None:
        """Return the graph of a tick; None, and say why, where it is refused."""
        try:
            with self._gpu.capture() as captured:
                self._run_tick(bucket, context)
        except EngineError as error:
            self.not_recorded = str(error)
            return None
        return captured[0]

    def _make_context(self, bucket: int) -> "tensorrt.IExecutionContext":
        """Return a context with the shapes of a batch; all share one working memory."""
        library = load_library(self._key.flavour)
        engine: tensorrt.ICudaEngine = self._engine
        config = engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(
            library.ExecutionContextAllocationStrategy.USER_MANAGED
        )
        if self._key.flavour == "rtx":  # compile now for these shapes, not in the background
            rtx_library: Any = library  # these two names only TensorRT-RTX has
            rtx_config: Any = config
            rtx_config.dynamic_shapes_kernel_specialization_strategy = (
                rtx_library.DynamicShapesKernelSpecializationStrategy.EAGER
            )
        context: tensorrt.IExecutionContext | None = engine.create_execution_context(config)
        if context is None:
            raise self._refusal("an execution context")
        context.set_device_memory(self._scratch, self._scratch_bytes)
        for name, port in ring_step_inputs(self.spec).items():
            shape = (bucket if port.first == BATCH else self._ring_slots, *port.shape)
            if not context.set_input_shape(name, shape):
                raise self._refusal(f"to take {name} of shape {shape}")
        for name, address in self._addresses.items():
            if not context.set_tensor_address(name, address):
                raise self._refusal(f"to take an address for {name}")
        if unknown := context.infer_shapes():
            raise self._refusal(f"to know all shapes, not to lack {', '.join(unknown)}")
        return context

    def _run_tick(self, bucket: int, context: "tensorrt.IExecutionContext") -> None:
        """Put a whole tick on the stream."""
        for name, buffer in self._inputs.items():
            source = self._host[name].ctypes.data
            self._gpu.copy(self._addresses[name], source, buffer.n_bytes(bucket))
        self._enqueue(context)
        n_ring = self._ring_slots * token_bytes(self.spec)
        self._gpu.copy(self._addresses["ring"], self._addresses["ring_out"], n_ring)
        for name, buffer in self._outputs.items():
            to = self._host[name].ctypes.data
            self._gpu.copy(to, self._addresses[name], buffer.n_bytes(bucket))

    def _enqueue(self, context: "tensorrt.IExecutionContext") -> None:
        if not context.execute_async_v3(self._gpu.stream):
            raise self._refusal("to run the network")

    def _replay(self, bucket: int, recorded: _Recorded) -> None:
        if recorded.graph is None:
            self._run_tick(bucket, recorded.context)
        else:
            self._gpu.launch(recorded.graph)

    def _tick(self, bucket: int) -> None:
        """Run the network on the first `bucket` places of the host's buffers, to the end."""
        self._replay(bucket, self._recorded[bucket])
        self._gpu.wait()

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

    def _upload(self, first: int, tokens: NDArray[np.float32]) -> None:
        """Write tokens (n, *token_shape) into the device's ring from a slot on."""
        self._staging[: len(tokens)] = tokens
        to = self._addresses["ring"] + first * token_bytes(self.spec)
        self._gpu.copy(to, self._staging.ctypes.data, tokens.nbytes)
        self._gpu.wait()

    def _refusal(self, what: str) -> EngineError:
        return EngineError(f"{self.name}: expected {what}, found: {self._log.reason}")
