"""The parity check: no plan stages anything on a device before it agreed there with the processor.

The same epochs go through the GPU and through ONNX Runtime: noise of every colour and amplitude
with losses of either modality, over more than a whole context window, by each plan and in batches
of each size that is run, since each is a graph of its own. A size of a plan that passed is not
examined again on that device with that driver; plans of which one did not are refused, at every
start.
"""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from engines.base import Engine
from engines.errors import EngineError
from engines.gpu.cuda import GpuDevice
from engines.gpu.flavour import Precision
from engines.gpu.folder import write_whole
from engines.gpu.plan_cache import Plan
from engines.gpu.tensorrt import TensorRtEngine
from engines.parity import Parity, compare
from models.graphs import steps

_SEED = 20240607
_MORE_TICKS = 16  # than fill a context window


class Bound(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far from ONNX Runtime's a precision's probabilities may be."""

    max_abs_difference: float
    """Largest difference of a probability."""
    argmax_agreement: float
    """Least fraction of estimates with the same most probable stage."""


BOUNDS: dict[Precision, Bound] = {
    "fp32": Bound(1e-4, 0.999),
    "tf32": Bound(0.1, 0.999),
    "fp16": Bound(0.1, 0.999),
    "bf16": Bound(0.5, 0.995),
}
"""About twice what rounding alone did to the steepest model that was shipped (docs/engines.md): a
model that is steep between two stages moves a rare estimate far without changing its stage."""


class Agreement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How far batches of one size agreed."""

    n_compared: int
    """Estimates compared."""
    max_abs_difference: float
    """Largest difference of a probability."""
    argmax_agreement: float
    """Fraction of estimates with the same most probable stage."""


class ParityVerdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A passed check, kept beside the plan as JSON."""

    plan_sha256: str
    """The plan."""
    device: str
    """UUID of the GPU."""
    driver: str
    """Version of the driver."""
    reference: str
    """The engine it was compared with."""
    bound: Bound
    """What it had to keep to."""
    passed: dict[str, Agreement]
    """What passed, by the size of the batches."""


def describe(verdicts: Iterable[ParityVerdict]) -> str:
    """Return what was found, for a log."""
    found = [(verdict.reference, size) for verdict in verdicts for size in verdict.passed.values()]
    return (
        f"within {max(s.max_abs_difference for _, s in found):.1g} of {found[0][0]} and "
        f"{100 * min(s.argmax_agreement for _, s in found):.2f} % equal stages in "
        f"{sum(s.n_compared for _, s in found)} estimates"
    )


def check_parity(
    engine: TensorRtEngine, reference: Engine, plans: Iterable[Plan], device: GpuDevice
) -> list[ParityVerdict]:
    """Return the verdict on each plan, from before or after comparing now; contexts are cleared.

    What passed is kept as it comes, so that a check that is cut short goes on from there.

    Args:
        engine: runs the plans on the device.
        reference: ONNX Runtime with the same bundle, rows and hops.
        plans: those of the engine.
        device: where.

    Raises:
        EngineError: they do not agree, so the plans are refused; an engine failed; or a verdict
            cannot be kept.
    """
    return [
        _check_plan(engine, reference, plan, device, unimodal=len(pathways) > 1)
        for pathways, plan in zip(steps(engine.spec), plans, strict=True)
    ]


def _check_plan(
    engine: TensorRtEngine, reference: Engine, plan: Plan, device: GpuDevice, *, unimodal: bool
) -> ParityVerdict:
    """Compare in steps that want single pathways, or none: which plan runs is told by that."""
    bound = BOUNDS[plan.key.precision]
    path = verdict_path(plan, device)
    verdict = _read(path)
    if not verdict or verdict.plan_sha256 != plan.manifest.sha256 or verdict.bound != bound:
        verdict = ParityVerdict(
            plan_sha256=plan.manifest.sha256,
            device=device.uuid,
            driver=device.driver,
            reference=reference.description,
            bound=bound,
            passed={},
        )
    for size in engine.buckets:
        if str(size) in verdict.passed:
            continue
        ticks = engine.spec.ring_length(engine.hops_per_epoch) + _MORE_TICKS
        parity = compare(engine, reference, ticks, _SEED, n_rows=size, unimodal=unimodal)
        if not _passes(parity, bound):
            raise EngineError(
                f"parity check: expected probabilities within {bound.max_abs_difference:g} of "
                f"{reference.description} and {100 * bound.argmax_agreement:g} % equal stages, "
                f"found {parity.max_abs_difference:.3g} and {100 * parity.argmax_agreement:.2f} % "
                f"in {parity.n_compared} estimates of {size} at once; "
                f"the plan {plan.path} is refused on {device.name}"
            )
        agreed = Agreement(
            n_compared=parity.n_compared,
            max_abs_difference=parity.max_abs_difference,
            argmax_agreement=parity.argmax_agreement,
        )
        verdict = msgspec.structs.replace(verdict, passed=verdict.passed | {str(size): agreed})
        write_whole(path, msgspec.json.format(msgspec.json.encode(verdict)))
    return verdict


def verdict_path(plan: Plan, device: GpuDevice) -> Path:
    """Return where the verdict on a plan on a device with its driver lies."""
    return plan.beside(device, "pass")


def _passes(parity: Parity, bound: Bound) -> bool:
    return (
        parity.n_compared > 0
        and parity.max_abs_difference <= bound.max_abs_difference
        and parity.argmax_agreement >= bound.argmax_agreement
    )


def _read(path: Path) -> ParityVerdict | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=ParityVerdict)
    except (OSError, msgspec.DecodeError):
        return None
