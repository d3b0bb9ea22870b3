"""Eyes move as the stage has them move; skin, heart and mains are where they are asked for."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal

from models.simulator.human.eog import BLINK, RAPID, SLOW, add_eyes, add_heart_and_mains
from models.simulator.human.person import Person
from models.simulator.human.sites import EEG_SITES, EOG_SITES
from models.simulator.human.tracks import draw_tracks
from models.simulator.recording import Event

SFREQ = 128.0
SITES = {site.label: site for site in (*EEG_SITES, *EOG_SITES)}
PERSON = replace(
    Person.draw(np.random.default_rng(3)),
    eeg=SITES["EEG C3-M2"],
    eog=SITES["EOG E1-M2"],
    drift_uv=0.0,
    sweat_uv=0.0,
    arousals=0.0,
    apnoea=-9.0,
    restless=-9.0,
)


def eyes(
    stage: str, person: Person = PERSON, seconds: int = 600
) -> tuple[NDArray[np.float32], tuple[Event, ...]]:
    rngs = np.random.default_rng(1).spawn(2)
    tracks = draw_tracks(rngs[0], (stage,) * seconds, person)
    data = np.zeros((round(seconds * SFREQ), 2), np.float32)
    return data, add_eyes(data, rngs[1], tracks, person, SFREQ)


def count(stage: str, person: Person = PERSON) -> Counter[str]:
    return Counter(event.kind for event in eyes(stage, person)[1])


def test_eyes_move_rapidly_in_rem_slowly_in_n1_and_rest_in_n3() -> None:
    phasic = replace(PERSON, phasic=1.0, rapid=1.0)
    assert count("REM", phasic)[RAPID] > 100
    assert count("REM", replace(phasic, phasic=-9.0))[RAPID] < 30
    drowsy = count("N1")
    assert drowsy[SLOW] > 3
    assert drowsy[RAPID] + drowsy[BLINK] < 0.2 * count("W", replace(PERSON, closed=-9.0))[RAPID]
    assert not count("N3")
    assert np.std(eyes("N3")[0][:, 1]) < 1


def test_closed_eyes_do_not_blink() -> None:
    assert count("W", replace(PERSON, closed=-9.0, blinks=0.3))[BLINK] > 100
    assert count("W", replace(PERSON, closed=9.0, blinks=0.3))[BLINK] < 5


def test_a_rapid_movement_is_a_step_that_decays_and_a_slow_one_a_wave() -> None:
    rem, events = eyes("REM", replace(PERSON, phasic=9.0, rapid=0.1, eye_uv=200.0))
    eog = rem[:, 1].astype(float)
    at = [round(e.onset_s * SFREQ) for e in events if e.kind == RAPID and 2 < e.onset_s < 590]
    steepest = [np.abs(np.diff(eog[i - 13 : i + 13])).max() for i in at]  # within 0.1 s
    elsewhere = np.percentile(np.abs(np.diff(eog)), 50)
    assert np.median(steepest) > 10 * elsewhere
    slow = eyes("N1")[0][:, 1].astype(float)
    freqs, power = signal.welch(slow, SFREQ, nperseg=4096)
    assert 0.15 < freqs[np.argmax(power)] < 0.5


def test_a_blink_is_large_in_the_eog_and_seen_by_the_front_of_the_brain() -> None:
    awake = replace(PERSON, closed=-9.0, blinks=0.3, eye_uv=1.0, blink_uv=200.0)
    swings = {}
    for label in ("EEG F3-M2", "EEG O1-M2"):
        data, events = eyes("W", replace(awake, eeg=SITES[label]))
        at = [round((e.onset_s + e.duration_s / 2) * SFREQ) for e in events if e.kind == BLINK]
        swings[label] = np.median(np.abs(data[at[2:-2]]), axis=0)
    assert swings["EEG F3-M2"][1] == pytest.approx(200, rel=0.3)
    assert swings["EEG F3-M2"][0] > 5 * swings["EEG O1-M2"][0]


def test_sweat_and_skin_drift_slowly() -> None:
    calm, sweating = (
        eyes("N2", replace(PERSON, drift_uv=d, sweat_uv=s), 7200)[0].astype(float)
        for d, s in ((3.0, 0.0), (3.0, 100.0))
    )
    assert calm.std() < 8
    assert sweating.std() > 20
    freqs, power = signal.welch(sweating[:, 0], SFREQ, nperseg=4096)
    assert power[freqs < 0.5].sum() > 0.9 * power.sum()


def test_heart_and_mains_are_as_loud_and_as_fast_as_asked() -> None:
    rng = np.random.default_rng(2)
    person = replace(PERSON, heart_uv=20.0, heart_hz=1.1, mains_uv=3.0, mains_hz=50.0)
    tracks = draw_tracks(rng, ("N2",) * 120, person)
    data = np.zeros((round(120 * SFREQ), 2), np.float32)
    add_heart_and_mains(data, rng, tracks, person, SFREQ)
    hum = np.abs(np.fft.rfft(data[:, 0]))[(50 * 120)] * 2 / len(data)
    assert hum == pytest.approx(3.0, rel=0.1)
    beats, _ = signal.find_peaks(data[:, 0], height=12.0, distance=round(0.4 * SFREQ))
    assert len(beats) / 120 == pytest.approx(1.1, rel=0.1)
