"""Changes of a line that a stimulus is copied back into."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from daemon.config import StreamConfig, SubjectConfig
from daemon.watch.echo import MOST, EchoLines
from models.signal.chunk import Chunk

STREAM = StreamConfig(
    name="cage",
    match={"name": "cage"},
    subjects=(
        SubjectConfig(name="m0", channels={"eeg": "EEG0"}),
        SubjectConfig(name="m1", channels={"eeg": "EEG"}, echo="TTL", echo_above=2.0),
    ),
)
LABELS = ("EEG", "TTL", "EEG0")
SFREQ = 100.0


def look(values, cuts=(), times=None, shift=0.0, lines=None):
    """Return what is found in a line, chunk by chunk: (sample, high, untold)."""
    if lines is None:
        lines = EchoLines(STREAM)
        assert lines.find(LABELS) == []
    data = np.zeros((len(values), 3), np.float32)
    data[:, 1] = values
    stamps = 1000.0 + np.arange(len(values)) / SFREQ if times is None else np.asarray(times)
    edges = [*sorted({0, *cuts, len(values)})]
    found = []
    for first, last in pairwise(edges):
        lines.look(Chunk(data[first:last], stamps[first:last], 0.0), shift)
        found += lines.take()
    assert all(edge.subject == "m1" for edge in found)
    return [(round((e.time - 1000.0 - shift) * SFREQ), e.high, e.untold) for e in found]


def test_it_is_high_from_its_level_on_and_low_below_half_of_it():
    assert look([0, 1.9, 2, 5, 1.5, 1, 2, 0.9, 0, 1.9]) == [(2, True, 0), (7, False, 0)]


def test_a_line_that_is_high_from_the_first_sample_on_is_told():
    assert look([5, 5]) == [(0, True, 0)]


def test_what_is_no_number_or_at_no_time_changes_nothing():
    values = [0, 5, np.nan, 5, np.nan, 0]
    assert look(values) == [(1, True, 0), (5, False, 0)]
    assert look([0, 5], times=[1000.0, np.nan]) == []


def test_times_are_those_of_the_grid():
    assert look([0, 5], shift=3600.0) == [(1, True, 0)]


def test_a_line_with_noise_is_told_of_for_so_much_of_a_second():
    n = 250
    found = look([0, 5] * (n // 2))
    by_second = [sum(k // 100 == second for k, *_ in found) for second in range(3)]
    assert by_second == [MOST, MOST, MOST]
    # the first sample changes nothing
    assert sum(untold for *_, untold in found) == 2 * (100 - MOST) - 1


def test_a_line_that_another_source_lacks_is_named_and_found_again_as_it_was():
    lines = EchoLines(STREAM)
    lines.find(LABELS)
    assert look([0, 5], lines=lines) == [(1, True, 0)]
    assert lines.find(("EEG", "EEG0", "other")) == ["TTL"]
    assert look([0, 5], lines=lines) == []
    lines.find(LABELS)
    assert look([5, 0], lines=lines) == [(1, False, 0)]


@given(
    st.lists(st.sampled_from([0.0, 0.9, 1.5, 2.0, 5.0, np.nan]), min_size=1, max_size=300),
    st.lists(st.integers(0, 300), max_size=8),
)
def test_any_chunking_finds_the_same(values, cuts):
    assert look(values, [cut for cut in cuts if cut < len(values)]) == look(values)
