"""A GPU that is none: CUDA and TensorRT as far as hypnod calls them, on the processor.

Every access of memory is checked: it must lie within one piece that was allocated and not given
back. What is put on the stream is done when somebody waits for it, so that what is read too early
is not there yet; an error on the stream ends the device, as CUDA's do. A plan is an ONNX network,
which ONNX Runtime runs. CUDA's calls must bind to the real package's; `TRT_CALLS` are held against
TensorRT's own.
"""

import enum
import hashlib
import inspect
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest

from engines.bundle import Bundle
from engines.gpu import open as open_module
from engines.gpu import plan_cache
from engines.gpu.cuda import GpuDevice
from engines.gpu.flavour import Precision, get_log
from engines.gpu.plan import PlanKey, Profile
from engines.gpu.tensorrt import TensorRtEngine

Job = Callable[[], None]

ALIGNMENT = 256
MEMORY = 1 << 30
SCRATCH = 4096
DEVICE = GpuDevice("none", "8.9", "ab" * 16, MEMORY, "595.1")
_ILLEGAL, _INVALID, _INVALID_PITCH, _NO_MEMORY = 700, 1, 12, 2
_IN_CAPTURE, _CAPTURE_BROKEN = 900, 901


class RefusedError(Exception):
    """A call that CUDA answers with an error code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class FakeGpu:
    """The device.

    Attributes:
        pieces: what is allocated, by address; the bool says whether on the device.
        failing: error codes by CUDA's functions that answer with them from now on.
        refuses_capture: TensorRT cannot be captured, and says so.
        hangs: it never gets done.
        forgets: nothing is copied from one place on the device to another.
        network: what becomes of a network when a plan is made of it.
        after: called when what was on the stream is done; it may raise RefusedError.
        calls: CUDA's functions in the order of their calls.
        launched: the graphs in the order of their launches.
        compiled: what TensorRT-RTX compiled in first runs.
        environment: what it must have been compiled in to be of use.
    """

    def __init__(self) -> None:
        self.pieces: dict[int, tuple[np.ndarray, bool]] = {}
        self.failing: dict[str, int] = {}
        self.refuses_capture = self.hangs = self.forgets = False
        self.network: Callable[[bytes], bytes] = lambda network: network
        self.after: Job = lambda: None
        self.calls: list[str] = []
        self.launched: list[int] = []
        self.compiled: list[str] = []
        self.environment = ""
        self._broken = 0
        self._queue: list[Job] = []
        self._asked = False
        self._capture: list[Job] | None = None
        self._capture_broken = False
        self._handles = 0
        self._made: dict[int, Any] = {}
        self.runtime = _Cuda(self)

    @contextmanager
    def installed(self, folder: Path) -> Iterator["FakeGpu"]:
        """Be what an engine finds while it is opened; plans lie in `folder`."""
        import cuda.bindings  # noqa: PLC0415  is not installed everywhere

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cuda.bindings, "runtime", self.runtime, raising=False)
            for module in ("tensorrt", "tensorrt_rtx"):
                patch.setitem(sys.modules, module, _TensorRt(self))
            patch.setattr(open_module, "probe", lambda: DEVICE)
            patch.setattr(plan_cache, "build_plan", self._build_plan)
            patch.setattr(plan_cache, "version_of", lambda _: "")
            patch.setenv("CACHE_DIRECTORY", str(folder))
            get_log.cache_clear()
            yield self
        get_log.cache_clear()

    def piece(self, address: int, n_bytes: int, *, on_device: bool | None = None) -> np.ndarray:
        """Return the bytes there, which must lie within one piece."""
        found, is_device = self._find(address, n_bytes)
        if on_device not in (None, is_device):
            raise RefusedError(_ILLEGAL)
        return found

    def on_device(self, address: int) -> bool:
        """Return whether what lies there is the device's."""
        return self._find(address, 1)[1]

    def _find(self, address: int, n_bytes: int) -> tuple[np.ndarray, bool]:
        for first, (content, is_device) in self.pieces.items():
            if first <= address and address + n_bytes <= first + len(content):
                return content[address - first : address - first + n_bytes], is_device
        raise RefusedError(_ILLEGAL)

    def _build_plan(
        self, network: bytes, key: PlanKey, progress: object = None
    ) -> tuple[bytes, list[str]]:
        plan = _Plan(key.profiles, key.max_slots, self.network(network))
        return msgspec.msgpack.encode(plan), ["INFO: built"]

    def put(self, job: Job) -> None:
        """Put something on the stream, or into the graph that is captured."""
        if self._capture is not None:
            self._capture.append(job)
        else:
            self._queue.append(job)

    @property
    def capturing(self) -> bool:
        """Whether what is put on the stream is recorded."""
        return self._capture is not None

    def break_capture(self) -> None:
        """Let the capture be of no use."""
        self._capture_broken = True

    def run(self) -> None:
        """Do what is on the stream."""
        jobs, self._queue = self._queue, []
        try:
            for job in jobs:
                job()
            if jobs:
                self.after()
        except RefusedError as error:
            self._broken = error.code
            raise

    def handle(self, what: object) -> int:
        """Return a number for something that was made."""
        self._handles += 1
        self._made[self._handles] = what
        return self._handles

    def allocate(self, n_bytes: int, on_device: bool) -> int:
        """Return the address of junk."""
        if self.capturing:
            self.break_capture()
            raise RefusedError(_IN_CAPTURE)
        if n_bytes > self.free():
            raise RefusedError(_NO_MEMORY)
        room = np.full(n_bytes + ALIGNMENT, 0xCD, np.uint8)
        skipped = -room.ctypes.data % ALIGNMENT
        piece = room[skipped : skipped + n_bytes]
        self.pieces[piece.ctypes.data] = piece, on_device
        return int(piece.ctypes.data)

    def free(self) -> int:
        """Return how much of the device's memory is left."""
        return MEMORY - sum(len(piece) for piece, is_device in self.pieces.values() if is_device)


class _Cuda:
    """The package cuda.bindings.runtime; a call returns an error code, then what it gives."""

    def __init__(self, gpu: FakeGpu) -> None:
        from cuda.bindings import runtime  # noqa: PLC0415  is not installed everywhere

        self._real = runtime
        self._functions = _Functions(gpu)
        self._gpu = gpu

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        if isinstance(real, type | int | enum.Enum):  # an enumeration, a constant
            return real

        def call(*arguments: Any) -> tuple[Any, ...]:
            inspect.signature(real).bind(*arguments)
            gpu, error = self._gpu, self._real.cudaError_t
            gpu.calls.append(name)
            if code := gpu._broken or gpu.failing.get(name, 0):
                return (error(code),)
            try:
                found = getattr(self._functions, name)(*arguments)
            except RefusedError as refused:
                return (error(refused.code),)
            if isinstance(found, tuple):
                return (error(0), *found)
            return (error(0),) if found is None else (error(0), found)

        return call


class _Functions:
    """What CUDA's functions do, by their names."""

    def __init__(self, gpu: FakeGpu) -> None:
        self._gpu = gpu

    def cudaSetDevice(self, device: int) -> None:  # noqa: N802  CUDA's names, here and below
        if device:
            raise RefusedError(101)

    def cudaStreamCreateWithFlags(self, flags: int) -> int:  # noqa: N802
        return self._gpu.handle("stream")

    def cudaStreamDestroy(self, stream: int) -> None:  # noqa: N802
        del self._gpu._made[stream]

    def cudaMalloc(self, n_bytes: int) -> int:  # noqa: N802
        return self._gpu.allocate(n_bytes, on_device=True)

    def cudaMallocHost(self, n_bytes: int) -> int:  # noqa: N802
        return self._gpu.allocate(n_bytes, on_device=False)

    def cudaFree(self, address: int) -> None:  # noqa: N802
        if self._gpu._queue or self._gpu.pieces.pop(address, None) is None:
            raise RefusedError(_INVALID)

    cudaFreeHost = cudaFree  # noqa: N815

    def cudaMemGetInfo(self) -> tuple[int, int]:  # noqa: N802
        return self._gpu.free(), MEMORY

    def cudaMemsetAsync(self, to: int, value: int, n_bytes: int, stream: int) -> None:  # noqa: N802
        self._gpu.piece(to, n_bytes)
        self._gpu.put(lambda: self._gpu.piece(to, n_bytes).fill(value))

    def cudaMemcpyAsync(  # noqa: N802
        self, to: int, source: int, n_bytes: int, kind: object, stream: int
    ) -> None:
        self.cudaMemcpy2DAsync(to, n_bytes, source, n_bytes, n_bytes, 1, kind, stream)

    def cudaMemcpy2DAsync(  # noqa: N802
        self,
        to: int,
        to_pitch: int,
        source: int,
        source_pitch: int,
        n_bytes: int,
        n: int,
        kind: object,
        stream: int,
    ) -> None:
        gpu = self._gpu

        def copy() -> None:
            if not (gpu.forgets and gpu.on_device(to) and gpu.on_device(source)):
                for i in range(n):
                    there = gpu.piece(to + i * to_pitch, n_bytes)
                    there[:] = gpu.piece(source + i * source_pitch, n_bytes)

        if n_bytes > min(to_pitch, source_pitch):
            raise RefusedError(_INVALID_PITCH)
        for i in range(n):
            gpu.piece(to + i * to_pitch, n_bytes), gpu.piece(source + i * source_pitch, n_bytes)
        gpu.put(copy)

    def cudaStreamQuery(self, stream: int) -> None:  # noqa: N802
        gpu = self._gpu
        if gpu.capturing:
            gpu.break_capture()
            raise RefusedError(_IN_CAPTURE)
        if gpu.hangs or (gpu._queue and not gpu._asked):
            gpu._asked = True
            raise RefusedError(600)  # not ready
        gpu._asked = False
        gpu.run()

    def cudaStreamSynchronize(self, stream: int) -> None:  # noqa: N802
        if self._gpu.capturing:
            self._gpu.break_capture()
            raise RefusedError(_IN_CAPTURE)
        self._gpu.run()

    def cudaStreamBeginCapture(self, stream: int, mode: object) -> None:  # noqa: N802
        self._gpu._capture, self._gpu._capture_broken = [], False

    def cudaStreamEndCapture(self, stream: int) -> int:  # noqa: N802
        gpu = self._gpu
        jobs, gpu._capture = gpu._capture, None
        if gpu._capture_broken or jobs is None:
            raise RefusedError(_CAPTURE_BROKEN)
        return gpu.handle(jobs)

    def cudaGraphInstantiate(self, graph: int, flags: int) -> int:  # noqa: N802
        return self._gpu.handle(list(self._gpu._made[graph]))

    def cudaGraphDestroy(self, graph: int) -> None:  # noqa: N802
        del self._gpu._made[graph]

    cudaGraphExecDestroy = cudaGraphDestroy  # noqa: N815

    def cudaGraphLaunch(self, graph: int, stream: int) -> None:  # noqa: N802
        self._gpu.launched.append(graph)
        for job in self._gpu._made[graph]:
            self._gpu.put(job)


class _Plan(msgspec.Struct, frozen=True):
    profiles: tuple[Profile, ...]
    max_slots: int
    network: bytes


TRT_CALLS = {
    "Runtime": ("deserialize_cuda_engine",),
    "ICudaEngine": (
        *("num_io_tensors", "get_tensor_name", "device_memory_size_v2"),
        *("create_runtime_config", "create_execution_context"),
    ),
    "IRuntimeConfig": ("set_execution_context_allocation_strategy",),
    "IExecutionContext": (
        *("set_optimization_profile_async", "set_device_memory", "set_input_shape"),
        *("set_tensor_address", "infer_shapes", "execute_async_v3"),
    ),
}
"""The calls that an engine makes, by TensorRT's classes."""
RTX_CALLS = {
    "IRuntimeConfig": ("create_runtime_cache", "set_runtime_cache"),
    "IRuntimeCache": ("serialize", "deserialize"),
}
"""Those that only TensorRT-RTX has."""


class _TensorRt:
    """The package tensorrt, or tensorrt_rtx."""

    __version__ = "11.4.0"

    class ExecutionContextAllocationStrategy(enum.Enum):
        USER_MANAGED = 2

    class DynamicShapesKernelSpecializationStrategy(enum.Enum):
        EAGER = 1

    class ILogger:
        pass

    def __init__(self, gpu: FakeGpu) -> None:
        self._gpu = gpu

    def Runtime(self, logger: Any) -> "Runtime":  # noqa: N802  TensorRT's name
        return Runtime(self._gpu, logger)


class _Says:
    """Tells TensorRT's logger."""

    def __init__(self, gpu: FakeGpu, logger: Any) -> None:
        self._gpu, self._logger = gpu, logger

    def _complain(self, what: str) -> bool:
        class Severity(enum.Enum):
            ERROR = 1

        self._logger.log(Severity.ERROR, what)
        return False


class Runtime(_Says):
    def deserialize_cuda_engine(self, content: bytes) -> "ICudaEngine | None":
        try:
            plan = msgspec.msgpack.decode(content, type=_Plan)
        except msgspec.DecodeError:
            self._complain("Serialization assertion failed: magic tag does not match")
            return None
        return ICudaEngine(self._gpu, self._logger, plan)


class ICudaEngine(_Says):
    device_memory_size_v2 = SCRATCH

    def __init__(self, gpu: FakeGpu, logger: Any, plan: _Plan) -> None:
        super().__init__(gpu, logger)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        self._plan = plan
        self._session = onnxruntime.InferenceSession(
            plan.network, options, providers=["CPUExecutionProvider"]
        )
        self._names: list[str] = [
            each.name for each in (*self._session.get_inputs(), *self._session.get_outputs())
        ]

    @property
    def num_io_tensors(self) -> int:
        return len(self._names)

    def get_tensor_name(self, index: int) -> str:
        return self._names[index]

    def create_runtime_config(self) -> "IRuntimeConfig":
        return IRuntimeConfig(self._gpu, self._logger)

    def create_execution_context(self, config: "IRuntimeConfig") -> "IExecutionContext":
        return IExecutionContext(self._gpu, self._logger, self, config)


class IRuntimeConfig(_Says):
    _strategy: object = None
    _cache: "IRuntimeCache | None" = None
    dynamic_shapes_kernel_specialization_strategy: object = None

    def set_execution_context_allocation_strategy(self, strategy: object) -> None:
        self._strategy = strategy

    def create_runtime_cache(self) -> "IRuntimeCache":
        return IRuntimeCache(self._gpu, self._logger)

    def set_runtime_cache(self, cache: "IRuntimeCache") -> bool:
        self._cache = cache
        return True


class IRuntimeCache(_Says):
    def __init__(self, gpu: FakeGpu, logger: Any) -> None:
        super().__init__(gpu, logger)
        self._known: list[str] = []

    def serialize(self) -> bytearray:
        return bytearray(msgspec.msgpack.encode((self._gpu.environment, self._known)))

    def deserialize(self, blob: bytes) -> bool:
        environment, known = msgspec.msgpack.decode(blob)
        if environment != self._gpu.environment:
            return self._complain("the runtime cache is of another environment")
        self._known = known
        return True


class IExecutionContext(_Says):
    def __init__(
        self, gpu: FakeGpu, logger: Any, engine: ICudaEngine, config: IRuntimeConfig
    ) -> None:
        super().__init__(gpu, logger)
        self._engine = engine
        self._user_managed = config._strategy is not None
        self._cache = config._cache
        self._profiles = engine._plan.profiles
        self._profile = self._profiles[0]
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._memory: tuple[int, int] | None = None
        self._ran: set[tuple[tuple[int, ...], ...]] = set()

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        if stream_handle not in self._gpu._made or profile_index >= len(self._profiles):
            return self._complain(f"no profile {profile_index}, or no stream {stream_handle}")
        self._profile = self._profiles[profile_index]
        self._shapes.clear()
        return True

    def set_device_memory(self, memory: int, size: int) -> None:
        self._memory = memory, size

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        plan, profile = self._engine._plan, self._profile
        least, most = (1, plan.max_slots) if name == "ring" else (profile.least, profile.most)
        if not least <= shape[0] <= most:
            return self._complain(f"{name}: {shape[0]} is not in [{least}, {most}] of the profile")
        self._shapes[name] = tuple(shape)
        return True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if memory % ALIGNMENT:
            return self._complain(f"{name}: misaligned address")
        self._addresses[name] = memory
        return name in self._engine._names

    def infer_shapes(self) -> list[str]:
        return [x.name for x in self._engine._session.get_inputs() if x.name not in self._shapes]

    def execute_async_v3(self, stream_handle: int) -> bool:
        gpu = self._gpu
        if lacking := {*self._engine._names} - {*self._addresses} or self.infer_shapes():
            return self._complain(f"no address or shape for {', '.join(sorted(lacking))}")
        if self._user_managed and (self._memory is None or self._memory[1] < SCRATCH):
            return self._complain("no device memory was set")
        shapes = tuple(self._shapes.values())
        if gpu.capturing and (gpu.refuses_capture or shapes not in self._ran):
            gpu.break_capture()
            return self._complain("operation not permitted when stream is capturing")
        if shapes not in self._ran:
            self._compile(shapes)
        self._ran.add(shapes)
        me = weakref.ref(self)
        gpu.put(lambda: _run(gpu, me()))
        return True

    def _compile(self, shapes: tuple[tuple[int, ...], ...]) -> None:
        what = f"{hashlib.sha256(self._engine._plan.network).hexdigest()} {shapes}"
        if self._cache is not None and what not in self._cache._known:
            self._gpu.compiled.append(what)
            self._cache._known.append(what)


def _run(gpu: FakeGpu, context: IExecutionContext | None) -> None:
    """Run the network on what lies at the addresses of a context, which must still be there."""
    if context is None:
        raise RefusedError(_ILLEGAL)
    session = context._engine._session
    feed: dict[str, np.ndarray[Any, Any]] = {}
    if context._memory is not None:
        gpu.piece(*context._memory, on_device=True).fill(0xEE)
    for port in session.get_inputs():
        dtype = {"tensor(bool)": np.bool_, "tensor(int64)": np.int64}.get(port.type, np.float32)
        shape = context._shapes[port.name]
        n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        piece = gpu.piece(context._addresses[port.name], n_bytes, on_device=True)
        feed[port.name] = piece.view(dtype).reshape(shape)
    names = [port.name for port in session.get_outputs()]
    for name, answer in zip(names, session.run(names, feed), strict=True):
        content = np.ascontiguousarray(answer).reshape(-1).view(np.uint8)
        gpu.piece(context._addresses[name], len(content), on_device=True)[:] = content


def open_without_gpu(
    bundle: Bundle,
    n_rows: int,
    hops_per_epoch: int = 1,
    n_read: int | None = None,
    precision: Precision = "fp32",
    gpu: FakeGpu | None = None,
) -> TensorRtEngine:
    """Return the engine of TensorRT on a device that is none, without check and spare."""
    with tempfile.TemporaryDirectory() as folder, (gpu or FakeGpu()).installed(Path(folder)):
        engine, _ = open_module.open_plans(
            bundle, "tensorrt", n_rows, hops_per_epoch, precision, n_read
        )
    return engine


def a_little_wrong(network: bytes) -> bytes:
    """Make one layer compute something else."""
    model = onnx.load_from_string(network)
    for tensor in model.graph.initializer:
        if tensor.name.endswith("blocks.0.attention.qkv.weight"):
            array = onnx.numpy_helper.to_array(tensor) * 1.01
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return bytes(model.SerializeToString())
