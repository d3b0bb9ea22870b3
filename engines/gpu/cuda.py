"""The GPU: whether there is one, and the few calls of the CUDA runtime that an engine needs.

`probe` asks the driver by ctypes, before anything of TensorRT is touched: without a driver
TensorRT's runtime can end the process, which no except clause catches. `Gpu` is a thin layer
over the package cuda-bindings that turns error codes into sentences.
"""

import contextlib
import ctypes
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import DTypeLike, NDArray

import hypnod
from engines.errors import EngineError

LIBRARY = "libcuda.so.1"

_MAJOR, _MINOR = 75, 76  # CUdevice_attribute of the compute capability
_DRIVER_FILE = Path("/proc/driver/nvidia/version")
_GPUS = Path("/proc/driver/nvidia/gpus")
_IDENTITY = ("Model:", "GPU UUID:")
_NAP_S = 2e-5
_PATIENCE_S = 30.0
_REASONS = {
    2: "out of memory",
    34: "a stub library instead of a driver",
    35: "a driver too old for this CUDA",
    100: "no device",
    803: "a driver and a kernel module of different versions",
    999: "unknown error; was the driver updated without a restart?",
}


@dataclass(frozen=True, slots=True)
class GpuDevice:
    """A GPU that the driver offers."""

    name: str
    """Its product name."""
    compute_capability: str
    """For which code must be compiled, e.g. 8.9."""
    uuid: str
    """Identifies this very device, 32 hexadecimal digits."""
    memory_bytes: int
    """All of its memory."""
    driver: str
    """Version of the driver."""


def probe(library: str = LIBRARY) -> GpuDevice:
    """Return the first GPU of this computer.

    Args:
        library: the driver's library.

    Raises:
        EngineError: there is no driver, it does not work, or it finds no GPU.
    """
    driver = load_driver(library)
    _ask(driver, library, "cuInit", 0)
    count, device = ctypes.c_int(), ctypes.c_int()
    _ask(driver, library, "cuDeviceGetCount", ctypes.byref(count))
    if count.value < 1:
        raise EngineError(f"expected a GPU, found the driver {library} with {count.value} devices")
    _ask(driver, library, "cuDeviceGet", ctypes.byref(device), 0)
    return _describe(driver, library, device)


def probe_apart() -> GpuDevice:
    """Return what `probe` does, asked in a process of its own: a driver may crash or hang.

    Raises:
        EngineError: as `probe`, or that process did not end in order.
    """
    load_driver()
    try:
        command = hypnod.command("-m", "engines.gpu.cuda")
        done = subprocess.run(  # noqa: S603  this interpreter, our own module
            command, capture_output=True, text=True, check=False, timeout=_PATIENCE_S
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(
            f"expected a working GPU, found no answer of its driver in {_PATIENCE_S:g} s"
        ) from error
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise EngineError(f"expected a working GPU, found that its driver ends who asks by {name}")
    if done.returncode:
        raise EngineError(done.stderr.strip())
    return msgspec.json.decode(done.stdout, type=GpuDevice)


def load_driver(library: str = LIBRARY) -> ctypes.CDLL:
    """Return the driver's library, which is asked nothing yet.

    Raises:
        EngineError: there is none.
    """
    try:
        return ctypes.CDLL(library)
    except OSError as error:
        raise EngineError(f"expected an NVIDIA driver ({library}), found none: {error}") from error


def describe_hardware() -> str:
    """Return what the kernel tells of driver and GPUs, without asking them; nothing elsewhere."""
    gpus = (file.read_text() for file in sorted(_GPUS.glob("*/information")))
    told = [line for gpu in gpus for line in gpu.splitlines() if line.startswith(_IDENTITY)]
    return " ".join("; ".join([_kernel_driver(), *told]).split())


def _describe(driver: ctypes.CDLL, library: str, device: ctypes.c_int) -> GpuDevice:
    name, uuid = ctypes.create_string_buffer(256), (ctypes.c_ubyte * 16)()
    memory, version = ctypes.c_size_t(), ctypes.c_int()
    numbers = []
    for attribute in (_MAJOR, _MINOR):
        number = ctypes.c_int()
        _ask(driver, library, "cuDeviceGetAttribute", ctypes.byref(number), attribute, device)
        numbers.append(number.value)
    _ask(driver, library, "cuDeviceGetName", name, len(name), device)
    _ask(driver, library, "cuDeviceGetUuid_v2", ctypes.byref(uuid), device)
    _ask(driver, library, "cuDeviceTotalMem_v2", ctypes.byref(memory), device)
    _ask(driver, library, "cuDriverGetVersion", ctypes.byref(version))
    return GpuDevice(
        name=name.value.decode(errors="replace"),
        compute_capability=f"{numbers[0]}.{numbers[1]}",
        uuid=bytes(uuid).hex(),
        memory_bytes=memory.value,
        driver=_kernel_driver() or f"CUDA {version.value // 1000}.{version.value % 1000 // 10}",
    )


def _ask(driver: ctypes.CDLL, library: str, function: str, *arguments: object) -> None:
    try:
        code = getattr(driver, function)(*arguments)
    except AttributeError as error:
        raise EngineError(
            f"expected an NVIDIA driver ({library}), found a library without {function}"
        ) from error
    if code != 0:
        reason = _REASONS.get(code, "see CUresult in NVIDIA's documentation")
        raise EngineError(f"expected a working GPU, found: {function} gives {code} ({reason})")


def _kernel_driver() -> str:
    """Return the version of the kernel's driver, or nothing where it does not tell."""
    try:
        text = _DRIVER_FILE.read_text()
    except OSError:
        return ""
    found = re.search(r"\b\d+\.\d+(\.\d+)?\b", text)
    return found.group() if found else ""


@dataclass
class Gpu:
    """A stream on the first GPU and the memory held there; `close` gives all of it back.

    Addresses are plain integers.

    Raises:
        EngineError: at every call that the CUDA runtime refuses.
    """

    stream: int = field(init=False)
    """Handle of the stream that everything runs on."""
    _runtime: Any = field(init=False, repr=False)
    _releases: contextlib.ExitStack = field(default_factory=contextlib.ExitStack, repr=False)

    def __post_init__(self) -> None:
        # Here, not above: only computers with a GPU have the package.
        from cuda.bindings import runtime  # noqa: PLC0415

        self._runtime = runtime
        self._do("cudaSetDevice", 0)
        stream = self._do("cudaStreamCreateWithFlags", runtime.cudaStreamNonBlocking)
        self.stream = int(stream)
        self._on_close("cudaStreamDestroy", self.stream)

    def allocate(self, n_bytes: int) -> int:
        """Return the address of device memory, filled with zeros."""
        address = int(self._do("cudaMalloc", max(n_bytes, 1)))
        self._on_close("cudaFree", address)
        self._do("cudaMemsetAsync", address, 0, n_bytes, self.stream)
        return address

    def pin(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array of zeros in host memory that the GPU reads and writes by itself."""
        n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        address = int(self._do("cudaMallocHost", max(n_bytes, 1)))
        self._on_close("cudaFreeHost", address)
        memory = (ctypes.c_ubyte * n_bytes).from_address(address)
        array: NDArray[Any] = np.ctypeslib.as_array(memory).view(dtype).reshape(shape)
        array.fill(0)
        return array

    def copy(self, to: int, source: int, n_bytes: int) -> None:
        """Copy memory on the stream; the kinds of memory follow from the addresses."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDefault
        self._do("cudaMemcpyAsync", to, source, n_bytes, kind, self.stream)

    def copy_apart(self, to: int, pitch: int, source: int, n_bytes: int, n: int) -> None:
        """Copy n pieces that lie side by side to places that are `pitch` bytes apart."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDefault
        self._do("cudaMemcpy2DAsync", to, pitch, source, n_bytes, n_bytes, n, kind, self.stream)

    def wait(self, patience_s: float = 1.0) -> None:
        """Wait for everything on the stream, but not for ever: a GPU can hang without an error.

        Raises:
            EngineError: the stream is not done in time, or something on it failed.
        """
        not_ready = int(self._runtime.cudaError_t.cudaErrorNotReady)
        deadline = time.monotonic() + patience_s
        while int(self._runtime.cudaStreamQuery(self.stream)[0]) == not_ready:
            if time.monotonic() > deadline:
                raise EngineError(f"GPU: expected an answer within {patience_s:g} s, found none")
            time.sleep(_NAP_S)
        self._do("cudaStreamSynchronize", self.stream)

    @contextlib.contextmanager
    def capture(self) -> Iterator[list[int]]:
        """Record what happens on the stream instead of doing it; append a graph to the list."""
        mode = self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._do("cudaStreamBeginCapture", self.stream, mode)
        captured: list[int] = []
        try:
            yield captured
        except BaseException:  # the stream must not stay in capture; what is recorded is of no use
            with contextlib.suppress(EngineError):
                self._do("cudaStreamEndCapture", self.stream)
            raise
        graph = self._do("cudaStreamEndCapture", self.stream)
        executable = self._do("cudaGraphInstantiate", graph, 0)
        self._do("cudaGraphDestroy", graph)
        self._on_close("cudaGraphExecDestroy", executable)
        captured.append(int(executable))

    def launch(self, graph: int) -> None:
        """Replay a captured graph."""
        self._do("cudaGraphLaunch", graph, self.stream)

    def free_bytes(self) -> int:
        """Return how much of the device's memory nobody uses."""
        return int(self._do("cudaMemGetInfo")[0])

    def close(self) -> None:
        """Give everything back; a device that is gone took it along, so errors are ignored."""
        self._releases.close()

    def _on_close(self, function: str, handle: object) -> None:
        def release() -> None:
            with contextlib.suppress(EngineError):
                self._do(function, handle)

        self._releases.callback(release)

    def _do(self, function: str, *arguments: object) -> Any:
        code, *values = getattr(self._runtime, function)(*arguments)
        if int(code) != 0:
            raise EngineError(f"GPU: {function}: expected success, found {code.name} ({int(code)})")
        return values[0] if len(values) == 1 else values


if __name__ == "__main__":
    try:
        print(msgspec.json.encode(probe()).decode())  # noqa: T201  to `probe_apart`
    except EngineError as refused:
        sys.exit(str(refused))
