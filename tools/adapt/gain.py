"""Whether a net agrees more with the teacher than before, on what nothing was learnt from."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.base import Model
from models.recordings.agreement import kappa, or_null
from models.scored_epochs import ScoredEpochs
from models.spec import Grammar
from models.stages import UNSCORED
from models.training.evaluate import evidence, published, read_all
from tools.adapt.report import Gain

LEAST_BLOCKS = 5
"""That tell a gain from chance."""
_N_RESAMPLES = 2000

Stages = NDArray[np.int64]


class Answers(NamedTuple):
    """What is said of one recording; stages by their index, or UNSCORED."""

    teacher: Stages
    """(n,) where it is sure."""
    live: Stages
    """(n,)"""
    final: Stages
    """(n,)"""


def answers_of(model: Model, subject: ScoredEpochs, grammar: Grammar | None, lag: int) -> Answers:
    """Return what a net with its grammar says of a recording, and the teacher."""
    spec, usable = model.spec, subject.usable
    read = read_all(model, subject.epochs, usable)
    found = []
    for k in (0, lag):
        said = evidence(spec, read, usable, k)[:, :1]
        if grammar is not None:
            said = published(spec, said, k, grammar)[:, :, None]
        stages = np.full(len(usable), UNSCORED, np.int64)
        own = said[:, 0, 0]
        there = np.isfinite(own).all(axis=-1)
        stages[: len(own)][there] = own[there].argmax(axis=-1)
        found.append(stages)
    return Answers(subject.stages, *found)


def kappa_of(answers: Sequence[Answers], reading: str, n_stages: int) -> float | None:
    """Return κ with the teacher, of all recordings together; None where there is none."""
    return or_null(kappa(_blocks(answers, reading, n_stages, None).sum(axis=0)))


def shares_of(answers: Sequence[Answers], n_stages: int) -> list[float]:
    """Return the share of each stage in what is said live, sure or not, (S,)."""
    live = np.concatenate([each.live for each in answers])
    counts = np.bincount(live[live != UNSCORED], minlength=n_stages)
    return [float(n) for n in counts / max(1, counts.sum())]


def gain_of(before: Sequence[Answers], after: Sequence[Answers], n_stages: int, block: int) -> Gain:
    """Return by how much κ live rose, with the interval over blocks drawn with replacement.

    Args:
        before: by the bundle that it began with.
        after: by the one that learnt.
        n_stages: that there are.
        block: epochs that are drawn together: those near each other are alike.
    """
    both = np.stack([_blocks(each, "live", n_stages, block) for each in (before, after)])
    n_blocks = both.shape[1]
    drawn = np.random.default_rng(0).integers(n_blocks, size=(_N_RESAMPLES, n_blocks))
    first, last = kappa(both[:, drawn].sum(axis=2))
    low, high = np.percentile(np.nan_to_num(last - first), (2.5, 97.5))
    whole = np.nan_to_num(np.diff(kappa(both.sum(axis=1))))  # of one stage alone there is no κ
    return Gain(kappa=float(whole[0]), low=float(low), high=float(high), n_blocks=n_blocks)


def _blocks(
    answers: Sequence[Answers], reading: str, n_stages: int, block: int | None
) -> NDArray[np.int64]:
    """Return the confusion of each block that the teacher says anything of, (n, S, S).

    None: each recording is a block.
    """
    blocks = []
    for each in answers:
        found = each.live if reading == "live" else each.final
        size = block or max(1, len(found))
        for first in range(0, len(found), size):
            truth, said = each.teacher[first : first + size], found[first : first + size]
            both = (truth != UNSCORED) & (said != UNSCORED)
            confusion = np.zeros((n_stages, n_stages), np.int64)
            np.add.at(confusion, (truth[both], said[both]), 1)
            blocks += [confusion] if both.any() else []
    return np.stack(blocks) if blocks else np.zeros((1, n_stages, n_stages), np.int64)
