"""Choose an engine by name, or take the best that works here."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

from engines.base import Engine
from engines.bundle import Bundle
from engines.errors import EngineError

AUTO = "auto"


def open_engine(
    bundle: Bundle, kind: str = AUTO, *, n_rows: int, threads: int = 1, hops_per_epoch: int = 1
) -> Engine:
    """Open an engine for a bundle.

    Args:
        bundle: the model.
        kind: name of the engine; auto: the best that works here.
        n_rows: subjects to keep a context window for.
        threads: threads of one step.
        hops_per_epoch: outputs per epoch length.

    Raises:
        EngineError: there is no such engine, or it is not available here.
        BundleError: the bundle does not suit it.
    """
    name = _best() if kind == AUTO else kind
    if name not in _ENGINES:
        raise EngineError(f"expected one of the engines {', '.join(_ENGINES)}, found {kind!r}")
    entry = _ENGINES[name]
    if missing := entry.missing():
        usable = [other for other in _ENGINES if not _ENGINES[other].missing()]
        raise EngineError(
            f"engine {name!r}: expected {missing} to be installed ({entry.install}), found none; "
            f"available here: {', '.join(usable) or 'none'}"
        )
    return entry.open(bundle, n_rows, threads, hops_per_epoch)


def available_engines() -> dict[str, str]:
    """Return for each engine what it is with its version, or why it is not available here."""
    return {name: entry.describe() for name, entry in _ENGINES.items()}


def _best() -> str:
    return next((name for name, entry in _ENGINES.items() if not entry.missing()), "onnxruntime")


def _open_onnxruntime(bundle: Bundle, n_rows: int, threads: int, hops_per_epoch: int) -> Engine:
    # Here, not above: a computer may have another engine's library only.
    from engines.onnxruntime import OnnxRuntimeEngine  # noqa: PLC0415

    return OnnxRuntimeEngine(bundle, n_rows, threads, hops_per_epoch)


def _open_torch(bundle: Bundle, n_rows: int, threads: int, hops_per_epoch: int) -> Engine:
    # Here, not above: importing torch takes seconds and 300 MB, and the runtime does without.
    from engines.torch import TorchEngine  # noqa: PLC0415

    return TorchEngine(bundle, n_rows, threads, hops_per_epoch)


@dataclass(frozen=True, slots=True)
class _Entry:
    what: str
    requires: tuple[str, ...]
    install: str
    open: Callable[[Bundle, int, int, int], Engine]

    def missing(self) -> str:
        """Return the packages that are not installed, separated by commas."""
        return ", ".join(package for package in self.requires if not _version(package))

    def describe(self) -> str:
        if missing := self.missing():
            return f"not available: {missing} is not installed; {self.install}"
        return f"{self.requires[0]} {_version(self.requires[0])}: {self.what}"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


_ENGINES = {  # the best first
    "onnxruntime": _Entry(
        "processor, the default", ("onnxruntime",), "pip install onnxruntime", _open_onnxruntime
    ),
    "torch": _Entry(
        "processor, the reference that other engines are compared with",
        ("torch", "safetensors"),
        "pip install 'hypnod[train]'",
        _open_torch,
    ),
}
