"""Widened animals and hypnograms: each change does what it says, and nothing unless asked for."""

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from models.fit.band_powers import measure
from models.simulator.bands import BANDS
from models.simulator.bouts import find_bouts
from models.simulator.mouse.animal import Animal
from models.simulator.mouse.eeg import add_eeg
from models.simulator.mouse.emg import add_emg
from models.simulator.mouse.simulate import SimulatedMice
from models.simulator.mouse.tracks import EMG, animal_means, draw_tracks, mouse_signals
from models.simulator.mouse.wide import draw_hypnogram, widen
from models.stages import MOUSE

SFREQ = 256.0


def measured(stage: str, seconds: int = 1200, **changes: object) -> NDArray[np.float64]:
    """Log band powers and EMG, (n_epochs, 6), of the fitted mouse with changes in one stage."""
    animal = replace(Animal.plain(), **changes)  # type: ignore[arg-type]
    rngs = np.random.default_rng(3).spawn(3)
    tracks = draw_tracks(rngs[0], (stage,) * seconds, animal)
    data = np.zeros((round(seconds * SFREQ), 2), np.float32)
    add_eeg(data[:, 0], rngs[1], tracks, animal, SFREQ)
    add_emg(data, rngs[2], tracks, animal, SFREQ)
    return measure(data, SFREQ)


def test_without_wide_a_seed_gives_the_mouse_it_always_gave() -> None:
    mouse = SimulatedMice(seed=11, duration_s=300, artefacts_per_hour=60, every_stage=True).record()
    expected = [
        [-7.11194, -17.4417],
        [13.0496, 62.3922],
        [7.13431, 19.4958],
        [-24.1435, -116.369],
        [-4.84682, -9.19659],
    ]
    np.testing.assert_allclose(mouse.data[:: 512 * 60], expected, rtol=1e-3)
    assert find_bouts(mouse.hypnograms[0])[:3] == [
        (0, 89, "NREM"),
        (89, 82, "REM"),
        (171, 71, "Wake"),
    ]


def test_a_wide_mouse_is_the_same_again_and_another_than_the_usual_one() -> None:
    first, again, usual = (
        SimulatedMice(seed=4, duration_s=60, wide=wide).record() for wide in (True, True, False)
    )
    np.testing.assert_array_equal(first.data, again.data)
    assert first.hypnograms == again.hypnograms
    assert np.isfinite(first.data).all()
    assert not np.array_equal(first.data, usual.data)


@pytest.mark.parametrize("sfreq", [128.0, 4000.0])
def test_neither_wide_animal_nor_hypnogram_depends_on_the_rate(sfreq: float) -> None:
    reference, other = (
        SimulatedMice(seed=8, duration_s=120, sfreq=hz, time_scale=4, wide=True).record()
        for hz in (512.0, sfreq)
    )
    assert reference.hypnograms == other.hypnograms
    assert np.std(other.data) == pytest.approx(np.std(reference.data), rel=0.5)


def test_widened_animals_reach_beyond_the_usual_ones() -> None:
    usual = [Animal.draw(np.random.default_rng(seed)) for seed in range(400)]
    wide = [widen(animal, np.random.default_rng([k, 1])) for k, animal in enumerate(usual)]
    assert {animal.wander for animal in usual} == {0.0}
    wanders = np.array([animal.wander for animal in wide])
    assert 0.74 < (wanders > 0).mean() < 0.86
    assert 1.9 < wanders.max() < 2.0
    assert 0.1 < np.mean([animal.alert > 0 for animal in wide]) < 0.2
    assert min(a.eeg_contrast / b.eeg_contrast for a, b in zip(wide, usual, strict=True)) < 0.35
    contrasts = np.array([animal.emg_contrast for animal in wide])
    assert contrasts.min() < 0.2
    assert 0.03 < (contrasts < 0.4).mean() < 0.15


def test_each_band_wanders_on_its_own_by_what_the_animal_says() -> None:
    still = measured("NREM", 3600)
    strays = measured("NREM", 3600, wander=1.5, wander_s=(30.0,) * len(BANDS))
    added = np.sqrt(strays.var(axis=0) - still.var(axis=0))[:EMG]
    np.testing.assert_allclose(added, 1.5, atol=0.4)
    delta, fast = strays[:, 0], strays[:, 3]
    assert abs(np.corrcoef(delta, fast)[0, 1]) < 0.4
    np.testing.assert_allclose(strays[:, EMG], still[:, EMG], atol=0.2)


def test_a_faint_contrast_is_the_ratio_of_muscle_tone() -> None:
    wake, nrem = MOUSE.index("Wake"), MOUSE.index("NREM")
    for contrast, ratio in ((0.15, 1.15), (1.8, 6.0)):
        means = animal_means(replace(Animal.plain(), emg_contrast=contrast), mouse_signals())
        assert np.exp(means[wake, EMG] - means[nrem, EMG]) == pytest.approx(ratio, rel=0.05)


def test_an_alert_animal_has_theta_over_calm_muscles() -> None:
    calm = {"rest": 4.0, "theta": 1.0, "theta_share": 10.0}
    quiet = measured("Wake", **calm)
    alert = measured("Wake", **calm, alert=1.0, alert_lean=4.0)
    theta = list(BANDS).index("theta")
    assert (alert - quiet)[:, theta].mean() > 0.4
    np.testing.assert_allclose(alert[:, EMG].mean(), quiet[:, EMG].mean(), atol=0.02)


def test_some_hypnograms_have_one_stage_and_some_a_long_begin() -> None:
    drawn = [draw_hypnogram(np.random.default_rng(s), 1200, every_stage=True) for s in range(800)]
    assert {len(stages) for stages in drawn} == {1200}
    single = [stages[0] for stages in drawn if len(set(stages)) == 1]
    assert 0.04 < len(single) / len(drawn) < 0.09
    counts = Counter(single)
    assert counts["Wake"] > counts["NREM"] > counts["REM"] > 0
    full = [s for s in drawn if all(s.count(stage) >= 0.05 * len(s) for stage in MOUSE)]
    assert 0.75 < len(full) / len(drawn) < 0.92
    for stages in drawn:
        bouts = [stage for _, _, stage in find_bouts(stages)]
        assert ("Wake", "REM") not in set(itertools.pairwise(bouts))
