"""A subscriber behind a network that loses connections ends with everything, all the same."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice

import pytest

from daemon.sockets.catchup import PIECE
from tests.rigs.network import Network
from tests.support.speaker import TIMEOUT_S, Speaker, documented_example, follow, hear, is_seq, join
from tools.client import catchup, follower, subscriber
from tools.client.catchup import CatchUpClient
from tools.client.follower import Start


@pytest.fixture
def speaker(tmp_path):
    with Speaker(tmp_path / "journal.sqlite") as speaker:
        yield speaker


@pytest.fixture
def networks(speaker):
    """A network to each of the speaker's sockets."""
    with ExitStack() as stack:
        yield [stack.enter_context(Network(endpoint)) for endpoint in speaker.binds]


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Notice in a second at most what takes several otherwise."""
    monkeypatch.setattr(subscriber, "SILENT_S", 0.5)
    monkeypatch.setattr(catchup, "_ANSWER_S", 1.0)
    monkeypatch.setattr(follower, "_SILENT_S", 0.1)


def test_a_line_that_goes_dead_without_a_word_is_noticed(speaker, networks):
    """A cable out, or a daemon's computer without power: TCP alone would wait for hours."""
    binds = [network.endpoint for network in networks]
    with follow(speaker, binds, patience_s=TIMEOUT_S) as listener:
        join(speaker, listener)
        speaker.say(*speaker.stages(0, 3))
        heard = hear(speaker, listener, is_seq(2))
        for network in networks:
            network.unplug()
        speaker.say(*speaker.stages(3, 500))
        assert list(listener.receive(0.05)) == []
        for network in networks:
            network.plug_in()
        heard += hear(speaker, listener, is_seq(499), beating=True)
    assert [m.seq for m in heard] == list(range(500))
    assert listener.n_missed == 0


def test_a_line_that_goes_dead_while_the_queue_is_full(speaker, networks):
    """What is in the queue is read, and what found no room is fetched, on a new connection."""
    binds = [network.endpoint for network in networks]
    options = {"start": Start(first=0), "patience_s": TIMEOUT_S, "high_water_mark": 1}
    with follow(speaker, binds, **options) as listener:
        speaker.say(*speaker.stages(0, 3))
        heard = hear(speaker, listener, is_seq(2), beating=True)
        speaker.say(*speaker.stages(3, 3000))  # nobody reads
        networks[0].unplug()
        networks[0].plug_in()
        heard += hear(speaker, listener, is_seq(2999), beating=True)
    assert [m.seq for m in heard] == list(range(3000))


def test_connections_that_break_within_an_answer_cost_nothing(speaker):
    speaker.say(*speaker.stages(0, 6 * PIECE))
    with (
        Network(speaker.binds[1], limits=[1000, 50_000, 100_000, 150_000]) as network,
        follow(
            speaker,
            [speaker.binds[0], network.endpoint],
            start=Start(first=0),
            patience_s=TIMEOUT_S,
        ) as listener,
    ):
        heard = hear(speaker, listener, is_seq(6 * PIECE - 1), beating=True)
        assert network.broken > 0  # an answer was lost at least
    assert [m.seq for m in heard] == list(range(6 * PIECE))
    assert listener.n_missed == 0
    assert listener.problem is None


def test_the_documented_example_asks_again_and_notices_a_dead_line(speaker):
    with (
        Network(speaker.binds[0]) as network,
        Network(speaker.binds[1], limits=[1000, 50_000]) as breaking,
        ThreadPoolExecutor(1) as another,
    ):
        example = {}
        exec(
            documented_example(network.endpoint, breaking.endpoint).replace("5000", "500"), example
        )
        with example["context"], example["live"], example["past"]:
            following = example["follow"]("stage.m1.live")
            for n in (3, PIECE + 7):
                first = len(speaker.said)
                speaker.say(*speaker.stages(first, first + n))
                heard = another.submit(lambda n=n: list(islice(following, n)))
                while not heard.done():
                    speaker.publisher.serve(0.02)
                    # What was said before it listened again it hears of with what is said next.
                    speaker.publisher.publish(speaker.said[-1])
                assert [m["seq"] for m in heard.result()] == list(range(first, first + n))
                network.unplug()
                network.plug_in()
        assert breaking.broken > 0  # an answer was lost at least


def test_the_client_finds_its_way_back(speaker, networks, monkeypatch):
    speaker.say(*speaker.stages(0, 10))
    with CatchUpClient(networks[1].endpoint) as client:
        networks[1].unplug()
        with pytest.raises(catchup.NoAnswerError):
            list(client.fetch("stage.m1.live"))
        networks[1].plug_in()
        monkeypatch.setattr(catchup, "_ANSWER_S", TIMEOUT_S)
        assert len(list(client.fetch("stage.m1.live"))) == 10
