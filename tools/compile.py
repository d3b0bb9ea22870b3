"""`hypnod compile`: make TensorRT plans before the night, also for a GPU in another computer."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from daemon.config import StagingConfig
from engines.bundle import open_bundle
from engines.errors import EngineError
from engines.gpu.cuda import probe
from engines.gpu.flavour import INSTALL, Flavour, Precision
from engines.gpu.folder import plan_folder
from models.graphs import steps
from tools.shared.species import BundleOption


def compile_plan(
    flavour: Annotated[
        Flavour, typer.Option(help="tensorrt: for the GPU in this computer; rtx: for any RTX GPU.")
    ] = "rtx",
    precision: Annotated[Precision, typer.Option(help="In which it computes.")] = "fp32",
    compute_capability: Annotated[
        str, typer.Option(help="Of the GPU it is for, e.g. 8.9; default: that of this computer's.")
    ] = "",
    bundle: BundleOption = None,
    subjects: Annotated[int, typer.Option(min=1, help="Most subjects in one step.")] = 64,
    hops: Annotated[int, typer.Option(min=1, help="Outputs per epoch length.")] = 1,
    final_lag: Annotated[
        int,
        typer.Option(min=0, help="Epochs from the newest to the final stage, as in the config."),
    ] = StagingConfig().final_lag,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where; default: where the daemon looks.")
    ] = None,
) -> None:
    """Compile a model for a **GPU**, so that the daemon has it soon after its start.

    Without it the daemon compiles while the processor stages, which takes seconds (TensorRT-RTX)
    to minutes (TensorRT). TensorRT-RTX needs no GPU to compile: give the compute capability of the
    computer that will run the plan, and copy the files of DIR into its plan folder. Wherever it
    was compiled, a plan is compared with ONNX Runtime on its GPU before it stages anything.

        hypnod compile --flavour rtx --precision fp16 --compute-capability 8.9 --out plans
    """
    try:  # here, not above: only computers that compile have the package onnx
        from engines.gpu.plan_cache import PlanRequest, get_plans  # noqa: PLC0415
    except ImportError as error:
        raise EngineError(
            f"expected {INSTALL[flavour]} to have been run, found: {error}"
        ) from error
    console, opened = Console(stderr=True), open_bundle(bundle)
    capability, driver = compute_capability, ""
    if not capability or flavour == "tensorrt":
        device = probe()
        capability, driver = capability or device.compute_capability, device.driver
    request = PlanRequest(
        bundle=opened,
        flavour=flavour,
        precision=precision,
        compute_capability=capability,
        n_rows=subjects,
        n_slots=opened.spec.ring_length(hops),
        n_read=final_lag + 1,
        driver=driver,
    )
    with _Bars(console) as bars:
        plans = get_plans(request, out or plan_folder(), bars.report)
    for plan, pathways in zip(plans, steps(opened.spec), strict=True):
        size, most = plan.path.stat().st_size / 1e6, plan.key.max_rows
        what = f"{size:.1f} MB for {', '.join(pathways)} of 1 to {most} subjects"
        console.print(what, highlight=False)
        typer.echo(plan.path)


class _Bars:
    """A bar for each phase of a build that is under way."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._progress = Progress(*columns, console=console, transient=True)
        self._tasks: dict[str, TaskID] = {}

    def report(self, phase: str, done: int, total: int) -> None:
        """Show how far a phase is."""
        if phase not in self._tasks:
            self._tasks[phase] = self._progress.add_task(phase, total=total)
        self._progress.update(self._tasks[phase], completed=done)
        if done == total:
            self._progress.remove_task(self._tasks.pop(phase))

    def __enter__(self) -> "_Bars":
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()
