"""The fit to people's nights: what is read, what is counted, and how near drawn nights come."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from models.errors import RecordingError
from models.fit.hypnograms.people import find_steps, fit
from models.fit.hypnograms.people_compared import draw_cohort, measure, score_epochs
from models.fit.hypnograms.scored_people import Night, datasets_of, find_consensus, read_nights
from models.fit.hypnograms.splits import split_subjects
from models.recordings.hypnograms.read import read_hypnogram
from models.simulator.human.history import KNOTS, N3, REM, WAKE
from models.simulator.human.hypnogram import draw_night, human_nights
from models.stages import HUMAN, to_indices


@pytest.fixture(scope="module")
def nights(shared_data: Path) -> list[Night]:
    return read_nights(shared_data / "human_hypnograms")


def _night(*stages: int, person: str = "a") -> Night:
    return Night(person, "made up", np.array(stages, np.int8), np.empty((0, len(stages)), np.int8))


def test_the_consensus_is_the_majority_and_the_better_ones_break_ties() -> None:
    scorers = np.array(
        [
            [0, 1, 2, 2, 3, -1],
            [0, 1, 2, 2, 3, -1],
            [0, 1, 2, 4, 3, -1],
            [0, 0, 4, 4, 4, 2],
            [0, 0, 1, 1, 4, 2],
        ],
        np.int8,
    )
    assert find_consensus(scorers).tolist() == [0, 1, 2, 2, 3, -1]
    assert find_consensus(scorers[::-1]).tolist() == [0, 1, 2, 2, 3, -1]


def test_all_nights_are_read_and_none_is_on_both_sides(nights: list[Night]) -> None:
    groups = datasets_of(nights)
    assert len(nights) == 208
    assert len(groups) == 180
    assert sum(len(night.scorers) == 5 for night in nights) == 80
    codes = np.unique(np.concatenate([night.stages for night in nights]))
    assert codes.tolist() == [-1, 0, 1, 2, 3, 4]
    fitted, left_out = split_subjects(groups)
    assert (len(fitted), len(left_out)) == (137, 43)
    for dataset in ("dodh", "dodo", "boas"):
        share = np.mean([person in fitted for person, of in groups.items() if of == dataset])
        assert share == pytest.approx(137 / 180, abs=0.05)


def test_what_is_no_folder_of_nights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"expected dodh_scorers\.npz"):
        read_nights(tmp_path)


def test_steps_go_from_sleep_onset_to_the_last_sleep_and_over_nothing_unscored() -> None:
    steps = find_steps([_night(0, 0, 1, 2, 2, -1, 3, 0, 2, 0, 0)])
    assert steps.present.tolist() == [1, 2, 3, 0]
    assert steps.following.tolist() == [2, 2, 0, 2]
    counts = dict(zip(KNOTS, steps.counts.T.tolist(), strict=True))
    assert counts["night"] == [0, 1, 4, 5]
    assert counts["stay"] == [1, 1, 1, 1]
    assert counts["before"] == [0, 1, 2, 3]


def test_a_fit_to_drawn_nights_draws_such_nights() -> None:
    """People with much N3 and hardly any Wake: neither the packaged fit nor its prior."""
    packaged = human_nights()
    rng = np.random.default_rng(0)
    odd = [score_epochs(draw_night(rng)) for _ in range(30)]
    odd = [np.where((x == WAKE) & (np.arange(len(x)) % 2 == 0), N3, x) for x in odd]
    found = fit([_night(*x.tolist(), person=str(k)) for k, x in enumerate(odd)], n_rounds=2)
    assert found.n_subjects == found.n_nights == 30
    shares = [
        np.bincount(np.concatenate(drawn), minlength=len(HUMAN)) / sum(map(len, drawn))
        for drawn in (odd, draw_cohort(30, 0, found), draw_cohort(30, 0, packaged))
    ]
    assert shares[1][N3] == pytest.approx(shares[0][N3], abs=0.04)
    assert shares[2][N3] < shares[0][N3] - 0.05


def test_drawn_nights_are_as_near_to_those_left_out_as_nights_differ(nights: list[Night]) -> None:
    _, people = split_subjects(datasets_of(nights))
    real = measure([night.stages for night in nights if night.person in people])
    drawn = measure(draw_cohort(60, 0))
    for stage in HUMAN:
        spread = real[f"share of {stage}, SD of nights"]
        assert drawn[f"share of {stage}"] == pytest.approx(
            real[f"share of {stage}"], abs=4 * spread / np.sqrt(60)
        )
        assert drawn[f"share of {stage}, SD of nights"] == pytest.approx(spread, rel=0.5)
    assert drawn["transitions per hour"] == pytest.approx(real["transitions per hour"], rel=0.15)
    for name in ("REM cycle, onset to onset, min, median", "REM latency, min, median"):
        assert drawn[name] == pytest.approx(real[name], rel=0.2)
    for name, value in real.items():
        if " ends in " in name:
            assert drawn[name] == pytest.approx(value, abs=0.1), name


def test_a_night_of_a_lab_that_was_never_fitted_is_none_that_could_not_be_drawn(
    shared_data: Path,
) -> None:
    """Sleep-EDF SC4001, whose expert scored by the older rules."""
    hypnogram = read_hypnogram(shared_data / "human_raw" / "SC4001EC-Hypnogram.edf", HUMAN)
    scored = to_indices(hypnogram.to_epochs(30.0, 24 * 120), HUMAN)
    real, *drawn = (_describe(night) for night in (scored, *draw_cohort(100, 5)))
    low, high = np.min(drawn, axis=0), np.max(drawn, axis=0)
    assert np.all((low <= real) & (real <= high)), (low, real, high)


def _describe(night: np.ndarray) -> np.ndarray:
    """Return shares of the stages and changes an epoch, from sleep onset to the last sleep."""
    asleep = np.flatnonzero(night > WAKE)
    sleep = night[asleep[0] : asleep[-1] + 1]
    shares = [np.mean(sleep == stage) for stage in range(len(HUMAN))]
    first_rem = np.argmax(sleep == REM) / 120
    return np.array([*shares, np.mean(np.diff(sleep) != 0), first_rem, len(sleep) / 120])


def test_the_packaged_fit_is_of_the_people_to_fit(nights: list[Night]) -> None:
    people, _ = split_subjects(datasets_of(nights))
    found = fit([night for night in nights if night.person in people], n_rounds=0)
    packaged = human_nights()
    iterated = {"curves": packaged.curves, "factors": packaged.factors}  # by the rounds left out
    assert msgspec.structs.replace(found, **iterated) == packaged
