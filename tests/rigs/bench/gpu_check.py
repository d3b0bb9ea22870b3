"""Test and measure TensorRT on this computer's GPU: `make gpu-check`.

Runs every test marked `gpu` and times the step by number of subjects, and writes one JSON with
the device, the driver, all versions and what came of it, for anyone with a GPU to send. Nobody
has run it on a GPU yet.
"""

import os
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Annotated
from xml.etree import ElementTree

import msgspec
import typer
from rich.console import Console

from engines.bundle import open_bundle
from engines.gpu.cuda import GpuDevice, probe
from engines.gpu.flavour import FLAVOURS, version_of
from engines.select import available_engines
from models.errors import HypnodError
from models.recordings.writers import replacing
from tests.rigs.bench.steps import StepReport, draw, time_steps
from tests.support.paths import ROOT

_PACKAGES = ("hypnod", "numpy", "onnx", "onnxruntime", "cuda-bindings")


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one test found."""

    name: str
    """Module and name."""
    outcome: str
    """passed, failed, error or skipped."""
    message: str
    """Why it was skipped or failed."""
    measured: dict[str, str]
    """What it measured."""


class GpuReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything to know about one GPU."""

    device: GpuDevice
    versions: dict[str, str]
    """Of the packages, TensorRT's flavours included."""
    commit: str
    """The checkout, if it is one."""
    tests: tuple[Outcome, ...]
    steps: StepReport | None
    """Times of the GPU engines and of ONNX Runtime; none where that failed."""
    steps_error: str
    """Why there are none."""


def main(
    out: Annotated[Path, typer.Option(help="Where the report goes.")] = Path("gpu-check.json"),
) -> None:
    """Test and measure TensorRT on this computer's GPU, and write one report."""
    console = Console(stderr=True)
    try:
        device = probe()
    except HypnodError as error:
        console.print(f"hypnod: {error}", markup=False)
        raise typer.Exit(error.exit_code) from error
    console.print(f"{device.name}, compute capability {device.compute_capability}, {device.driver}")
    tests = run_tests()
    steps, steps_error = None, ""
    try:
        steps = time_steps(open_bundle(), _kinds(), (1, os.cpu_count() or 1))
        console.print(draw(steps))
    except HypnodError as error:  # the tests' results are worth sending all the same
        steps_error = str(error)
    report = GpuReport(
        device=device,
        versions=_versions(),
        commit=_commit(),
        tests=tests,
        steps=steps,
        steps_error=steps_error,
    )
    with replacing(out) as draft:
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    bad = [test.name for test in tests if test.outcome in ("failed", "error")]
    console.print(f"{out}: {len(tests)} tests, {len(bad)} of them failed", highlight=False)
    if bad or steps_error:
        raise typer.Exit(1)


def run_tests() -> tuple[Outcome, ...]:
    """Run the tests of a marker in a process of their own, which may die with its GPU."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tests.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", f"--junitxml={file}"]
        done = subprocess.run(command, cwd=ROOT, check=False)
        if not file.exists():
            message = f"expected a report of the tests, found exit code {done.returncode}"
            return (Outcome(name="pytest", outcome="error", message=message, measured={}),)
        return read_results(file)


def read_results(file: Path) -> tuple[Outcome, ...]:
    """Read what pytest wrote as JUnit XML."""
    tree = ElementTree.parse(file)
    return tuple(_read(case) for case in tree.iter("testcase"))


def _read(case: ElementTree.Element) -> Outcome:
    outcome, message = "passed", ""
    for tag, word in (("failure", "failed"), ("error", "error"), ("skipped", "skipped")):
        found = case.find(tag)
        if found is not None:
            outcome, message = word, found.get("message", "")
    return Outcome(
        name=f"{case.get('classname')}::{case.get('name')}",
        outcome=outcome,
        message=message,
        measured={p.get("name", ""): p.get("value", "") for p in case.iter("property")},
    )


def _kinds() -> tuple[str, ...]:
    """Return ONNX Runtime and the GPU engines that can be had here."""
    return tuple(
        kind
        for kind, what in available_engines().items()
        if kind != "torch" and not what.startswith("not available")
    )


def _versions() -> dict[str, str]:
    found = {flavour: version_of(flavour) for flavour in FLAVOURS}
    return found | {package: metadata.version(package) for package in _PACKAGES}


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


if __name__ == "__main__":
    typer.run(main)
