"""Choose an engine by name, or take the best that works here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata

import structlog

from engines.base import Engine
from engines.bundle import Bundle
from engines.errors import EngineError
from engines.failover import FailoverEngine
from engines.gpu.cuda import describe_hardware, load_driver, probe, probe_apart
from engines.gpu.flavour import INSTALL, Flavour, Precision, version_of
from engines.gpu.trial import Trial

AUTO = "auto"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Wanted:
    bundle: Bundle
    n_rows: int
    threads: int
    hops_per_epoch: int
    n_read: int | None
    precision: Precision


def open_engine(
    bundle: Bundle,
    kind: str = AUTO,
    *,
    n_rows: int,
    threads: int = 1,
    hops_per_epoch: int = 1,
    n_read: int | None = None,
    precision: Precision = "fp32",
    at_once: bool = False,
) -> Engine:
    """Open an engine for a bundle.

    `auto` takes TensorRT where it is installed, finds a GPU and passes the parity check, and
    ONNX Runtime otherwise; the engine's `why` says which and why. A GPU takes minutes to get
    ready the first time.

    Args:
        bundle: the model.
        kind: name of the engine; auto: the best that works here.
        n_rows: subjects to keep a context window for.
        threads: threads of one step.
        hops_per_epoch: outputs per epoch length.
        n_read: slots of the window to answer for, the newest ones; default: all.
        precision: in which a GPU computes; the processor always computes in fp32.
        at_once: do not wait for a GPU: run ONNX Runtime until its `improve` finds it ready.

    Raises:
        EngineError: there is no such engine, or it is not available here.
        BundleError: the bundle does not suit it.
    """
    wanted = _Wanted(bundle, n_rows, threads, hops_per_epoch, n_read, precision)
    if kind == AUTO:
        return _open_best(wanted, at_once)
    if kind not in _ENGINES:
        raise EngineError(f"expected one of the engines {', '.join(_ENGINES)}, found {kind!r}")
    entry = _ENGINES[kind]
    if missing := entry.missing():
        usable = [other for other in _ENGINES if not _ENGINES[other].missing()]
        raise EngineError(
            f"engine {kind!r}: expected {missing} to be installed ({entry.install}), found none; "
            f"available here: {', '.join(usable) or 'none'}"
        )
    if at_once and kind in _GPU_KINDS:
        load_driver()  # what is missing for sure is said before anything is staged
        return _open_at_once(wanted, [kind], required=True)
    return entry.open(wanted)


def available_engines() -> dict[str, str]:
    """Return for each engine what it is with its version, or why it is not available here."""
    return {name: entry.describe() for name, entry in _ENGINES.items()}


def explain_auto() -> str:
    """Return which engine `auto` would take here, and why, without opening any."""
    refused = _why_no_gpu(probe_apart)
    if refused:
        return f"onnxruntime, because {refused}"
    kinds = " or else ".join(_installed_gpu_kinds())
    return f"{kinds} if it passes the parity check, otherwise onnxruntime"


def _open_best(wanted: _Wanted, at_once: bool) -> Engine:
    """Open TensorRT if anything speaks for it, ONNX Runtime otherwise; say why."""
    reasons = []
    if no_gpu := _why_no_gpu(load_driver if at_once else probe):
        reasons.append(no_gpu)
    elif at_once:
        return _open_at_once(wanted, _installed_gpu_kinds(), required=False)
    else:
        for kind in _installed_gpu_kinds():
            try:
                return _ENGINES[kind].open(wanted)
            except EngineError as error:  # a refused plan is a reason, not an end
                reasons.append(f"{kind} cannot be used: {error}")
                log.warning("GPU not used", engine=kind, reason=str(error))
    engine = _ENGINES["onnxruntime"].open(wanted)
    engine.why = "; ".join(reasons)
    return engine


def _installed_gpu_kinds() -> list[str]:
    return [kind for kind in _GPU_KINDS if not _ENGINES[kind].missing()]


def _why_no_gpu(ask: Callable[[], object]) -> str:
    """Return what speaks against a GPU, or nothing."""
    if not _installed_gpu_kinds():
        return "no TensorRT is installed"
    try:
        ask()
    except EngineError as error:
        return f"there is no GPU to use: {error}"
    return ""


def _open_onnxruntime(wanted: _Wanted) -> Engine:
    # Here, not above: a computer may have another engine's library only.
    from engines.onnxruntime import OnnxRuntimeEngine  # noqa: PLC0415

    w = wanted
    return OnnxRuntimeEngine(w.bundle, w.n_rows, w.threads, w.hops_per_epoch, w.n_read)


def _open_torch(wanted: _Wanted) -> Engine:
    # Here, not above: importing torch takes seconds and 300 MB, and the runtime does without.
    from engines.torch import TorchEngine  # noqa: PLC0415

    w = wanted
    return TorchEngine(w.bundle, w.n_rows, w.threads, w.hops_per_epoch, w.n_read)


def _open_at_once(wanted: _Wanted, kinds: Sequence[str], *, required: bool) -> Engine:
    """Open ONNX Runtime, and have a GPU got ready that takes over."""
    # Here, not above: it needs the package onnx, which only computers with a GPU have.
    from engines.gpu.later import GpuLater  # noqa: PLC0415

    spare = _open_onnxruntime(wanted)
    trials = {kind: _make_trial(wanted, _GPU_KINDS[kind]) for kind in kinds}
    engine = FailoverEngine(GpuLater(wanted.bundle, trials, required=required), spare)
    engine.why = f"until a GPU is ready ({' or else '.join(kinds)})"
    return engine


def _make_trial(wanted: _Wanted, flavour: Flavour) -> Trial:
    w = wanted
    return Trial(
        bundle=str(w.bundle.path.absolute()),
        model=w.bundle.hash,
        flavour=flavour,
        version=version_of(flavour),
        precision=w.precision,
        n_rows=w.n_rows,
        threads=w.threads,
        hops_per_epoch=w.hops_per_epoch,
        n_read=w.n_read,
        hypnod=_version("hypnod"),
        driver=describe_hardware(),
    )


def _open_gpu(flavour: Flavour) -> "Callable[[_Wanted], Engine]":
    def open_flavour(wanted: _Wanted) -> Engine:
        probe()  # before anything of TensorRT is touched
        # Here, not above: it needs the package onnx, which only computers with a GPU have.
        from engines.gpu.open import open_gpu  # noqa: PLC0415

        w = wanted
        return open_gpu(
            w.bundle, flavour, w.n_rows, w.threads, w.hops_per_epoch, w.precision, w.n_read
        )

    return open_flavour


@dataclass(frozen=True, slots=True)
class _Entry:
    what: str
    requires: tuple[str, ...]
    install: str
    open: Callable[[_Wanted], Engine]
    gpu: bool = False

    def missing(self) -> str:
        """Return the packages that are not installed, separated by commas."""
        return ", ".join(package for package in self.requires if not _version(package))

    def describe(self) -> str:
        if missing := self.missing():
            return f"not available: {missing} is not installed; {self.install}"
        where = ""
        if self.gpu:
            try:
                device = probe_apart()
            except EngineError as error:
                return f"not available: {error}"
            where = f" ({device.name}, driver {device.driver})"
        return f"{self.requires[0]} {_version(self.requires[0])}: {self.what}{where}"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


_GPU_KINDS: dict[str, Flavour] = {"tensorrt": "tensorrt", "tensorrt-rtx": "rtx"}

_ENGINES = {  # the best first
    "tensorrt": _Entry(
        "GPU",
        ("tensorrt", "cuda-bindings", "onnx"),
        INSTALL["tensorrt"],
        _open_gpu("tensorrt"),
        gpu=True,
    ),
    "tensorrt-rtx": _Entry(
        "GPU, compiled in seconds",
        ("tensorrt-rtx", "cuda-bindings", "onnx"),
        INSTALL["rtx"],
        _open_gpu("rtx"),
        gpu=True,
    ),
    "onnxruntime": _Entry(
        "processor, the default", ("onnxruntime",), "pip install onnxruntime", _open_onnxruntime
    ),
    "torch": _Entry(
        "processor, the reference that other engines are compared with",
        ("torch", "safetensors"),
        "pip install '.[train]' in hypnod's checkout",
        _open_torch,
    ),
}
