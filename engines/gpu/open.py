"""Open TensorRT on this computer's GPU, if it has one and the GPU computes the right thing."""

import time

from engines.bundle import Bundle
from engines.errors import EngineError
from engines.failover import FailoverEngine
from engines.gpu.cuda import probe
from engines.gpu.flavour import Flavour, Precision, load_library
from engines.gpu.folder import plan_folder
from engines.gpu.parity_check import check_parity, describe
from engines.gpu.plan_cache import Plan, get_plans, request_for
from engines.gpu.tensorrt import TensorRtEngine
from engines.onnxruntime import OnnxRuntimeEngine

_SHARE = 0.7
"""Of the time from one step to the next that a step may take: the rest of the daemon needs some."""
_RAISED = (RuntimeError, TypeError, ValueError, AttributeError, ImportError, OSError)
"""What the bindings raise, of a version that fits neither hypnod nor the driver, too."""


def open_gpu(
    bundle: Bundle,
    flavour: Flavour,
    n_rows: int,
    threads: int,
    hops_per_epoch: int,
    precision: Precision,
    n_read: int | None = None,
) -> FailoverEngine:
    """Open plans that passed the parity check, with ONNX Runtime ready to take over.

    Args:
        bundle: the model.
        flavour: which TensorRT.
        n_rows: subjects to keep a context window for.
        threads: of ONNX Runtime.
        hops_per_epoch: outputs per epoch length.
        precision: in which the GPU computes.
        n_read: slots of the window to answer for; default: all.

    Raises:
        EngineError: there is no GPU, a plan cannot be compiled or run, or it was refused.
    """
    engine, plans = open_plans(bundle, flavour, n_rows, hops_per_epoch, precision, n_read)
    try:
        spare = OnnxRuntimeEngine(bundle, n_rows, threads, hops_per_epoch, n_read)
        spare.warm_up()
        verdicts = check_parity(engine, spare, plans, probe())
        opened = FailoverEngine(engine, spare)
    except BaseException:
        engine.close()
        raise
    opened.why = f"a GPU is there and passed the parity check, {describe(verdicts)}"
    if engine.not_recorded:
        opened.why += f"; its calls are made one by one: {engine.not_recorded}"
    opened.why += f"; {_describe_spare(spare)}"
    return opened


def _describe_spare(spare: OnnxRuntimeEngine) -> str:
    """Say whether it could stage all subjects in time, were the GPU lost."""
    began = time.perf_counter()
    spare.warm_up()
    step_s = (time.perf_counter() - began) / 2  # of all pathways and of one
    hop_s = spare.spec.epoch_s / spare.hops_per_epoch
    could = "could" if step_s < _SHARE * hop_s else "could not"
    return (
        f"onnxruntime {could} go on in its place: a step of {spare.n_rows} subjects takes it "
        f"{1e3 * step_s:.0f} ms, and one is due every {1e3 * hop_s:.0f} ms"
    )


def open_plans(
    bundle: Bundle,
    flavour: Flavour,
    n_rows: int,
    hops_per_epoch: int,
    precision: Precision,
    n_read: int | None = None,
) -> tuple[TensorRtEngine, list[Plan]]:
    """Open the plans as they are, without check or spare.

    Raises:
        EngineError: there is no GPU, or a plan cannot be compiled or run.
    """
    device = probe()  # before anything of TensorRT is touched
    load_library(flavour)
    request = request_for(device, bundle, flavour, precision, n_rows, hops_per_epoch, n_read)
    try:
        plans = get_plans(request, plan_folder())
        return TensorRtEngine(bundle.spec, plans, device, n_rows, hops_per_epoch, n_read), plans
    except _RAISED as error:
        raise EngineError(f"{flavour}: expected the plans to load, found: {error}") from error
