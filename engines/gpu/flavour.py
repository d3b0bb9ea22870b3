"""TensorRT and TensorRT-RTX: two packages with the same Python API, behind one type.

TensorRT compiles for the GPU in the computer and for no other. TensorRT-RTX compiles for a
choice of GPUs on any computer, also one without a GPU, and finishes compiling when the plan is
loaded.
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast, get_args

from engines.errors import EngineError

if TYPE_CHECKING:
    import tensorrt

Flavour = Literal["tensorrt", "rtx"]
FLAVOURS: tuple[Flavour, ...] = get_args(Flavour)

Precision = Literal["fp32", "tf32", "fp16", "bf16"]
"""In which a GPU computes; tf32 is the network of fp32, built to multiply with 10 bits of
mantissa."""
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

_MODULES: dict[Flavour, str] = {"tensorrt": "tensorrt", "rtx": "tensorrt_rtx"}
INSTALL: dict[Flavour, str] = {
    "tensorrt": "pip install '.[tensorrt]' in hypnod's checkout",
    "rtx": "pip install '.[tensorrt-rtx]' in hypnod's checkout",
}


class Library(Protocol):
    """The names of either package that hypnod uses."""

    __version__: str
    Builder: type["tensorrt.Builder"]
    BuilderFlag: type["tensorrt.BuilderFlag"]
    Dims: type["tensorrt.Dims"]
    ExecutionContextAllocationStrategy: type["tensorrt.ExecutionContextAllocationStrategy"]
    ILogger: type["tensorrt.ILogger"]
    IProgressMonitor: type["tensorrt.IProgressMonitor"]
    OnnxParser: type["tensorrt.OnnxParser"]
    Runtime: type["tensorrt.Runtime"]
    TensorIOMode: type["tensorrt.TensorIOMode"]


def load_library(flavour: Flavour) -> Library:
    """Import a flavour.

    Raises:
        EngineError: it is not installed, or cannot be imported here.
    """
    try:
        return cast(Library, importlib.import_module(_MODULES[flavour]))
    except Exception as error:  # it loads libraries of its own, which fail in many ways
        raise EngineError(
            f"expected the package {_MODULES[flavour]} ({INSTALL[flavour]}), found: {error}"
        ) from error


def version_of(flavour: Flavour) -> str:
    """Return the installed version of a flavour without importing it; nothing if there is none."""
    try:
        return metadata.version(_MODULES[flavour])
    except metadata.PackageNotFoundError:
        return ""


class Log:
    """What TensorRT says. It keeps one logger per process, so all calls share this one.

    Attributes:
        lines: everything said while `listening`.
        errors: the errors among it.
    """

    def __init__(self, library: Library) -> None:
        self.lines: list[str] = []
        self.errors: list[str] = []
        self.logger = _make_logger(library, self)

    def hear(self, severity: str, line: str) -> None:
        """Keep a line."""
        self.lines.append(f"{severity:8} {line}")
        if severity in ("ERROR", "INTERNAL_ERROR"):
            self.errors.append(line)

    @contextmanager
    def listening(self) -> Iterator["Log"]:
        """Start with nothing heard."""
        self.lines, self.errors = [], []
        yield self

    @property
    def reason(self) -> str:
        """What went wrong, in TensorRT's words: the first error is the cause."""
        return self.errors[0] if self.errors else "no reason was given"


@cache
def get_log(flavour: Flavour) -> Log:
    """Return the log of a flavour.

    Raises:
        EngineError: it is not installed.
    """
    return Log(load_library(flavour))


def _make_logger(library: Library, log: Log) -> "tensorrt.ILogger":
    base: Any = library.ILogger

    class Logger(base):  # type: ignore[misc]  # which class it is shows when it runs
        def log(self, severity: Any, message: str) -> None:
            log.hear(severity.name, message)

    logger: tensorrt.ILogger = Logger()
    return logger
