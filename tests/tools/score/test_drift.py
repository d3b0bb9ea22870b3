import numpy as np
import pytest

from tools.score.drift import DOUBT_S, DriftLog, doubts, say, summarise

HOP_S = 2.0
N_DOUBT = int(DOUBT_S / HOP_S)


def log_of(*drifts):
    """Return the log of one subject whose EEG and EMG have these drifts, one pair an epoch."""
    log = DriftLog(["m1"], ("eeg", "emg"), HOP_S)
    for number, pair in enumerate(drifts):
        log.look(np.array([pair]), lambda s, m, number=number: f"{s} {m} in epoch {number}")
    return log.seen


def test_what_is_known_is_summed_up_and_the_farthest_explained():
    found = summarise(log_of((np.nan, 0.5), (0.8, 0.5), (1.5, 0.6), (1.2, 0.7)))["m1"]
    assert (found["eeg"].median, found["eeg"].beyond) == (1.2, pytest.approx(2 / 3))
    assert found["eeg"].why == "0 0 in epoch 2"
    assert (found["emg"].median, found["emg"].beyond, found["emg"].why) == (0.55, 0.0, None)
    (line,) = say({"m1": found})
    assert line == (
        "m1: drift eeg 1.20, above 1 for 67 % of the time (at its farthest 0 0 in epoch 2); "
        "emg 0.55, above 1 for 0 % of the time"
    )


def test_what_never_was_known_is_not_told():
    found = summarise(log_of(*[(np.nan, 0.5)] * 3))
    assert [*found["m1"]] == ["emg"]
    assert say(summarise(log_of())) == []


@pytest.mark.parametrize(
    ("drifts", "doubtful"),
    [
        ([1.5] * N_DOUBT, True),
        ([1.5] * (N_DOUBT - 1), False),  # for a moment
        ([1.5] * N_DOUBT + [0.5] * (N_DOUBT + 1), False),  # in less than half of the night
        ([0.5] * N_DOUBT + [1.5] * (N_DOUBT + 1), True),
    ],
)
def test_minutes_beyond_the_limit_and_most_of_the_recording_make_a_doubt(drifts, doubtful):
    found = summarise(log_of(*[(value, np.nan) for value in drifts]))
    assert found["m1"]["eeg"].doubtful == doubtful
    lines = doubts(found)
    assert len(lines) == doubtful
    assert all("eeg of m1 looks unlike what the model was trained on" in line for line in lines)


def test_two_recordings_of_an_animal_are_seen_as_one():
    one, other = (log_of(*[(v, 0.1)] * 3)["m1"]["eeg"] for v in (1.2, 1.8))
    whole = (one + other).summarise()
    assert (whole.median, whole.beyond, whole.why) == (1.5, 1.0, "0 0 in epoch 0")
    assert (one + other).farthest == 1.8
