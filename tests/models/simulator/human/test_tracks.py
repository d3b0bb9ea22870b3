"""What goes on within a stage: depth, eyes, arousals."""

from dataclasses import replace

import numpy as np

from models.simulator.human.person import Person
from models.simulator.human.tracks import N1, N2, N3, Tracks, W, draw_tracks

CALM = replace(Person.draw(np.random.default_rng(3)), apnoea=-9.0)


def night(*bouts: tuple[str, int], person: Person = CALM, seed: int = 0) -> Tracks:
    hypnogram = tuple(stage for stage, seconds in bouts for _ in range(seconds))
    return draw_tracks(np.random.default_rng(seed), hypnogram, person)


def test_slow_waves_grow_from_n2_into_n3_and_end_at_once_on_waking() -> None:
    tracks = night(("N2", 600), ("N3", 600), ("W", 120))
    early, late = tracks.depth[100:200].mean(), tracks.depth[570:600].mean()
    deep = tracks.depth[700:1150].mean()
    assert early < late < deep
    assert deep > 2 * early
    assert tracks.depth[1205:].max() < 0.3 * deep


def test_n3_is_deep_throughout_and_not_all_alike() -> None:
    depth = night(("N3", 3600)).depth
    calm = depth[np.abs(np.gradient(depth)) < 0.1]
    assert calm.min() > 0.1
    assert 0.1 < depth.std() / depth.mean() < 0.5


def test_sleep_pressure_falls_over_the_night() -> None:
    first, last = [], []
    for seed in range(8):
        depth = night(("N3", 3600), ("N2", 18000), ("N3", 3600), seed=seed).depth
        first.append(depth[:3600].mean())
        last.append(depth[-3600:].mean())
    assert np.mean(last) < 0.9 * np.mean(first)


def test_eyes_are_closed_before_sleep_and_only_awake() -> None:
    tracks = night(("W", 600), ("N1", 60), ("N2", 300), person=replace(CALM, closed=-3.0))
    assert tracks.closed[540:590].min() > 0.5
    assert tracks.closed[:400].max() < 0.5
    assert tracks.closed[680:].max() < 0.3


def test_n1_goes_to_and_fro_and_a_change_of_stage_takes_seconds() -> None:
    tracks = night(("N1", 3600), ("N2", 300))
    assert 0.05 < (tracks.stages[:3600, W] > 0.5).mean() < 0.25
    assert 0.02 < (tracks.stages[:3600, N2] > 0.5).mean() < 0.2
    assert (tracks.stages[:3600, N1] > 0.5).mean() > 0.6
    rise = tracks.stages[3590:3610, N2]
    assert np.all((rise[8:12] > 0.05) & (rise[8:12] < 0.95))
    np.testing.assert_allclose(tracks.stages.sum(axis=1), 1.0)


def test_arousals_last_3_to_15_s_of_sleep() -> None:
    tracks = night(("W", 900), ("N2", 7200), ("N3", 3600), person=replace(CALM, arousals=40.0))
    assert all(3 <= event.duration_s <= 15 for event in tracks.arousals)
    onsets = np.array([event.onset_s for event in tracks.arousals])
    assert onsets.min() >= 900
    light = ((onsets >= 900) & (onsets < 8100)).sum() / 2.0  # an hour
    deep = (onsets >= 8100).sum() / 1.0
    assert 20 < light < 60
    assert deep < light
    for event in tracks.arousals:
        assert tracks.arousal[int(event.onset_s) + 1] > 0.5


def test_apnoea_rouses_every_half_minute_or_so() -> None:
    person = replace(CALM, arousals=0.0, apnoea=9.0, apnoea_s=35.0)
    onsets = [event.onset_s for event in night(("N2", 3600), person=person).arousals]
    assert abs(np.median(np.diff(onsets)) - 35) < 3
    assert len(onsets) > 80
    assert not night(("N3", 3600), person=person).arousals


def test_n2_keeps_below_the_depth_of_n3() -> None:
    tracks = night(("N2", 1800), ("N3", 1800))
    assert tracks.depth[tracks.scored == N2].max() < tracks.depth[tracks.scored == N3].mean()
