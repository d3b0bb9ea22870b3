"""The background of people's EEG and EOG follows the stage, the eyes and the site."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal

from models.simulator.human.eeg import add_background
from models.simulator.human.person import Person
from models.simulator.human.sites import EEG_SITES, EOG_SITES
from models.simulator.human.tracks import draw_tracks
from models.stages import HUMAN

SFREQ = 128.0
SITES = {site.label: site for site in (*EEG_SITES, *EOG_SITES)}
PERSON = replace(
    Person.draw(np.random.default_rng(3)),
    eeg=SITES["EEG C3-M2"],
    eog=SITES["EOG E1-M2"],
    shared=1.0,
    alpha_uv=20.0,
    alpha_hz=10.0,
    arousals=0.0,
    apnoea=-9.0,
    restless=-9.0,
)


def background(stage: str, person: Person = PERSON, seconds: int = 300) -> NDArray[np.float64]:
    rngs = np.random.default_rng(1).spawn(2)
    tracks = draw_tracks(rngs[0], (stage,) * seconds, person)
    data = np.zeros((round(seconds * SFREQ), 2), np.float32)
    add_background(data, rngs[1], tracks, person, SFREQ)
    return data.astype(np.float64)


def density(x: NDArray[np.float64], low_hz: float, high_hz: float) -> float:
    freqs, power = signal.welch(x, SFREQ, nperseg=512)
    return float(power[(freqs >= low_hz) & (freqs < high_hz)].mean())


def test_each_stage_has_its_spectrum() -> None:
    eeg = {stage: background(stage)[:, 0] for stage in HUMAN}
    slow = {stage: density(x, 0.5, 2) for stage, x in eeg.items()}
    assert slow["N3"] > 2 * slow["N2"] > 2 * slow["REM"]
    fast = {stage: density(x, 18, 30) / density(x, 2, 8) for stage, x in eeg.items()}
    assert fast["W"] > 2 * fast["REM"] > 2 * fast["N3"]
    theta = {stage: density(x, 4.5, 6.5) / density(x, 8, 9) for stage, x in eeg.items()}
    assert theta["N1"] > theta["W"]


@pytest.mark.parametrize("closed", [True, False])
def test_alpha_is_there_with_the_eyes_closed(closed: bool) -> None:
    eeg = background("W", replace(PERSON, closed=9.0 if closed else -9.0))[:, 0]
    ratio = density(eeg, 9.5, 10.6) / density(eeg, 14, 15)
    assert ratio > 10 if closed else ratio < 6


def test_alpha_is_over_the_occiput_and_slow_waves_are_in_front() -> None:
    seen = {
        label: background("W", replace(PERSON, eeg=SITES[label], closed=9.0))[:, 0]
        for label in ("EEG O1-M2", "EEG F3-M2")
    }
    assert density(seen["EEG O1-M2"], 9, 11) > 4 * density(seen["EEG F3-M2"], 9, 11)


def test_one_eye_sees_the_frontal_brain_and_the_difference_of_both_little() -> None:
    coherent = {}
    for label in ("EOG E1-M2", "EOG E1-E2"):
        data = background("N3", replace(PERSON, eog=SITES[label]))
        freqs, coherence = signal.coherence(data[:, 0], data[:, 1], SFREQ, nperseg=512)
        coherent[label] = float(coherence[(freqs > 1) & (freqs < 20)].mean())
    assert coherent["EOG E1-M2"] == pytest.approx(SITES["EOG E1-M2"].shared, abs=0.1)
    assert coherent["EOG E1-E2"] == pytest.approx(SITES["EOG E1-E2"].shared, abs=0.1)


def test_the_spectrum_tilts_and_wanders_as_the_person_says() -> None:
    plain = background("N2")[:, 0]
    tilted = background("N2", replace(PERSON, tilt=(0.0, 0.0, 0.0, 1.5, 0.0)))[:, 0]
    assert np.log(density(tilted, 18, 24) / density(plain, 18, 24)) == pytest.approx(1.5, abs=0.25)
    assert density(tilted, 1, 3) == pytest.approx(density(plain, 1, 3), rel=0.15)
    wandering = background("N2", replace(PERSON, wander=1.0, wander_s=(20.0,) * 5))[:, 0]
    spread = [
        np.log([density(part, 18, 24) for part in x.reshape(30, -1)]).std()
        for x in (plain, wandering)
    ]
    assert spread[1] > spread[0] + 0.4


def test_muscles_are_heard_awake_and_fall_silent_in_rem() -> None:
    tense = replace(PERSON, muscle_uv=5.0, sleeping_muscle=0.5, floor_uv=0.1)
    loud = [density(background(stage, tense)[:, 0], 45, 60) for stage in ("W", "N2", "REM")]
    assert loud[0] > 1.5 * loud[1] > 1.5 * loud[2]
