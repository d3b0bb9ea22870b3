"""What is kept of a message is short, and comes back byte by byte."""

import hashlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.journal.file import FORMAT
from daemon.journal.packing import MOST_BYTES, TEXT, pack, unpack
from daemon.messages import encode
from tests.support.nights import stage, state, trigger
from tools.bench.message import make_message


@given(st.binary(max_size=3000))
def test_whatever_is_packed_comes_back(payload):
    assert unpack(pack(payload)) == payload


@pytest.mark.parametrize(
    ("message", "most"),
    [
        (make_message("m1", 7, "live", 7, 1007.123456), 0.3),
        (make_message("m1", 7, "final", 7, 1007.123456), 0.3),
        (stage(7, stage="UNKNOWN", reason="eeg missing, emg missing"), 0.35),
        (trigger(7), 0.35),
        (state(7), 0.8),
    ],
    ids=lambda value: getattr(value, "topic", ""),
)
def test_a_message_takes_a_part_of_its_bytes(message, most):
    payload = encode(message)
    assert len(pack(payload)) < most * len(payload)
    assert unpack(pack(payload)) == payload


def test_another_text_is_another_format():
    """What was packed with one cannot be read with another."""
    assert (FORMAT, hashlib.sha256(TEXT).hexdigest()[:12]) == (3, "0d0c5187bc6c")


@pytest.mark.parametrize("spoil", [lambda b: b[:-3], lambda b: b"{}", lambda b: b + b"x"])
def test_what_is_damaged_is_no_message(spoil):
    with pytest.raises(zlib.error):
        unpack(spoil(pack(encode(stage(1)))))


def test_few_bytes_do_not_become_a_great_many():
    with pytest.raises(zlib.error, match="no message ends"):
        unpack(pack(bytes(MOST_BYTES + 1)))
