"""The same training from several seeds: the best on what stops it is taken, all are told."""

from typing import NamedTuple

import msgspec
from rich.progress import Progress

from models.spec import MIXED
from models.training.devices import open_device
from models.training.run import Pass, best_pass
from models.training.splits import split_subjects
from tools.train.command import TrainOptions
from tools.train.nets import Counted, Given, Nets, Trained, read
from tools.train.parts import Trainings, do_parts


class Tried(NamedTuple):
    """What came of one seed."""

    seed: int
    taken: Pass
    counted: Counted
    """Of the test subjects, which decide nothing."""


def try_seeds(nets: Nets) -> list[Tried]:
    """Train from each seed, and test each net.

    Raises:
        HypnodError: recordings, bundle, state or workers cannot be used.
    """
    options, n = nets.options, nets.options.seeds
    if options.cluster is None:
        return [_try(nets, i) for i in range(n)]
    names = [f"seed {options.seed + i}" for i in range(n)]
    parts = Trainings(options, read, try_seed)
    return do_parts(parts, names, options.cluster, options.state, nets.say)


def try_seed(options: TrainOptions, given: Given, progress: Progress, number: int) -> Tried:
    """Train from one seed, in a worker.

    Raises:
        HypnodError: the state cannot be used.
    """
    with open_device(options.device, options.precision) as device:
        return _try(Nets(options, given, device, progress), number)


def best_of(tried: list[Tried]) -> Tried:
    """Return the first one that does best on what stops it."""
    return max(tried, key=lambda each: each.taken.kappa[MIXED])


def take(nets: Nets, seed: int) -> tuple[Nets, Trained]:
    """Return the net of a seed that was tried, by its state, and those that it is one of."""
    of_it, trained = _train(nets, seed - nets.options.seed)
    of_it.kept = [nets.state(_state(i)) for i in range(nets.options.seeds)]
    return of_it, trained


def _state(number: int) -> str:
    return f"seed-{number}"


def _train(nets: Nets, number: int) -> tuple[Nets, Trained]:
    """Train from one seed, by the split and the subjects of the first one."""
    seed = nets.options.seed + number
    split = split_subjects([s.name for s in nets.data.subjects], nets.options.seed)
    options = msgspec.structs.replace(nets.options, seed=seed)
    given = Given(nets.start, nets.spec, nets.data)
    of_it = Nets(options, given, nets.device, nets.progress)
    return of_it, of_it.train(split, f"seed {seed}, ", _state(number))


def _try(nets: Nets, number: int) -> Tried:
    of_it, trained = _train(nets, number)
    split = split_subjects([s.name for s in nets.data.subjects], nets.options.seed)
    return Tried(of_it.config.seed, best_pass(trained.history), of_it.test(trained, split))
