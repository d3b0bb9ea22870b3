"""A net without each subject, or dataset, in turn: one after the other, or on many machines."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from rich.console import Console
from rich.progress import Progress

from models.training.devices import open_device
from models.training.splits import Split, dataset_of, leave_one_dataset_out, leave_one_out
from tools.cluster.open import open_cluster, watched_at
from tools.cluster.options import ClusterOptions
from tools.cluster.work import work
from tools.train.command import TrainOptions
from tools.train.nets import Counted, Given, Nets, read


def count_folds(nets: Nets) -> Counted:
    """Train without each, and count its epochs.

    Raises:
        HypnodError: recordings, bundle, state or workers cannot be used.
    """
    folds = _folds(nets)
    if nets.options.cluster is not None:
        return _spread(nets, folds, nets.options.cluster)
    counted: Counted = {}
    for number, fold in enumerate(folds):
        counted |= _count(nets, number, fold)
    return counted


def _folds(nets: Nets) -> list[Split]:
    names = [s.name for s in nets.data.subjects]
    folds = leave_one_out if nets.options.leave_out == "subject" else leave_one_dataset_out
    return [*folds(names, nets.config.seed)]


def _left_out(nets: Nets, fold: Split) -> str:
    """Return the subject, or the dataset, that a fold tests."""
    name = fold.test[0]
    return name if nets.options.leave_out == "subject" else dataset_of(name)


def _state(number: int) -> str:
    return f"without-{number}"


def _count(nets: Nets, number: int, fold: Split) -> Counted:
    """Train without one subject, or those of one dataset, and count their epochs."""
    trained = nets.train(fold, f"without {_left_out(nets, fold)}, ", _state(number))
    return nets.test(trained, fold)


def _spread(nets: Nets, folds: list[Split], cluster: ClusterOptions) -> Counted:
    """Let workers train without each of these; return what they counted, in order."""
    names = [_left_out(nets, fold) for fold in folds]
    tasks = {name: FoldTask(nets.options, i) for i, name in enumerate(names)}
    found: dict[str, Counted] = {}
    with open_cluster(cluster, nets.options.state) as client:
        nets.say(f"{len(names)} folds; the workers: {watched_at(client, cluster)}")
        for name, result in work(client, count_fold, tasks):
            if isinstance(result, Exception):
                raise result
            found[name] = result
            nets.say(f"without {name}: done, {len(found)} of {len(names)}")
    nets.kept += [nets.state(_state(i)) for i in range(len(names))]
    return {subject: tally for name in names for subject, tally in found[name].items()}


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
        given = _read_once(_Options(task.options))
        nets = Nets(task.options, given, device, progress)
        return _count(nets, task.number, _folds(nets)[task.number])


class _Options:
    """A run's options, which are the same where they say the same."""

    def __init__(self, options: TrainOptions) -> None:
        self.options = options

    def __hash__(self) -> int:
        return hash(repr(self.options))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Options) and repr(other.options) == repr(self.options)


@lru_cache(1)
def _read_once(same: _Options) -> Given:
    """Read the subjects of a run, for all folds that a worker gets of it."""
    with Progress(console=Console(quiet=True)) as progress:
        return read(same.options, progress)
