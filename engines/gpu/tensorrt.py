"""The TensorRT engine: the tokens of every subject stay in the GPU's memory.

There are two ticks (epochs in, step, token and probabilities out): the usual one computes the
first pathway alone, the other one all of them, for ticks in which some row wants them. Each was
recorded once for each batch size as a CUDA graph and is replayed with one call; where it cannot be
recorded, its calls are made one by one. After it the new tokens are copied into the ring. Nothing
here needs torch.

The device's ring of tokens is what the networks read. The host's window decides: it knows the
places and the masks, is what `save_context` gives, and outlives the device. Each tick's new tokens
come back with its probabilities, 1 KB a subject, so the copy costs next to nothing.

**Nobody has run this module on a GPU yet.** It is tested on a device that is none: CUDA's memory
and graphs with every access checked, and ONNX Runtime as the plan (`tests/support/fake_gpu.py`).
The compilation of plans is tested with TensorRT-RTX itself. `make gpu-check` tests the rest on a
computer that has a GPU.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
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
    token_bytes,
    token_runs,
)
from engines.gpu.cuda import Gpu, GpuDevice
from engines.gpu.flavour import get_log, load_library
from engines.gpu.loaded import LoadedPlan
from engines.gpu.plan_cache import Plan
from engines.host import Answer, ContextEngine
from models.graphs import Ports, ring_step_inputs, ring_step_outputs, steps
from models.spec import ModelSpec

if TYPE_CHECKING:
    import tensorrt

_FIRST_RUN_S = 120.0
"""TensorRT-RTX finishes compiling in the first run of each batch size, unless it knows it, s."""
_PRODUCT = {"tensorrt": "tensorrt", "rtx": "tensorrt-rtx"}


@dataclass(frozen=True, slots=True)
class _Recorded:
    """A tick of one batch size."""

    context: "tensorrt.IExecutionContext"
    """With this batch's shapes, which must not change under the graph."""
    graph: int | None
    """The CUDA graph; None where it cannot be recorded."""


@dataclass(frozen=True, slots=True)
class _Step:
    """A plan of the engine, and its ticks."""

    plan: LoadedPlan
    """Computes them."""
    outputs: Ports
    """What comes back from the GPU."""
    probabilities: NDArray[np.float32]
    """Where they do, (n_rows, n_pathways of this step, n_read, n_stages)."""
    recorded: dict[int, _Recorded]
    """The ticks by batch size."""


class TensorRtEngine(ContextEngine):
    """Runs plans of TensorRT or TensorRT-RTX on a GPU.

    Args:
        spec: the model.
        plans: of each of the model's `steps`, compiled for this GPU and at least as many rows.
        device: the GPU.
        n_rows: subjects to keep a context window for.
        hops_per_epoch: outputs per epoch length.
        n_read: slots of the window to answer for, as the plans were compiled; default: all.

    Attributes:
        buckets: the sizes of the batches that are run; a smaller one is padded.
        not_recorded: why a tick is no CUDA graph; empty where each is one.

    Raises:
        EngineError: a plan does not load or fit, or the GPU refuses something.
    """

    name: ClassVar[str] = "tensorrt"

    def __init__(
        self,
        spec: ModelSpec,
        plans: Sequence[Plan],
        device: GpuDevice,
        n_rows: int,
        hops_per_epoch: int = 1,
        n_read: int | None = None,
    ) -> None:
        super().__init__(spec, n_rows, hops_per_epoch, n_read)
        self.buckets = bucket_sizes(n_rows)
        self._ring_slots = n_rows * self._context.n_slots
        self._key, self._device = plans[0].key, device
        self._inputs = input_buffers(spec)
        self._log = get_log(self._key.flavour)
        self._steps: list[_Step] = []
        self.not_recorded = ""
        self._runtime: Any = None
        self._gpu = Gpu()
        try:
            self._allocate()
            self._load(plans)
            for step in self._steps:
                for bucket in self.buckets:
                    step.recorded[bucket] = self._record(step, bucket)
                step.plan.keep_compiled()
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
        for step in self._steps:
            step.recorded.clear()
            step.plan.close()
        self._runtime = None
        self._gpu.close()

    def _allocate(self) -> None:
        """Reserve everything once: fixed addresses are what a graph is recorded with."""
        n_ring = self._ring_slots * token_bytes(self.spec)
        buffers = self._inputs | output_buffers(self.spec, self.spec.pathways, self.n_read)
        self._addresses = {
            name: self._gpu.allocate(buffer.n_bytes(self.n_rows))
            for name, buffer in buffers.items()
        }
        self._addresses["ring"] = self._gpu.allocate(n_ring)
        self._host = {
            name: self._gpu.pin((self.n_rows, *buffer.shape), buffer.dtype)
            for name, buffer in buffers.items()
        }
        self._staging = self._gpu.pin((self._context.n_slots, *self.spec.token_shape), np.float32)
        self._gpu.wait()

    def _load(self, plans: Sequence[Plan]) -> None:
        """Load the plans; they never run at the same time, and share one working memory."""
        library, inputs = load_library(self._key.flavour), ring_step_inputs(self.spec)
        log, device = self._log, self._device
        runtime = self._runtime = library.Runtime(log.logger)  # must outlive what it loads
        for pathways, plan in zip(steps(self.spec), plans, strict=True):
            outputs = ring_step_outputs(self.spec, pathways, self.n_read)
            loaded = LoadedPlan(library, log, runtime, plan, device, inputs, outputs)
            back = output_buffers(self.spec, pathways, self.n_read)
            self._steps.append(_Step(loaded, back, self._place(back), {}))
        n_bytes = max(step.plan.scratch_bytes for step in self._steps)
        self._scratch = self._gpu.allocate(n_bytes), n_bytes

    def _place(self, outputs: Ports) -> NDArray[np.float32]:
        """Return where the probabilities of a step lie in the host's buffer: at its beginning."""
        shape = (self.n_rows, *outputs["probabilities"].shape)
        place: NDArray[np.float32] = self._host["probabilities"].reshape(-1)[: prod(shape)]
        return place.reshape(shape)

    def _record(self, step: _Step, bucket: int) -> _Recorded:
        """Record the tick of a batch size, between a run that lets TensorRT settle and a first one.

        They are of padding, of which nothing is kept.
        """
        nobody = np.arange(0)
        epochs, mask = (self._host[name][:0] for name in ("epochs", "mask"))
        fill_inputs(self._host, bucket, nobody, epochs, mask, self._context)
        with self._log.listening():
            context = step.plan.make_context(
                bucket, self._ring_slots, self._addresses, self._scratch, self._gpu.stream
            )
            self._run_tick(step, bucket, context)
            self._gpu.wait(_FIRST_RUN_S)
            recorded = _Recorded(context, self._capture(step, bucket, context))
            self._replay(step, bucket, recorded)
            self._gpu.wait(_FIRST_RUN_S)
        return recorded

    def _capture(
        self, step: _Step, bucket: int, context: "tensorrt.IExecutionContext"
    ) -> int | None:
        """Return the graph of a tick; None, and say why, where it is refused."""
        try:
            with self._gpu.capture() as captured:
                self._run_tick(step, bucket, context)
        except EngineError as error:
            self.not_recorded = str(error)
            return None
        return captured[0]

    def _run_tick(self, step: _Step, bucket: int, context: "tensorrt.IExecutionContext") -> None:
        """Put what is recorded of a tick on the stream."""
        for name, buffer in self._inputs.items():
            source = self._host[name].ctypes.data
            self._gpu.copy(self._addresses[name], source, buffer.n_bytes(bucket))
        if not context.execute_async_v3(self._gpu.stream):
            raise EngineError(f"{self.name}: expected a network to run, found: {self._log.reason}")
        for name, buffer in step.outputs.items():
            to = self._host[name].ctypes.data
            self._gpu.copy(to, self._addresses[name], buffer.n_bytes(bucket))

    def _replay(self, step: _Step, bucket: int, recorded: _Recorded) -> None:
        if recorded.graph is None:
            self._run_tick(step, bucket, recorded.context)
        else:
            self._gpu.launch(recorded.graph)

    def _keep_tokens(self, rows: NDArray[np.intp]) -> None:
        """Copy the new tokens of a tick from where the step leaves them to their slots."""
        n_bytes = token_bytes(self.spec)
        pitch, ring, new = (
            self._context.n_slots * n_bytes,
            self._addresses["ring"],
            self._addresses["token"],
        )
        for first, n, slot in token_runs(rows, self._context):
            self._gpu.copy_apart(ring + slot * n_bytes, pitch, new + first * n_bytes, n_bytes, n)

    def _read(
        self,
        epochs: NDArray[np.float32],
        rows: NDArray[np.intp],
        mask: NDArray[np.bool_],
        unimodal: NDArray[np.bool_],
    ) -> Answer:
        """Run all pathways if any row wants them: one tick of more is faster than two."""
        spec, n, bucket = self.spec, len(rows), bucket_for(len(rows), self.buckets)
        step = self._steps[-1 if unimodal.any() else 0]
        fill_inputs(self._host, bucket, rows, epochs, mask, self._context)
        self._replay(step, bucket, step.recorded[bucket])
        self._keep_tokens(rows)
        self._gpu.wait()
        probabilities = np.empty((n, len(spec.pathways), self.n_read, len(spec.stages)), np.float32)
        found = step.probabilities[:n]
        probabilities[:, : found.shape[1]] = found
        return probabilities, self._host["token"][:n].copy()

    def _upload(self, first: int, tokens: NDArray[np.float32]) -> None:
        """Write tokens (n, *token_shape) into the device's ring from a slot on."""
        self._staging[: len(tokens)] = tokens
        to = self._addresses["ring"] + first * token_bytes(self.spec)
        self._gpu.copy(to, self._staging.ctypes.data, tokens.nbytes)
        self._gpu.wait()
