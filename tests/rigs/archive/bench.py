"""Measure what docs/archives.md says of speed, scaling, memory and the engine's own cost.

    python -m tests.rigs.archive.bench --json archives.json [--day]

Other programs on the machine slow all of it: figures are to be compared within one run.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import typer
from rich.console import Console

import hypnod
from daemon.config import StagingConfig
from engines.bundle import open_bundle
from engines.select import open_engine
from models.simulator.mouse.simulate import SimulatedMice
from tests.support.archive import write_night
from tests.support.recordings.edf import write_channels
from tools.archive.folder import ArchiveFolder
from tools.archive.jobs import Job, find_jobs, to_do
from tools.archive.rules import ArchiveRules, RecordingRule, settle
from tools.archive.running import run
from tools.archive.staging import stage_job
from tools.cluster.open import open_cluster
from tools.cluster.options import ClusterOptions
from tools.score.offline import stage_recording
from tools.shared.measure import Machine, describe_machine

_SFREQ = 512.0
_PEAK = """
import sys
from pathlib import Path
from tools.archive.jobs import find_jobs
from tools.archive.rules import ArchiveRules
from tools.archive.staging import stage_job
((job,), _, _) = find_jobs([Path(sys.argv[1])], ArchiveRules(), None, Path(sys.argv[2]))
sidecar = stage_job(job)
for line in Path("/proc/self/status").read_text().splitlines():
    if line.startswith("VmHWM:"):
        print(1024 * int(line.split()[1]))
"""
_NIGHT_H, _NIGHTS, _CORES = 12.0, 5000, 100


class Speed(msgspec.Struct, frozen=True):
    """Of one core."""

    animals: int
    hours: float
    """Of the recording."""
    processor_s: float
    single_steps_s: float
    """Likewise, epoch by epoch, as `hypnod score` does."""
    network_s: float
    """Of the network alone, single steps of as many epochs."""

    @property
    def rate(self) -> float:
        """Recorded seconds of one animal, a second of the processor."""
        return self.animals * self.hours * 3600 / self.processor_s


class Bench(msgspec.Struct, kw_only=True):
    """All that was measured."""

    speed: list[Speed] = []
    scaling: dict[int, float] = {}
    """Recorded hours a second by workers, wall clock, opening the recordings included."""
    small_files: int = 0
    small_wall_s: float = 0.0
    """Wall time of a run over so many recordings of 6 s, with two workers."""
    small_staging_s: float = 0.0
    """That the workers spent in staging them, both together."""
    listing_s: float = 0.0
    """To find them, before."""
    again_s: float = 0.0
    """A second run, which finds all of them done."""
    memory: dict[str, float] = {}
    """Largest resident memory of a worker that stages eight animals, GB, by hours."""
    machine: Machine
    date: str


def simulate(path: Path, hours: float, animals: int, seed: int = 0) -> Path:
    """Write simulated mice as EDF."""
    mice = SimulatedMice(
        seed=seed, duration_s=3600 * hours, sfreq=_SFREQ, n_subjects=animals
    ).record()
    labels = [f"{m} m{k}" for k in range(1, animals + 1) for m in ("EEG", "EMG")]
    return write_channels(path, mice.data.T.astype(np.float64), labels, _SFREQ)


def repeat(path: Path, to: Path, times: int) -> Path:
    """Write an EDF that holds another one so many times, one after the other."""
    raw = path.read_bytes()
    header, records = int(raw[184:192]), int(raw[236:244])
    to.parent.mkdir(parents=True, exist_ok=True)
    with to.open("wb") as file:
        file.write(raw[:236] + f"{records * times:<8}".encode() + raw[244:header])
        for _ in range(times):
            file.write(raw[header:])
    return to


def measure_speed(folder: Path, animals: int, hours: float) -> Speed:
    """Stage a recording in this process, as an archive does and step by step, and the net alone."""
    night = simulate(folder / f"speed-{animals}" / "n.edf", hours, animals)
    ((job,), _, _) = find_jobs([night.parent], ArchiveRules(), None, folder / f"out-{animals}")
    stage_job(_short(folder, animals))  # opens the engine, loads what is loaded once
    began = time.process_time()
    stage_job(job)
    archive_s = time.process_time() - began
    bundle = open_bundle()
    stream = settle(night, RecordingRule(), bundle.spec)
    n_read, manifest = StagingConfig().final_lag + 1, bundle.manifest
    with open_engine(bundle, "onnxruntime", n_rows=animals, n_read=n_read) as engine:
        began = time.process_time()
        for _ in stage_recording(
            *(stream.recording, stream.stream, engine),
            reference=manifest.reference,
            grammar=manifest.grammar,
        ):
            pass
        single_s = time.process_time() - began
        spec, rows = bundle.spec, np.arange(animals)
        epochs = np.zeros((animals, spec.n_modalities, spec.n_inputs), np.float32)
        valid = np.ones((animals, spec.n_modalities), bool)
        began = time.process_time()
        for _ in range(round(3600 * hours / spec.epoch_s)):
            engine.step(epochs, rows, valid)
        network_s = time.process_time() - began
    return Speed(animals, hours, archive_s, single_s, network_s)


def _short(folder: Path, animals: int) -> Job:
    night = simulate(folder / f"short-{animals}" / "n.edf", 0.01, animals)
    ((job,), _, _) = find_jobs(
        [night.parent], ArchiveRules(), None, folder / f"short-out-{animals}"
    )
    return job


def measure_scaling(folder: Path, hours: float, n: int) -> dict[int, float]:
    """Return the recorded hours a second of 1, 2 and 4 workers that are there already."""
    for k in range(n):
        simulate(folder / "scaling" / f"n{k}.edf", hours, 1, seed=k)
    found = {}
    for workers in (1, 2, 4):
        out = folder / f"scaling-{workers}"
        jobs, _, _ = find_jobs([folder / "scaling"], ArchiveRules(), None, out)
        outcome = _run(out, jobs, workers)
        found[workers] = outcome["hours"] / outcome["seconds"]
    return found


def measure_small(folder: Path, n: int) -> dict[str, float]:
    """Return what a run over many small recordings takes, and of that the staging."""
    first = write_night(folder / "small" / "n0000.edf", seconds=6)
    for k in range(1, n):
        shutil.copyfile(first, folder / "small" / f"n{k:04}.edf")
    out = folder / "small-out"
    began = time.perf_counter()
    jobs, _, _ = find_jobs([folder / "small"], ArchiveRules(), None, out)
    listing_s = time.perf_counter() - began
    outcome = _run(out, jobs, 2)
    sidecars = [ArchiveFolder(out).read(job.name) for job in jobs]
    staging_s = sum(float(s.seconds or 0.0) for s in sidecars if s is not None)
    began = time.perf_counter()
    left = to_do(ArchiveFolder(out), jobs, again=False)
    if left:
        raise AssertionError(f"expected all of {n} done, found {len(left)} that are not")
    return {
        "small_files": n,
        "small_wall_s": outcome["seconds"],
        "small_staging_s": staging_s,
        "listing_s": listing_s,
        "again_s": time.perf_counter() - began,
    }


def _run(out: Path, jobs: list[Job], workers: int) -> Mapping[str, float]:
    folder, console = ArchiveFolder(out), Console(stderr=True, quiet=True)
    with folder.held(), open_cluster(ClusterOptions(workers=workers), out) as client:
        client.wait_for_workers(workers)
        client.run(_load)
        found: Mapping[str, float] = msgspec.structs.asdict(run(folder, jobs, client, console))
    return found


def _load() -> None:
    """Import what a worker needs, which it does once."""
    import tools.archive.staging  # noqa: F401, PLC0415  in the worker


def measure_memory(folder: Path, hours: int) -> float:
    """Return the largest resident memory of a process that stages eight animals, GB."""
    hour = simulate(folder / "hour" / "n.edf", 1.0, 8)
    night = repeat(hour, folder / f"day-{hours}" / "n.edf", hours)
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, str(night.parent), str(folder / f"day-out-{hours}")],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(hypnod.HOME)},
    )
    return float(done.stdout.split()[0]) / 1e9


def main(
    json: Annotated[Path, typer.Option(help="Where the figures go.")],
    hours: Annotated[float, typer.Option(help="Of the recordings that are timed.")] = 1.0,
    small: Annotated[int, typer.Option(help="Small recordings.")] = 2000,
    day: Annotated[
        bool, typer.Option("--day", help="Also the memory of 24 h of eight animals (ten minutes).")
    ] = False,
) -> None:
    """Measure, print and write."""
    console = Console(soft_wrap=True, highlight=False)
    with tempfile.TemporaryDirectory(prefix="hypnod-archive-") as scratch:
        folder = Path(scratch)
        found: dict[str, Any] = {"speed": []}
        for animals in (1, 2, 8):
            speed = measure_speed(folder, animals, hours / animals)
            found["speed"].append(speed)
            console.print(
                f"{animals} animals: {speed.rate:.0f} recorded s of one a second of the processor;"
                f" step by step {speed.single_steps_s / speed.processor_s:.2f} × as long, of which"
                f" the net {speed.network_s / speed.single_steps_s:.0%}"
            )
        found["scaling"] = measure_scaling(folder, hours / 4, 8)
        one = found["scaling"][1]
        for workers, rate in found["scaling"].items():
            console.print(f"{workers} workers: {3600 * rate:.0f} recorded s/s, {rate / one:.2f} ×")
        found |= measure_small(folder, small)
        overhead_s = 2 * found["small_wall_s"] - found["small_staging_s"]
        console.print(
            f"{small} small recordings: {found['small_wall_s']:.1f} s with two workers, staging "
            f"{found['small_staging_s']:.1f} s of both, so {1e3 * overhead_s / small:.1f} ms each "
            f"beside it; found in {found['listing_s']:.1f} s, seen to be done in "
            f"{found['again_s']:.1f} s"
        )
        found["memory"] = {str(h): measure_memory(folder, h) for h in [1] + [24] * day}
        console.print(f"memory of eight animals, GB by hours: {found['memory']}")
        seconds = _NIGHTS * _NIGHT_H * 3600 / found["speed"][0].rate / _CORES
        console.print(
            f"{_NIGHTS} nights of {_NIGHT_H:g} h of one animal on {_CORES} such cores: "
            f"{seconds / 60:.0f} minutes"
        )
    bench = Bench(
        **found, machine=describe_machine(), date=time.strftime("%Y-%m-%d", time.gmtime())
    )
    json.write_bytes(msgspec.json.format(msgspec.json.encode(bench)))


if __name__ == "__main__":
    typer.run(main)
