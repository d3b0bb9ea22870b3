"""What is old is forgotten, a little at a time, and nothing else."""

import math
import time

import msgspec
import pytest

from daemon.config import Config, JournalConfig, StagingConfig, parse_config
from daemon.journal.forecast import Room, bytes_a_day, measure_room
from daemon.journal.reader import JournalReader
from daemon.journal.retention import PIECE
from daemon.journal.sync import sync
from daemon.journal.writer import Journal
from daemon.metrics import Metrics
from daemon.outbox import Round
from daemon.trigger.rules import Rule
from models.errors import ConfigError
from tests.support.nights import iso, session, stage, state, trigger
from tests.support.signals import stream_config
from tools.bench.message import make_message

DAY_S = 86400.0


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


def old(seq, days, **options):
    return msgspec.structs.replace(stage(seq, **options), utc=iso(time.time() - days * DAY_S))


def opened(path, keep_days):
    return Journal(JournalConfig(path=str(path), keep_days=keep_days), Metrics())


def forget_all(journal):
    """Let as many rounds without a message pass as it takes; return what was left after each."""
    reader, left = JournalReader(journal.path), []
    while True:
        journal.take(Round())
        left.append(sum(len(reader.latest(t, 10_000)) for t in reader.topics()))
        if len(left) > 1 and left[-1] == left[-2]:
            return left


def test_old_messages_go_piece_by_piece_and_the_others_stay(path):
    n = 2 * PIECE + 50
    with opened(path, 2) as journal:
        journal.begin(session())
        journal.write([old(k, 3) for k in range(n)] + [old(n, 1)])
        left = forget_all(journal)
    assert left == [n + 1 - PIECE, n + 1 - 2 * PIECE, 1, 1]
    assert [e.seq for e in JournalReader(path).latest("stage.m1.live")] == [n]


def test_the_last_message_of_a_topic_stays_however_old(path):
    with opened(path, 1) as journal:
        journal.begin(session())
        journal.write([old(k, 9, subject="gone") for k in range(5)] + [state(0), state(1)])
        forget_all(journal)
    reader = JournalReader(path)
    assert {t: [e.seq for e in reader.latest(t)] for t in reader.topics()} == {
        "stage.gone.live": [4],
        "stream.cage": [1],
    }


def test_by_default_nothing_is_forgotten(path):
    with opened(path, None) as journal:
        journal.begin(session())
        journal.write([old(k, 9000) for k in range(9)])
        assert forget_all(journal) == [9, 9]


def test_a_tick_with_something_to_say_forgets_nothing(path):
    with opened(path, 1) as journal:
        journal.begin(session())
        journal.write([old(0, 9), old(1, 9)])
        journal.take(Round([stage(2)]))
        assert [e.seq for e in JournalReader(path).latest("stage.m1.live")] == [0, 1, 2]
        journal.take(Round())
        assert [e.seq for e in JournalReader(path).latest("stage.m1.live")] == [2]


def test_a_clock_that_leaps_forward_makes_nothing_old(path, monkeypatch):
    with opened(path, 2) as journal:
        journal.begin(session())
        journal.write([old(k, 1) for k in range(9)])
        right = time.time()
        monkeypatch.setattr(time, "time", lambda: right + 3000 * DAY_S)
        assert forget_all(journal) == [9, 9]


def test_the_room_of_what_was_forgotten_is_used_again(path):
    n = 3000
    with opened(path, 1) as journal:
        journal.begin(session())
        journal.write([old(k, 9) for k in range(n)])
        sync(path)
        before = path.stat().st_size
        forget_all(journal)
        journal.write([stage(n + k) for k in range(n - 100)])
        sync(path)
        assert path.stat().st_size < 1.05 * before


def test_a_day_is_the_least_that_is_kept():
    with pytest.raises(ConfigError, match=r"journal\.keep_days: expected"):
        parse_config("streams = []\n[journal]\nkeep_days = 0.5", "f")


def config(n_subjects, hop_s=None, rules=()):
    staging = StagingConfig(hop_s=hop_s)
    return Config(streams=(stream_config(n_subjects),), staging=staging, triggers=rules)


def test_the_forecast_is_what_messages_take(path):
    """Held against a journal: of estimates, and of the decisions of a rule."""
    n, rule = 4000, Rule(name="rem", stages=("REM",), on_s=2.0)
    expected = [bytes_a_day(config(1, rules=r), 1.0) / DAY_S for r in ((), (rule,))]
    with opened(path, None) as journal:
        journal.begin(session())
        for kind in ("live", "final"):
            journal.write([make_message("m1", k, kind, k, 1e5 + 0.123 + k) for k in range(n)])
        sync(path)
        stages = path.stat().st_size
        journal.write([trigger(k) for k in range(n)])
        sync(path)
        decisions = path.stat().st_size - stages
    assert stages / n == pytest.approx(expected[0], rel=0.25)
    assert decisions / n == pytest.approx(expected[1] - expected[0], rel=0.25)


def test_every_subject_and_every_hop_counts():
    one = bytes_a_day(config(1), 1.0)
    assert bytes_a_day(config(8), 1.0) == 8 * one
    assert bytes_a_day(config(1), 4.0) == one / 4
    assert bytes_a_day(config(1, 0.25), 1.0) == 2.5 * one  # four live ones and a final one
    assert one == pytest.approx(65e6, rel=0.1)


def test_a_disk_is_full_one_day_unless_what_is_old_goes_before(path):
    room = Room(size=10, free=90)
    assert room.full_in_days(20, None) == 4.5
    assert room.full_in_days(20, 5) == math.inf
    assert room.full_in_days(20, 6) == 4.5
    assert measure_room(path.parent / "not" / "there" / "yet").size == 0


def test_metrics_say_what_it_takes_and_when_its_disk_is_full(path):
    metrics = Metrics()

    def value(name):
        return metrics.registry.get_sample_value(f"hypnod_journal_{name}")

    with Journal(JournalConfig(path=str(path)), metrics) as journal:
        journal.expect(1e6)
        journal.begin(session())
        journal.write([stage(0)])
        journal._syncer._sync()
        journal.take(Round())
        assert value("size_bytes") == measure_room(path).size > 4096
        days = (value("full_timestamp_seconds") - time.time()) / DAY_S
        assert days == pytest.approx(value("disk_free_bytes") / 1e6, rel=0.01)
