"""Simulated nights by what is known of sleep, and as epochs that an expert would score."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from models.errors import RecordingError
from models.fit.hypnograms.people_compared import score_epochs
from models.simulator.human.history import KNOTS, N1, N3, REM, WAKE, History, tabulate
from models.simulator.human.hypnogram import draw_hypnogram, draw_night, human_nights
from models.simulator.human.odd_nights import Oddity, draw_oddity
from models.stages import HUMAN

N_NIGHTS = 40


@pytest.fixture(scope="module")
def nights() -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [score_epochs(draw_night(rng)) for _ in range(N_NIGHTS)]


def _share(nights: Sequence[np.ndarray], stage: int) -> float:
    return float(np.mean(np.concatenate(nights) == stage))


def test_deep_sleep_comes_early_and_rem_late(nights: list[np.ndarray]) -> None:
    halves = [np.array_split(night[np.argmax(night > WAKE) :], 2) for night in nights]
    first, second = ([half[k] for half in halves] for k in (0, 1))
    assert _share(first, N3) > 1.5 * _share(second, N3)
    assert _share(second, REM) > 1.5 * _share(first, REM)


def test_sleep_begins_lightly_and_rem_comes_in_cycles(nights: list[np.ndarray]) -> None:
    onsets = [int(np.argmax(night > WAKE)) for night in nights]
    begins = [night[onset] for night, onset in zip(nights, onsets, strict=True)]
    assert np.mean(np.array(begins) == N1) > 0.8
    latencies = [
        (np.argmax(night == REM) - onset) / 2
        for night, onset in zip(nights, onsets, strict=True)
        if (night == REM).any()
    ]
    assert 70 < np.median(latencies) < 140  # min
    gaps = np.concatenate([np.diff(np.flatnonzero(night == REM)) for night in nights])
    assert 40 < np.median(gaps[gaps > 30]) / 2 < 100  # min, from one REM period to the next


def test_people_differ(nights: list[np.ndarray]) -> None:
    changes = [np.mean(np.diff(night) != 0) for night in nights]
    assert np.std(changes) > 0.25 * np.mean(changes)
    shares = [np.mean(night == N3) for night in nights]
    assert min(shares) < 0.02
    assert max(shares) > 0.15


def test_stages_change_at_any_second_and_most_of_an_epoch_is_its_own() -> None:
    night = draw_night(np.random.default_rng(1))
    changes = np.flatnonzero(np.diff(night)) + 1
    assert len({*(changes % 30).tolist()}) > 15
    epochs = score_epochs(night)
    kept = night[: 30 * len(epochs)].reshape(-1, 30) == epochs[:, None]
    assert kept.sum(axis=1).min() >= 15


@pytest.mark.parametrize("hours", [0.5, 3, 16])
def test_a_recording_is_as_long_as_asked(hours: float) -> None:
    seconds = round(3600 * hours)
    stages = draw_hypnogram(np.random.default_rng(2), seconds)
    assert len(stages) == seconds
    assert {*stages} <= {*HUMAN}
    assert stages == draw_hypnogram(np.random.default_rng(2), seconds)


def test_a_short_recording_begins_anywhere_in_the_night_or_where_it_is_told_to() -> None:
    begins = {draw_hypnogram(np.random.default_rng(seed), 60)[0] for seed in range(60)}
    assert begins == {*HUMAN}
    evenings = {draw_hypnogram(np.random.default_rng(s), 60, start_s=0)[0] for s in range(20)}
    assert "W" in evenings
    assert not evenings & {"N3", "REM"}


def test_a_longer_recording_has_wake_around_the_night() -> None:
    stages = np.array(draw_hypnogram(np.random.default_rng(3), 24 * 3600))
    asleep = np.flatnonzero(stages != "W")
    assert 4 < (asleep[-1] - asleep[0]) / 3600 < 10
    assert asleep[0] > 1800
    assert asleep[-1] < 24 * 3600 - 60


@pytest.mark.parametrize("seed", range(3))
def test_every_stage_can_be_asked_for(seed: int) -> None:
    stages = draw_hypnogram(np.random.default_rng(seed), 2 * 3600, every_stage=True)
    assert min(stages.count(stage) for stage in HUMAN) >= 0.02 * len(stages)


def test_what_has_no_room_for_every_stage_is_refused() -> None:
    nights = human_nights()
    no_sleep = type(nights)(
        **{name: getattr(nights, name) for name in nights.__struct_fields__}
        | {"sleep_min": (1.0, 1.0)}
    )
    with pytest.raises(RecordingError, match="expected 600 s to have room for every stage"):
        draw_hypnogram(np.random.default_rng(0), 600, every_stage=True, nights=no_sleep)


def test_a_time_scale_hastens_the_night() -> None:
    def count(time_scale: float) -> float:
        rng = np.random.default_rng(4)
        drawn = [draw_hypnogram(rng, 1200, time_scale=time_scale) for _ in range(20)]
        return sum(a != b for stages in drawn for a, b in pairwise(stages))

    assert count(10) > 4 * count(1)


def test_history_counts_rem_periods_and_deep_sleep_since() -> None:
    history = History(N1)
    for stage, n in ((N3, 3), (REM, 2), (WAKE, 1), (REM, 4), (N3, 40)):
        for _ in range(n):
            history.step(stage)
    assert (history.rem, history.since_rem, history.deep) == (6, 40, 40)
    assert (history.before, history.stay, history.night, history.awake) == (REM, 40, 50, 0)
    history.step(REM)
    assert (history.rem, history.since_rem, history.deep) == (1, 0, 0)


@pytest.mark.parametrize("name", KNOTS)
def test_curves_are_straight_between_their_knots(name: str) -> None:
    weights = tabulate(name)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_array_equal(weights[list(KNOTS[name])], np.eye(len(KNOTS[name])))


def test_wide_nights_are_of_every_kind() -> None:
    oddities = [draw_oddity(np.random.default_rng(seed)) for seed in range(300)]
    assert any(o.only_wake for o in oddities)
    assert any(o.nap_min for o in oddities)
    assert any(o.begun_late for o in oddities)
    assert any(o.latency > 1 for o in oddities)
    deeper = [o.shift[len(HUMAN) + N3] > 0 for o in oddities]
    assert 0.05 < np.mean(deeper) < 0.3
    assert 0.1 < np.mean([o.lacks_stages for o in oddities]) < 0.5
    for seed in range(8):
        stages = draw_hypnogram(np.random.default_rng(seed), 1800, wide=True, every_stage=True)
        assert len(stages) == 1800


def test_oddities_do_what_they_say() -> None:
    def drawn(oddity: Oddity) -> np.ndarray:
        rng = np.random.default_rng(6)
        return np.concatenate([draw_night(rng, oddity=oddity) for _ in range(4)])

    plain = drawn(Oddity())
    assert not drawn(Oddity(only_wake=True)).any()
    assert np.mean(drawn(Oddity(nap_min=30.0)) > WAKE) < np.mean(plain > WAKE)
    assert len(drawn(Oddity(begun_late=0.5))) < 0.7 * len(plain)
    shift = np.zeros(10)
    shift[N3] = -20.0
    assert not (drawn(Oddity(shift=tuple(shift))) == N3).any()
    shift = np.zeros(10)
    shift[[WAKE, len(HUMAN) + WAKE]] = 1.0
    assert np.mean(drawn(Oddity(shift=tuple(shift))) == WAKE) > np.mean(plain == WAKE)
