"""Longer epochs out of short ones: the mean of their probabilities, and nothing made up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.stager import Estimate
from models.errors import ConfigError
from models.stages import ART, MOUSE, UNKNOWN
from tools.score.aggregate import aggregate, check_epoch


def estimate(epoch, probabilities, hop_s=1.0, stage=UNKNOWN, reason="eeg flat, emg missing"):
    known = probabilities is not None
    return Estimate(
        subject="m1",
        stream="cage",
        kind="live",
        hop=epoch,
        onset=5.0 + epoch * hop_s,
        stage=MOUSE[int(np.argmax(probabilities))] if known else stage,
        probabilities=np.asarray(probabilities, np.float32) if known else None,
        evidence=np.asarray(probabilities[::-1], np.float32) if known else None,
        pathway="mixed" if known else None,
        validity=dict.fromkeys(("eeg", "emg"), "ok")
        if known
        else {"eeg": "flat", "emg": "missing"},
        reason=None if known else reason,
        slots_filled=epoch + 1,
        arrived=None,
    )


@st.composite
def nights(draw):
    """Consecutive estimates, some without a stage, and their hop."""
    hop_s = draw(st.sampled_from([0.25, 0.5, 1.0]))
    seed, n = draw(st.integers(0, 2**32)), draw(st.integers(1, 60))
    rng = np.random.default_rng(seed)
    lost = rng.random(n) < draw(st.sampled_from([0.0, 0.4, 1.0]))
    given = [None if gone else rng.dirichlet(np.ones(3)) for gone in lost]
    return [estimate(i, p, hop_s) for i, p in enumerate(given)], hop_s


@given(nights(), st.sampled_from([1.0, 2.5, 4.0, 10.0]))
def test_probabilities_are_the_mean_over_the_time_that_has_any(night, epoch_s):
    estimates, hop_s = night
    longer = aggregate(estimates, hop_s, epoch_s, MOUSE)
    assert len(longer) == int(len(estimates) * hop_s / epoch_s + 1e-9)
    fine = [e.probabilities for e in estimates for _ in range(round(hop_s / 0.25))]
    n = round(epoch_s / 0.25)
    for k, found in enumerate(longer):
        assert (found.hop, found.onset) == (k, 5.0 + k * epoch_s)
        covered = [p for p in fine[k * n : (k + 1) * n] if p is not None]
        if 2 * len(covered) < n:
            assert found.stage == UNKNOWN
            assert found.probabilities is None
            assert "no stage for" in found.reason or epoch_s == hop_s
            continue
        assert found.probabilities == pytest.approx(np.mean(covered, axis=0), abs=1e-6)
        np.testing.assert_array_equal(found.evidence, found.probabilities[::-1])
        assert found.probabilities.sum() == pytest.approx(1.0, abs=1e-5)
        assert found.stage == MOUSE[int(np.argmax(found.probabilities))]
        assert (found.pathway, found.reason) == ("mixed", None)


@given(nights())
def test_epochs_of_their_own_length_are_left_alone(night):
    estimates, hop_s = night
    assert aggregate(estimates, hop_s, hop_s, MOUSE) == estimates


@given(nights())
def test_two_steps_are_one_where_nothing_is_lost(night):
    estimates, hop_s = night
    if any(e.probabilities is None for e in estimates):
        return
    once = aggregate(estimates, hop_s, 8.0, MOUSE)
    twice = aggregate(aggregate(estimates, hop_s, 4.0, MOUSE), 4.0, 8.0, MOUSE)
    assert [e.probabilities.tolist() for e in once] == [
        pytest.approx(e.probabilities.tolist(), abs=1e-6) for e in twice
    ]


def test_less_than_half_is_no_stage_and_says_why():
    wake = [0.8, 0.1, 0.1]
    art = {"stage": ART, "reason": "eeg clipped, emg clipped"}
    given = [(wake, {}), (None, art), (None, art), (None, {}), (wake, {}), (wake, {})]
    given += [(None, {}), (None, art)]
    estimates = [estimate(i, p, **options) for i, (p, options) in enumerate(given)]
    first, second = aggregate(estimates, 1.0, 4.0, MOUSE)
    assert (first.stage, first.probabilities, first.pathway) == (ART, None, None)
    assert first.reason == "eeg clipped, emg clipped (no stage for 3 s of it)"
    assert first.validity == {"eeg": "flat", "emg": "missing"}
    assert (second.stage, second.reason) == ("Wake", None)
    assert second.validity == {"eeg": "ok", "emg": "ok"}
    assert second.slots_filled == 8


def test_shorter_epochs_than_there_are_stages_are_refused():
    check_epoch(1.0, 1.0)
    with pytest.raises(ConfigError, match=r"at least the 1 s between two stages, found 0\.5 s"):
        check_epoch(0.5, 1.0)
