"""A net without each subject, or dataset, in turn: one after the other, or on many machines."""

from rich.progress import Progress

from models.training.devices import open_device
from models.training.splits import Split, dataset_of, leave_one_dataset_out, leave_one_out
from tools.train.command import TrainOptions
from tools.train.nets import Counted, Given, Nets, read
from tools.train.parts import Trainings, do_parts


def count_folds(nets: Nets) -> Counted:
    """Train without each, and count its epochs.

    Raises:
        HypnodError: recordings, bundle, state or workers cannot be used.
    """
    folds, cluster = _folds(nets), nets.options.cluster
    if cluster is None:
        found = [_count(nets, i, fold) for i, fold in enumerate(folds)]
    else:
        names = [f"without {_left_out(nets, fold)}" for fold in folds]
        parts = Trainings(nets.options, read, count_fold)
        found = do_parts(parts, names, cluster, nets.options.state, nets.say)
        nets.kept += [nets.state(_state(i)) for i in range(len(folds))]
    return {subject: tally for counted in found for subject, tally in counted.items()}


def count_fold(options: TrainOptions, given: Given, progress: Progress, number: int) -> Counted:
    """Train without one subject or dataset and count its epochs, in a worker.

    Raises:
        HypnodError: the state cannot be used.
    """
    with open_device(options.device, options.precision) as device:
        nets = Nets(options, given, device, progress)
        return _count(nets, number, _folds(nets)[number])


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
