"""Stages weigh in training what they do in experts' hypnograms, whatever the subjects did.

Simulated subjects, or a few recordings of one time of day, are asleep more or less than most are;
a net that learnt from them alone would be biased towards what they did most. The shares to come to
are those that the grammar's rates lead to: it goes on from the net's evidence with the same.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.grammar import counted_for, equilibrium, grammar_of
from models.scored_epochs import ScoredEpochs
from models.spec import ModelSpec
from models.stages import UNSCORED


def stage_weights(spec: ModelSpec, subjects: Sequence[ScoredEpochs]) -> NDArray[np.float64]:
    """Return what an epoch of each stage weighs, (S,), on average 1.

    Only subjects that show every stage count: a recording of one stage says nothing of shares.
    Where there is none, or nobody counted transitions of these stages, every stage weighs 1.
    """
    n_stages = len(spec.stages)
    counts = np.zeros(n_stages)
    for subject in subjects:
        found = np.bincount(subject.stages[subject.stages != UNSCORED], minlength=n_stages)
        counts += found if found.all() else 0
    if not (counted_for(spec) and counts.any()):
        return np.ones(n_stages)
    wanted = equilibrium(grammar_of(spec.species, 1.0, 1.0))
    return np.asarray(wanted * counts.sum() / counts)
