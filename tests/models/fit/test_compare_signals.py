"""Simulated signals beside real ones: the rule, the discriminant, the picture."""

from pathlib import Path

import numpy as np

from models.fit.compare_plot import draw
from models.fit.compare_signals import (
    Epochs,
    discriminate,
    place_of_raw,
    read_raw,
    rule_stages,
)
from models.fit.signals import ScoredPowers
from models.simulator.mouse.tracks import COLUMNS, EMG


def made_up(seed: int, n: int = 600) -> Epochs:
    """Epochs of three stages that differ as they should, in made-up units."""
    rng = np.random.default_rng(seed)
    stages = np.repeat([0, 1, 2], n // 3)
    log_powers = 0.2 * rng.standard_normal((n, len(COLUMNS)))
    log_powers[:, 0] += 1.5 * (stages == 1)
    log_powers[:, EMG] += 1.2 * (stages == 0) - 0.5 * (stages == 2)
    spectra = rng.uniform(1, 2, (n, 2, 501)) * np.exp(log_powers[:, [0, EMG], None])
    return Epochs(log_powers, stages, spectra)


def test_a_discriminant_carries_over_to_an_animal_of_other_amplitudes() -> None:
    one, other = made_up(1), made_up(2)
    louder = other.log_powers + 3.0
    assert discriminate([(one.log_powers, one.stages)], (louder, other.stages)) > 0.95
    shuffled = np.random.default_rng(0).permutation(one.stages)
    assert abs(discriminate([(one.log_powers, one.stages)], (louder, shuffled))) < 0.1


def test_an_animal_like_the_others_lies_among_them() -> None:
    place = place_of_raw(made_up(9), [made_up(seed) for seed in range(12)])
    assert len(place) == 3 * len(COLUMNS)
    assert max(abs(row["z"]) for row in place.values()) < 4.5
    assert place["Wake over NREM emg"]["raw"] > 1.0


def test_the_rule_stages_the_raw_mouse(shared_data: Path) -> None:
    raw = read_raw(shared_data / "mouse_raw" / "mouse_eeg_emg_29min.edf")
    assert len(raw.stages) == len(raw.log_powers) == len(raw.spectra) == 435
    assert np.mean(raw.stages[10:30] == 0) > 0.5  # it is awake from 40 to 120 s
    assert np.mean(raw.stages[180:255] == 1) > 0.5  # and asleep from 720 to 1020 s
    assert not (raw.stages == 2).any()
    np.testing.assert_array_equal(rule_stages(raw.log_powers + 1.0), raw.stages)


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    animals = [made_up(seed) for seed in range(3)]
    real = ScoredPowers(np.arange(600) * 4.0, animals[0].log_powers, animals[0].stages)
    draw(tmp_path / "it.png", animals[0], animals, real, animals[1].log_powers, 500.0)
    assert 10_000 < (tmp_path / "it.png").stat().st_size < 200_000
