"""Simulated people: the same bits again, waves where the truth says, stages that differ."""

import numpy as np
import pytest

from models.errors import RecordingError
from models.simulator.human.simulate import iterate_subjects, simulate_recording
from models.stages import HUMAN


def test_a_recording_is_what_was_asked_for() -> None:
    night = simulate_recording(seed=5, duration_s=1800, n_subjects=2, every_stage=True)
    assert night.data.shape == (1800 * 128, 4)
    assert night.data.dtype == np.float32
    assert np.isfinite(night.data).all()
    assert night.ch_names == ("EEG1", "EOG1", "EEG2", "EOG2")
    assert all(set(h) == set(HUMAN) for h in night.hypnograms)
    alone = simulate_recording(seed=5, duration_s=1800, every_stage=True)
    np.testing.assert_array_equal(alone.data, night.data[:, :2])
    assert [name[:4] for name in alone.ch_names] == ["EEG ", "EOG "]


@pytest.mark.parametrize("sfreq", [100.0, 199.5, 512.0])
def test_any_rate_shows_the_same_night(sfreq: float) -> None:
    reference, other = (
        next(iterate_subjects(seed=8, duration_s=300, sfreq=hz, every_stage=True))
        for hz in (128.0, sfreq)
    )
    assert other.data.shape == (round(300 * sfreq), 2)
    assert (other.hypnogram, other.person) == (reference.hypnogram, reference.person)
    assert other.events == reference.events
    np.testing.assert_allclose(other.data.std(axis=0), reference.data.std(axis=0), rtol=0.2)


def test_stages_that_are_given_are_simulated() -> None:
    given = simulate_recording(seed=3, duration_s=60, stages=("N3",) * 60)
    assert given.hypnograms == (("N3",) * 60,)
    with pytest.raises(RecordingError, match="stages of W, N1, N2, N3, REM, found NREM"):
        simulate_recording(seed=3, duration_s=60, stages=("NREM",) * 60)
