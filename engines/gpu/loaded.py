"""A plan that TensorRT has loaded on the GPU, and its contexts: one for each batch size.

TensorRT-RTX finishes compiling when a batch size first runs. What that gave is kept for the next
start, in its runtime cache.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engines.errors import EngineError
from engines.gpu.cuda import GpuDevice
from engines.gpu.flavour import Library, Log
from engines.gpu.plan_cache import Plan
from engines.gpu.runtime_cache import keep_runtime_cache, take_runtime_cache
from models.graphs import BATCH, Ports

if TYPE_CHECKING:
    import tensorrt


class LoadedPlan:
    """Makes the contexts that run a plan; `close` it after they are gone.

    Args:
        library: of the plan's flavour.
        log: what TensorRT says.
        runtime: of that library; must outlive this.
        plan: which.
        device: the GPU.
        inputs: of its network.
        outputs: of its network.

    Raises:
        EngineError: it does not load, or is of another network.
    """

    def __init__(
        self,
        library: Library,
        log: Log,
        runtime: "tensorrt.Runtime",
        plan: Plan,
        device: GpuDevice,
        inputs: Ports,
        outputs: Ports,
    ) -> None:
        self._library, self._log, self._plan, self._device = library, log, plan, device
        self._inputs, self._names = inputs, (*inputs, *outputs)
        self._engine: Any = None
        self._config: Any = None
        self._compiled: Any = None
        with log.listening():
            self._engine = self._load(runtime)
        with log.listening():
            self._config = self._configure()

    @property
    def scratch_bytes(self) -> int:
        """Working memory of a context."""
        engine: tensorrt.ICudaEngine = self._engine
        return engine.device_memory_size_v2

    def make_context(
        self,
        bucket: int,
        ring_slots: int,
        addresses: Mapping[str, int],
        scratch: tuple[int, int],
        stream: int,
    ) -> "tensorrt.IExecutionContext":
        """Return a context with the shapes of a batch.

        Args:
            bucket: subjects.
            ring_slots: slots of the ring.
            addresses: of inputs and outputs, by name.
            scratch: address and bytes of working memory, which contexts that never run at the
                same time may share.
            stream: what it will run on.

        Raises:
            EngineError: TensorRT refuses, in its words.
        """
        engine: tensorrt.ICudaEngine = self._engine
        context: tensorrt.IExecutionContext | None = engine.create_execution_context(self._config)
        if context is None:
            raise self._refusal("an execution context")
        profile = self._plan.key.profile_of(bucket)
        if not context.set_optimization_profile_async(profile, stream):
            raise self._refusal(f"to take profile {profile} for {bucket} at once")
        context.set_device_memory(*scratch)
        for name, port in self._inputs.items():
            shape = (bucket if port.first == BATCH else ring_slots, *port.shape)
            if not context.set_input_shape(name, shape):
                raise self._refusal(f"to take {name} of shape {shape}")
        for name in self._names:
            if not context.set_tensor_address(name, addresses[name]):
                raise self._refusal(f"to take an address for {name}")
        if unknown := context.infer_shapes():
            raise self._refusal(f"to know all shapes, not to lack {', '.join(unknown)}")
        return context

    def keep_compiled(self) -> None:
        """Keep what TensorRT-RTX compiled, once all contexts ran.

        Raises:
            EngineError: the folder of plans cannot be written to.
        """
        if self._compiled is not None:
            content = bytes(self._compiled.serialize())
            keep_runtime_cache(self._plan, self._device, content)

    def close(self) -> None:
        """Let go of it."""
        self._config = self._engine = self._compiled = None

    def _load(self, runtime: "tensorrt.Runtime") -> "tensorrt.ICudaEngine":
        path = self._plan.path
        engine: tensorrt.ICudaEngine | None = runtime.deserialize_cuda_engine(self._plan.read())
        if engine is None:
            raise EngineError(f"{path}: expected a plan for this GPU, found: {self._log.reason}")
        names = {engine.get_tensor_name(i) for i in range(engine.num_io_tensors)}
        if names != {*self._names}:
            raise EngineError(
                f"{path}: expected the tensors {', '.join(self._names)}, "
                f"found {', '.join(sorted(names))}"
            )
        return engine

    def _configure(self) -> "tensorrt.IRuntimeConfig":
        engine: tensorrt.ICudaEngine = self._engine
        config = engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(
            self._library.ExecutionContextAllocationStrategy.USER_MANAGED
        )
        if self._plan.key.flavour == "rtx":
            self._configure_rtx(config)
        return config

    def _configure_rtx(self, config: Any) -> None:
        """Compile now for the shapes of a context, not in the background, or know it from before.

        These names only TensorRT-RTX has.
        """
        library: Any = self._library
        strategies = library.DynamicShapesKernelSpecializationStrategy
        config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
        compiled = self._compiled = config.create_runtime_cache()
        if known := take_runtime_cache(self._plan, self._device):
            compiled.deserialize(known)  # if that is refused it is empty, and compiles anew
        if not config.set_runtime_cache(compiled):
            raise self._refusal("to take a runtime cache")

    def _refusal(self, what: str) -> EngineError:
        return EngineError(f"{self._plan.path}: expected {what}, found: {self._log.reason}")
