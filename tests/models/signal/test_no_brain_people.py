"""Steady noise in the place of a person's EEG or EOG: said within a quarter of a minute."""

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from models.fit.no_brain import NOISE
from models.signal.no_brain import check_for
from models.signal.quality import NO_BRAIN, OK
from models.simulator.no_brain import draw_no_brain
from models.training.simulated import simulate_subject
from tests.rigs.accuracy.people import read_ucddb
from tests.rigs.no_brain import draw_wire, mark_people, mark_simulated, read, reasons_of
from tests.support.bundles import human_spec

SFREQ = 128.0
EPOCH_S, HOP_S, WITHIN_S = 30, 5, 10
NIGHTS = ("003", "010", "026")
"""Of the real people whose waking EEG is nearest to noise, by what was marked with lower bounds."""


def person(seed: int, seconds: float) -> NDArray[np.float64]:
    recording = simulate_subject("human", seed, seconds / 3600, SFREQ, artefacts_per_hour=0).open()
    return recording.read(0, recording.n_samples)


def noise(kind: str, seconds: float, seed: int = 5) -> NDArray[np.float32]:
    return draw_no_brain(np.random.default_rng([seed, 4]), seconds, SFREQ, kind)[0]


def at(data: NDArray[np.floating]) -> NDArray[np.object_]:
    """Return the reasons (n, 2) of the epochs of one person, one every `HOP_S`."""
    return reasons_of(read(data, SFREQ, "human"))


def test_steady_noise_has_no_stage_and_a_lead_that_comes_off_neither() -> None:
    for after_brain, n in ((False, 45), (True, 18)):
        drawn = (draw_wire(s, after_brain=after_brain, species="human") for s in range(n))
        told = [staged for staged, kind in drawn if kind in NOISE["human"]]
        assert len(told) == n * 4 // 9
        assert not np.concatenate(told).any()


@pytest.mark.parametrize("lost", [0, 1])
def test_the_other_channel_is_read_on(lost: int) -> None:
    data = person(1, 180.0)
    off = round(90 * SFREQ)
    data[off:, lost] = noise("white", 90.0)[:, lost]
    reasons = at(data)
    ends = EPOCH_S + HOP_S * np.arange(len(reasons))
    assert (reasons[ends <= 90] == OK).all()
    assert (reasons[ends >= 90 + WITHIN_S + HOP_S, lost] == NO_BRAIN).all()
    assert (reasons[:, 1 - lost] == OK).all()


def test_an_epoch_is_marked_as_long_as_some_of_it_is_noise() -> None:
    data = person(1, 240.0)
    off, on = round(60 * SFREQ), round(120 * SFREQ)
    data[off:on] = noise("white", 60.0)
    marked = (at(data) != OK).all(axis=1)
    ends = EPOCH_S + HOP_S * np.arange(len(marked))
    assert marked[(ends >= 60 + WITHIN_S + HOP_S) & (ends < 120 + EPOCH_S)].all()
    assert not marked[ends >= 120 + WITHIN_S + EPOCH_S + HOP_S].any()


def test_people_have_a_brain() -> None:
    simulated = [mark_simulated("human", 1_700_000 + s, 0.5, wide=True) for s in range(6)]
    assert np.mean(np.concatenate(simulated)) < 0.005


@pytest.mark.usefixtures("shared_data")
def test_real_people_have_a_brain() -> None:
    for pieces in read_ucddb():
        if pieces.subject in NIGHTS:
            in_a_row = msgspec.structs.replace(pieces, place=np.arange(len(pieces.place)))
            assert not mark_people(in_a_row).any()


def test_a_restart_changes_no_bit() -> None:
    check, other = (check_for(human_spec(epoch_s=30.0), 2, SFREQ, 5.0) for _ in range(2))
    before = check.recent()
    rng = np.random.default_rng(0)
    raw = rng.normal(0, 20, (round(SFREQ * 300), 4))
    raw[: len(raw) // 2, [0, 3]] = np.cumsum(raw[: len(raw) // 2, [0, 3]], axis=0) / 10
    n, step = round(SFREQ * 30), round(SFREQ * 5)
    for hop in range((len(raw) - n) // step):
        reasons = [np.full((2, 2), OK, object) for _ in range(2)]
        epoch = raw[hop * step :][:n]
        check.mark(epoch, hop, reasons[0])
        if hop == 20:
            other = check_for(human_spec(epoch_s=30.0), 2, SFREQ, 5.0)
            other.load_recent(before)
        other.mark(epoch, hop, reasons[1])
        before = check.recent()
        np.testing.assert_array_equal(*reasons)
        np.testing.assert_array_equal(before["wires"], other.recent()["wires"])
    assert sorted(before) == ["wires"]
