"""From a bundle to a plan: a network that TensorRT compiled for one kind of GPU.

One wrapper serves TensorRT and TensorRT-RTX. Networks are strongly typed, so the precision is
that of the network (see engines/gpu/network.py); only TF32 is a flag. A plan is for 1 to
`max_rows` subjects. TensorRT tunes it for a number of them, so there it has a few profiles: what is
fast for one subject is not for hundreds. TensorRT-RTX compiles for each number when it runs.
"""

import hashlib
from bisect import bisect_left
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

_MOST_SLOTS = 2**31 - 1
RTX_OFFERS = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
"""Compute capabilities that TensorRT-RTX 1.7 compiles for."""


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Batches that are tuned for together."""

    least: int
    """Fewest subjects."""
    usual: int
    """Subjects that are tuned for."""
    most: int
    """Most subjects."""


def profiles_for(flavour: Flavour, max_rows: int) -> tuple[Profile, ...]:
    """Return the profiles of a plan for 1 to `max_rows` subjects, at least 17, in order.

    None is of 1 to 2, 3 or 4: TensorRT-RTX 1.7.1, whose compiler is the same, fails at those with
    an error of its own.
    """
    if flavour == "rtx":
        return (Profile(1, 8, max_rows),)
    return Profile(1, 1, 1), Profile(2, 8, 16), Profile(17, max_rows, max_rows)


class PlanKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that a plan depends on."""

    network: str
    """SHA-256 of the ONNX network, weights included."""
    precision: Precision
    """In which it computes."""
    profiles: tuple[Profile, ...]
    """For which batches; the last one's are the largest."""
    n_slots: int
    """Slots of a subject in the ring of tokens."""
    flavour: Flavour
    """Which TensorRT."""
    version: str
    """Of that TensorRT."""
    compute_capability: str
    """Of the GPUs it is for."""
    driver: str
    """Version of the driver it was compiled beside; empty: compiled without one."""

    @property
    def max_rows(self) -> int:
        """Most subjects in one step."""
        return self.profiles[-1].most

    @property
    def max_slots(self) -> int:
        """Most slots in the ring of tokens."""
        return self.max_rows * self.n_slots

    def profile_of(self, bucket: int) -> int:
        """Return the number of the profile that a batch of so many subjects belongs to."""
        return bisect_left(self.profiles, bucket, key=lambda profile: profile.most)

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
    for profile in key.profiles:
        config.add_optimization_profile(make_profile(library, builder, parsed, key, profile))
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
    profile: Profile,
) -> "tensorrt.IOptimizationProfile":
    """Return the shapes that a profile is for: least, usual and most of every input.

    The ring is that of all subjects, however few are in a batch.
    """
    shapes = builder.create_optimization_profile()
    of_batch = (profile.least, profile.usual, profile.most)
    of_ring = tuple(rows * key.n_slots for rows in (profile.least, key.max_rows, key.max_rows))
    for i in range(parsed.num_inputs):
        tensor = parsed.get_input(i)
        shape: Any = tensor.shape  # a sequence, though its signature does not say so
        least, usual, most = (
            library.Dims([size if dim == -1 else dim for dim in shape])
            for size in (of_ring if tensor.name == "ring" else of_batch)
        )
        shapes.set_shape(tensor.name, least, usual, most)
    return shapes


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
