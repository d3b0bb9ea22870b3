import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import RecordingError
from models.training.splits import (
    dataset_of,
    hold_out,
    leave_one_dataset_out,
    leave_one_out,
    split_subjects,
)

NAMES = st.lists(st.sampled_from([f"mouse{i}" for i in range(40)]), min_size=1, max_size=60)


@given(names=NAMES, seed=st.integers(0, 5))
def test_no_subject_is_in_two_parts_however_many_recordings_it_has(names, seed):
    n = len(set(names))
    if n < 3:
        with pytest.raises(RecordingError, match=f"at least 3 subjects.*found {n}"):
            split_subjects(names, seed)
        with pytest.raises(RecordingError, match="at least 3 subjects"):
            list(leave_one_out(names, seed))
        return
    for split in (split_subjects(names, seed), *leave_one_out(names, seed)):
        parts = [set(part) for part in split]
        assert all(parts)
        assert sum(map(len, parts)) == n
        assert set().union(*parts) == set(names)


@given(names=NAMES, seed=st.integers(0, 5))
def test_each_subject_is_left_out_once(names, seed):
    if len(set(names)) < 3:
        return
    tested = [name for split in leave_one_out(names, seed) for name in split.test]
    assert sorted(tested) == sorted(set(names))


def test_a_tenth_is_held_out_and_the_seed_decides_who():
    names = [f"mouse{i}" for i in range(50)]
    split = split_subjects(names, 0)
    assert [len(part) for part in split] == [40, 5, 5]
    assert split == split_subjects(reversed(names), 0) != split_subjects(names, 1)
    assert [len(part) for part in hold_out(names, 0)] == [45, 5, 0]
    many = [f"mouse{i}" for i in range(500)]
    assert [len(part) for part in split_subjects(many, 0)] == [460, 20, 20]
    with pytest.raises(RecordingError, match="at least 2 subjects"):
        hold_out(["one"], 0)


PEOPLE = st.lists(
    st.sampled_from([f"{d}/{i}" for d in ("hmc", "shhs", "isruc") for i in range(9)]), min_size=1
)


@given(names=PEOPLE, seed=st.integers(0, 5))
def test_each_dataset_is_left_out_once_with_everybody_of_it(names, seed):
    of = {name: dataset_of(name) for name in names}
    beside = [sum(d != dataset for d in of.values()) for dataset in set(of.values())]
    if len(of) < 3 or len(beside) < 2 or min(beside) < 2:
        with pytest.raises(RecordingError, match="expected at least"):
            list(leave_one_dataset_out(names, seed))
        return
    splits = [*leave_one_dataset_out(names, seed)]
    assert sorted(name for split in splits for name in split.test) == sorted(of)
    for split in splits:
        (dataset,) = {of[name] for name in split.test}
        assert dataset not in {of[name] for name in (*split.training, *split.validation)}
        assert {*split.training, *split.validation, *split.test} == {*of}
        assert split.training
        assert split.validation
