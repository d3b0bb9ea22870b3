"""What a teacher is believed in."""

import numpy as np
import pytest

from models.stages import UNSCORED
from models.teacher import Taught, teacher_of
from models.training.taught import read_whole, surely, uncontradicted, why_not
from tests.support.bundles import TINY, mouse_grammar, mouse_spec, random_model

SPEC = mouse_spec(8, 16, **{k: v for k, v in TINY.items() if k != "token_size"})
WAKE, NREM, REM = np.eye(3)
NOTHING = np.full(3, np.nan)


def _taught(rows: list[np.ndarray], path: list[int] | None = None) -> Taught:
    said = np.array(rows)
    stages = np.nan_to_num(said).argmax(axis=1) if path is None else np.array(path)
    return Taught(said, np.nan_to_num(said, nan=1 / 3), stages.astype(np.intp))


def test_only_what_the_teacher_is_sure_of_is_taught() -> None:
    unsure, barely = np.array([0.3, 0.6, 0.1]), np.array([0.05, 0.05, 0.9])
    taught = _taught([WAKE, unsure, barely, NOTHING, NREM], [0, 1, 2, 0, 0])
    assert surely(taught).tolist() == [0, UNSCORED, 2, UNSCORED, UNSCORED]


def test_what_the_net_contradicts_surely_is_not_learnt() -> None:
    said = np.array([WAKE, NREM, [0.2, 0.69, 0.11], [0.71, 0.2, 0.09], NOTHING])
    sure = np.array([0, 0, 0, 2, 1])
    assert uncontradicted(sure, said).tolist() == [0, UNSCORED, 0, UNSCORED, UNSCORED]
    nothing = np.full(5, UNSCORED)
    assert uncontradicted(nothing, said).tolist() == nothing.tolist()


def test_a_recording_teaches_only_if_it_is_long_holds_every_stage_and_the_net_agrees() -> None:
    n = 2000
    usable = np.ones((n, 2), bool)
    half = [WAKE] * 900 + [NREM] * 1000 + [REM] * 100
    assert why_not(_taught(half), np.array(half), usable, teacher_of("mouse")) is None
    cases = {
        "30 min of usable eeg and emg, found 26.7": (
            half,
            half,
            usable & (np.arange(n) < 1600)[:, None],
        ),
        "5 % of Wake, found 0.0 %": ([NREM] * n, half, usable),
        "1 % of REM, found 0.0 %": ([WAKE] * 900 + [NREM] * 1100, half, usable),
        "5 % of NREM, found 4.0 %": ([NREM] * 80 + [WAKE] * (n - 80), half, usable),
        "(κ 0.4), found κ 0.00": (half, [NREM] * n, usable),
    }
    for expected, (rows, said, there) in cases.items():
        found = why_not(_taught(rows), np.array(said), there, teacher_of("mouse"))
        assert found is not None
        assert expected in found


def test_a_person_needs_two_hours_of_eeg_and_neither_n1_nor_n3_nor_an_eog() -> None:
    w, _, n2, _, rem = np.eye(5)
    n, weights = 600, teacher_of("human")
    usable = np.tile([True, False], (n, 1))
    night = [w] * 100 + [n2] * 400 + [rem] * 100
    assert why_not(_taught(night), np.array(night), usable, weights) is None
    short = usable & (np.arange(n) < 200)[:, None]
    found = why_not(_taught(night), np.array(night), short, weights)
    assert found is not None
    assert "120 min of usable eeg, found 100.0" in found
    awake = [w] * 500 + [n2] * 100
    found = why_not(_taught(awake), np.array(awake), usable, weights)
    assert found is not None
    assert "3 % of REM, found 0.0 %" in found
    assert "give a whole night" in found


def test_the_whole_reading_is_of_each_epoch_with_some_that_follow() -> None:
    pytest.importorskip("torch")
    from models.training.evaluate import read_all  # noqa: PLC0415

    model = random_model(SPEC, 1)
    rng = np.random.default_rng(0)
    epochs = rng.standard_normal((30, 2, SPEC.n_times)).astype(np.float32)
    usable = np.ones((30, 2), bool)
    usable[7] = False
    said = read_whole(model, epochs, usable, None)
    read = read_all(model, epochs, usable)
    assert np.isnan(said[7]).all()
    for k in (0, 4, 20):  # the window that ends four epochs later
        np.testing.assert_allclose(said[k], read[k + 4, 0, -5], atol=1e-6)
    for k in (1, 21):  # the one that ends seven later
        np.testing.assert_allclose(said[k], read[k + 7, 0, -8], atol=1e-6)
    smooth = read_whole(model, epochs, usable, mouse_grammar())
    np.testing.assert_allclose(np.delete(smooth, 7, axis=0).sum(axis=1), 1.0)
    assert np.isnan(smooth[7]).all()
