"""`make accuracy`: measure everything that docs/accuracy.md shows, and write its tables."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from engines.bundle import open_bundle
from engines.select import AUTO, open_engine
from models.errors import RecordingError
from models.fit.semireal import synthesise, write
from models.fit.signals import halves, read_band_powers
from models.recordings.lab import LabRecording, open_lab
from models.recordings.writers import replacing
from models.training.simulated import FIRST_UNSEEN_SEED, draw_sfreq, simulate_subject
from tests.rigs.accuracy.measured import Accuracy, Awake
from tests.rigs.accuracy.page import write_page
from tests.rigs.accuracy.people import UCDDB, People, look_at_people
from tests.rigs.accuracy.real_mice import RECORDINGS, RealMice, look_at_all
from tests.rigs.accuracy.real_mouse import RealMouse, look_at
from tests.support.paths import ROOT
from tools.evaluate.evaluation import choose_withheld, evaluate_recordings
from tools.evaluate.report import Evaluation, report
from tools.score.offline import stage_recording
from tools.shared.measure import describe_machine

AWAKE_MICE, AWAKE_S, SETTLED_S = 50, 1800, 20
_NIGHT_SFREQ = 512.0
_DATA = ROOT.parent / "shared" / "data"
_SCORED = _DATA / "mouse_bandpower" / "baseline.npz"
_REAL = _DATA / "mouse_raw" / "mouse_eeg_emg_29min.edf"

Made = Awake | Evaluation | People | RealMice | RealMouse


class Part(StrEnum):
    """What can be measured by itself."""

    REAL_MICE = "real-mice"
    PEOPLE = "people"
    SEMIREAL = "semireal"
    WIDENED = "widened"
    AWAKE = "awake"
    SIMULATED = "simulated"
    REAL = "real"
    PAGE = "page"


@dataclass(frozen=True)
class Settings:
    """What is measured, and how much of it."""

    bundle: Path | None
    people: Path | None
    """The bundle of people."""
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
    measure: Callable[[Settings], Made]


def accuracy(
    part: Annotated[
        list[Part] | None, typer.Option(help="Measure only this; may be given several times.")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Folder of the model bundle; default: the shipped one.")
    ] = None,
    people: Annotated[
        Path | None, typer.Option(help="Folder of the bundle of people; default: the shipped one.")
    ] = None,
    mice: Annotated[int, typer.Option(min=2, help="Simulated mice, and widened ones.")] = 16,
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
    tasks = {name: task for name, task in _tasks().items() if not part or name in part}
    for task in tasks.values():
        if task.needs is not None and not task.needs.exists():
            console.print(f"{task.name}: not measured, for it needs {task.needs}")
    tasks = {n: task for n, task in tasks.items() if task.needs is None or task.needs.exists()}
    settings = Settings(bundle, people, mice, hours, night_hours, docs)
    made = {name.value.replace("-", "_"): m for name, m in _measure(tasks, settings, jobs, console)}
    known = msgspec.structs.replace(known, **made)
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


def _tasks() -> dict[Part, Task]:
    """Return what there is to measure, longest first."""
    return {
        Part.WIDENED: Task("widened mice", None, partial(_simulated, wide=True)),
        Part.SIMULATED: Task("simulated mice", None, partial(_simulated, wide=False)),
        Part.AWAKE: Task("mice awake", None, _awake),
        Part.SEMIREAL: Task("the semi-real night", _SCORED, _semireal),
        Part.REAL: Task("the raw mouse", _REAL, _real),
        Part.REAL_MICE: Task("the real mice", RECORDINGS[0], _real_mice),
        Part.PEOPLE: Task("the real people", UCDDB, _people),
    }


def _measure(
    tasks: Mapping[Part, Task], settings: Settings, jobs: int, console: Console
) -> Iterator[tuple[Part, Made]]:
    """Yield what each task gives, as they are done."""
    started = time.monotonic()
    # A fresh interpreter each: ONNX Runtime's threads do not survive a fork.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(t.measure, settings): part for part, t in tasks.items()}
        for done in as_completed(running):
            part = running[done]
            yield part, done.result()
            console.print(f"{tasks[part].name}: done after {time.monotonic() - started:.0f} s")


def _simulated(settings: Settings, *, wide: bool) -> Evaluation:
    seeds = range(FIRST_UNSEEN_SEED, FIRST_UNSEEN_SEED + settings.mice)
    mice = (
        simulate_subject("mouse", s, settings.hours, draw_sfreq("mouse", s), wide=wide)
        for s in seeds
    )
    name = "widened simulated mice" if wide else "simulated mice"
    return _evaluate(settings, mice, f"Unseen {name}, seeds {seeds[0]} to {seeds[-1]}", each=True)


def _awake(settings: Settings) -> Awake:
    """Stage widened mice that are awake from the first sample on."""
    bundle = open_bundle(settings.bundle)
    asleep = []
    for seed in range(FIRST_UNSEEN_SEED, FIRST_UNSEEN_SEED + AWAKE_MICE):
        stages = ("Wake",) * AWAKE_S
        sfreq = draw_sfreq("mouse", seed)
        mouse = simulate_subject("mouse", seed, AWAKE_S / 3600, sfreq, wide=True, stages=stages)
        with open_engine(bundle, AUTO, n_rows=1) as engine:
            staged = stage_recording(
                mouse.open(), mouse.stream, engine, grammar=bundle.manifest.grammar
            )
            live = [e for _, new in staged for e in new if e.kind == "live"]
        found = [e.stage for e in live if e.onset >= SETTLED_S and e.stage in bundle.spec.stages]
        asleep.append(sum(stage != "Wake" for stage in found) / max(1, len(found)))
    return Awake(
        bundle=f"{bundle.manifest.name} {bundle.hash[:12]}",
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        machine=describe_machine(),
        asleep=tuple(sorted(asleep, reverse=True)),
    )


def _semireal(settings: Settings) -> Evaluation:
    second = halves(read_band_powers(_SCORED.parent))[1]
    night = synthesise(second.first(settings.night_hours), sfreq=_NIGHT_SFREQ)
    with TemporaryDirectory() as folder:
        write(Path(folder), night, _NIGHT_SFREQ)
        recordings = open_lab([Path(folder)], open_bundle(settings.bundle).spec)[0]
        data = "The second half of the scored mouse, synthesised epoch by epoch"
        return _evaluate(settings, recordings, data, each=False)


def _real(settings: Settings) -> RealMouse:
    # Here, not above: only this one draws, and importing matplotlib takes most of a second.
    from tests.rigs.accuracy.real_mouse_figure import draw_real_mouse  # noqa: PLC0415

    outside, seen = settings.docs / "misleep-0.3.3.csv", settings.docs / "real-mouse-seen.csv"
    night = look_at(_REAL, open_bundle(settings.bundle), outside, seen)
    draw_real_mouse(settings.docs / "accuracy-real-mouse.png", _REAL, night)
    return night.report


def _real_mice(settings: Settings) -> RealMice:
    return look_at_all(open_bundle(settings.bundle))


def _people(settings: Settings) -> People:
    return look_at_people(open_bundle(settings.people, "human"))


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


if __name__ == "__main__":
    typer.run(accuracy)
