"""Changes of a line that a stimulus is copied back into."""

from itertools import pairwise

import numpy as np
import pylsl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.config import StreamConfig, SubjectConfig
from daemon.watch.echo import MOST, EchoLines
from models.errors import StreamError
from models.signal.chunk import Chunk, StreamDescription
from tests.rigs.lsl import Source, wait_until
from tests.rigs.stream import OK, Rig

STREAM = StreamConfig(
    name="cage",
    match={"name": "cage"},
    subjects=(
        SubjectConfig(name="m0", channels={"eeg": "EEG0"}),
        SubjectConfig(name="m1", channels={"eeg": "EEG"}, echo="TTL", echo_above=2.0),
    ),
)
SFREQ = 100.0


def described(*labels):
    return StreamDescription("cage", labels, ("µV",) * len(labels), SFREQ)


SOURCE = described("EEG", "TTL", "EEG0")


def look(values, cuts=(), times=None, shift=0.0, lines=None):
    """Return what is found in a line, chunk by chunk: (sample, high, untold)."""
    if lines is None:
        lines = EchoLines(STREAM)
        lines.find(SOURCE)
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
    lines.find(SOURCE)
    assert look([0, 5], lines=lines) == [(1, True, 0)]
    with pytest.raises(StreamError, match=r"echo of m1: expected a channel 'TTL', found EEG, TTL1"):
        lines.find(described("EEG", "TTL1"))
    assert look([0, 5], lines=lines) == []
    lines.find(SOURCE)
    assert look([5, 0], lines=lines) == [(1, False, 0)]


@given(
    st.lists(st.sampled_from([0.0, 0.9, 1.5, 2.0, 5.0, np.nan]), min_size=1, max_size=300),
    st.lists(st.integers(0, 300), max_size=8),
)
def test_any_chunking_finds_the_same(values, cuts):
    assert look(values, [cut for cut in cuts if cut < len(values)]) == look(values)


CHANNELS = {"eeg": "EEG", "emg": "EMG"}
WITH_ECHO = (SubjectConfig(name="m1", channels=CHANNELS, echo="TTL", echo_above=1e5),)


def test_a_line_that_is_not_there_when_the_stream_is_first_found_fails_it(name):
    with Source(name, sfreq=512), Rig(name, subjects=WITH_ECHO) as rig:

        def failed():
            rig.stream.poll(pylsl.local_clock())
            return rig.stream.error is not None

        wait_until(failed, "it fails")
        assert "echo of m1: expected a channel 'TTL', found EEG, EMG" in str(rig.stream.error)


def test_changes_are_at_the_sources_times_and_a_line_that_is_gone_later_is_no_reason_to_stop(name):
    labels = ("EEG", "EMG", "TTL")
    with (
        Source(name, sfreq=512, n_channels=3, labels=labels) as source,
        Rig(name, subjects=WITH_ECHO) as rig,
    ):
        rig.until_connected()
        high = (slice(512, 1024), 2, 2e5)
        rig.push(source, 0, 3, channels=(0, 1, 2), change=high)
        rig.until_epoch(2)
        edges = [(edge.high, edge.time - rig.origin) for edge in rig.stream.take_edges()]
        assert edges == [(True, pytest.approx(1.0)), (False, pytest.approx(2.0))]
        source.restart(labels=("EEG", "EMG", "other"))
        rig.until_connected(2)
        assert any("echo of m1: expected a channel 'TTL'" in m.reason for m in rig.said)
        rig.push(source, 4, 6, channels=(0, 1, 2))
        rig.until_epoch(5)
        assert rig.reasons()[-1] == OK
