import pytest
import zmq

from daemon.config import PublishConfig
from daemon.sockets.publisher import Publisher
from daemon.sockets.viewers import Viewers


@pytest.fixture
def viewers():
    return Viewers(["m1", "m10", "m2"])


@pytest.fixture
def look(viewers):
    """Subscribe with a socket of one's own; return what ends it."""
    context, sockets = zmq.Context(), []
    with Publisher(PublishConfig(bind="tcp://127.0.0.1:*"), viewers=viewers) as publisher:

        def look(*prefixes):
            socket = context.socket(zmq.SUB)
            sockets.append(socket)
            for prefix in prefixes:
                socket.setsockopt_string(zmq.SUBSCRIBE, prefix)
            socket.connect(publisher.endpoint)
            return lambda: socket.close(linger=0)

        look.news = lambda: _news(publisher, viewers)
        yield look
    for socket in sockets:
        socket.close(linger=0)
    context.term()


def _news(publisher, viewers):
    """Serve until there is news."""
    for _ in range(2000):
        publisher.serve(0.01)
        if (news := viewers.news()) is not None:
            return news
    raise AssertionError("nothing has changed")


def test_each_is_counted_until_the_last_one_is_gone(look):
    first = look("trace.m2")
    assert look.news() == ["m2"]
    second, third = look("trace.m2"), look("trace.m1")
    assert look.news() == ["m1", "m10", "m2"]
    first()
    third()
    assert look.news() == ["m2"]
    second()
    assert look.news() == []


def test_who_asks_for_everything_looks_at_nobody(look, viewers):
    look("", "t", "trace", "stage.", "trace.m2")
    assert look.news() == ["m2"]
    viewers.note(b"\x01trace.nobody")
    viewers.note(b"")
    viewers.note(b"\x07trace.m1")
    assert viewers.news() is None
