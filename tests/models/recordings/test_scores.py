"""Accuracy, calibration and their intervals, held against scikit-learn and by construction."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from models.recordings.scores import N_BINS, bootstrap, score, tally
from models.stages import MOUSE, UNSCORED


def made_up(seed, n=200):
    """Stages, a tenth of them unscored, and probabilities, a tenth of them missing."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(3, size=n)
    logits = rng.normal(size=(n, 3)) + 1.5 * np.eye(3)[truth]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    probabilities[rng.random(n) < 0.1] = np.nan
    truth[rng.random(n) < 0.1] = UNSCORED
    return truth, probabilities.astype(np.float32)


@given(st.integers(0, 2**32), st.integers(1, 60))
def test_every_figure_is_that_of_scikit_learn_and_no_epoch_is_hidden(seed, n):
    truth, probabilities = made_up(seed, n)
    scores = score(tally(truth, probabilities), MOUSE)
    there = (truth != UNSCORED) & np.isfinite(probabilities).all(axis=1)
    assert scores.n_epochs == there.sum()
    assert scores.n_epochs + scores.n_unscored == n
    assert scores.n_unscorable == ((truth != UNSCORED) & ~there).sum()
    assert sum(b.n_epochs for b in scores.reliability) == scores.n_epochs
    if not there.any():
        assert (scores.ece, scores.brier, scores.macro_f1) == (None, None, None)
        return
    true, given = truth[there], probabilities[there].astype(float)
    found = given.argmax(axis=1)
    assert scores.accuracy == pytest.approx(metrics.accuracy_score(true, found))
    assert scores.macro_f1 == pytest.approx(metrics.f1_score(true, found, average="macro"))
    assert scores.brier == pytest.approx(np.square(given - np.eye(3)[true]).sum(axis=1).mean())
    edges = np.linspace(0, 1, N_BINS + 1)
    places = np.digitize(given.max(axis=1), edges, right=True)
    right = found == true
    gaps = [
        abs(given.max(axis=1)[places == i].sum() - right[places == i].sum()) for i in set(places)
    ]
    assert scores.ece == pytest.approx(sum(gaps) / len(true))


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=4))
def test_figures_of_several_subjects_are_those_of_all_their_epochs(seeds):
    parts = [made_up(seed, 30) for seed in seeds]
    tallies = [tally(*part) for part in parts]
    total = tallies[0]
    for other in tallies[1:]:
        total += other
    together = score(tally(*map(np.concatenate, zip(*parts, strict=True))), MOUSE)
    pooled = score(total, MOUSE)
    assert pooled.confusion == together.confusion
    assert pooled.n_unscorable == together.n_unscorable
    assert pooled.ece == pytest.approx(together.ece)
    assert pooled.brier == pytest.approx(together.brier)


def test_confidence_that_is_right_as_often_as_it_says_is_calibrated():
    truth = np.array([0] * 9 + [1])
    scores = score(tally(truth, np.tile([0.9, 0.05, 0.05], (10, 1))), MOUSE)
    assert scores.ece == pytest.approx(0)
    assert [b.n_epochs for b in scores.reliability] == [0] * 13 + [10, 0]  # 13/15 to 14/15
    assert scores.reliability[13].accuracy == pytest.approx(0.9)
    sure = score(tally(truth, np.tile([1.0, 0, 0], (10, 1))), MOUSE)
    assert sure.ece == pytest.approx(0.1)
    assert sure.reliability[-1].n_epochs == 10


def test_the_interval_is_over_subjects_and_holds_the_pooled_figure():
    tallies = [tally(*made_up(seed, 300)) for seed in range(8)]
    intervals = bootstrap(tallies, MOUSE)
    total = sum(tallies[1:], tallies[0])
    scores = score(total, MOUSE)
    for name in ("accuracy", "kappa", "macro_f1", "ece", "brier"):
        low, high = intervals[name]
        assert low < getattr(scores, name) < high, name
    assert intervals["f1 REM"][0] < scores.f1["REM"] < intervals["f1 REM"][1]
    assert bootstrap([tallies[0]] * 8, MOUSE)["kappa"] == pytest.approx(
        [score(tallies[0], MOUSE).kappa] * 2
    )  # equal subjects leave nothing to chance
    assert set(bootstrap(tallies[:1], MOUSE).values()) == {None}


def test_a_stage_that_most_draws_lack_has_no_interval():
    wake = np.tile([0.8, 0.1, 0.1], (10, 1))
    tallies = [tally(np.zeros(10, int), wake)] * 7 + [tally(np.full(10, 2), wake)]
    intervals = bootstrap(tallies, MOUSE)
    assert intervals["f1 NREM"] is None
    assert intervals["f1 REM"] is None
    assert intervals["f1 Wake"] is not None
