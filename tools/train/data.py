"""What `hypnod train` trains, how, and on whom: by its options."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import msgspec
from rich.progress import Progress

from models.base import NEW_MODELS, part_of
from models.errors import RecordingError
from models.recordings.find import find_copies
from models.recordings.lab import LabRecording, open_lab, read_subjects
from models.scored_epochs import ScoredEpochs
from models.signal.relative import relative_of
from models.simulator.species import SIMULATORS
from models.spec import LearntAs, ModelSpec
from models.training.simulated import FIRST_UNSEEN_SEED, pack, simulate_many
from models.training.splits import Split, check_enough
from models.training.train import TrainConfig, paper_recipe, with_loss
from tools.evaluate.evaluation import SubjectSource, compared_s, source_of
from tools.evaluate.report import in_words
from tools.train.command import TrainOptions

FINE_TUNING = TrainConfig(passes=20, patience=4, learning_rate=1e-4)
FROM_SCRATCH = TrainConfig(passes=60, patience=10)
SIMULATED = TrainConfig(passes=3, patience=3, validate_every=16)
"""The settings of each kind of run, where the command line does not say otherwise."""

_REAL_SHARE = 0.2
_SEEDS = 1000  # simulated mice that one seed may have


def new_spec(options: TrainOptions) -> ModelSpec:
    """Return the spec of a new net."""
    usual = 0.0 if options.simulated else 0.1  # endless data of one kind needs none
    dropout = usual if options.dropout is None else options.dropout
    species = options.species or "mouse"
    net = part_of(NEW_MODELS[species], "net")
    context = {} if options.context is None else {"n_context": options.context}
    spec: ModelSpec = net.new_spec(**context, dropout=dropout)
    if options.patch is not None:
        patch = {"patch_size": options.patch}
        return msgspec.structs.replace(spec, architecture=spec.architecture | patch)
    if options.recipe == "paper":
        return spec
    given: ModelSpec = net.given_levels(spec, relative_of(spec.species))
    return given


def choose_config(options: TrainOptions, model: str) -> TrainConfig:
    """Return how to train a model, by the kind of run and what the command line says otherwise."""
    config = FROM_SCRATCH if options.start is None else FINE_TUNING
    if options.simulated:
        config = SIMULATED
    if options.recipe == "paper":
        config = paper_recipe(model)
    asked = {
        name: value
        for name in ("passes", "patience", "batch_size", "learning_rate", "seed")
        if (value := getattr(options, name)) is not None
    }
    return with_loss(msgspec.structs.replace(config, **asked), model)


Files = tuple[tuple[str, frozenset[str]], ...]


class Data(NamedTuple):
    """What there is to learn from."""

    subjects: list[ScoredEpochs]
    sources: tuple[SubjectSource, ...]
    """What was read as what; simulated mice are not."""
    files: Files
    """SHA-256 of each recording's file, and the names of its subjects."""
    stop_by: list[ScoredEpochs]
    """What decides when to stop, and which weights are best; empty: a tenth of the subjects."""
    beside: list[ScoredEpochs]
    """Real subjects that are learnt from beside the simulated ones, and never tested on."""


def read_or_simulate(options: TrainOptions, spec: ModelSpec, progress: Progress) -> Data:
    """Read the recordings, or simulate mice.

    Raises:
        HypnodError: a recording cannot be used, there are too few subjects, or no seeds for so
            many mice.
    """
    if options.leave_out == "dataset":
        opened = (_of_dataset(path, options, spec, progress) for path in options.dirs)
        recordings = [lab for labs in opened for lab in labs]
    else:
        recordings = _open(options.dirs, options, spec, progress)
    deciding = _open(options.stop_by, options, spec, progress)
    _check_apart(recordings, deciding)
    if not options.simulated:
        check_enough(name for lab in recordings for name in lab.subjects.values())
    sources = tuple(
        source_of(lab, subject, compared_s(lab.hypnograms[subject.name], spec))
        for lab in (*recordings, *deciding)
        for subject in lab.stream.subjects
    )
    for line in in_words(sources):
        progress.console.print(line)
    real, files = _condition(recordings, spec, progress)
    stop_by, stop_files = _condition(deciding, spec, progress)
    files = (*files, *stop_files)
    if not options.simulated:
        return Data(real, sources, files, stop_by, [])
    simulated = _simulate_all(options, spec, progress)
    return Data(simulated, sources, files, stop_by, real)


def _of_dataset(
    folder: Path, options: TrainOptions, spec: ModelSpec, progress: Progress
) -> list[LabRecording]:
    """Return the scored recordings of a dataset, whose subjects are named after it, too."""
    name = folder.resolve().name
    recordings = _open((folder,), options, spec, progress)
    progress.console.print(f"{name}: {len(recordings)} recordings")
    return [
        replace(lab, subjects={own: f"{name}/{who}" for own, who in lab.subjects.items()})
        for lab in recordings
    ]


def _open(
    paths: Sequence[Path], options: TrainOptions, spec: ModelSpec, progress: Progress
) -> list[LabRecording]:
    """Return the scored recordings, and say which are left out."""
    if not paths:
        return []
    recordings, unscored = open_lab(paths, spec, options.lab)
    for path in unscored:
        progress.console.print(f"left out {path}: nobody scored it")
    return recordings


def _check_apart(recordings: Sequence[LabRecording], deciding: Sequence[LabRecording]) -> None:
    """Raise RecordingError where one recording could be learnt from, and tested on as another's."""
    learnt = {lab.path.resolve(): lab for lab in recordings if lab.path is not None}
    stops = {lab.path.resolve(): lab for lab in deciding if lab.path is not None}
    known = learnt | stops
    twice = [(learnt[path], stops[path]) for path in learnt.keys() & stops.keys()]
    for copy, original in find_copies(known).items():
        whose = [{*known[path].subjects.values()} for path in (original, copy)]
        if whose[0] != whose[1] or (original in stops) != (copy in stops):
            twice.append((known[original], known[copy]))
    for one, other in twice:
        raise RecordingError(
            f"{other.name}: expected a recording of its own, found the very same file as "
            f"{one.name}: what learns from one would be tested on, or stopped by, the other; leave "
            "one of them out, or put both into one folder, of their animal"
        )


def _condition(
    recordings: Sequence[LabRecording], spec: ModelSpec, progress: Progress
) -> tuple[list[ScoredEpochs], Files]:
    """Return the subjects of recordings, and their files."""
    if not recordings:
        return [], ()
    shown = progress.track(recordings, description="reading")
    subjects = [pack(subject) for subject in read_subjects(shown, spec)]
    files = tuple(
        (found, frozenset(lab.subjects.values()))
        for lab in recordings
        if (found := lab.hash()) is not None
    )
    return subjects, files


def mixed(
    simulated: Sequence[ScoredEpochs], real: Sequence[ScoredEpochs], share: float = _REAL_SHARE
) -> list[ScoredEpochs]:
    """Return simulated subjects and, each several times, what real ones there are.

    Together the real ones are read as often as a share of the simulated, a fifth, each recording
    alike.
    """
    wanted = share * sum(len(s.epochs) for s in simulated) / max(1, len(real))
    often = [s for s in real for _ in range(max(1, round(wanted / len(s.epochs))))]
    return [*simulated, *often]


def learnt_from(
    files: Iterable[tuple[str, frozenset[str]]], split: Split, before: Mapping[str, LearntAs]
) -> dict[str, LearntAs]:
    """Return what each recording was for, by the SHA-256 of its file.

    A file with an animal that was trained on was trained on, whoever else is in it.

    Args:
        files: SHA-256 of each, and the names of its subjects.
        split: the subjects, of the bundle's own training.
        before: of the bundle that was fine-tuned.
    """
    parts: tuple[tuple[LearntAs, tuple[str, ...]], ...] = (
        ("stopped on", split.validation),
        ("trained", split.training),  # last: it counts for more
    )
    own: dict[str, LearntAs] = {}
    for what, names in parts:
        own |= {found: what for found, subjects in files if not subjects.isdisjoint(names)}
    return {**own, **{f: what for f, what in before.items() if own.get(f) != "trained"}}


def _simulate_all(options: TrainOptions, spec: ModelSpec, progress: Progress) -> list[ScoredEpochs]:
    if not 3 <= options.simulated <= _SEEDS:
        raise RecordingError(
            f"expected 3 to {_SEEDS} simulated subjects, found {options.simulated}"
        )
    first = _SEEDS * options.seed
    if first + options.simulated > FIRST_UNSEEN_SEED:
        raise RecordingError(f"expected a seed below {FIRST_UNSEEN_SEED // _SEEDS}")
    seeds = range(first, first + options.simulated)
    mice = simulate_many(spec, seeds, options.hours, options.threads, wide=options.wide)
    return list(progress.track(mice, len(seeds), description="simulating"))


def describe(
    options: TrainOptions,
    species: str,
    subjects: Sequence[ScoredEpochs],
    beside: Sequence[ScoredEpochs],
) -> str:
    """Say what there is to learn from, for people and for provenance."""
    if not options.simulated:
        return _count(subjects)
    wide = "widened " if options.wide else ""
    who = SIMULATORS[species].plural
    simulated = f"{len(subjects)} {wide}simulated {who} of {options.hours:g} h"
    return f"{simulated}, and beside them {_count(beside)}" if beside else simulated


def _count(subjects: Sequence[ScoredEpochs]) -> str:
    n, n_epochs = len({s.name for s in subjects}), sum(len(s.epochs) for s in subjects)
    return f"{n} subjects, {len(subjects)} recordings, {n_epochs} epochs"
