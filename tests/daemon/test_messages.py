import msgspec
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from daemon.config import PublishConfig
from daemon.journal.reader import JournalReader
from daemon.messages import (
    Heartbeat,
    StageMessage,
    StreamMessage,
    decode,
    encode,
)
from daemon.outbox import Outbox
from daemon.sockets.publisher import Publisher
from tests.support.nights import open_journal, stage

counts = st.integers(0, 2**63 - 1)
finite = st.floats(allow_nan=False, allow_infinity=False)
stage_messages = st.builds(
    StageMessage,
    schema=counts,
    seq=counts,
    epoch=counts,
    hop=counts,
    slots_filled=counts,
    n_context=counts,
    onset=finite,
    epoch_s=finite,
    hop_s=finite,
    confidence=finite,
    latency_s=st.none() | finite,
    age_s=st.none() | finite,
    probabilities=st.dictionaries(st.text(), finite),
)
stream_messages = st.builds(StreamMessage, schema=counts, seq=counts, sfreq=st.none() | finite)
heartbeats = st.builds(Heartbeat, schema=counts, seq=counts, uptime_s=finite)


@given(stage_messages | stream_messages | heartbeats, st.sampled_from(["json", "msgpack"]))
def test_what_is_encoded_is_decoded(message, encoding):
    payload = encode(message, encoding)
    assert decode(message.topic, payload, encoding) == message


def test_topics_name_the_subject_and_the_stream():
    heartbeat = Heartbeat(session="s", seq=0, utc="", uptime_s=0.0, states={}, version="")
    assert heartbeat.topic == "heartbeat"
    stream = StreamMessage(
        session="s",
        stream="cage",
        seq=0,
        state="FAILED",
        reason="",
        utc="",
        subjects=("m1",),
        sfreq=None,
    )
    assert stream.topic == "stream.cage"
    assert [stage(0, kind=kind).topic for kind in ("live", "final")] == [
        "stage.m1.live",
        "stage.m1.final",
    ]


def test_a_message_is_encoded_once_for_each_encoding():
    message = stage(0)
    for encoding in ("json", "msgpack"):
        assert encode(message, encoding) is encode(message, encoding)
    again = msgspec.structs.replace(message, replayed=True)
    assert decode(again.topic, encode(again)).replayed


def test_the_journal_keeps_and_the_publisher_sends_the_same_bytes(tmp_path):
    path = tmp_path / "journal.sqlite"
    with (
        open_journal(path) as journal,
        Publisher(PublishConfig(bind="tcp://127.0.0.1:*")) as publisher,
        zmq.Context() as context,
        context.socket(zmq.SUB) as heard,
    ):
        heard.setsockopt(zmq.RCVTIMEO, 10_000)
        heard.setsockopt(zmq.LINGER, 0)
        heard.subscribe("stage.")
        heard.connect(publisher.endpoint)
        publisher.serve(10)
        Outbox(journal, publisher).send([stage(0), stage(0, kind="final")])
        sent = dict(heard.recv_multipart() for _ in range(2))
    kept = JournalReader(path)
    assert {t.encode(): e.payload for t in kept.topics() for e in kept.latest(t)} == sent


class Fails:
    """A sink that cannot take anything, and sees what the journal has by then."""

    def __init__(self, path):
        self.path, self.kept = path, []

    def take(self, what):
        reader = JournalReader(self.path)
        self.kept = [e.seq for t in reader.topics() for e in reader.latest(t)]
        raise OSError("broken")


def test_what_a_later_sink_fails_to_take_is_in_the_journal_and_not_what_an_earlier_one_does(
    tmp_path,
):
    path = tmp_path / "journal.sqlite"
    with open_journal(path) as journal:
        for sinks, kept in (((Fails(path), journal), []), ((journal, Fails(path)), [0])):
            with pytest.raises(OSError, match="broken"):
                Outbox(*sinks).send([stage(0)])
            (fails,) = (sink for sink in sinks if isinstance(sink, Fails))
            assert fails.kept == kept
    assert [e.seq for e in JournalReader(path).latest("stage.m1.live")] == [0]


def test_numbers_count_each_topic_and_go_on_after_former_runs():
    class Seqs(list):
        def take(self, what):
            self.extend((m.topic, m.seq) for m in what.messages)

    outbox = Outbox(seqs := Seqs())
    outbox.number_from({"stage.m1.live": 107, "stage.m1.final": 3}, 100)
    heartbeat = Heartbeat(session="s", utc="", uptime_s=0.0, states={}, version="")
    outbox.send([stage(0), stage(0, kind="final"), stage(0), heartbeat])
    outbox.send([stage(0, "m2"), stage(0, kind="final"), heartbeat])
    assert seqs == [
        ("stage.m1.live", 107),
        ("stage.m1.final", 100),
        ("stage.m1.live", 108),
        ("heartbeat", 0),
        ("stage.m2.live", 100),
        ("stage.m1.final", 101),
        ("heartbeat", 1),
    ]
    assert outbox.newest == {"stage.m1.live": 108, "stage.m1.final": 101, "stage.m2.live": 100}


def test_a_field_of_another_schema_is_refused():
    payload = msgspec.json.encode({"schema": 1, "stage": "Wake", "mood": "sleepy"})
    with pytest.raises(msgspec.ValidationError):
        decode("stage.m1.live", payload)
    with pytest.raises(
        msgspec.ValidationError, match="expected a topic of stage, trigger, stream, "
    ):
        decode("weather.m1", payload)
