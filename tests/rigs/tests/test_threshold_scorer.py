"""The threshold rule, on signals whose stages are beyond doubt."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.bundle import open_bundle
from models.errors import RecordingError
from models.recordings.open import open_recording
from models.signal.conditioning import Conditioner
from models.stages import UNKNOWN
from tests.rigs.accuracy.threshold_scorer import (
    EPOCH_S,
    Features,
    measure,
    otsu,
    score_by_thresholds,
)

SFREQ = 512


def seconds(stages: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return epochs of 1 s, four a letter: Wake, quiet wake (q), NREM and REM of a clear mouse."""
    t = np.arange(SFREQ) / SFREQ
    epochs = []
    for stage in "".join(s * EPOCH_S for s in stages):
        theta, delta = (20, 4) if stage in "WqR" else (4, 20)
        eeg = theta * np.sin(2 * np.pi * 7 * t) + delta * np.sin(2 * np.pi * 2 * t)
        noise = rng.standard_normal((2, SFREQ))
        epochs.append([eeg + noise[0], (30 if stage == "W" else 5) * noise[1]])
    return np.array(epochs)


def rule(stages: str) -> tuple[str, ...]:
    epochs = seconds(stages, np.random.default_rng(0))
    return score_by_thresholds(measure(epochs), np.ones(len(epochs), bool)).stages


def test_wake_nrem_and_rem_are_told_apart() -> None:
    names = {"W": "Wake", "N": "NREM", "R": "REM"}
    stages = "W" * 10 + "N" * 20 + "R" * 10 + "W" * 5
    assert rule(stages) == tuple(names[s] for s in stages)


def test_quiet_theta_straight_after_wake_is_wake() -> None:
    assert set(rule("W" * 10 + "q" * 10 + "N" * 20)[10:20]) == {"Wake"}


def test_without_rem_all_quiet_epochs_with_more_delta_are_nrem() -> None:
    assert rule("W" * 10 + "N" * 30) == ("Wake",) * 10 + ("NREM",) * 30


def test_an_epoch_with_a_second_that_cannot_be_used_is_unknown() -> None:
    epochs = seconds("W" * 5 + "N" * 10, np.random.default_rng(0))
    usable = np.ones(len(epochs), bool)
    usable[[3, 21]] = False
    stages = score_by_thresholds(measure(epochs), usable).stages
    assert [k for k, stage in enumerate(stages) if stage == UNKNOWN] == [0, 5]
    with pytest.raises(RecordingError, match="at least one usable epoch of 4 s, found 60 s"):
        score_by_thresholds(measure(epochs), np.zeros(len(epochs), bool))


def test_features_are_in_microvolts_and_powers() -> None:
    t = np.arange(SFREQ) / SFREQ
    eeg = 20 * np.sin(2 * np.pi * 3 * t) + 10 * np.sin(2 * np.pi * 7 * t)
    features = measure(np.stack([eeg, np.full(SFREQ, 7.0)])[None])
    assert features.emg_uv[0] == pytest.approx(7)
    # A sine's power is half its amplitude squared.
    assert features.delta[0] == pytest.approx(200, rel=0.1)
    assert features.theta[0] == pytest.approx(50, rel=0.1)


def test_longer_epochs_hold_the_mean_power_of_the_seconds_in_them() -> None:
    x = np.arange(9.0)
    longer = Features(x, x, x).mean(4)
    assert longer.delta.tolist() == [1.5, 5.5]
    assert longer.emg_uv == pytest.approx(np.sqrt([3.5, 31.5]))


def test_otsu_parts_two_groups_anywhere_between_them() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(0, 0.2, 900), rng.normal(3, 0.2, 100)])
    assert 1 < otsu(values) < 2.2
    assert otsu(-values) == pytest.approx(-otsu(values), abs=0.1)


def test_a_real_mouse_is_awake_and_asleep_when_a_person_sees_it(shared_data: Path) -> None:
    recording = open_recording(shared_data / "mouse_raw" / "mouse_eeg_emg_29min.edf")
    data, _ = next(recording.chunks(320 * 1000))
    filtered = Conditioner(open_bundle(None).spec, 1000.0, 1).filter(data)[0]
    epochs = filtered.reshape(320, 1000, 2).transpose(0, 2, 1)
    found = score_by_thresholds(measure(epochs), np.ones(len(epochs), bool))
    wake = [stage == "Wake" for stage in found.stages]
    assert np.mean(wake[7:33]) > 0.95  # active from 28 to 132 s
    assert np.mean(wake[61:]) < 0.1  # asleep after the arousal at 240 s
