"""Damaged and arbitrary input of every parser: an answer or one HypnodError, nothing else.

`make fuzz` goes on for longer, with coverage.
"""

from collections.abc import Iterator
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, close


@pytest.fixture(scope="module", autouse=True)
def _closed() -> Iterator[None]:
    yield
    close()


@cache
def seeds_of(name: str) -> tuple[bytes, ...]:
    return tuple(TARGETS[name].seeds())


@st.composite
def damaged(draw: st.DrawFn, name: str) -> bytes:
    """Draw valid input with bytes changed, taken out, put in, or cut off."""
    content = bytearray(draw(st.sampled_from(seeds_of(name))))
    for _ in range(draw(st.integers(0, 5))):
        first = draw(st.integers(0, len(content)))
        gone = draw(st.integers(0, 8))
        piece = draw(st.binary(max_size=8) | st.sampled_from(PIECES))
        content[first : first + gone] = piece
    return bytes(content[: draw(st.integers(0, len(content)) | st.just(len(content)))])


PIECES = (b"-1", b"0", b"99999999", b"nan", b"inf", b"1e999", b"\xff\xff\xff\x7f", b"[", b"{", b'"')


@pytest.mark.parametrize("name", TARGETS)
def test_valid_input_is_read(name: str) -> None:
    for seed in seeds_of(name):
        TARGETS[name].read(seed)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=60)
@given(data=st.data())
def test_any_input_is_read_or_refused(name: str, data: st.DataObject) -> None:
    TARGETS[name].read(data.draw(damaged(name) | st.binary(max_size=300)))
