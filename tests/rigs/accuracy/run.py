"""`make accuracy`: measure everything that docs/accuracy.md shows, and write its tables."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from enum import StrEnum
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from engines.bundle import open_bundle
from engines.select import AUTO
from models.errors import RecordingError
from models.fit.semireal import synthesise, write
from models.fit.signals import halves, read_band_powers
from models.recordings.lab import LabRecording, open_lab
from models.recordings.writers import replacing
from models.training.simulated import FIRST_UNSEEN_SEED, simulate_mouse
from tests.rigs.accuracy.page import Accuracy, AtRate, write_page
from tests.rigs.accuracy.real_mice import RECORDINGS, RealMice, look_at_all
from tests.rigs.accuracy.real_mouse import RealMouse, look_at
from tests.support.paths import ROOT
from tools.evaluate.evaluation import choose_withheld, evaluate_recordings
from tools.evaluate.report import Evaluation, report

SFREQS = (512.0, 1000.0, 128.0)
"""Of the simulated mice; at the first one, each modality is also read alone."""

_DATA = ROOT.parent / "shared" / "data"
_SCORED = _DATA / "mouse_bandpower" / "baseline.npz"
_REAL = _DATA / "mouse_raw" / "mouse_eeg_emg_29min.edf"

Made = AtRate | Evaluation | RealMice | RealMouse


class Part(StrEnum):
    """What can be measured by itself."""

    SIMULATED = "simulated"
    SEMIREAL = "semireal"
    REAL = "real"
    REAL_MICE = "real-mice"
    PAGE = "page"


@dataclass(frozen=True)
class Settings:
    """What is measured, and how much of it."""

    bundle: Path | None
    mice: int
    hours: float
    night_hours: float
    docs: Path


@dataclass(frozen=True)
class Task:
    """Something to be measured in a process of its own."""

    name: str
    needs: Path | None
    """A file without which it cannot be."""
    measure: Callable[[Settings, float], Made]
    sfreq: float = 0.0


def accuracy(
    part: Annotated[
        list[Part] | None, typer.Option(help="Measure only this; may be given several times.")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Folder of the model bundle; default: the shipped one.")
    ] = None,
    mice: Annotated[int, typer.Option(min=2, help="Simulated mice at each sampling rate.")] = 16,
    hours: Annotated[float, typer.Option(min=0.02, help="Of each simulated mouse.")] = 0.75,
    night_hours: Annotated[
        float, typer.Option(min=0.1, help="Of the semi-real night; there are 11.6.")
    ] = 12.0,
    docs: Annotated[Path, typer.Option(help="Folder of accuracy.md.")] = ROOT / "docs",
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = os.cpu_count() or 1,
) -> None:
    """Measure what docs/accuracy.md shows, and write its tables.

    What is not measured this time stays as docs/accuracy.json has it; `--part page` measures
    nothing and writes the tables.
    """
    console = Console(stderr=True, highlight=False)
    path = docs / "accuracy.json"
    known = _read(path) if path.exists() else Accuracy()
    tasks = [task for name, group in _tasks().items() if not part or name in part for task in group]
    for task in tasks:
        if task.needs is not None and not task.needs.exists():
            console.print(f"{task.name}: not measured, for it needs {task.needs}")
    tasks = [task for task in tasks if task.needs is None or task.needs.exists()]
    settings = Settings(bundle, mice, hours, night_hours, docs)
    made = list(_measure(tasks, settings, jobs, console))
    known = _united(known, made)
    with replacing(path) as draft:
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(known), indent=1))
    write_page(docs / "accuracy.md", known)


def _read(path: Path) -> Accuracy:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Accuracy)
    except msgspec.DecodeError as error:
        raise RecordingError(
            f"{path}: expected what this version writes (delete it to measure anew), found: {error}"
        ) from error


def _tasks() -> dict[Part, list[Task]]:
    """Return what there is to measure, longest first."""
    simulated = [Task(f"simulated, {sfreq:g} Hz", None, _simulated, sfreq) for sfreq in SFREQS]
    return {
        Part.SIMULATED: simulated,
        Part.SEMIREAL: [Task("the semi-real night", _SCORED, _semireal)],
        Part.REAL: [Task("the raw mouse", _REAL, _real)],
        Part.REAL_MICE: [Task("the real mice", RECORDINGS[0], _real_mice)],
    }


def _measure(
    tasks: Sequence[Task], settings: Settings, jobs: int, console: Console
) -> Iterator[Made]:
    """Yield what each task gives, as they are done."""
    started = time.monotonic()
    # A fresh interpreter each: ONNX Runtime's threads do not survive a fork.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(task.measure, settings, task.sfreq): task for task in tasks}
        for done in as_completed(running):
            yield done.result()
            console.print(f"{running[done].name}: done after {time.monotonic() - started:.0f} s")


def _simulated(settings: Settings, sfreq: float) -> AtRate:
    seeds = range(FIRST_UNSEEN_SEED, FIRST_UNSEEN_SEED + settings.mice)
    mice = (simulate_mouse(seed, settings.hours, sfreq) for seed in seeds)
    data = f"Unseen simulated mice, seeds {seeds[0]} to {seeds[-1]}"
    return AtRate(sfreq=sfreq, evaluation=_evaluate(settings, mice, data, each=sfreq == SFREQS[0]))


def _semireal(settings: Settings, _: float) -> Evaluation:
    second = halves(read_band_powers(_SCORED.parent))[1]
    night = synthesise(second.first(settings.night_hours), sfreq=SFREQS[0])
    with TemporaryDirectory() as folder:
        write(Path(folder), night, SFREQS[0])
        recordings = open_lab([Path(folder)], open_bundle(settings.bundle).spec)[0]
        data = "The second half of the scored mouse, synthesised epoch by epoch"
        return _evaluate(settings, recordings, data, each=False)


def _real(settings: Settings, _: float) -> RealMouse:
    # Here, not above: only this one draws, and importing matplotlib takes most of a second.
    from tests.rigs.accuracy.real_mouse_figure import draw_real_mouse  # noqa: PLC0415

    outside, seen = settings.docs / "misleep-0.3.3.csv", settings.docs / "real-mouse-seen.csv"
    night = look_at(_REAL, open_bundle(settings.bundle), outside, seen)
    draw_real_mouse(settings.docs / "accuracy-real-mouse.png", _REAL, night)
    return night.report


def _real_mice(settings: Settings, _: float) -> RealMice:
    return look_at_all(open_bundle(settings.bundle))


def _evaluate(
    settings: Settings, recordings: Iterable[LabRecording], data: str, *, each: bool
) -> Evaluation:
    bundle = open_bundle(settings.bundle)
    withheld = choose_withheld(bundle.spec, (), each=each)
    evaluated = evaluate_recordings(
        recordings, bundle, withheld, engine=AUTO, advance=lambda _: None
    )
    found = report(evaluated, bundle, data, [])
    # Each mouse's own figures would make a hundred pages of it.
    results = tuple(msgspec.structs.replace(result, subjects={}) for result in found.results)
    return msgspec.structs.replace(found, results=results, sources=())


def _united(known: Accuracy, made: Iterable[Made]) -> Accuracy:
    """Return what is known with what was just measured in its place."""
    rates = {rate.sfreq: rate for rate in known.simulated}
    for found in made:
        if isinstance(found, AtRate):
            rates[found.sfreq] = found
        elif isinstance(found, RealMouse):
            known = msgspec.structs.replace(known, real=found)
        elif isinstance(found, RealMice):
            known = msgspec.structs.replace(known, real_mice=found)
        else:
            known = msgspec.structs.replace(known, semireal=found)
    ordered = (rates[sfreq] for sfreq in SFREQS if sfreq in rates)
    return msgspec.structs.replace(known, simulated=tuple(ordered))


if __name__ == "__main__":
    typer.run(accuracy)
