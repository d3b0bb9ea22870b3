import time

import pytest

from daemon.messages import Heartbeat
from tests.support.nights import EVENING, iso, pulse, stage, state, trigger
from tools.client.subscriber import Received
from tools.live.board import Board
from tools.live.history import LETTERS, NOTHING


@pytest.fixture
def board():
    board = Board("tcp://rig:5570", hours=1.0)
    say(board, state(0, subjects=("m1", "m2")))
    return board


def say(board, *messages, at=None):
    for message in messages:
        now = time.monotonic() if at is None else at
        board.take(Received(message.topic, message, EVENING, now))


def beat(**changes):
    fields = {"session": "s", "utc": iso(EVENING), "uptime_s": 1.0, "version": "0.1.0"}
    return Heartbeat(**(fields | {"states": {"cage": "STAGING"}} | changes))


def troubles(board, name="m1", *, after_s=0.0):
    board.look(time.monotonic() + after_s, connected=True)
    return {t.what: (t.level, t.text) for t in board.subjects[name].troubles}


def test_an_animal_that_is_staged_has_no_trouble_until_its_epochs_stay_away(board):
    say(board, stage(0))
    assert troubles(board) == {}
    assert troubles(board, after_s=4.0) == {"silent": ("bad", "silent: no epoch comes")}
    assert troubles(board, "m2") == {"silent": ("bad", "no epoch yet")}
    say(board, stage(1, age_s=100.0))
    assert troubles(board) == {"silent": ("bad", "late: the epochs that come are old")}
    say(board, stage(2, age_s=-100.0))  # a replay that is ahead of time
    assert troubles(board) == {}
    say(board, stage(3, hop_s=10.0, epoch_s=10.0))
    assert troubles(board, after_s=20.0) == {}


def test_an_electrode_is_off_when_it_has_been_for_five_seconds_and_on_after_ten(board):
    bad = {"validity": {"eeg": "ok", "emg": "flat"}}
    found = []
    for k in range(20):
        say(board, stage(k, **(bad if k < 8 else {})))
        found.append("emg" in troubles(board))
    assert found == [False] * 5 + [True] * 13 + [False] * 2
    say(board, stage(20, **bad))
    assert troubles(board) == {}


def test_both_electrodes_off_is_worse_than_one(board):
    for k in range(6):
        say(board, stage(k, validity={"eeg": "out_of_range", "emg": "flat"}))
    assert troubles(board) == {"eeg": ("bad", "EEG out of range"), "emg": ("bad", "EMG flat")}


def test_a_stream_that_gives_no_stages_is_told_with_its_reason(board):
    say(board, stage(0), state(1, "STALLED", reason="connected, but no samples"))
    assert troubles(board) == {"stream": ("bad", "stalled: connected, but no samples")}


def test_only_animals_of_streams_that_the_daemon_has_now_are_shown(board):
    say(board, state(0, stream="former", subjects=("old",)), stage(0, "old"))
    assert list(board.subjects) == ["m1", "m2", "old"]
    say(board, beat())
    assert list(board.subjects) == ["m1", "m2"]


def test_the_daemon_is_lost_with_its_connection_and_when_it_is_silent(board):
    say(board, beat(troubles={"journal": "full"}))
    board.look(time.monotonic(), connected=True)
    assert (board.daemon.lost, board.daemon.troubles) == (None, {"journal": "full"})
    board.look(time.monotonic() + 20, connected=True)
    assert board.daemon.lost == "the daemon at tcp://rig:5570 is silent"
    board.look(time.monotonic(), connected=False)
    asked = ": does it run, and does it know your key, if it wants one?"
    assert board.daemon.lost == f"no connection to the daemon at tcp://rig:5570{asked}"


def test_what_rules_decide_is_told_where_it_changes(board):
    actions = ["off", "off", "refused", "on", "on"]
    say(board, stage(0), *(trigger(k, action) for k, action in enumerate(actions)))
    subject = board.subjects["m1"]
    assert [d.action for d in subject.decisions] == ["off", "refused", "on"]
    assert subject.rules["rem"].armed
    assert (subject.pulse.what, subject.pulse.at) == ("on decided", EVENING + 5)
    say(board, pulse("on", 6.0), pulse("off", 8.0))
    assert (subject.pulse.what, subject.pulse.at) == ("on", EVENING + 6)


def test_what_was_staged_at_another_hop_stays_in_the_past_of_an_animal(board):
    """As where the daemon was restarted with another hop, and the past is fetched bit by bit."""
    for k in range(4):
        board.remember(stage(k, kind="final", epoch=4 * k, hop_s=4.0, epoch_s=4.0))
    say(board, stage(16, epoch=16))
    for k in range(4):
        board.remember(stage(20 + k, kind="final", epoch=20 + 4 * k, hop_s=4.0, epoch_s=4.0))
    history = board.subjects["m1"].history
    shown = history.window(EVENING, EVENING + 36, most=36).stages
    assert shown == 16 * LETTERS["NREM"] + 4 * NOTHING + 16 * LETTERS["NREM"]
