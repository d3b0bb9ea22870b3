"""What `hypnod train` does: read or simulate subjects, train, calibrate, test, export, report."""

import time

import torch
from rich.console import Console

from models.training.devices import open_device
from models.training.splits import hold_out, split_subjects
from tools.train.bars import open_bars
from tools.train.command import TrainOptions
from tools.train.folds import count_folds
from tools.train.nets import Nets, read
from tools.train.outcome import report_of, write
from tools.train.report import TrainReport
from tools.train.seeds import Tried, best_of, take, try_seeds


def run(options: TrainOptions, console: Console) -> TrainReport | None:
    """Do it all, and return the report; None in all but the first of several processes.

    Raises:
        HypnodError: recordings, bundle or state cannot be used.
    """
    torch.set_num_threads(options.threads)
    started = time.monotonic()
    with open_device(options.device, options.precision) as device:
        console.quiet = device.rank > 0
        with open_bars(console) as progress:
            nets = Nets(options, read(options, progress), device, progress)
            report = _train(nets, started)
    return report if device.rank == 0 else None


def _train(nets: Nets, started: float) -> TrainReport:
    """Train, test, and write bundle and report."""
    names = [s.name for s in nets.data.subjects]
    in_turn = nets.options.leave_out is not None
    split = (hold_out if in_turn else split_subjects)(names, nets.config.seed)
    tried: list[Tried] = []
    if nets.options.seeds > 1:
        tried = try_seeds(nets)
        best = best_of(tried)
        counted = best.counted
        nets, trained = take(nets, best.seed)
    else:
        counted = count_folds(nets) if in_turn else {}
        trained = nets.train(split, "", "all")
        if not in_turn:
            counted = nets.test(trained, split)
    report = report_of(nets, split, trained, counted, tried, started)
    if nets.device.rank == 0:
        write(nets, split, trained.model, report)
        nets.forget()
    return report
