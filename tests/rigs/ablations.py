"""What each part of the model is worth: the same small training with one thing changed.

    python -m tests.rigs.ablations --out docs/ablations

Writes docs/ablations.json and docs/ablations.md. Variants that the JSON file holds are not
trained again, so an interrupted run goes on. All of it is on simulated mice, and the budget is
far below that of the shipped bundle: differences count, not levels.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import track

from models.base import Model
from models.errors import RecordingError
from models.recordings.as_stream import epochs_of
from models.recordings.lab import LabRecording, read_one
from models.recordings.scores import Scores
from models.recordings.writers import replacing
from models.scored_epochs import ScoredEpochs
from models.sdreamer.losses import PAPER, LossConfig
from models.sdreamer.net import new_spec
from models.spec import MIXED, Hyperparameter, ModelSpec
from models.training.calibration import fit_temperatures, fold_temperatures
from models.training.devices import open_device
from models.training.evaluate import evaluate
from models.training.simulated import FIRST_UNSEEN_SEED, simulate_many
from models.training.train import TrainConfig, train
from tests.rigs.accuracy.page import table as markdown
from tools.cluster.open import open_cluster
from tools.cluster.options import (
    LsfOption,
    PbsOption,
    SchedulerOption,
    SlurmOption,
    read_cluster,
)
from tools.cluster.work import work

FINAL_LAG = 4
"""Epochs of right-hand context of the final reading."""
NOISE = (0.5, 1.0, 2.0)
"""SDs of the white noise added at test time, in amplitudes: 1 is as strong as the signal."""

_FIRST_VALIDATION = 500_000
_FIRST_TEST = FIRST_UNSEEN_SEED + 500_000  # not those of docs/accuracy.md: this table chooses
_EPOCHS_A_STEP = 512  # for every length of the context window
_LEARNING_RATE = 5e-4  # the shipped bundle's
_EVERY = 4  # so many-th epoch of the test mice is read: neighbours tell the same
_EVERY_NOISY = 8
_PARTS = ("epochs", "stages", "usable")
_UNLIMITED = 1e9
_NO_LIMIT = "0"  # of memory: the mice are mapped into it

_CONSOLE = Console(stderr=True, soft_wrap=True, highlight=False)
_SHIPPED: Mapping[str, Hyperparameter] = {"dropout": 0.0, "patch_size": 128}


class Budget(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every variant is given."""

    training: int = 200
    """Simulated mice to learn from."""
    validation: int = 6
    """Others, to choose the pass and the temperatures by."""
    test: int = 10
    """Others, for the table."""
    hours: float = 0.75
    """Of each mouse."""
    passes: int = 3
    """Through the training mice."""
    seed: int = 0
    """Of weights, windows and masks; the mice are always the same."""


class Ablation(NamedTuple):
    """One thing changed."""

    title: str
    architecture: Mapping[str, Hyperparameter] = {}
    loss: LossConfig = LossConfig()
    n_context: int = 64
    whole: bool = False
    """Normalise over the whole recording, in training and in test."""
    noise: bool = False
    """Also test with noise."""


VARIANTS = {
    "baseline": Ablation("as shipped", noise=True),
    "no-distillation": Ablation(
        "no self-distillation: α = 0, single pathways learn by nothing else",
        loss=LossConfig(alpha=0.0, single=0.0),
    ),
    "unimodal-ce": Ablation(
        "unimodal cross-entropy instead of distillation", loss=LossConfig(alpha=0.0), noise=True
    ),
    "paper-loss": Ablation("the paper's loss, exactly", loss=PAPER),
    "epoch-only": Ablation("epoch-only: N = 1", n_context=1),
    "context-16": Ablation("N = 16, the paper's", n_context=16),
    "whole-recording": Ablation(
        "z-scored over the whole recording (not possible live)", whole=True
    ),
    "patch-16": Ablation("patches of 16 samples, the paper's", {"patch_size": 16}),
    "patch-32": Ablation("patches of 32 samples", {"patch_size": 32}),
    "patch-64": Ablation("patches of 64 samples", {"patch_size": 64}),
    "own-attention": Ablation("attention not shared", {"shared_attention": False}),
}
"""By the name in the JSON file; N = 64 and the architecture is `_SHIPPED` unless it says other."""


class AblationResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a variant reached on the test mice."""

    title: str
    n_parameters: int
    date: str
    scores: dict[str, Scores]
    """By pathway and reading."""
    noise: dict[str, Scores] = {}
    """Mixed, read live, by noisy modality and SD."""


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The JSON file."""

    budget: Budget
    device: str
    """Where it was trained, in which precision."""
    results: dict[str, AblationResult]
    """By variant."""


def _simulate(folder: Path, budget: Budget, *, whole: bool) -> None:
    """Simulate all mice once, on all cores, for every variant to map into memory."""
    cores = os.cpu_count() or 1
    for group, seeds in _seeds(budget).items():
        read = read_whole if whole else read_one
        mice = simulate_many(new_spec(), seeds, budget.hours, cores, read=read)
        place = _place(folder, group, whole)
        place.mkdir()
        title = f"simulating: {group}{', whole recordings' if whole else ''}"
        for mouse in track(mice, title, len(seeds), console=_CONSOLE):
            for part in _PARTS:
                np.save(place / f"{mouse.name}.{part}.npy", getattr(mouse, part))


def read_whole(lab: LabRecording, spec: ModelSpec) -> ScoredEpochs:
    """Z-score each channel over the whole recording, as offline scoring does."""
    unlimited = msgspec.structs.replace(spec, clip=_UNLIMITED)
    batches = epochs_of(lab.open(), lab.stream, unlimited)
    x = np.stack([batch.microvolts[0] for batch in batches])
    x -= x.mean((0, 2), keepdims=True)
    x /= x.std((0, 2), keepdims=True)
    return replace(read_one(lab, spec), epochs=np.clip(x, -spec.clip, spec.clip))


def _seeds(budget: Budget) -> dict[str, range]:
    groups = (
        ("training", 0, budget.training),
        ("validation", _FIRST_VALIDATION, budget.validation),
        ("test", _FIRST_TEST, budget.test),
    )
    return {group: range(first, first + n) for group, first, n in groups}


def _place(folder: Path, group: str, whole: bool) -> Path:
    return folder / f"{group}{'-whole' if whole else ''}"


def _read(place: Path) -> list[ScoredEpochs]:
    mice = []
    for file in sorted(place.glob("*.epochs.npy")):
        name = file.name.removesuffix(".epochs.npy")
        parts = {part: np.load(place / f"{name}.{part}.npy", mmap_mode="c") for part in _PARTS}
        mice.append(ScoredEpochs(name, **parts))
    return mice


def measure(variant: Ablation, budget: Budget, folder: Path) -> AblationResult:
    """Train, calibrate and test one variant, on the mice in a folder."""
    spec = new_spec(variant.n_context, **{**_SHIPPED, **variant.architecture})
    training, validation, test = (
        _read(_place(folder, group, variant.whole)) for group in _seeds(budget)
    )
    config = TrainConfig(
        passes=budget.passes,
        batch_size=_EPOCHS_A_STEP // variant.n_context,
        learning_rate=_LEARNING_RATE,
        seed=budget.seed,
        loss=variant.loss,
    )
    with open_device("auto") as device:
        model, _ = train(spec, training, validation, config, device)
    fold_temperatures(model, fit_temperatures(model, validation, every=config.validate_every))
    lag = min(FINAL_LAG, spec.n_context - 1)
    found = evaluate(model, test, (0, lag), every=_EVERY)
    return AblationResult(
        title=variant.title,
        n_parameters=sum(p.numel() for p in model.parameters()),
        date=datetime.now(UTC).date().isoformat(),
        scores={f"{p} {'final' if lag else 'live'}": s for (p, lag), s in found.items()},
        noise=_with_noise(model, spec, test) if variant.noise else {},
    )


class Task(NamedTuple):
    """A variant to be measured."""

    variant: str
    """Its name: what a variant is, a worker knows."""
    budget: Budget
    folder: Path
    """Where the mice are."""


def measure_one(task: Task) -> AblationResult:
    """Measure a variant with one thread, in a worker."""
    torch.set_num_threads(1)
    return measure(VARIANTS[task.variant], task.budget, task.folder)


def _with_noise(model: Model, spec: ModelSpec, test: Sequence[ScoredEpochs]) -> dict[str, Scores]:
    found = {"none": evaluate(model, test, every=_EVERY_NOISY)[MIXED, 0]}
    for m, modality in enumerate(spec.modalities):
        for sd in NOISE:
            noisy = [_add_noise(subject, m, sd, spec.clip) for subject in test]
            found[f"{modality} {sd:g}"] = evaluate(model, noisy, every=_EVERY_NOISY)[MIXED, 0]
    return found


def _add_noise(subject: ScoredEpochs, modality: int, sd: float, clip: float) -> ScoredEpochs:
    """Return the subject with white noise in one modality, in amplitudes."""
    rng = np.random.default_rng([modality, round(100 * sd)])
    epochs = subject.epochs.copy()
    noise = rng.standard_normal(epochs[:, modality].shape, np.float32)
    epochs[:, modality] = np.clip(epochs[:, modality] + sd * noise, -clip, clip)
    return replace(subject, epochs=epochs)


def as_markdown(table: Table) -> str:
    """Return the table for people."""
    b = table.budget
    about = (
        f"Each variant: {b.training} simulated mice of {b.hours:g} h to learn from, {b.passes} "
        f"pass(es), {_EPOCHS_A_STEP} epochs a step, seed {b.seed}; {b.validation} others to "
        f"calibrate by; tested on every {_EVERY}th epoch of {b.test} others. Trained on: "
        f"{table.device}."
    )
    columns = (
        *("variant", "parameters", "κ live: mixed, EEG, EMG", "κ final: mixed, EEG, EMG"),
        "live: accuracy, macro-F1, ECE",
    )
    if missing := [v.title for name, v in VARIANTS.items() if name not in table.results]:
        about += f" **Not made yet:** {'; '.join(missing)}."
    lines = [about, "", markdown(columns, map(_row, table.results.values()), text=len(columns))]
    noisy = [result for result in table.results.values() if result.noise]
    if noisy:
        names = list(noisy[0].noise)
        rows = [(r.title, *(_kappa(r.noise[name]) for name in names)) for r in noisy]
        about = (
            "κ live, mixed, with white noise added at test time (SD in amplitudes), on every "
            f"{_EVERY_NOISY}th epoch:"
        )
        lines += ["", about, "", markdown(["variant", *names], rows)]
    return "\n".join(lines) + "\n"


def _row(result: AblationResult) -> tuple[str, ...]:
    kappas = [
        ", ".join(_kappa(result.scores.get(f"{p} {kind}")) for p in ("mixed", "eeg", "emg"))
        for kind in ("live", "final")
    ]
    live = result.scores["mixed live"]
    figures = ", ".join(f"{x or 0:.3f}" for x in (live.accuracy, live.macro_f1, live.ece))
    return (result.title, f"{result.n_parameters:,}", *kappas, figures)


def _kappa(scores: Scores | None) -> str:
    return "–" if scores is None or scores.kappa is None else f"{scores.kappa:.3f}"


def load_table(path: Path, budget: Budget, device: str) -> Table:
    """Return the table so far; raises RecordingError if it was made with another budget."""
    if not path.exists():
        return Table(budget=budget, device=device, results={})
    table = msgspec.json.decode(path.read_bytes(), type=Table)
    if table.budget != budget:
        raise RecordingError(f"{path}: expected a table of {budget}, found one of {table.budget}")
    return table


def main(
    out: Annotated[Path, typer.Option(help="Writes OUT.json and OUT.md.")],
    training: Annotated[int, typer.Option(min=1, help="Mice to learn from.")] = 200,
    validation: Annotated[int, typer.Option(min=1, help="Mice to calibrate by.")] = 6,
    test: Annotated[int, typer.Option(min=1, help="Mice to test on.")] = 10,
    hours: Annotated[float, typer.Option(min=0.02, help="Of each mouse.")] = 0.75,
    passes: Annotated[int, typer.Option(min=1, help="Through the training mice.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, windows and masks.")] = 0,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Variants at once, a thread each; default: 1.")
    ] = None,
    scheduler: SchedulerOption = None,
    slurm: SlurmOption = None,
    pbs: PbsOption = None,
    lsf: LsfOption = None,
    scratch: Annotated[
        Path | None, typer.Option(help="Folder for the mice that all workers see.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only this variant.")] = None,
) -> None:
    """Train and test every variant that OUT.json does not hold yet."""
    budget = Budget(
        training=training, validation=validation, test=test, hours=hours, passes=passes, seed=seed
    )
    here = jobs if scheduler else jobs or 1
    cluster = read_cluster(here, _NO_LIMIT, scheduler, slurm, pbs, lsf)
    with open_device("auto") as device:
        described = str(device)
    table = load_table(out.with_suffix(".json"), budget, described)
    missing = [name for name in only or VARIANTS if name not in table.results]
    if not missing:
        return
    with TemporaryDirectory(prefix="hypnod-ablations-", dir=scratch) as made:
        folder = Path(made)
        for whole in sorted({VARIANTS[name].whole for name in missing}):
            _simulate(folder, budget, whole=whole)
        tasks = {name: Task(name, budget, folder) for name in missing}
        with open_cluster(cluster, folder) as client:
            for name, result in work(client, measure_one, tasks):
                if isinstance(result, Exception):
                    raise result
                table = _with(table, name, result)
                with replacing(out.with_suffix(".json")) as draft:
                    draft.write_bytes(msgspec.json.format(msgspec.json.encode(table)) + b"\n")
                out.with_suffix(".md").write_text(as_markdown(table), encoding="utf-8")
                live = result.scores["mixed live"].kappa
                _CONSOLE.print(f"{name}: κ live {live}")


def _with(table: Table, name: str, result: AblationResult) -> Table:
    """Return the table with one more result, in the order of `VARIANTS`."""
    found = {**table.results, name: result}
    return msgspec.structs.replace(table, results={k: found[k] for k in VARIANTS if k in found})


if __name__ == "__main__":  # by its name, by which workers import what they are sent
    typer.run(import_module("tests.rigs.ablations").main)
