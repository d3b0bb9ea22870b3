import msgspec
import pytest
import zmq

from daemon.config import PublishConfig
from daemon.errors import AddressError
from daemon.messages import decode
from daemon.sockets import gate
from daemon.sockets.publisher import Publisher
from tests.support.nights import stage


@pytest.fixture(params=["json", "msgpack"])
def publisher(request):
    config = PublishConfig(bind="tcp://127.0.0.1:*", encoding=request.param)
    with Publisher(config) as publisher:
        publisher.encoding = request.param
        yield publisher


@pytest.fixture
def subscribe(publisher):
    context = zmq.Context()
    sockets = []

    def subscribe(prefix):
        socket = context.socket(zmq.SUB)
        sockets.append(socket)
        socket.setsockopt(zmq.RCVTIMEO, 10_000)
        socket.setsockopt_string(zmq.SUBSCRIBE, prefix)
        socket.connect(publisher.endpoint)
        publisher.serve(10)  # its subscription is here
        return socket

    yield subscribe
    for socket in sockets:
        socket.close(linger=0)
    context.term()


def receive(publisher, socket):
    while not socket.poll(1):
        publisher.serve(0)
    topic, payload = socket.recv_multipart()
    return decode(topic.decode(), payload, publisher.encoding)


def test_a_subscriber_gets_its_subject_in_order(publisher, subscribe):
    socket = subscribe("stage.m1.")
    for seq in range(5):
        publisher.publish(stage(seq, "m2"))
        publisher.publish(stage(seq, "m1"))
    assert [receive(publisher, socket) for _ in range(5)] == [stage(s) for s in range(5)]


def test_a_late_subscriber_gets_the_last_final_one_marked_replayed_and_no_live_one(
    publisher, subscribe
):
    early = subscribe("stage.")
    for seq in range(3):
        publisher.publish(stage(seq))
        publisher.publish(stage(seq, kind="final"))
    publisher.publish(stage(0, "m2"))
    late = subscribe("stage.m1.")
    replayed = msgspec.structs.replace(stage(2, kind="final"), replayed=True)
    assert receive(publisher, late) == replayed
    publisher.publish(stage(3))
    assert receive(publisher, late) == stage(3)  # and nothing in between
    heard = [receive(publisher, early) for _ in range(9)]
    assert heard[7] == replayed  # the early one hears the copy too, and can tell
    live = [m for m in heard if m.subject == "m1" and m.kind == "live"]
    assert [(m.seq, m.replayed) for m in live] == [(seq, False) for seq in range(4)]


def test_every_subscriber_of_one_topic_gets_its_last_value(publisher, subscribe):
    publisher.publish(stage(0, kind="final"))
    for _ in range(2):
        assert receive(publisher, subscribe("stage.m1.")).replayed


def test_a_prefix_with_its_dot_meets_no_other_subject(publisher, subscribe):
    for subject in ("m1", "m10", "m1-a"):
        publisher.publish(stage(0, subject, kind="final"))
    socket = subscribe("stage.m1.")
    for subject in ("m10", "m1-a", "m1"):
        publisher.publish(stage(1, subject))
    heard = [receive(publisher, socket) for _ in range(2)]
    assert [(m.subject, m.kind) for m in heard] == [("m1", "final"), ("m1", "live")]


def test_a_slow_subscriber_loses_messages_and_does_not_block():
    config = PublishConfig(bind="tcp://127.0.0.1:*", high_water_mark=10)
    context = zmq.Context()
    with Publisher(config) as slow:
        socket = context.socket(zmq.SUB)
        socket.setsockopt(zmq.RCVHWM, 1)
        socket.setsockopt(zmq.RCVTIMEO, 10_000)
        socket.setsockopt(zmq.RCVBUF, 1024)
        socket.setsockopt_string(zmq.SUBSCRIBE, "")
        socket.connect(slow.endpoint)
        slow.serve(10)
        for seq in range(50_000):
            slow.publish(stage(seq))
        first = decode("stage.m1.live", socket.recv_multipart()[1])
        assert first.seq == 0
        socket.close(linger=0)
        context.term()


def test_who_takes_nothing_for_long_is_cut_off(monkeypatch):
    """Nothing is kept for ever for a computer that is off. This one is on, and stops reading."""
    monkeypatch.setattr(gate, "GONE_S", 4)
    with (
        Publisher(PublishConfig(bind="tcp://127.0.0.1:*")) as publisher,
        zmq.Context() as context,
        context.socket(zmq.SUB) as deaf,
    ):
        monitor = publisher._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        deaf.setsockopt(zmq.RCVHWM, 1)
        deaf.setsockopt(zmq.RCVBUF, 1024)
        deaf.setsockopt(zmq.LINGER, 0)
        deaf.subscribe("")
        deaf.connect(publisher.endpoint)
        publisher.serve(10)
        for seq in range(20_000):  # more than all buffers on the way hold
            publisher.publish(stage(seq))
        cut = monitor.poll(60_000)
        publisher._socket.disable_monitor()
        monitor.close()
        assert cut


def test_a_foreign_address_is_one_sentence():
    with pytest.raises(
        AddressError, match=r"expected an endpoint of this machine, found ipc:///nowhere"
    ):
        Publisher(PublishConfig(bind="ipc:///nowhere/hypnod"))
