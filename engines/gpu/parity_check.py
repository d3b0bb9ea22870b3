"""The parity check: no plan stages anything on a device before it agreed there with the processor.

The same epochs go through the GPU and through ONNX Runtime: noise of every colour and amplitude
with losses of either modality, over more than a whole context window. A plan that passed is not
examined again on that device with that driver; one that did not is refused, at every start.
"""

import hashlib
from pathlib import Path

import msgspec

from engines.base import Engine
from engines.errors import EngineError
from engines.gpu.cuda import GpuDevice
from engines.gpu.flavour import Precision
from engines.gpu.plan_cache import Plan, write_whole
from engines.parity import Parity, compare

_SEED = 20240607


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
    n_compared: int
    """Estimates compared."""
    max_abs_difference: float
    """Largest difference of a probability."""
    argmax_agreement: float
    """Fraction of estimates with the same most probable stage."""

    @property
    def sentence(self) -> str:
        """What was found, for a log."""
        return (
            f"within {self.max_abs_difference:.1g} of {self.reference} and "
            f"{100 * self.argmax_agreement:.2f} % equal stages in {self.n_compared} estimates"
        )


def check_parity(engine: Engine, reference: Engine, plan: Plan, device: GpuDevice) -> ParityVerdict:
    """Return the verdict on a plan, from before or after comparing now; contexts are cleared.

    Args:
        engine: runs the plan on the device.
        reference: ONNX Runtime with the same bundle, rows and hops.
        plan: which it is.
        device: where.

    Raises:
        EngineError: they do not agree, so the plan is refused; an engine failed; or the verdict
            cannot be kept.
    """
    bound = BOUNDS[plan.key.precision]
    path = verdict_path(plan, device)
    known = _read(path)
    if known and known.plan_sha256 == plan.manifest.sha256 and known.bound == bound:
        return known
    parity = compare(engine, reference, ticks=3 * engine.spec.n_context, seed=_SEED)
    if not _passes(parity, bound):
        raise EngineError(
            f"parity check: expected probabilities within {bound.max_abs_difference:g} of "
            f"{reference.description} and {100 * bound.argmax_agreement:g} % equal stages, found "
            f"{parity.max_abs_difference:.3g} and {100 * parity.argmax_agreement:.2f} % in "
            f"{parity.n_compared} estimates; the plan {plan.path} is refused on {device.name}"
        )
    verdict = ParityVerdict(
        plan_sha256=plan.manifest.sha256,
        device=device.uuid,
        driver=device.driver,
        reference=reference.description,
        bound=bound,
        n_compared=parity.n_compared,
        max_abs_difference=parity.max_abs_difference,
        argmax_agreement=parity.argmax_agreement,
    )
    write_whole(path, msgspec.json.format(msgspec.json.encode(verdict)))
    return verdict


def verdict_path(plan: Plan, device: GpuDevice) -> Path:
    """Return where the verdict on a plan on a device with its driver lies."""
    where = hashlib.sha256(f"{device.uuid} {device.driver}".encode()).hexdigest()[:12]
    return plan.path.with_name(f"{plan.path.stem}.{where}.pass")


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
