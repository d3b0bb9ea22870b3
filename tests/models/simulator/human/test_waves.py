"""Waves of people look like what a scorer looks for, in the stages that have them."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal

from models.simulator.human.person import Person
from models.simulator.human.sites import EEG_SITES, EOG_SITES
from models.simulator.human.tracks import Tracks, draw_tracks
from models.simulator.human.waves import (
    K_COMPLEX,
    SAWTOOTH,
    SLOW_WAVE,
    SPINDLE,
    VERTEX_WAVE,
    add_waves,
)
from models.simulator.recording import Event

SFREQ = 128.0
C3 = EEG_SITES[0]
PERSON = replace(
    Person.draw(np.random.default_rng(3)), eeg=C3, eog=EOG_SITES[0], apnoea=-9.0, arousals=0.0
)


def planted(
    stage: str, seconds: int, person: Person = PERSON
) -> tuple[NDArray[np.float32], list[Event], Tracks]:
    """The waves alone of a stretch of one stage: (n_samples, 2) µV, and where they are."""
    rngs = np.random.default_rng(1).spawn(2)
    tracks = draw_tracks(rngs[0], (stage,) * seconds, person)
    data = np.zeros((round(seconds * SFREQ), 2), np.float32)
    events = add_waves(data, rngs[1], tracks, person, SFREQ)
    return data, list(events), tracks


def of_kind(events: list[Event], kind: str) -> list[Event]:
    return [event for event in events if event.kind == kind]


def piece(data: NDArray[np.float32], event: Event) -> NDArray[np.float32]:
    start = round(event.onset_s * SFREQ)
    return data[start : start + round(event.duration_s * SFREQ), 0]


def test_spindles_are_as_fast_as_the_person_has_them_and_last_half_a_second_or_more() -> None:
    data, events, _ = planted("N2", 1200, replace(PERSON, k_complexes=0.0, light=0.0))
    spindles = of_kind(events, SPINDLE)
    assert 2 <= len(spindles) / 20 <= 8  # a minute
    peaks = []
    for spindle in spindles:
        assert 0.5 <= spindle.duration_s <= 2.0
        wave = piece(data, spindle)
        power = np.abs(np.fft.rfft(wave, 1024))
        peaks.append(float(np.argmax(power) * SFREQ / 1024))
    assert np.median(peaks) == pytest.approx(PERSON.spindle_hz, abs=0.6)
    assert 11 < np.percentile(peaks, 5) < np.percentile(peaks, 95) < 16


@pytest.mark.parametrize(("stage", "least", "most"), [("N3", 0.2, 1.0), ("N2", 0.0, 0.2)])
def test_large_slow_waves_fill_n3_as_the_manual_asks_and_n2_does_not(
    stage: str, least: float, most: float
) -> None:
    data, events, _ = planted(stage, 600, replace(PERSON, k_complexes=0.0))
    waves = of_kind(events, SLOW_WAVE)
    large = [wave for wave in waves if np.ptp(piece(data, wave)) > 75]  # µV
    assert least < sum(wave.duration_s for wave in large) / 600 < most
    assert all(0.5 <= wave.duration_s <= 2.0 for wave in waves)
    assert len(of_kind(planted("REM", 600)[1], SLOW_WAVE)) < 10


def test_k_complexes_fall_sharply_and_rise_slowly_and_stand_apart() -> None:
    data, events, _ = planted("N2", 2400, replace(PERSON, spindles=0.0, light=0.0))
    found = of_kind(events, K_COMPLEX)
    apart = np.diff([event.onset_s for event in found])
    assert apart.min() > 4
    assert 15 < np.median(apart) < 120
    for event in found:
        wave = piece(data, event)
        assert event.duration_s >= 0.5
        assert np.argmin(wave) < np.argmax(wave)
    assert np.median([np.ptp(piece(data, event)) for event in found]) > 75  # µV


def test_each_wave_keeps_to_its_stages() -> None:
    lively = replace(PERSON, vertex_waves=6.0, sawtooth=3.0)
    for stage, kinds in {
        "W": set(),
        "N1": {VERTEX_WAVE},
        "REM": {SAWTOOTH},
    }.items():
        found = {event.kind for event in planted(stage, 600, lively)[1]} - {SLOW_WAVE}
        assert found == kinds, stage


def test_a_front_sees_slower_spindles_and_larger_slow_waves() -> None:
    sites = {site.label: site for site in EEG_SITES}
    front = replace(PERSON, eeg=sites["EEG F3-M2"])
    quiet = {"k_complexes": 0.0, "light": 0.0}
    centres = []
    for person in (replace(PERSON, **quiet), replace(front, **quiet)):  # type: ignore[arg-type]
        freqs, power = signal.welch(planted("N2", 600, person)[0][:, 0], SFREQ, nperseg=512)
        spindle = (freqs > 10) & (freqs < 17)
        centres.append(float(np.average(freqs[spindle], weights=power[spindle])))
    assert centres[1] == pytest.approx(centres[0] - 0.8, abs=0.2)
    assert np.std(planted("N3", 300, front)[0][:, 0]) > 1.15 * np.std(planted("N3", 300)[0][:, 0])


def test_waves_shrink_and_grow_fewer_with_age() -> None:
    people = [Person.draw(np.random.default_rng(seed)) for seed in range(400)]
    young = [p for p in people if 18 < p.age < 35]
    old = [p for p in people if p.age > 65]
    for name in ("slow_wave_uv", "spindles", "spindle_uv", "k_complexes"):
        ratio = np.median([getattr(p, name) for p in old]) / np.median(
            [getattr(p, name) for p in young]
        )
        assert 0.4 < ratio < 0.9, name
    assert np.median([p.arousals for p in old]) > 1.2 * np.median([p.arousals for p in young])
