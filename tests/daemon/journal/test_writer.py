"""What is written is what is read, and what is committed before it is published."""

import os
import re
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest

from daemon.config import JournalConfig
from daemon.errors import JournalError
from daemon.journal.file import FORMAT, journal_path
from daemon.journal.reader import JournalReader
from daemon.journal.sync import sync
from daemon.journal.tick import RestartPoint
from daemon.journal.writer import Journal
from daemon.messages import encode
from daemon.metrics import Metrics
from daemon.restart.history import look_back, read_history
from tests.support.nights import EVENING, session, stage, state
from tests.support.paths import ROOT

SCHEMA_1 = """
PRAGMA application_id = 1213812814;
PRAGMA user_version = 1;
CREATE TABLE session (
    id TEXT PRIMARY KEY, started REAL NOT NULL, version TEXT NOT NULL, model TEXT NOT NULL,
    model_name TEXT NOT NULL, engine TEXT NOT NULL, config_hash TEXT NOT NULL, config TEXT NOT NULL
) STRICT;
CREATE TABLE message (
    topic TEXT NOT NULL, seq INTEGER NOT NULL, session TEXT NOT NULL REFERENCES session (id),
    kind TEXT NOT NULL, epoch INTEGER, onset REAL, utc REAL NOT NULL, stage TEXT NOT NULL,
    payload BLOB NOT NULL, PRIMARY KEY (topic, seq)
) STRICT;
INSERT INTO session VALUES ('s', 1.0, '0.1', 'm', 'model', 'engine', 'c', '{}');
INSERT INTO message VALUES ('stage.m1', 0, 's', 'live', 0, 1.0, 1.0, 'REM', x'7b7d');
"""
"""What a journal of the first version looks like."""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "journal.sqlite"


@pytest.fixture
def journal(path):
    with Journal(JournalConfig(path=str(path)), Metrics()) as journal:
        journal.begin(session())
        yield journal


def test_what_was_written_is_read_byte_by_byte_at_once(journal, path):
    lives, final = [stage(0), stage(1, epoch=1)], stage(0, epoch=0, kind="final")
    journal.write([lives[0], state(0), final, lives[1]])
    reader = JournalReader(path)
    assert reader.sessions() == [session()]
    assert reader.topics() == ["stage.m1.final", "stage.m1.live", "stream.cage"]
    entries = reader.messages("stage.m1.live", 0, 9) + reader.messages("stage.m1.final", 0, 9)
    assert [e.payload for e in entries] == [encode(m) for m in (*lives, final)]
    assert [e.message for e in entries] == [*lives, final]
    assert [(e.seq, e.hop, e.onset, e.utc, e.stage) for e in entries] == [
        (0, 0, 1000.0, EVENING, "NREM"),
        (1, 1, 1001.0, EVENING + 1, "NREM"),
        (0, 0, 1000.0, EVENING, "NREM"),
    ]
    (entry,) = reader.latest("stream.cage")
    assert (entry.stage, entry.hop, entry.message.state) == (None, None, "STAGING")
    assert journal.problem is None


def test_a_part_is_read_by_number_time_and_session(journal, path):
    journal.write([stage(k) for k in range(2000)])
    journal.begin(session("s2"))
    journal.write([stage(k, session="s2") for k in range(2000, 3500)])
    reader = JournalReader(path)
    assert (reader.first_seq("stage.m1.live"), reader.last_seq("stage.m1.live")) == (0, 3499)
    assert reader.last_seq("stage.m2.live") is None
    assert [e.seq for e in reader.messages("stage.m1.live", 5, 7)] == [5, 6, 7]
    assert [e.seq for e in reader.messages("stage.m1.live", 5, 99, limit=2)] == [5, 6]
    assert [e.seq for e in reader.latest("stage.m1.live", 2)] == [3498, 3499]
    between = reader.between("stage.m1.live", EVENING + 500, EVENING + 2500)
    assert [e.seq for e in between] == list(range(500, 2500))
    for run, first, last in (("s", 0, 2000), ("s2", 2000, 3500)):
        assert [e.seq for e in reader.of_session("stage.m1.live", run)] == list(range(first, last))
    assert list(reader.of_session("stage.m1.live", "s3")) == []


def test_a_journal_that_is_not_there_yet_is_empty(path):
    reader = JournalReader(path)
    assert (reader.sessions(), reader.topics(), reader.last_seq("stage.m1.live")) == ([], [], None)
    assert list(reader.between("stage.m1.live", 0, 1)) == []
    assert not path.exists()


def test_its_group_may_read_it_where_the_folder_lets_it_in(journal, path):
    journal.write([stage(0)])
    for file in path.parent.glob("*.sqlite*"):
        expected = 0o600 if file.suffix == ".lock" else 0o640
        assert stat.S_IMODE(file.stat().st_mode) == expected, file
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_it_goes_on_where_it_was(journal, path):
    journal.write([stage(0), state(0)])
    journal.close()
    with Journal(JournalConfig(path=str(path)), Metrics()) as again:
        history = look_back(again)
        assert history.next_seq == {"stage.m1.live": 1, "stream.cage": 1}
        assert history.first_seq == 0
        again.write([stage(1)])
    assert JournalReader(path).last_seq("stage.m1.live") == 1


def test_live_estimates_without_a_final_are_due(journal, path):
    lives = [stage(k, epoch=k) for k in range(4)]
    journal.write([*lives, stage(0, kind="final"), stage(1, kind="final")])
    history = read_history(path)
    assert history.due == {"m1": lives[2:]}
    assert (history.next_hop, history.next_epoch) == ({"m1": 4}, {"m1": 4})


def test_a_restart_point_is_written_with_its_messages_and_over_its_slot(journal, path):
    for epoch in range(5):
        point = RestartPoint("cage", epoch, epoch % 3, b"state %d" % epoch, b"arrays %d" % epoch)
        journal.write([stage(epoch)], [point])
    reader = JournalReader(path)
    assert reader.restart_states() == {"cage": b"state 4"}
    assert reader.slots("cage") == {k: b"arrays %d" % k for k in (2, 3, 4)}


@pytest.mark.parametrize("how", ["periodic", "each"])
def test_a_killed_process_loses_nothing(path, how):
    child = (
        "import os, signal, sys; from pathlib import Path;"
        "from daemon.journal.writer import Journal;"
        "from daemon.config import JournalConfig; from daemon.metrics import Metrics;"
        "from tests.support.nights import stage;"
        f"journal = Journal(JournalConfig(path=sys.argv[1], fsync='{how}'), Metrics());"
        "[journal.write([stage(k)]) for k in range(20)];"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", child, str(path)], cwd=ROOT, check=False)
    assert ended.returncode == -9
    assert len(JournalReader(path).messages("stage.m1.live", 0, 99)) == 20


def test_syncing_moves_the_log_into_the_database(journal, path):
    journal.write([stage(k) for k in range(100)])
    before = path.stat().st_size
    assert sync(path) > 0
    assert path.stat().st_size > before


def test_who_locks_the_database_keeps_nothing_from_the_disk(journal, path):
    """What is in the log is safe there; it is moved when the other program lets it."""
    journal.write([stage(0)])
    journal.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        assert sync(path) > 0


@pytest.mark.parametrize("how", ["periodic", "each"])
def test_the_file_of_the_numbers_is_synced_like_the_journal(path, how):
    with Journal(JournalConfig(path=str(path), fsync=how), Metrics()):
        lock = path.with_name(path.name + ".lock")
        (number,) = [f.name for f in Path("/proc/self/fd").iterdir() if is_of(f, lock)]
        flags = re.search(r"flags:\s*(\d+)", Path(f"/proc/self/fdinfo/{number}").read_text())
    assert bool(int(flags[1], 8) & os.O_DSYNC) is (how == "each")


def is_of(descriptor, file):
    with suppress(FileNotFoundError):
        return descriptor.readlink() == file
    return False


def test_a_second_daemon_is_refused(journal, path):
    with pytest.raises(JournalError, match="found that another daemon writes it"):
        Journal(JournalConfig(path=str(path)), Metrics())
    journal.write([stage(0)])
    assert journal.problem is None


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        (f"PRAGMA user_version = {FORMAT + 1}", f"expected a journal of format {FORMAT}, found"),
        ("PRAGMA application_id = 7", "expected a journal of hypnod, found another database"),
    ],
)
def test_another_format_is_refused_in_one_sentence(journal, path, sql, sentence):
    journal.write([stage(0)])
    journal.close()
    with sqlite3.connect(path) as db:
        db.execute(sql)
    db.close()
    content = path.read_bytes()
    with pytest.raises(JournalError, match=sentence):
        Journal(JournalConfig(path=str(path)), Metrics())
    with pytest.raises(JournalError, match=sentence):
        JournalReader(path).topics()
    assert path.read_bytes() == content


def test_a_journal_of_schema_1_is_refused_and_left_as_it_is(path):
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db:
        db.executescript(SCHEMA_1)
    content = path.read_bytes()
    with pytest.raises(JournalError) as caught:
        Journal(JournalConfig(path=str(path)), Metrics())
    assert str(caught.value) == (
        f"{path}: expected a journal of format 3, found format 1, which another version of hypnod "
        "wrote; move it away, or name another file in journal.path"
    )
    assert path.read_bytes() == content


def test_where_it_is():
    home = Path.home() / ".local" / "state" / "hypnod" / "journal.sqlite"
    assert journal_path("", {}) == home
    assert journal_path("", {"XDG_STATE_HOME": "/s"}) == Path("/s/hypnod/journal.sqlite")
    assert journal_path("", {"STATE_DIRECTORY": "/a:/b"}) == Path("/a/journal.sqlite")
    assert journal_path("/j.db", {"STATE_DIRECTORY": "/a"}) == Path("/j.db")
    assert journal_path("~/j.db") == Path(os.environ["HOME"]) / "j.db"
