"""A stretch of a recording is one of its own."""

import itertools
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import RecordingError
from models.recordings.base import ArrayRecording, Description
from models.recordings.hypnogram import Hypnogram
from models.recordings.psg.excerpt import Excerpt, sleep_span

N, START = 1000, datetime(2001, 1, 1, 22)
TIMES = np.arange(N) / 100 + np.where(np.arange(N) >= 500, 7.0, 0.0)  # interrupted
DATA = np.arange(2 * N, dtype=np.float32).reshape(N, 2)


def whole():
    description = Description(
        ch_names=("a", "b"), units=("uV", "uV"), sfreq=100.0, n_samples=N, start=START
    )
    return ArrayRecording(Path("x"), description, DATA, TIMES)


@given(st.integers(0, N - 1), st.integers(1, N), st.lists(st.integers(0, N), max_size=5))
def test_any_pieces_are_those_of_the_whole_from_its_first_sample_on(first, n, cuts):
    n = min(n, N - first)
    excerpt = Excerpt(whole(), first, n)
    edges = sorted({0, n, *(cut for cut in cuts if cut < n)})
    pieces = [excerpt.read(a, b) for a, b in itertools.pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(pieces), DATA[first : first + n])
    expected = TIMES[first : first + n] - TIMES[first]
    np.testing.assert_array_equal(excerpt.timestamps(0, n), expected)
    assert excerpt.duration == pytest.approx(expected[-1] + 0.01)
    assert excerpt.start == START + timedelta(seconds=TIMES[first])
    assert len(excerpt.read(0, N + 5)) == n


@pytest.mark.parametrize(("first", "n"), [(-1, 5), (0, 0), (999, 2)])
def test_what_is_not_there_is_refused(first, n):
    with pytest.raises(RecordingError, match=r"x: expected .* samples from sample"):
        Excerpt(whole(), first, n)


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        (["W", "W", "N2", "REM", "W", "UNKNOWN"], (45.0, 135.0)),
        (["N1", "W", "N1"], (0.0, 90.0)),
        (["W", "ART"], (0.0, 60.0)),
    ],
)
def test_the_night_begins_before_the_first_sleep_and_ends_after_the_last(stages, expected):
    hypnogram = Hypnogram.from_epochs(stages, 30.0)
    assert sleep_span(hypnogram, 15.0, 30.0 * len(stages)) == expected
