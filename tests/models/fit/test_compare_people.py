"""Simulated people beside real ones: what is written for YASA, and how its answers are counted."""

from pathlib import Path

import numpy as np

from models.fit.compare_people import FEATURES, Staged, agree, overlap, simulate, write_real
from models.stages import HUMAN


def made_up(name: str, shift: float, n: int = 100) -> Staged:
    """A night of W and N3 whose features are normal around `shift`."""
    rng = np.random.default_rng(len(name))
    truth = np.repeat(["W", "N3"], n // 2)
    eeg = truth.copy()
    eeg[:10] = "N1"
    features = {feature: shift + rng.standard_normal(n) for feature in FEATURES}
    return Staged(name, truth, eeg, truth, features)


def test_agreement_is_counted_over_all_nights_and_in_each() -> None:
    nights = [made_up("a", 0.0), made_up("bb", 0.0)]
    eeg, of_each = agree(nights, both=False)
    assert eeg.n_epochs == 200
    assert eeg.confusion[HUMAN.index("W")][HUMAN.index("N1")] == 20
    assert of_each[0] == of_each[1] < 0.9
    both, of_each = agree(nights, both=True)
    assert both.accuracy == of_each[0] == of_each[1] == 1.0


def test_features_that_lie_elsewhere_are_told_apart() -> None:
    real, like, unlike = [made_up("a", 0.0)], [made_up("bb", 0.0)], [made_up("ccc", 4.0)]
    *_, area = overlap(real, like, "W", "eeg_alpha")
    assert 0.35 < area < 0.65
    *quantiles, area = overlap(real, unlike, "W", "eeg_alpha")
    assert area > 0.98
    assert quantiles == sorted(quantiles)


def test_a_simulated_night_is_written_with_a_stage_an_epoch(tmp_path: Path) -> None:
    name, truth = simulate(tmp_path, 0.1, False, 985_000)
    assert truth.shape == (12,)
    assert {*truth.tolist()} <= {*HUMAN}
    with np.load(tmp_path / f"{name}.npz") as night:
        assert night["data"].shape == (36_000, 2)


def test_real_epochs_are_of_eleven_patients_and_not_of_the_twelfth(
    tmp_path: Path, shared_data: Path
) -> None:
    truths = write_real(tmp_path, shared_data / "human_raw" / "ucddb_dev.npz")
    assert len(truths) == 11
    assert "018" not in truths
    for name, truth in truths.items():
        assert {*truth.tolist()} <= {"W", "N3"}
        with np.load(tmp_path / f"{name}.npz") as night:
            assert night["data"].shape == (3000 * len(truth), 1)
