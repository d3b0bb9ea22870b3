"""What a recording teaches that nobody scored: where the offline teacher is to be believed.

It is sure of itself where it is wrong, too. What is high or low is so for the recording, so where a
stage hardly occurs, another is taken for it. The net knows levels of the population, so it is
asked as well: an epoch is learnt where the teacher is sure and the net says the same, or is not
sure of another stage. Where they rarely agree, or the teacher does not find the common stages, it
is not believed at all. docs/training.md says what that was chosen by.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.base import Model
from models.grammar import Filter
from models.recordings.agreement import kappa
from models.spec import Grammar
from models.stages import UNSCORED
from models.teacher import Taught, TeacherWeights
from models.training.evaluate import as_answered, read_all

SURE = 0.9
"""Probability, given the whole recording, from which on the teacher is sure."""
CONTRADICTS = 0.7
"""Probability from which on the net contradicts it."""
LEAST_KAPPA = 0.4
"""Of teacher and net, over the recording."""


class Least(NamedTuple):
    """What a recording needs for the teacher to be believed in it."""

    usable_s: float
    """Signal of the modalities that the teacher needs, s."""
    shares: dict[str, float]
    """Of stages, by the teacher. Of one stage it makes two, but not all."""
    advice: str
    """What to give instead."""


LEAST = {
    "mouse": Least(1800.0, {"Wake": 0.05, "NREM": 0.05, "REM": 0.01}, "hours of day and night"),
    "human": Least(7200.0, {"W": 0.02, "N2": 0.1, "REM": 0.03}, "a whole night"),
}
"""By species. Of 208 scored nights of people 98 % have as much; many have no N3, some hardly N1."""

_LAG = 4  # epochs after the one that is read: some, as for final
_EVERY = 4

Stages = NDArray[np.int64]
Floats = NDArray[np.floating]


def read_whole(
    model: Model, epochs: Floats, usable: NDArray[np.bool_], grammar: Grammar | None
) -> Floats:
    """Return what a net says of a whole recording, (n, S); NaN where it says nothing.

    Each epoch is read with some that follow it, by the mixed pathway or what is there of it, and
    the grammar weighs it against all others. One window in four is read, for four epochs of it.

    Args:
        model: the net, in eval mode.
        epochs: (n, M, n_inputs), conditioned.
        usable: (n, M).
        grammar: of the bundle; None: the net's answers are taken as they are.
    """
    spec, n = model.spec, len(epochs)
    lag = min(_LAG, spec.n_context - 1)
    every = min(_EVERY, spec.n_context - lag)
    more = np.zeros_like(epochs, shape=(lag + every, *epochs.shape[1:]))  # so that all are read
    masked = np.zeros((lag + every, usable.shape[1]), bool)
    read = read_all(model, np.concatenate([epochs, more]), np.concatenate([usable, masked]), every)
    when = np.arange(n)
    window = -(-(when + lag) // every)
    own = read[window, :, spec.n_context - 1 - window * every + when]
    said = as_answered(spec, own, usable)[:, 0]
    if grammar is None:
        return said
    return np.where(np.isnan(said), np.nan, Filter(grammar, spec.epoch_s).whole(said))


def surely(taught: Taught) -> Stages:
    """Return the stages that the teacher is sure of, (n,), UNSCORED elsewhere."""
    best = taught.probabilities.argmax(axis=1)
    sure = taught.probabilities.max(axis=1) >= SURE
    sure &= (best == taught.stages) & np.isfinite(taught.evidence).all(axis=1)
    return np.where(sure, best, UNSCORED)


def uncontradicted(sure: Stages, said: Floats) -> Stages:
    """Return the stages that a net does not contradict, (n,), UNSCORED elsewhere.

    Args:
        sure: (n,), as `surely` gives them.
        said: (n, S), as `read_whole` gives it; where it says nothing nothing is learnt.
    """
    there = np.asarray(np.isfinite(said).all(axis=1))
    known = np.where(there[:, None], said, 1.0)
    agrees = known.argmax(axis=1) == sure
    return np.where(there & (agrees | (known.max(axis=1) < CONTRADICTS)), sure, UNSCORED)


def why_not(
    taught: Taught, said: Floats, usable: NDArray[np.bool_], weights: TeacherWeights
) -> str | None:
    """Say why the teacher is not to be believed in a recording; None: it is.

    Args:
        taught: by the teacher.
        said: (n, S), as `read_whole` gives it.
        usable: (n, M).
        weights: the teacher.
    """
    spec, least = weights.spec, LEAST[weights.spec.species]
    seconds = np.count_nonzero(usable[:, weights.needed_rows].all(axis=1)) * spec.epoch_s
    if seconds < least.usable_s:
        return (
            f"expected at least {least.usable_s / 60:g} min of usable "
            f"{' and '.join(weights.needed)}, found {seconds / 60:.1f}: give a longer recording"
        )
    read = np.isfinite(said).all(axis=1) & np.isfinite(taught.evidence).all(axis=1)
    stages, net = taught.stages[read], said[read].argmax(axis=1)
    for index, stage in enumerate(spec.stages):
        wanted = least.shares.get(stage, 0.0)
        share = np.count_nonzero(stages == index) / max(1, len(stages))
        if share < wanted:
            return (
                f"expected at least {100 * wanted:g} % of {stage}, found {100 * share:.1f} % by "
                f"the teacher, which takes others for it: give {least.advice}"
            )
    confusion = np.zeros((len(spec.stages),) * 2, np.int64)
    np.add.at(confusion, (stages, net), 1)
    agreement = float(kappa(confusion))
    if not agreement >= LEAST_KAPPA:
        return (
            f"expected teacher and bundle to agree in most of it (κ {LEAST_KAPPA:g}), found κ "
            f"{agreement:.2f}: one stage may take nearly all of it, or a channel be another's; "
            "score some of it by hand and use hypnod train"
        )
    return None
