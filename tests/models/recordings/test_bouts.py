from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.recordings.bouts import (
    MAX_GAP_S,
    CourseTally,
    describe_course,
    fill_gaps,
    find_delays,
    find_runs,
    tally_both,
    tally_bouts,
)
from models.stages import MOUSE, UNSCORED

W, N, R, X = 0, 1, 2, UNSCORED
HYPNOGRAM = st.lists(st.sampled_from((W, N, R, X)), max_size=40).map(
    lambda stages: np.array(stages, np.int8)
)
PAIR = st.lists(st.tuples(*[st.sampled_from((W, N, R, X))] * 2), max_size=40).map(
    lambda pairs: tuple(np.array(pairs, np.int8).reshape(-1, 2).T)
)
EPOCH_S = 4.0
LONG = [X] * (int(MAX_GAP_S / EPOCH_S) + 1)


def array(*stages):
    return np.array(stages, np.int8)


def course(truth, found, epoch_s=EPOCH_S):
    delays = find_delays(truth, found, epoch_s, 3)
    return CourseTally(*tally_both(truth, found, epoch_s, MOUSE), delays)


@given(HYPNOGRAM)
def test_runs_are_those_of_groupby(stages):
    onsets, lengths = find_runs(stages)
    expected = [(stage, len(list(run))) for stage, run in groupby(stages.tolist())]
    assert list(zip(stages[onsets].tolist(), lengths.tolist(), strict=True)) == expected


@given(HYPNOGRAM, st.sampled_from((1.0, 4.0, 30.0)))
def test_a_gap_is_filled_where_it_is_short_and_has_a_stage_on_both_sides(stages, epoch_s):
    filled = fill_gaps(stages, epoch_s)
    assert np.array_equal(filled[stages != X], stages[stages != X])
    onsets, lengths = find_runs(stages)
    for onset, length in zip(onsets, lengths, strict=True):
        if stages[onset] != X:
            continue
        inside = onset > 0 and onset + length < len(stages)
        short = inside and (length * epoch_s <= MAX_GAP_S or length == 1)
        expected = stages[onset - 1] if short else X
        assert set(filled[onset : onset + length].tolist()) == {int(expected)}


@given(HYPNOGRAM)
def test_every_epoch_with_a_stage_is_in_one_bout_and_every_bout_but_one_begins_with_a_change(s):
    found = tally_bouts(s, EPOCH_S, MOUSE)
    runs = [(stage, len(list(run))) for stage, run in groupby(s.tolist())]
    for stage in (W, N, R):
        mine = [n for which, n in runs if which == stage]
        assert found.n_bouts[stage] == len(mine)
        assert found.seconds[stage] == EPOCH_S * sum(mine)
    pieces = [len(list(run)) for there, run in groupby(which != X for which, _ in runs) if there]
    assert found.n_transitions == sum(n - 1 for n in pieces)
    pairs = list(zip(s.tolist(), s.tolist()[1:], strict=False))
    assert found.n_wake_to_rem == pairs.count((W, R))


@given(PAIR)
def test_both_are_counted_over_the_same_time(pair):
    expert, hypnod = tally_both(*pair, EPOCH_S, MOUSE)
    assert expert.seconds.sum() == hypnod.seconds.sum()
    assert hypnod.seconds.sum() >= EPOCH_S * ((pair[0] != X) & (pair[1] != X)).sum()


@given(HYPNOGRAM)
def test_who_says_what_the_expert_says_has_its_course_and_is_one_epoch_late(stages):
    filled = fill_gaps(stages, EPOCH_S)
    found = describe_course(course(stages, filled), MOUSE)
    assert found.expert == found.hypnod
    for delay in found.delays.values():
        assert delay.median_s in (None, EPOCH_S)
        assert delay.p90_s in (None, EPOCH_S)
        assert delay.never in (None, 0.0)


@given(PAIR, PAIR)
def test_recordings_add_up(one, other):
    gap = np.array(LONG, np.int8)
    joined = [np.concatenate([a, gap, b]) for a, b in zip(one, other, strict=True)]
    apart = course(*one) + course(*other)
    assert describe_course(course(*joined), MOUSE) == describe_course(apart, MOUSE)


def test_one_artefact_does_not_make_two_bouts_and_ten_seconds_do():
    short, long = array(N, X, X, N, N), array(N, *LONG, N, N)
    assert tally_both(short, short, EPOCH_S, MOUSE)[0].n_bouts.tolist() == [0, 1, 0]
    assert tally_both(long, long, EPOCH_S, MOUSE)[0].n_bouts.tolist() == [0, 2, 0]
    for gap, n in (([X], 1), (LONG, 0)):
        stages = array(W, *gap, R)
        found = tally_both(stages, stages, EPOCH_S, MOUSE)[0]
        assert (found.n_transitions, found.n_wake_to_rem) == (n, n)


def test_what_one_could_not_stage_is_left_out_of_the_others():
    truth, found = array(N, N, W, R, W, N, N), array(N, N, *LONG, N, N)
    expert, _ = tally_both(truth, found, EPOCH_S, MOUSE)
    assert (expert.n_transitions, expert.seconds.tolist()) == (0, [0, 16, 0])


def test_a_delay_is_from_the_onset_to_the_end_of_the_first_epoch_called():
    truth = array(N, N, R, R, R, R, W, W, R, R, N, *LONG, R, R, W, N)
    found = array(R, R, N, N, R, N, W, W, W, W, R, *LONG, R, R, W, N)
    nrem, rem = (find_delays(truth, found, EPOCH_S, 3)[stage] for stage in (N, R))
    assert rem[0] == 3 * EPOCH_S
    assert np.isnan(rem[1])
    assert len(rem) == 2  # nobody saw the onset of what followed the gap
    assert nrem.tolist() == pytest.approx([np.nan, EPOCH_S], nan_ok=True)
    told = describe_course(course(truth, found), MOUSE).delays["REM"]
    assert (told.n_bouts, told.median_s, told.never) == (2, 12.0, 0.5)


def test_an_artefact_in_a_bout_does_not_end_the_time_to_call_it():
    truth, found = array(N, R, R, X, R, N), array(N, N, N, N, R, N)
    assert find_delays(truth, found, EPOCH_S, 3)[R].tolist() == [4 * EPOCH_S]


def test_nothing_has_no_course():
    nothing = array()
    told = describe_course(course(nothing, nothing), MOUSE)
    assert (told.hours, told.expert.transitions_per_hour) == (0, None)
    assert told.expert.mean_s == dict.fromkeys(MOUSE)
    assert told.delays["REM"].median_s is told.delays["REM"].never is None


def test_rates_and_lengths_are_in_hours_and_seconds():
    truth, found = array(*[N] * 450, *[R] * 225, *[W] * 225), array(*[N, R] * 450)
    told = describe_course(course(truth, found), MOUSE)
    assert told.hours == 1.0
    assert (told.expert.transitions_per_hour, told.hypnod.transitions_per_hour) == (2, 899)
    assert told.expert.mean_s == {"Wake": 900.0, "NREM": 1800.0, "REM": 900.0}
    assert (told.hypnod.n["REM"], told.hypnod.mean_s["REM"]) == (450, 4.0)
