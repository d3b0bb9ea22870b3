import numpy as np
import pytest

from daemon.messages import Features
from tests.support.nights import EVENING, iso, stage
from tools.live.history import LETTERS, NOTHING, History

W, N, R = (LETTERS[name] for name in ("Wake", "NREM", "REM"))


def fill(history, stages, first=0, hop_s=1.0):
    for k, name in enumerate(stages, start=first):
        at = {"utc": iso(EVENING + k * hop_s), "epoch_s": hop_s, "hop_s": hop_s}
        history.add(stage(k, kind="final", stage=name, **at))


def test_a_cell_is_the_commonest_stage_of_its_epochs():
    history = History(1.0, hop_s=1.0)
    fill(history, ["Wake"] * 11 + ["NREM"] * 9 + ["NREM"] * 5 + ["REM"] * 15)
    first = history.cell(EVENING)
    assert history.strip(first - 1, first + 2) == NOTHING + W + R + NOTHING


def test_epochs_may_come_in_any_order_and_one_that_comes_again_takes_its_place():
    history = History(1.0, hop_s=1.0)
    fill(history, ["REM"] * 20, first=20)
    assert history.rewritten == 0
    fill(history, ["Wake"] * 20)
    assert history.rewritten == 20
    fill(history, ["NREM"] * 20)
    first = history.cell(EVENING)
    assert history.strip(first, first + 1) == N + R
    assert (history.start, history.end) == (EVENING, EVENING + 40)


def test_what_is_older_than_the_ring_reaches_is_gone():
    history = History(0.1, hop_s=1.0)  # 360 epochs
    fill(history, ["Wake"] * 400)
    assert history.start == EVENING + 40
    fill(history, ["REM"])  # too late
    assert history.start == EVENING + 40
    assert history.strip(history.cell(EVENING), history.cell(EVENING)) == NOTHING


def test_a_window_has_no_more_steps_than_asked_for_and_means_of_what_is_there():
    history = History(1.0, hop_s=1.0)
    for k, p in enumerate((0.8, 0.6, 0.9)):
        found = {"Wake": 1 - p, "NREM": p, "REM": 0.0}
        evidence = {"Wake": 0.0, "NREM": p / 2, "REM": 0.0}
        utc = iso(EVENING + k)
        history.add(stage(k, kind="final", utc=utc, probabilities=found, evidence=evidence))
    fill(history, ["ART"], first=3)
    window = history.window(EVENING, EVENING + 8, most=4)
    assert (window.start, window.step_s, len(window.stages)) == (EVENING, 2.0, 4)
    assert window.stages == N + N + NOTHING * 2
    assert window.probabilities["NREM"] == [70, 90, None, None]
    assert window.evidence["NREM"] == [35, 45, None, None]
    fine = history.window(EVENING, EVENING + 4, most=100)
    assert (fine.step_s, fine.probabilities["Wake"]) == (1.0, [20, 40, 10, None])


def test_live_estimates_bring_what_the_signal_looks_like_and_no_stage():
    history = History(1.0, hop_s=1.0)
    for k in range(3):
        features = Features(eeg_db=(10.0 + k, 20.0), emg_db=None if k else 12.34)
        history.add(stage(k, stage="REM", utc=iso(EVENING + k), features=features))
    fill(history, ["NREM"])
    window = history.window(EVENING, EVENING + 3, most=3)
    assert window.stages == N + NOTHING * 2
    assert window.eeg_db == [[10, 11, 12], [20, 20, 20]]
    assert window.emg_db == [123, None, None]
    assert window.bands_hz == [(0.5, 1.5), (1.5, 2.5)]
    fill(history, ["Wake"], first=1)
    assert history.rewritten == 0
    fill(history, ["REM"])
    assert history.rewritten == 1
    assert history.window(EVENING, EVENING + 3, most=3).eeg_db == [[10, 11, 12], [20, 20, 20]]


@pytest.mark.parametrize(("hop_s", "step_s", "cell_s"), [(0.25, 1, 20), (1, 1, 20), (30, 30, 30)])
def test_steps_fit_every_hop(hop_s, step_s, cell_s):
    history = History(12.0, hop_s)
    assert (history.step_s, history.cell_s) == (step_s, cell_s)
    begin = np.ceil(EVENING / cell_s) * cell_s
    for k in range(round(cell_s / hop_s)):
        history.add(stage(k, kind="final", utc=iso(begin + k * hop_s), hop_s=hop_s))
    cell = history.cell(begin)
    assert history.strip(cell, cell + 1) == N + NOTHING


def test_a_final_stage_is_that_of_its_whole_epoch_and_features_those_of_a_hop():
    history = History(1.0, hop_s=5.0)
    for k in range(6):
        features = Features(eeg_db=(float(k),), emg_db=0.0)
        at = EVENING + 5 * k
        history.add(stage(k, utc=iso(at), hop_s=5.0, epoch_s=30.0, features=features))
    for k in (0, 6):
        message = stage(k, kind="final", utc=iso(EVENING + 5 * k), hop_s=5.0, epoch_s=30.0)
        history.add(message)
    shown = history.window(EVENING, EVENING + 65, most=13)
    assert shown.stages == 12 * N + NOTHING
    assert shown.eeg_db[0][:6] == list(range(6))
    assert history.rewritten == 0


def test_a_daemon_that_goes_on_with_another_hop_leaves_its_past():
    """Epochs of 4 s, then of 1 s, then of 2.5 s: each has the places that it takes."""
    history = History(1.0, hop_s=4.0)
    features = Features(eeg_db=(10.0,), emg_db=20.0)
    history.add(stage(0, utc=iso(EVENING), hop_s=4.0, features=features))
    fill(history, ["Wake", "REM"], hop_s=4.0)
    assert not history.fits(1.0)
    history = history.finer(1.0)
    assert history.fits(0.25)
    assert (history.start, history.end) == (EVENING, EVENING + 8)
    fill(history, ["NREM"] * 2, first=8)
    fill(history, ["Wake", "REM"], first=4, hop_s=2.5)
    window = history.window(EVENING, EVENING + 16, most=16)
    assert window.stages == 4 * W + 4 * R + 2 * N + 2 * W + 3 * R + NOTHING
    assert window.probabilities["REM"][:9] == [10] * 4 + [80] * 4 + [10]
    assert window.emg_db[:5] == [200] * 4 + [None]
    fill(history, ["NREM"], first=7)  # nothing of before is changed but what comes again
    assert history.window(EVENING, EVENING + 9, most=9).stages == 4 * W + 3 * R + 2 * N
