import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.messages import (
    SCHEMA,
    Heartbeat,
    StageMessage,
    StreamMessage,
    decode,
    encode,
    topic_of,
)

counts = st.integers(0, 2**63 - 1)
finite = st.floats(allow_nan=False, allow_infinity=False)
stage_messages = st.builds(
    StageMessage,
    schema=counts,
    seq=counts,
    epoch=counts,
    slots_filled=counts,
    n_context=counts,
    onset=finite,
    epoch_s=finite,
    confidence=finite,
    latency_s=st.none() | finite,
    probabilities=st.dictionaries(st.text(), finite),
)
stream_messages = st.builds(StreamMessage, schema=counts, seq=counts, sfreq=st.none() | finite)
heartbeats = st.builds(Heartbeat, schema=counts, seq=counts, uptime_s=finite)


@given(stage_messages | stream_messages | heartbeats, st.sampled_from(["json", "msgpack"]))
def test_what_is_encoded_is_decoded(message, encoding):
    payload = encode(message, encoding)
    assert decode(topic_of(message), payload, encoding) == message


def test_topics_name_the_subject_and_the_stream():
    heartbeat = Heartbeat(
        schema=SCHEMA, session="s", seq=0, utc="", uptime_s=0.0, states={}, version=""
    )
    assert topic_of(heartbeat) == "heartbeat"
    stream = StreamMessage(
        schema=SCHEMA,
        session="s",
        stream="cage",
        seq=0,
        state="FAILED",
        reason="",
        utc="",
        subjects=("m1",),
        sfreq=None,
    )
    assert topic_of(stream) == "stream.cage"


def test_a_field_of_another_schema_is_refused():
    payload = msgspec.json.encode({"schema": 1, "stage": "Wake", "mood": "sleepy"})
    with pytest.raises(msgspec.ValidationError):
        decode("stage.m1", payload)
