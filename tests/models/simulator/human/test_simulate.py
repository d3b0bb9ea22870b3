"""Simulated people: the same bits again, waves where the truth says, stages that differ."""

import numpy as np
import pytest

from models.errors import RecordingError
from models.simulator.human.simulate import SimulatedPeople
from models.stages import HUMAN


def test_a_recording_is_what_was_asked_for() -> None:
    night = SimulatedPeople(seed=5, duration_s=1800, n_subjects=2, every_stage=True).record()
    assert night.data.shape == (1800 * 128, 4)
    assert night.data.dtype == np.float32
    assert np.isfinite(night.data).all()
    assert night.ch_names == ("EEG1", "EOG1", "EEG2", "EOG2")
    assert all(set(h) == set(HUMAN) for h in night.hypnograms)
    alone = SimulatedPeople(seed=5, duration_s=1800, every_stage=True).record()
    np.testing.assert_array_equal(alone.data, night.data[:, :2])
    assert [name[:4] for name in alone.ch_names] == ["EEG ", "EOG "]


@pytest.mark.parametrize("sfreq", [100.0, 199.5, 512.0])
def test_any_rate_shows_the_same_night(sfreq: float) -> None:
    reference, other = (
        next(SimulatedPeople(seed=8, duration_s=300, sfreq=hz, every_stage=True).subjects())
        for hz in (128.0, sfreq)
    )
    assert other.data.shape == (round(300 * sfreq), 2)
    assert (other.hypnogram, other.person) == (reference.hypnogram, reference.person)
    assert other.events == reference.events
    np.testing.assert_allclose(other.data.std(axis=0), reference.data.std(axis=0), rtol=0.2)


def test_stages_that_are_given_are_simulated() -> None:
    given = SimulatedPeople(seed=3, duration_s=60, stages=("N3",) * 60).record()
    assert given.hypnograms == (("N3",) * 60,)
    with pytest.raises(RecordingError, match="stages of W, N1, N2, N3, REM, found NREM"):
        SimulatedPeople(seed=3, duration_s=60, stages=("NREM",) * 60).record()


def test_artefacts_are_where_the_truth_says_and_change_nothing_else() -> None:
    stages = ("N2",) * 600
    nights = (
        SimulatedPeople(seed=4, duration_s=600, artefacts_per_hour=n, stages=stages)
        for n in (0, 40)
    )
    clean, dirty = (next(night.subjects()) for night in nights)
    assert {a.modality for a in dirty.artefacts} == {"eeg", "eog"}
    assert dirty.events == clean.events
    touched = dirty.data != clean.data
    outside = touched.copy()
    for artefact in dirty.artefacts:
        start = round(artefact.onset_s * 128)
        span = slice(start, start + round(artefact.duration_s * 128))
        column = ("eeg", "eog").index(artefact.modality)
        assert touched[span, column].mean() > 0.9
        outside[span, column] = False
    assert not outside.any()


def test_the_truth_names_every_kind_of_event_in_order() -> None:
    person = next(SimulatedPeople(seed=1, duration_s=4 * 3600, every_stage=True).subjects())
    onsets = [event.onset_s for event in person.events]
    assert onsets == sorted(onsets)
    assert {event.kind for event in person.events} == {
        *("spindle", "K-complex", "slow wave", "vertex wave", "sawtooth waves"),
        *("rapid eye movement", "slow eye movements", "blink", "arousal"),
    }
    assert all(0 <= e.onset_s < 4 * 3600 + 1 and e.duration_s > 0 for e in person.events)
