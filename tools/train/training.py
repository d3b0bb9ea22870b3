"""What `hypnod train` does: read or simulate subjects, train, calibrate, test, export, report."""

import shlex
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from engines.bundle import open_bundle
from models.base import Model
from models.errors import RecordingError
from models.recordings import scores
from models.recordings.scores import Scores, Tally
from models.scored_epochs import ScoredEpochs
from models.signal.drift import fit_reference
from models.spec import MIXED, Grammar, LearntAs, ModelSpec, Reference
from models.training.calibration import (
    fit_confidence,
    fit_grammar,
    fit_temperatures,
    fold_temperatures,
)
from models.training.devices import Device, open_device
from models.training.evaluate import (
    Reading,
    as_answered,
    pool,
    published,
    read_all,
    tally,
)
from models.training.export import export_bundle
from models.training.run import Pass, best_pass
from models.training.splits import (
    Split,
    dataset_of,
    hold_out,
    leave_one_dataset_out,
    leave_one_out,
    split_subjects,
)
from models.training.train import Watcher, train
from models.weights import load_model
from tools.cluster.open import open_cluster
from tools.cluster.options import ClusterOptions
from tools.cluster.work import work
from tools.train.command import TrainOptions
from tools.train.data import (
    Data,
    choose_config,
    describe,
    learnt_from,
    mixed,
    new_spec,
    read_or_simulate,
)
from tools.train.report import PassReport, TrainReport
from tools.view.training import Example, draw_report

FINAL_LAG = 4
"""Epochs of right-hand context of the final reading that is reported."""

_EXAMPLE_S = 3 * 3600.0

Counted = dict[str, dict[Reading, Tally]]
"""What was counted, by subject."""


class Trained(NamedTuple):
    """A net, and what came out of making it."""

    model: Model
    history: list[Pass]
    temperatures: dict[str, float]
    grammar: Grammar | None


class Bars(Watcher):
    """Shows steps as a bar and passes as lines."""

    def __init__(self, progress: Progress, title: str) -> None:
        self._progress = progress
        self._title = title
        self._task = progress.add_task(title, total=None)
        self._n = 1

    def resumed(self, n_passes: int) -> None:
        """Say that it goes on."""
        self._n = n_passes + 1
        self._progress.console.print(f"{self._title}goes on after pass {n_passes}")

    def step(self, done: int, total: int, loss: float) -> None:
        """Advance the bar."""
        text = f"{self._title}pass {self._n}, loss {loss:.3f}"
        self._progress.update(self._task, completed=done, total=total, description=text)

    def passed(self, result: Pass) -> None:
        """Print a pass."""
        self._n = result.number + 1
        found = ", ".join(f"{p} {k:.3f}" for p, k in result.kappa.items())
        what = "before" if result.loss is None else f"pass {result.number}: loss {result.loss:.4f}"
        self._progress.console.print(f"{self._title}{what}, validation κ live: {found}")


def run(options: TrainOptions, console: Console) -> TrainReport | None:
    """Do it all, and return the report; None in all but the first of several processes.

    Raises:
        HypnodError: recordings, bundle or state cannot be used.
    """
    torch.set_num_threads(options.threads)
    started = time.monotonic()
    with open_device(options.device, options.precision) as device:
        console.quiet = device.rank > 0
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
            start = None if options.start is None else load_model(options.start)
            spec = new_spec(options) if start is None else start.spec
            data = read_or_simulate(options, spec, progress)
            report = _Work(options, spec, start, data, device, progress).do(started)
    return report if device.rank == 0 else None


class _Work:
    """A run on subjects that were read."""

    def __init__(
        self,
        options: TrainOptions,
        spec: ModelSpec,
        start: Model | None,
        data: Data,
        device: Device,
        progress: Progress,
    ) -> None:
        self.options, self.spec, self.start = options, spec, start
        self.config = choose_config(options, spec.model)
        self.subjects, self.sources, self.files, self.stop_by, self.beside = data
        self.device, self.progress = device, progress
        self.lag = min(FINAL_LAG, spec.n_context - 1)
        self.kept: list[Path] = []  # the runs' states, until the end

    def do(self, started: float) -> TrainReport:
        """Train, test, and write bundle and report."""
        names = [s.name for s in self.subjects]
        counted: Counted = {}
        if self.options.leave_out is not None:
            folds = self._folds()
            if self.options.cluster is None:
                for i in range(len(folds)):
                    counted |= self.count_fold(i)
            else:
                counted = self._spread(map(self._left_out, folds), self.options.cluster)
            split = hold_out(names, self.config.seed)
        else:
            split = split_subjects(names, self.config.seed)
        trained = self._train(split, "", "all")
        if self.options.leave_out is None:
            counted = self._test(trained, split)
        report = self._report(split, trained, counted, started)
        if self.device.rank == 0:
            self._write(trained.model, split, report)
        return report

    def count_fold(self, number: int) -> Counted:
        """Train without one subject, or those of one dataset, and count their epochs."""
        fold = self._folds()[number]
        title = f"without {self._left_out(fold)}, "
        return self._test(self._train(fold, title, f"without-{number}"), fold)

    def _folds(self) -> list[Split]:
        names = [s.name for s in self.subjects]
        folds = leave_one_out if self.options.leave_out == "subject" else leave_one_dataset_out
        return [*folds(names, self.config.seed)]

    def _left_out(self, fold: Split) -> str:
        """Return the subject, or the dataset, that a fold tests."""
        name = fold.test[0]
        return name if self.options.leave_out == "subject" else dataset_of(name)

    def _spread(self, left_out: Iterable[str], cluster: ClusterOptions) -> Counted:
        """Let workers train without each of these; return what they counted, in order."""
        names = [*left_out]
        tasks = {name: FoldTask(self.options, i) for i, name in enumerate(names)}
        found: dict[str, Counted] = {}
        with open_cluster(cluster, self.options.state) as client:
            self._say(f"{len(names)} folds; the workers: {client.dashboard_link}")
            for name, result in work(client, count_fold, tasks):
                if isinstance(result, Exception):
                    raise result
                found[name] = result
                self._say(f"without {name}: done, {len(found)} of {len(names)}")
        self.kept += [self.options.state / f"without-{i}.pt" for i in range(len(names))]
        return {subject: tally for name in names for subject, tally in found[name].items()}

    def _train(self, split: Split, title: str, state: str) -> Trained:
        """Train and calibrate one net; the test subjects of the split are not touched."""
        self.kept.append(self.options.state / f"{state}.pt")
        model, history = train(
            self.spec,
            mixed(self._of(split.training), self.beside),
            self.stop_by or self._of(split.validation),
            self.config,
            self.device,
            start=self.start,
            state=self.kept[-1],
            watcher=Bars(self.progress, title),
        )
        taken = best_pass(history)
        self._say(
            f"{title}took pass {taken.number} of {history[-1].number}, validation κ live, mixed: "
            f"{taken.kappa[MIXED]:.3f}"
        )
        self._say(f"{title}calibrating its probabilities")
        validation = self._of(split.validation)
        temperatures = fit_temperatures(
            model,
            validation,
            masks=self.config.masks,
            balance=self.config.balance,
            every=self.config.validate_every,
            seed=self.config.seed,
        )
        fold_temperatures(model, temperatures)
        self._say(f"{title}fitting its grammar")
        grammar = fit_grammar(model, self.stop_by or validation, self.lag)
        if grammar is not None:
            grammar = fit_confidence(model, validation, grammar, self.lag)
        return Trained(model, history, temperatures, grammar)

    def _test(self, trained: Trained, split: Split) -> Counted:
        """Count the epochs of each test subject, in the length that they were scored in."""
        counted: Counted = {}
        tests = self._of(split.test)
        for subject in self.progress.track(tests, description="testing"):
            found = tally(
                trained.model, subject, (0, self.lag), grammar=trained.grammar, as_scored=True
            )
            before = counted.get(subject.name)
            counted[subject.name] = (
                found if before is None else {r: before[r] + found[r] for r in found}
            )
        return counted

    def _say(self, what: str) -> None:
        self.progress.console.print(what)

    def _of(self, names: Sequence[str]) -> list[ScoredEpochs]:
        chosen = set(names)
        return [s for s in self.subjects if s.name in chosen]

    def _report(
        self,
        split: Split,
        trained: Trained,
        counted: Counted,
        started: float,
    ) -> TrainReport:
        pooled = pool(list(counted.values()), self.spec.stages)
        return TrainReport(
            data=describe(self.options, self.spec.species, self.subjects, self.beside),
            command=shlex.join(["hypnod", *sys.argv[1:]]),
            device=str(self.device),
            minutes=round((time.monotonic() - started) / 60, 1),
            config=msgspec.to_builtins(self.config),
            split=self._with_real(split)._asdict(),
            sources=self.sources,
            tested=self._tested(list(counted)),
            history=msgspec.convert(msgspec.to_builtins(trained.history), tuple[PassReport, ...]),
            temperatures=trained.temperatures,
            grammar=trained.grammar,
            scores={_name(reading): each for reading, each in pooled.items()},
            datasets=self._by_dataset(counted),
            subjects={
                name: {_name(r): scores.score(t, self.spec.stages) for r, t in tallies.items()}
                for name, tallies in sorted(counted.items())
            },
        )

    def _by_dataset(self, counted: Counted) -> dict[str, dict[str, Scores]]:
        """Return the figures of each dataset's epochs together, where there are datasets."""
        if self.options.leave_out != "dataset":
            return {}
        tallies: dict[str, list[dict[Reading, Tally]]] = {}
        for name, found in sorted(counted.items()):
            tallies.setdefault(dataset_of(name), []).append(found)
        return {
            dataset: {_name(r): each for r, each in pool(of_it, self.spec.stages).items()}
            for dataset, of_it in tallies.items()
        }

    def _tested(self, names: Sequence[str]) -> str:
        lengths = sorted({s.scored_in * self.spec.epoch_s for s in self._of(names)})
        whom = f"{len(names)} subjects" if len(names) > 1 else names[0]
        alone = ""
        if self.options.leave_out is not None:
            whose = "it" if self.options.leave_out == "subject" else "anybody of its dataset"
            alone = f", each with a net that never saw {whose}"
        return f"{whom}{alone}, epochs of {', '.join(f'{s:g}' for s in lengths)} s"

    def _write(self, model: Model, split: Split, report: TrainReport) -> None:
        """Write bundle, report and picture; the run's state has served."""
        out = self.options.out
        self._say(f"writing {out}, and the report")
        model.cpu()
        reference = self._reference(split)
        provenance = _provenance(report)
        export_bundle(
            model,
            self.spec,
            out,
            out.name,
            provenance,
            reference=reference,
            temperatures=report.temperatures,
            grammar=report.grammar,
            learnt_from=learnt_from(self.files, self._with_real(split), self._learnt_before()),
            like=self.options.start,
        )
        name = self.options.report
        name.parent.mkdir(parents=True, exist_ok=True)
        text = msgspec.json.format(msgspec.json.encode(report)) + b"\n"
        name.with_name(f"{name.name}.json").write_bytes(text)
        tested = self._of(split.test) or self.subjects
        draw_report(
            report, _example(model, tested[0], report.grammar), name.with_name(f"{name.name}.png")
        )
        self._forget()

    def _forget(self) -> None:
        """Remove the runs' states, and their folder if nothing else is in it."""
        for path in self.kept:
            path.unlink(missing_ok=True)
        if not any(self.options.state.iterdir()):
            self.options.state.rmdir()

    def _with_real(self, split: Split) -> Split:
        """Return the split with the real subjects that simulated ones were mixed with."""
        return split._replace(
            training=(*split.training, *(s.name for s in self.beside)),
            validation=(*split.validation, *(s.name for s in self.stop_by)),
        )

    def _learnt_before(self) -> Mapping[str, LearntAs]:
        """Return what the bundle that was fine-tuned had learnt from."""
        start = self.options.start
        return {} if start is None else open_bundle(start).manifest.learnt_from

    def _reference(self, split: Split) -> Reference | None:
        """Return what the animals look like that it learned from, where they are enough."""
        try:
            return fit_reference(self._of(split.training + split.validation), self.spec)
        except RecordingError as error:
            self.progress.console.print(f"no drift measure in this bundle: {error}")
        return None


@dataclass(frozen=True)
class FoldTask:
    """One subject, or dataset, of a run that is to be left out."""

    options: TrainOptions
    number: int


def count_fold(task: FoldTask) -> Counted:
    """Train without one subject or dataset and count its epochs, in a worker.

    Raises:
        HypnodError: recordings, bundle or state cannot be used.
    """
    torch.set_num_threads(task.options.threads)
    with (
        open_device(task.options.device, task.options.precision) as device,
        Progress(console=Console(quiet=True)) as progress,
    ):
        start, spec, data = _read_once(_Options(task.options))
        return _Work(task.options, spec, start, data, device, progress).count_fold(task.number)


class _Options:
    """A run's options, which are the same where they say the same."""

    def __init__(self, options: TrainOptions) -> None:
        self.options = options

    def __hash__(self) -> int:
        return hash(repr(self.options))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Options) and repr(other.options) == repr(self.options)


@lru_cache(1)
def _read_once(same: _Options) -> tuple[Model | None, ModelSpec, Data]:
    """Read the subjects of a run, for all folds that a worker gets of it."""
    options = same.options
    start = None if options.start is None else load_model(options.start)
    spec = new_spec(options) if start is None else start.spec
    with Progress(console=Console(quiet=True)) as progress:
        return start, spec, read_or_simulate(options, spec, progress)


def _example(model: Model, subject: ScoredEpochs, grammar: Grammar | None) -> Example:
    """Return the first hours of a subject's hypnogram, live, beside the truth."""
    n = round(_EXAMPLE_S / model.spec.epoch_s)
    read = read_all(model, subject.epochs[:n], subject.usable[:n])
    answers = as_answered(model.spec, read[:, :, -1], subject.usable[:n])[:, 0]
    if grammar is not None:
        answers = published(model.spec, answers[:, None], 0, grammar)
    return Example(subject.name, model.spec.epoch_s, subject.stages[:n], answers)


def _name(reading: Reading) -> str:
    pathway, lag = reading
    return f"{pathway} final, lag {lag}" if lag else f"{pathway} live"


def _provenance(report: TrainReport) -> dict[str, str]:
    """Return what the weights follow from, and what came out."""
    figures = {
        f"test, {name}": f"κ {_figure(s.kappa)}, accuracy {_figure(s.accuracy)}, "
        f"macro-F1 {_figure(s.macro_f1)}, precision of REM {_figure(s.precision.get('REM'))}, "
        f"ECE {_figure(s.ece)}"
        for name, s in report.scores.items()
    }
    counts = {part: f"{len(names)} subjects" for part, names in report.split.items()}
    return {
        "data": report.data,
        **counts,
        "tested": report.tested,
        "command": report.command,
        "config": msgspec.json.encode(report.config).decode(),
        "device": report.device,
        "minutes": f"{report.minutes:.0f}",
        "date": datetime.now(UTC).date().isoformat(),
        "hypnod": metadata.version("hypnod"),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        **figures,
    }


def _figure(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
