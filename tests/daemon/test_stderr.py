"""A log that cannot be written: the daemon goes on, and hears SIGTERM."""

import fcntl
import io
import os
import signal
import socket
import subprocess
import sys
import urllib.request
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

import hypnod
from daemon.config import LogConfig
from daemon.log import configure_log
from tests.rigs.daemon import TIMEOUT_S, one_stream, write_config
from tests.rigs.forked import Forked
from tests.rigs.lsl import wait_until

_SMALLEST_PIPE = 4096


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextmanager
def running(folder, bundle, stderr):
    """A daemon that writes there; yields it, and how many lines it says it lost."""
    port = free_port()
    stream = one_stream(f"absent-{uuid.uuid4().hex}")
    config = write_config(folder, stream, bundle, port=port)
    process = Forked(["run", "--config", config], stderr=stderr)

    def lost():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=TIMEOUT_S) as got:
            families = text_string_to_metric_families(got.read().decode())
        return next(f.samples[0].value for f in families if f.name == "hypnod_log_lost_lines")

    def answers():
        with suppress(OSError):
            return lost() is not None

    try:
        wait_until(answers, "the daemon listens")
        yield process, lost
    finally:
        process.kill()
        process.wait()


def ends_in_order(process):
    process.send_signal(signal.SIGTERM)
    return process.wait(TIMEOUT_S) == 0


@pytest.fixture
def gone():
    """A pipe whose reader has gone."""
    read, write = os.pipe()
    os.close(read)
    yield write
    os.close(write)


@pytest.fixture
def full():
    """A file on a full disk."""
    with Path("/dev/full").open("wb") as file:
        yield file.fileno()


@pytest.mark.parametrize("kind", ["gone", "full"])
def test_a_log_that_cannot_be_written_is_counted_and_ends_nothing(request, tmp_path, bundle, kind):
    stderr = request.getfixturevalue(kind)
    with running(tmp_path, bundle, stderr) as (process, lost):
        wait_until(lost, "lines are lost")
        process.send_signal(signal.SIGHUP)
        before = lost()
        wait_until(lambda: lost() > before, "it goes on")
        assert ends_in_order(process)


def test_an_error_keeps_its_exit_code_where_it_cannot_be_told(tmp_path, bundle, gone, full):
    config = write_config(tmp_path, one_stream("any"), bundle, more="[staging]\nhop_s = 0")
    for stderr in (gone, full):
        with Forked(["run", "--config", config], stderr=stderr) as process:
            assert process.wait(TIMEOUT_S) == 3


def test_a_daemon_without_standard_error_keeps_it_out_of_its_files(tmp_path, bundle):
    """The next file opened gets number 2, and the log with it."""
    port = free_port()
    config = write_config(tmp_path, one_stream(f"absent-{uuid.uuid4().hex}"), bundle, port=port)
    run = hypnod.command("run", "--config", str(config))
    with subprocess.Popen(["sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh", *run]) as process:
        wait_until((tmp_path / "journal.sqlite").exists, "the journal is there")
        for number in range(3):
            assert Path(f"/proc/{process.pid}/fd/{number}").readlink() == Path("/dev/null")
        assert ends_in_order(process)


def test_a_reader_that_stands_still_stops_nothing_and_is_told_what_it_missed(tmp_path, bundle):
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, _SMALLEST_PIPE)
    log = os.fdopen(read, encoding="utf-8")
    with log, running(tmp_path, bundle, write) as (process, lost):
        os.close(write)

        def hangup():
            process.send_signal(signal.SIGHUP)
            return lost() >= 3

        wait_until(hangup, "lines are lost")
        for line in log:
            if '"log lost lines' in line:
                break
        assert '"n_lines": ' in line
        before = lost()

        def hangup_again():
            process.send_signal(signal.SIGHUP)
            return lost() > before

        wait_until(hangup_again, "lines are lost again")
        assert ends_in_order(process)


def test_a_line_goes_to_the_standard_error_of_its_time(capsys, monkeypatch):
    with monkeypatch.context() as replaced, io.StringIO() as earlier:
        replaced.setattr(sys, "stderr", earlier)
        configure_log(LogConfig())
    structlog.get_logger().info("later")
    assert "later" in capsys.readouterr().err
