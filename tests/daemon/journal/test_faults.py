"""Where the journal cannot be written nothing is lost that need not be, and everyone is told."""

import contextlib
import os
import resource
import sqlite3
import subprocess
import sys

import pytest
import structlog

from daemon.config import JournalConfig
from daemon.errors import JournalError
from daemon.journal import sync as journal_sync
from daemon.journal import writer as module
from daemon.journal.reader import JournalReader
from daemon.journal.writer import Journal
from daemon.metrics import Metrics
from daemon.restart.history import look_back
from tests.rigs.lsl import wait_until
from tests.support.nights import session, stage


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def journal(path, metrics, monkeypatch):
    monkeypatch.setattr(module, "_RETRY_S", 0.0)
    with Journal(JournalConfig(path=str(path)), metrics) as journal:
        journal.begin(session())
        journal.write([stage(0)])
        yield journal


@contextlib.contextmanager
def mounted(folder, *options):
    """Mount something on a folder, where that is allowed."""
    command = ["mount", *options, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"needs to mount: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def kept(path):
    return [
        e.seq for e in JournalReader(path).messages("stage.m1.live", 0, sys.maxsize, sys.maxsize)
    ]


def failing(metrics):
    value = metrics.registry.get_sample_value
    return value("hypnod_journal_failing"), value("hypnod_journal_pending_messages")


def expect_failure(journal, metrics, message, reason):
    with structlog.testing.capture_logs() as logs:
        journal.write([message])
        journal.retry()
        journal.retry()
    assert reason in journal.problem
    (said,) = [log for log in logs if log["log_level"] == "error"]  # once, not at every retry
    assert reason in said["reason"]
    assert failing(metrics)[0] == 1


def expect_recovery(journal, metrics, path, seqs):
    with structlog.testing.capture_logs() as logs:
        journal.retry()
    assert journal.problem is None
    assert [log["event"] for log in logs] == ["journal goes on"]
    assert failing(metrics) == (0, 0)
    assert kept(path) == seqs


def test_locked_by_another_program(journal, metrics, path):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        expect_failure(journal, metrics, stage(1), "locked")
        journal.write([stage(2)])
        assert failing(metrics) == (1, 2)
        other.execute("ROLLBACK")
    expect_recovery(journal, metrics, path, [0, 1, 2])


def test_the_disk_is_full(metrics, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_RETRY_S", 0.0)
    folder = tmp_path / "disk"
    folder.mkdir()
    with mounted(folder, "-t", "tmpfs", "-o", "size=1m", "tmpfs"):
        path = folder / "journal.sqlite"
        with Journal(JournalConfig(path=str(path)), metrics) as journal:
            journal.write([stage(0)])
            ballast = folder / "ballast"
            with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(4096))
            seq = 1
            while journal.problem is None:  # what is allocated already is used first
                journal.write([stage(seq)])
                seq += 1
            assert "full" in journal.problem or "I/O" in journal.problem
            journal.write([stage(seq)])
            assert failing(metrics) == (1, 2)
            ballast.unlink()
            expect_recovery(journal, metrics, path, list(range(seq + 1)))


def test_a_file_may_not_grow(journal, metrics, path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        expect_failure(journal, metrics, stage(1), "disk I/O error")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    expect_recovery(journal, metrics, path, [0, 1])


def test_a_folder_that_cannot_be_written(metrics, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_RETRY_S", 0.0)
    folder = tmp_path / "disk"
    folder.mkdir()
    path = folder / "journal.sqlite"
    config = JournalConfig(path=str(path))
    with mounted(folder, "-t", "tmpfs", "-o", "ro", "tmpfs"), Journal(config, metrics) as journal:
        assert "Read-only file system" in journal.problem
        assert failing(metrics) == (1, 0)
        history = look_back(journal)
        assert history.next_seq == {}
        first_seq = history.first_seq
        assert first_seq > 10**12  # nobody can have used the numbers from the time of day on
        journal.write([stage(first_seq, epoch=0)])
        subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
        expect_recovery(journal, metrics, path, [first_seq])


@pytest.mark.parametrize("damage", ["garbled", "truncated"])
def test_a_broken_journal_is_set_aside_at_the_start(path, metrics, damage):
    with Journal(JournalConfig(path=str(path)), metrics) as journal:
        journal.write([stage(k) for k in range(500)])
    content = path.read_bytes()
    broken = bytes(100) + content[100:] if damage == "garbled" else content[: len(content) // 2]
    path.write_bytes(broken)
    config = JournalConfig(path=str(path))
    with structlog.testing.capture_logs() as logs, Journal(config, metrics) as journal:
        first_seq = look_back(journal).first_seq
        assert first_seq > 10**12
        journal.write([stage(first_seq, epoch=0)])
        assert journal.problem is None
    (aside,) = [file for file in path.parent.iterdir() if ".corrupt-" in file.name]
    assert aside.read_bytes() == broken
    assert aside.suffix == ".sqlite"
    assert "journal set aside" in [log["event"] for log in logs]
    assert kept(path) == [first_seq]


def damage(path, seq):
    """Let a message be what the disk made of it; SQLite does not see it."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE message SET packed = x'7b22ff' WHERE seq = ?", (seq,))


def test_a_message_that_was_damaged_keeps_nothing_from_being_staged(journal, path):
    journal.write([stage(1), stage(2)])
    damage(path, 1)
    with pytest.raises(
        JournalError, match=r"stage\.m1\.live 1: expected a message in the journal, found"
    ):
        _ = [entry.message for entry in JournalReader(path).messages("stage.m1.live", 0, 9)]
    with structlog.testing.capture_logs() as logs:
        history = look_back(journal)
    assert [log["event"] for log in logs] == ["journal cannot be read"]
    assert history.next_seq == {}
    first_seq = history.first_seq
    assert first_seq > 10**12
    journal.write([stage(first_seq, epoch=3)])
    assert kept(path) == [0, 1, 2, first_seq]


def test_a_journal_that_breaks_while_it_is_written_is_set_aside(journal, metrics, path):
    journal.write([stage(k) for k in range(1, 2000)])
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        expect_failure(journal, metrics, stage(2000), "locked")
        other.execute("ROLLBACK")
    path.write_bytes(path.read_bytes()[:4096] + os.urandom(path.stat().st_size - 4096))
    with structlog.testing.capture_logs() as logs:
        journal.retry()
        journal.retry()
    assert [log["event"] for log in logs] == ["journal set aside", "journal goes on"]
    assert kept(path) == [2000]
    assert JournalReader(path).sessions() == [session()]
    assert [file for file in path.parent.iterdir() if ".corrupt-" in file.name]


@pytest.fixture
def quick_sync(monkeypatch):
    monkeypatch.setattr(journal_sync, "SYNC_S", 0.01)


@pytest.mark.usefixtures("quick_sync")
def test_what_does_not_reach_the_disk_is_told_and_a_new_file_is_begun(journal, metrics, path):
    """Someone deletes the journal: SQLite goes on writing what nobody can find any more."""

    def fails():  # looked after as the service does
        journal.retry()
        return journal.problem is not None

    with structlog.testing.capture_logs() as logs:
        for file in path.parent.glob("journal.sqlite*"):
            file.unlink()
        journal.write([stage(1)])
        wait_until(fails, "the problem")
        assert failing(metrics) == (1, 0)
        journal.write([stage(2)])
        wait_until(lambda: not fails(), "a journal on the disk")
        assert failing(metrics) == (0, 0)
    assert [log["event"] for log in logs] == ["journal not on disk", "journal on disk again"]
    assert kept(path) == [2]
    assert JournalReader(path).sessions() == [session()]


def test_too_much_that_waits_is_lost_oldest_first_and_counted(journal, metrics, path, monkeypatch):
    monkeypatch.setattr(module, "MAX_PENDING", 10)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with structlog.testing.capture_logs() as logs:
            for seq in range(1, 16):
                journal.write([stage(seq)])
        other.execute("ROLLBACK")
    assert len([log for log in logs if "loses" in log["event"]]) == 1
    assert metrics.registry.get_sample_value("hypnod_journal_lost_messages_total") == 5
    journal.retry()
    assert kept(path) == [0, *range(6, 16)]
    journal.close()
    with Journal(JournalConfig(path=str(path)), metrics) as again:
        first_seq = look_back(again).first_seq
        assert first_seq > 10**12  # of what was lost nobody knows the numbers
    with Journal(JournalConfig(path=str(path)), metrics) as again:
        assert look_back(again).first_seq == first_seq  # topics that said nothing since, too


def test_after_what_waited_was_written_numbers_go_on(journal, metrics, path):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        journal.write([stage(1)])
        other.execute("ROLLBACK")
    journal.retry()
    journal.close()
    with Journal(JournalConfig(path=str(path)), metrics) as again:
        assert look_back(again).first_seq == 0


@pytest.mark.parametrize("content", [b"0" * 20 + b" behind\n", b"nonsense", b"-1 whole \n"])
def test_a_journal_that_was_behind_or_may_have_been_skips_numbers(journal, metrics, path, content):
    journal.close()
    path.with_name(path.name + ".lock").write_bytes(content)
    with Journal(JournalConfig(path=str(path)), metrics) as again:
        assert look_back(again).first_seq > 10**12
