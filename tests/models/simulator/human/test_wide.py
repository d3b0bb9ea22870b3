"""Widened people and amplifiers reach beyond the usual ones, and only when asked for."""

import numpy as np

from models.simulator.human.person import OLDEST, YOUNGEST, Person
from models.simulator.human.simulate import SimulatedPeople
from models.simulator.human.wide import draw_amplifiers, widen


def test_people_differ_and_widened_ones_more() -> None:
    usual = [Person.draw(np.random.default_rng(seed)) for seed in range(400)]
    wide = [widen(person, np.random.default_rng([k, 1])) for k, person in enumerate(usual)]
    ages = [person.age for person in usual]
    assert YOUNGEST <= min(ages) < 10
    assert 80 < max(ages) <= OLDEST
    assert len({person.eeg.label for person in usual}) == 10
    assert len({person.eog.label for person in usual}) == 5
    assert {person.wander for person in usual} == {0.0}
    assert 0.4 < np.mean([person.wander > 0 for person in wide]) < 0.6
    for name in ("spindle_uv", "slow_wave_uv", "alpha_uv", "eye_uv", "muscle_uv", "contrast"):
        spreads = [np.std(np.log([getattr(p, name) for p in each])) for each in (usual, wide)]
        assert spreads[1] > 1.05 * spreads[0], name


def test_alpha_slows_with_age_and_some_have_none() -> None:
    people = [Person.draw(np.random.default_rng(seed)) for seed in range(600)]
    middle = np.median([p.alpha_hz for p in people if 20 < p.age < 50])
    assert 9.5 < middle < 11
    assert np.median([p.alpha_hz for p in people if p.age > 70]) < middle - 0.4
    assert np.median([p.alpha_hz for p in people if p.age < 8]) < middle - 0.8
    assert 0.05 < np.mean([p.alpha_uv < 4.5 for p in people]) < 0.25


def test_amplifiers_filter_both_channels_alike() -> None:
    drawn = [draw_amplifiers(np.random.default_rng(seed), 60.0) for seed in range(500)]
    for eeg, eog in drawn:
        for name in ("lowpass", "highpass_hz", "notch", "limit", "step"):
            assert getattr(eeg, name) == getattr(eog, name), name
        assert eeg.gain * eog.gain > 0
        assert eeg.mains_hz == 60.0
    assert 0.1 < np.mean([eeg.gain < 0 for eeg, _ in drawn]) < 0.25
    scales = np.abs([eeg.gain for eeg, _ in drawn])
    assert np.mean((scales < 0.4) | (scales > 2.5)) < 0.15
    assert scales.max() / scales.min() > 100


def test_a_wide_person_is_the_same_again_and_another_than_the_usual_one() -> None:
    first, again, usual = (
        next(SimulatedPeople(seed=4, duration_s=120, wide=wide, stages=("N2",) * 120).subjects())
        for wide in (True, True, False)
    )
    assert first.person != usual.person
    np.testing.assert_array_equal(first.data, again.data)
    assert np.isfinite(first.data).all()
    assert not np.array_equal(first.data, usual.data)


def test_many_wide_people_are_finite_at_any_rate() -> None:
    for seed in range(25):
        sfreq = (100.0, 199.5, 512.0)[seed % 3]
        (person,) = SimulatedPeople(seed=seed, duration_s=45, sfreq=sfreq, wide=True).subjects()
        assert np.isfinite(person.data).all()
        assert person.data.std(axis=0).min() > 0.01
