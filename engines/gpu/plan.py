"""From a bundle to a plan: a network that TensorRT compiled for one kind of GPU.

One wrapper serves TensorRT and TensorRT-RTX. Networks are strongly typed, so the precision is
that of the network (see engines/gpu/network.py); only TF32 is a flag. A plan is for 1 to
`max_rows` subjects.
"""

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from engines.errors import EngineError
from engines.gpu.cuda import probe
from engines.gpu.flavour import Flavour, Library, Log, Precision, get_log, load_library

if TYPE_CHECKING:
    import tensorrt

OnProgress = Callable[[str, int, int], None]
"""Called with a phase of the build, steps done and steps in all."""

_USUAL_ROWS = 8
_MOST_SLOTS = 2**31 - 1
RTX_OFFERS = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
"""Compute capabilities that TensorRT-RTX 1.7 compiles for."""


class PlanKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that a plan depends on."""

    network: str
    """SHA-256 of the ONNX network, weights included."""
    precision: Precision
    """In which it computes."""
    max_rows: int
    """Most subjects in one step."""
    max_slots: int
    """Most slots in the ring of tokens."""
    flavour: Flavour
    """Which TensorRT."""
    version: str
    """Of that TensorRT."""
    compute_capability: str
    """Of the GPUs it is for."""
    driver: str
    """Version of the driver it was compiled beside; empty: compiled without one."""

    @property
    def name(self) -> str:
        """Name of the plan's files, without extension."""
        digest = hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()
        return f"{self.flavour}-{self.precision}-sm{self.compute_capability}-{digest[:16]}"


def build_plan(
    network: bytes, key: PlanKey, progress: OnProgress | None = None
) -> tuple[bytes, list[str]]:
    """Compile an ONNX network; return the plan and the log of the build.

    Args:
        network: as `derive_network` gives it.
        key: what to compile it for.
        progress: called as the build goes on.

    Raises:
        EngineError: the parser or the builder refuses, in its own words.
    """
    check_offered(key.flavour, key.compute_capability)
    if key.max_slots > _MOST_SLOTS:  # the bindings would take it modulo 2^32
        raise EngineError(
            f"expected subjects and hops for at most {_MOST_SLOTS} slots of context, found "
            f"{key.max_slots} ({key.max_rows} subjects)"
        )
    library, log = load_library(key.flavour), get_log(key.flavour)
    with log.listening():
        builder = library.Builder(log.logger)
        parsed = builder.create_network()
        _parse(library, parsed, network, log)
        config = builder.create_builder_config()
        _configure(library, builder, config, parsed, key)
        if progress is not None:
            config.progress_monitor = _make_monitor(library, progress)
        plan = builder.build_serialized_network(parsed, config)
        if plan is None:
            raise EngineError(
                f"{key.flavour} {key.version}: expected to compile at {key.precision} for compute "
                f"capability {key.compute_capability}, found: {log.reason}"
            )
        content: Any = plan  # a buffer, though its signature does not say so
        return bytes(content), list(log.lines)


def check_offered(flavour: Flavour, compute_capability: str) -> None:
    """Raise EngineError unless a flavour can compile here for this compute capability.

    TensorRT compiles for the GPU at hand, and asking it without a driver could end the process.
    """
    if flavour == "tensorrt":
        device = probe()
        if device.compute_capability != compute_capability:
            raise EngineError(
                "tensorrt compiles for the GPU in this computer only: expected compute "
                f"capability {device.compute_capability} ({device.name}), found "
                f"{compute_capability}; TensorRT-RTX (--flavour rtx) compiles for others"
            )
    elif compute_capability not in RTX_OFFERS:
        raise EngineError(
            f"rtx: expected one of the compute capabilities {', '.join(RTX_OFFERS)}, found "
            f"{compute_capability!r}; TensorRT (--flavour tensorrt) serves others"
        )


def _parse(
    library: Library, parsed: "tensorrt.INetworkDefinition", network: bytes, log: Log
) -> None:
    parser = library.OnnxParser(parsed, log.logger)
    if not parser.parse(network):
        errors = [parser.get_error(i) for i in range(parser.num_errors)]
        reason = "; ".join(f"{e.node_name()} ({e.node_operator()}): {e.desc()}" for e in errors)
        raise EngineError(
            f"expected an ONNX network that TensorRT can parse, found: {reason or log.reason}"
        )


def _configure(
    library: Library,
    builder: "tensorrt.Builder",
    config: "tensorrt.IBuilderConfig",
    parsed: "tensorrt.INetworkDefinition",
    key: PlanKey,
) -> None:
    """Set the precision of float32 products, the shapes and the target."""
    if key.precision == "tf32":
        config.set_flag(library.BuilderFlag.TF32)
    else:
        config.clear_flag(library.BuilderFlag.TF32)  # it is on by default
    config.add_optimization_profile(make_profile(library, builder, parsed, key))
    if key.flavour == "rtx":
        rtx_library: Any = library  # these two names only TensorRT-RTX has
        rtx_config: Any = config
        rtx_config.num_compute_capabilities = 1
        name = "SM" + key.compute_capability.replace(".", "")
        rtx_config.set_compute_capability(getattr(rtx_library.ComputeCapability, name), 0)


def make_profile(
    library: Library,
    builder: "tensorrt.Builder",
    parsed: "tensorrt.INetworkDefinition",
    key: PlanKey,
) -> "tensorrt.IOptimizationProfile":
    """Return the shapes that a plan is for: least, usual and most of every input."""
    profile = builder.create_optimization_profile()
    n_slots = key.max_slots // key.max_rows
    for i in range(parsed.num_inputs):
        tensor = parsed.get_input(i)
        shape: Any = tensor.shape  # a sequence, though its signature does not say so
        of_a_row = n_slots if tensor.name == "ring" else 1
        least, usual, most = (
            library.Dims([of_a_row * rows if dim == -1 else dim for dim in shape])
            for rows in (1, _USUAL_ROWS, key.max_rows)
        )
        profile.set_shape(tensor.name, least, usual, most)
    return profile


def _make_monitor(library: Library, progress: OnProgress) -> "tensorrt.IProgressMonitor":
    base: Any = library.IProgressMonitor

    class Monitor(base):  # type: ignore[misc]  # which class it is shows when it runs
        def __init__(self) -> None:
            super().__init__()
            self.totals: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.totals[phase_name] = num_steps
            progress(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            progress(phase_name, step + 1, self.totals[phase_name])
            return True

        def phase_finish(self, phase_name: str) -> None:
            total = self.totals.pop(phase_name)
            progress(phase_name, total, total)

    monitor: tensorrt.IProgressMonitor = Monitor()
    return monitor
