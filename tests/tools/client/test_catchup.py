import io
import json
import re
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice

import pytest
from rich.console import Console

from daemon.errors import AddressError
from daemon.sockets.catchup import PIECE
from tests.rigs.forked import Forked
from tests.support.nights import EVENING, iso, stage, state
from tests.support.speaker import TIMEOUT_S, Speaker, documented_example, follow, hear, is_seq, join
from tools.client.catchup import CatchUpClient, CatchUpError, catch_up_endpoint
from tools.client.follower import Follower, Start
from tools.view.live import LiveView, squeeze

NOBODY = "tcp://127.0.0.1:9"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


@pytest.fixture
def speaker(path):
    with Speaker(path) as speaker:
        yield speaker


def plain(messages):
    """The messages as they were before anything was marked as a copy."""
    return [{**_fields(m), "replayed": False} for m in messages]


def _fields(message):
    return {name: getattr(message, name) for name in message.__struct_fields__}


def test_who_joins_late_and_wants_all_gets_all(speaker):
    speaker.say(state(0), aloud=False)  # else it comes as the last value, too
    speaker.say(*speaker.stages(0, 2 * PIECE + 7))
    with follow(speaker, start=Start(first=0)) as follower:
        last = 2 * PIECE + 6
        heard = hear(speaker, follower, is_seq(last), beating=True)
        speaker.say(*speaker.stages(last + 1, last + 3))
        heard += hear(speaker, follower, is_seq(last + 2))
    stages = [m for m in heard if m.topic == "stage.m1.live"]
    assert plain(stages) == plain(m for m in speaker.said if m.topic == "stage.m1.live")
    assert [m.replayed for m in stages] == [True] * (last + 1) + [False] * 2
    assert follower.n_missed == 0
    assert follower.fetched == last + 2  # and the state of the stream


def test_who_joins_late_may_begin_a_few_messages_back_or_with_a_number(speaker):
    speaker.say(*speaker.stages(0, 100))
    for first, seqs in ((-10, range(90, 100)), (-1000, range(100)), (95, range(95, 100))):
        with follow(speaker, start=Start(first=first)) as follower:
            assert [m.seq for m in hear(speaker, follower, is_seq(99), beating=True)] == list(seqs)


def test_who_joins_late_may_begin_with_a_time_of_an_earlier_run(path):
    with Speaker(path, "monday") as speaker:
        speaker.say(*speaker.stages(0, 60))
    with Speaker(path, "tuesday") as speaker:
        speaker.say(*speaker.stages(60, 100))
        since = datetime.fromtimestamp(EVENING + 30, UTC)
        with follow(speaker, start=Start(since=since)) as follower:
            heard = hear(speaker, follower, is_seq(99), beating=True)
    assert [m.seq for m in heard] == list(range(30, 100))
    assert {m.session for m in heard} == {"monday", "tuesday"}
    assert follower.n_missed == 0


def test_without_a_start_it_begins_with_what_comes(speaker):
    speaker.say(*speaker.stages(0, 99))
    with follow(speaker) as follower:
        join(speaker, follower)
        speaker.say(*speaker.stages(99, 100))
        assert [m.seq for m in hear(speaker, follower, is_seq(99), beating=True)] == [99]


@pytest.mark.parametrize("high_water_mark", [5, 1000])
def test_a_sleeper_ends_with_the_same_record(path, high_water_mark):
    """Whether its own queue or the daemon's for it runs over, on waking it has everything."""
    with (
        Speaker(path, high_water_mark=5) as speaker,
        follow(speaker, high_water_mark=high_water_mark, patience_s=TIMEOUT_S) as sleeper,
    ):
        join(speaker, sleeper)
        speaker.say(speaker.stages(0, 1)[0], stage(0, "m2"), state(0))
        heard = hear(speaker, sleeper, is_seq(0, "stream.cage"))
        # It sleeps: socket buffers hold some thousands of messages, so there must be more.
        for first in range(1, 30_001, 1000):
            speaker.say(*speaker.stages(first, first + 1000))
        speaker.say(*(stage(seq, "m2") for seq in range(1, 50)), state(1))
        speaker.beat()  # which is lost, too, perhaps
        heard += _wake(speaker, sleeper)
    for topic in ("stage.m1.live", "stage.m2.live", "stream.cage"):
        mine = [m for m in heard if m.topic == topic]
        assert plain(mine) == plain(m for m in speaker.said if m.topic == topic), topic
    assert sleeper.n_missed == 0
    assert sleeper.fetched > 1000


def _wake(speaker, sleeper):
    """Read until everything is there; nothing more is said but the heartbeat."""
    heard, deadline = [], time.monotonic() + TIMEOUT_S
    newest = speaker.newest
    while any(sleeper._next.get(topic, 0) <= seq for topic, seq in newest.items()):
        assert time.monotonic() < deadline, speaker.journal.problem
        heard += [received.message for received in sleeper.receive(0.05)]
        speaker.journal.retry()
        speaker.beat()
    assert sleeper.problem is None
    return heard


def test_a_heartbeat_tells_what_is_missing_at_the_end(speaker):
    with follow(speaker) as follower:
        join(speaker, follower)
        speaker.say(*speaker.stages(0, 3))
        heard = hear(speaker, follower, is_seq(2))
        speaker.say(*speaker.stages(3, 6), aloud=False)
        speaker.beat()
        heard += hear(speaker, follower, is_seq(5))
    assert [m.seq for m in heard] == list(range(6))


def test_after_a_restart_the_numbers_go_on(path):
    with Speaker(path, "before") as speaker:
        binds = speaker.binds
        with follow(speaker) as follower:
            join(speaker, follower)
            speaker.say(*speaker.stages(0, 3))
            heard = hear(speaker, follower, is_seq(2))
            speaker.say(*speaker.stages(3, 6), aloud=False)
            speaker.stack.close()
            with Speaker(path, "after", binds=binds) as restarted:
                restarted.say(*restarted.stages(6, 9))
                heard += hear(restarted, follower, is_seq(8), beating=True)
    assert [m.seq for m in heard] == list(range(9))
    assert [m.session for m in heard] == ["before"] * 6 + ["after"] * 3


@pytest.mark.parametrize("n", [2, 3, 4, 20])
def test_with_another_journal_the_numbers_start_anew_and_nothing_is_left_out(path, n):
    with Speaker(path, "before") as speaker:
        binds = speaker.binds
        with follow(speaker) as follower:
            join(speaker, follower)
            speaker.say(*speaker.stages(0, 4))
            heard = hear(speaker, follower, is_seq(3))
            speaker.stack.close()
            with Speaker(path.with_name("new.sqlite"), "after", binds=binds) as restarted:
                restarted.say(*restarted.stages(0, n))
                restarted.say(*restarted.stages(n, n + 3))
                heard += hear(
                    restarted, follower, lambda m: m.session == "after" and m.seq > n, beating=True
                )
    assert [m.seq for m in heard] == [*range(4), *range(len(heard) - 4)]
    assert follower.n_missed == 0


def test_a_jump_to_the_time_of_day_counts_nothing_as_missed(speaker):
    with follow(speaker) as follower:
        join(speaker, follower)
        speaker.say(*speaker.stages(0, 2), stage(1_700_000_000_000, epoch=3))
        heard = hear(speaker, follower, is_seq(1_700_000_000_000))
    assert len(heard) == 3
    assert follower.n_missed == 0


def test_what_the_journal_lost_is_counted_as_missed(speaker):
    speaker.say(*speaker.stages(0, 5), *speaker.stages(8, 20))
    with follow(speaker, start=Start(first=0)) as follower:
        heard = hear(speaker, follower, is_seq(19), beating=True)
    assert [m.seq for m in heard] == [*range(5), *range(8, 20)]
    assert (follower.missed["stage.m1.live"], follower.n_missed) == (3, 3)


def test_a_message_damaged_in_the_journal_is_missed_and_the_others_come(speaker, path):
    speaker.say(*speaker.stages(0, 20))
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE message SET packed = x'7b22ff' WHERE seq IN (3, 18)")
    with follow(speaker, start=Start(first=0)) as follower:
        heard = hear(speaker, follower, is_seq(19), beating=True)
    assert [m.seq for m in heard] == [k for k in range(20) if k not in (3, 18)]
    assert (follower.missed["stage.m1.live"], follower.n_missed) == (2, 2)


def test_what_is_not_in_the_journal_yet_is_waited_for(speaker):
    with follow(speaker, patience_s=TIMEOUT_S) as follower:
        join(speaker, follower)
        messages = speaker.stages(0, 9)
        speaker.say(*messages[:2], *messages[5:7], journal=False)
        heard = hear(speaker, follower, is_seq(1))
        assert list(follower.receive(0.1)) == []
        speaker.journal.write(messages[:8])
        speaker.say(messages[8], aloud=True)
        while len(heard) < 9:
            heard += [received.message for received in follower.receive(0.05)]
            speaker.beat({"stage.m1.live": 8})
    assert [m.seq for m in heard] == list(range(9))
    assert follower.n_missed == 0


def test_where_nobody_answers_the_topic_goes_on_in_the_end(speaker, monkeypatch):
    monkeypatch.setattr("tools.client.catchup._ANSWER_S", 0.01)
    with follow(speaker, catch_up=NOBODY, patience_s=0.0) as follower:
        join(speaker, follower)
        speaker.say(*speaker.stages(0, 2), *speaker.stages(5, 7))
        heard = hear(speaker, follower, is_seq(6))
    assert [m.seq for m in heard] == [0, 1, 5, 6]
    assert (follower.missed["stage.m1.live"], follower.n_missed) == (3, 3)
    assert "expected an answer from tcp://127.0.0.1:9" in follower.problem


def test_the_client_says_what_it_cannot_have(speaker, monkeypatch):
    monkeypatch.setattr("tools.client.catchup._ANSWER_S", 0.01)
    with CatchUpClient(NOBODY) as client, pytest.raises(CatchUpError, match="expected an answer"):
        list(client.fetch("stage.m1.live"))
    monkeypatch.undo()
    with CatchUpClient(speaker.binds[1]) as client:
        assert list(client.fetch("stage.m1.live")) == []
        with pytest.raises(CatchUpError, match=r"expected message 3 in .* found none"):
            list(client.fetch("stage.m1.live", last=3))
        with pytest.raises(CatchUpError, match="expected a request"):
            list(client.fetch("x" * 300))


def test_it_asks_by_another_connection_where_its_own_has_ended_for_good(speaker):
    """As after a key was refused, now and then: to send by it waited for ever, and the page too."""
    with CatchUpClient(speaker.binds[1]) as client:
        client._socket.disconnect(speaker.binds[1])
        assert list(client.fetch("stage.m1.live")) == []


def test_it_asks_at_the_publishers_next_port():
    assert catch_up_endpoint("tcp://127.0.0.1:5570") == "tcp://127.0.0.1:5571"
    with pytest.raises(AddressError, match="found 'ipc:///run/hypnod'"):
        catch_up_endpoint("ipc:///run/hypnod")
    with pytest.raises(AddressError, match="found 'nowhere'"):
        Follower(catch_up="nowhere")


def test_the_documented_example_gets_every_message_once(speaker):
    code = documented_example(*speaker.binds)
    speaker.say(*speaker.stages(0, PIECE + 9))
    example = {}
    exec(code, example)
    with example["context"], example["live"], example["past"]:
        speaker.publisher.serve(TIMEOUT_S)
        speaker.say(*speaker.stages(PIECE + 9, PIECE + 10))
        following = example["follow"]("stage.m1.live")
        heard = list(islice(following, PIECE + 10))
        speaker.say(*speaker.stages(PIECE + 10, PIECE + 12), aloud=False)
        speaker.say(*speaker.stages(PIECE + 12, PIECE + 13))
        heard += islice(following, 3)
    assert [message["seq"] for message in heard] == list(range(PIECE + 13))


def test_the_view_of_a_late_joiner_shows_the_epochs_before(speaker):
    stages = ["Wake", "NREM", "REM"] * 10
    speaker.say(*(stage(seq, stage=name) for seq, name in enumerate(stages)))
    with follow(speaker, start=Start(first=-400)) as follower:
        view = LiveView(follower)
        for message in hear(speaker, follower, is_seq(29), beating=True):
            view._take_stage(message, 0.0)
        console = Console(file=io.StringIO(), width=140)
        console.print(view)
    assert "▇▂▅" * 10 in console.file.getvalue()


def test_the_view_of_a_whole_night_fits_into_the_strip(speaker):
    stages = ["Wake"] * 500 + ["NREM"] * 1000 + ["REM"] * 500
    speaker.say(*(stage(seq, stage=name) for seq, name in enumerate(stages)))
    since = datetime.fromtimestamp(EVENING, UTC)
    with follow(speaker, start=Start(since=since)) as follower:
        view = LiveView(follower, whole=True)
        for message in hear(speaker, follower, is_seq(1999), beating=True):
            view._take_stage(message, 0.0)
        console = Console(file=io.StringIO(), width=140)
        console.print(view)
    strip = re.search("▇+▂+▅+", console.file.getvalue())[0]
    assert strip.count("▂") == pytest.approx(len(strip) / 2, abs=1)
    assert len(strip) > 20


def test_a_cell_shows_the_commonest_stage_of_its_epochs():
    stages = {10: "Wake", 11: "NREM", 12: "NREM", 13: "REM", 14: "REM", 15: "REM", 22: "Wake"}
    assert squeeze(stages, 5) == {0: "NREM", 1: "REM", 4: "Wake"}
    assert squeeze(stages, 100) == {epoch - 10: name for epoch, name in stages.items()}


def test_watch_prints_what_was_said_since_and_goes_on_live(speaker):
    speaker.say(*speaker.stages(0, 20))
    options = ["--json", "--since", iso(EVENING + 5), "--connect", speaker.binds[0]]
    command = ["watch", *options, "--catch-up", speaker.binds[1]]
    with Forked(command, stdout=subprocess.PIPE) as process:
        speaker.beat()
        speaker.publisher.serve(TIMEOUT_S)
        lines = map(json.loads, process.stdout)
        stages = (line for line in lines if line["topic"] == "stage.m1.live")
        seqs = [line["seq"] for line in islice(stages, 15)]
        speaker.say(*speaker.stages(20, 22))
        seqs += [line["seq"] for line in islice(stages, 2)]
        process.send_signal(signal.SIGINT)
    assert seqs == list(range(5, 22))
    assert process.returncode == 0
