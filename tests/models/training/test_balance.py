import msgspec
import numpy as np
import pytest

from models.grammar import equilibrium, grammar_of
from models.scored_epochs import ScoredEpochs
from models.stages import UNSCORED
from models.training.balance import stage_weights
from tests.support.bundles import mouse_spec

SPEC = mouse_spec()


def _subject(*counts: int, unscored: int = 0) -> ScoredEpochs:
    stages = np.repeat([0, 1, 2, UNSCORED], [*counts, unscored])
    n = len(stages)
    return ScoredEpochs("x", np.zeros((n, 2, 1)), stages, np.ones((n, 2), bool))


def test_weighted_stages_have_the_shares_of_scored_mice() -> None:
    subjects = [_subject(10, 60, 30, unscored=7), _subject(50, 40, 10)]
    weights = stage_weights(SPEC, subjects)
    counts = np.array([60, 100, 40])
    np.testing.assert_allclose(weights * counts / 200, equilibrium(grammar_of("mouse", 1.0, 1.0)))
    assert weights @ counts / 200 == pytest.approx(1)


def test_a_recording_of_one_stage_says_nothing_of_shares() -> None:
    subjects = [_subject(10, 60, 30)]
    alone = stage_weights(SPEC, subjects)
    np.testing.assert_array_equal(stage_weights(SPEC, [*subjects, _subject(900, 0, 0)]), alone)


def test_where_shares_are_not_known_all_stages_weigh_the_same() -> None:
    np.testing.assert_array_equal(stage_weights(SPEC, [_subject(10, 60, 0)]), np.ones(3))
    human = msgspec.structs.replace(SPEC, species="human")
    np.testing.assert_array_equal(stage_weights(human, [_subject(10, 60, 30)]), np.ones(3))
