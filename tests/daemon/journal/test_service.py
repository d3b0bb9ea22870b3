"""The daemon and its journal: loud when it fails, and what a restart makes of it."""

import contextlib
import csv
import itertools
import json
import signal
import socket
import sqlite3

import edfio
import msgspec
import numpy as np
import pytest
from matplotlib.image import imread
from typer.testing import CliRunner

from daemon.journal.reader import JournalReader
from daemon.messages import StageMessage, encode
from models.recordings.hypnograms.read import read_hypnogram
from models.stages import MOUSE
from tests.rigs.daemon import Daemon, Listener, is_live, one_stream
from tests.rigs.lsl import wait_until
from tests.support.bundles import TINY, make_bundle
from tests.support.signals import noise
from tools.cli import app

SFREQ = 512
LIVE, FINAL = "stage.m1.live", "stage.m1.final"


@contextlib.contextmanager
def running(folder, name, source, bundle, settings=None, **environ):
    """A daemon that reads the source, and one who heard it from its first word on."""
    with Daemon(folder, one_stream(name), bundle, environ=environ, **(settings or {})) as daemon:
        daemon.listen()
        with Listener(daemon.endpoint) as subscriber:
            daemon.event("stream", state="FILLING")
            source.wait_for_consumers()
            yield daemon, subscriber


def push(source, subscriber, n_epochs, epoch):
    """Push whole epochs and wait for the live estimate of the last one."""
    source.push(n_epochs * SFREQ, data=noise(n_epochs * SFREQ, seed=source.sent))
    subscriber.until(is_live(epoch))


def entries(folder, topic=LIVE):
    return JournalReader(folder / "journal.sqlite").latest(topic)


def test_what_is_heard_is_in_the_journal(tmp_path, name, source, bundle):
    with running(tmp_path, name, source, bundle) as (_, subscriber):
        push(source, subscriber, 8, epoch=7)
        heard = [m for m in subscriber.heard if isinstance(m, StageMessage) and not m.replayed]
        kept = {e.payload for topic in (LIVE, FINAL) for e in entries(tmp_path, topic)}
        assert {encode(m) for m in heard} <= kept
    (session,) = JournalReader(tmp_path / "journal.sqlite").sessions()
    assert session.id == heard[0].session
    assert (session.model, session.engine, session.config_hash) == (
        heard[0].model,
        heard[0].engine,
        heard[0].config,
    )
    assert json.loads(session.config)["streams"][0]["name"] == "cage"


def test_the_night_so_far_is_exported_while_the_daemon_goes_on(tmp_path, name, source, bundle):
    journal = tmp_path / "journal.sqlite"
    files = {kind: tmp_path / f"night.{kind}" for kind in ("csv", "edf", "tsv", "png")}
    exports = [part for kind, file in files.items() for part in (f"--{kind}", str(file))]
    with running(tmp_path, name, source, bundle) as (daemon, subscriber):
        for epochs in (5, 10):
            push(source, subscriber, 5, epoch=epochs - 1)
            found = CliRunner().invoke(app, ["night", str(journal), "--session", "last", *exports])
            assert found.exit_code == 0, found.output
            with files["csv"].open() as file:
                rows = list(csv.DictReader(file))
            assert [int(row["hop"]) for row in rows] == list(range(epochs))
            annotations = edfio.read_edf(files["edf"]).annotations
            events = read_hypnogram(files["tsv"], MOUSE, subject="m1")
            assert sum(a.duration or 0 for a in annotations) == sum(events.durations) == epochs
            assert imread(files["png"]).shape[0] > 300
        assert "hypnod_journal_failing 0.0" in daemon.get("/metrics")[1]
        seqs = [e.seq for e in entries(tmp_path)]
        assert seqs == list(range(len(seqs)))


def test_staging_goes_on_loudly_while_the_journal_is_locked(tmp_path, name, source, bundle):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "systemd"))
        systemd.settimeout(30)
        environ = {"NOTIFY_SOCKET": str(tmp_path / "systemd")}
        with running(tmp_path, name, source, bundle, **environ) as (daemon, subscriber):
            push(source, subscriber, 2, epoch=1)
            path = tmp_path / "journal.sqlite"
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN EXCLUSIVE")
                push(source, subscriber, 3, epoch=4)
                assert daemon.event("journal failing")["reason"] == "database is locked"
                wait_until(lambda: "journal" in daemon.get("/readyz")[1], "503")
                assert daemon.get("/readyz")[0] == 503
                assert "hypnod_journal_failing 1.0" in daemon.get("/metrics")[1]
                while b"journal: database is locked" not in systemd.recv(4096):
                    pass
                other.execute("ROLLBACK")
            daemon.event("journal goes on")
            seqs = [e.seq for e in entries(tmp_path)]
            assert seqs == list(range(len(seqs)))
            assert {e.hop for e in entries(tmp_path)} >= set(range(5))
            wait_until(
                lambda: "hypnod_journal_failing 0.0" in daemon.get("/metrics")[1],
                "the metric says that the journal works",
            )


def test_after_too_long_it_starts_cold_and_every_live_estimate_gets_its_final_one(
    tmp_path, name, source, bundle
):
    with running(tmp_path, name, source, bundle) as (daemon, subscriber):
        push(source, subscriber, 6, epoch=5)
        daemon.process.kill()
    lives, finals = (len(entries(tmp_path, topic)) for topic in (LIVE, FINAL))
    source.push(9 * SFREQ)  # more than the window of 5 s: nobody hears it
    with running(tmp_path, name, source, bundle) as (daemon, subscriber):
        push(source, subscriber, 2, epoch=7)
        daemon.signal(signal.SIGTERM)
        assert daemon.end()[0] == 0
    assert finals < lives == 6
    for topic in (LIVE, FINAL):
        assert [(e.seq, e.hop) for e in entries(tmp_path, topic)] == [(k, k) for k in range(8)]
    closed = [e.message.age_s for e in entries(tmp_path, FINAL)[finals:lives]]
    assert closed == [None] * len(closed)  # how old they are is not known after a restart
    reasons = [e.message.reason for e in entries(tmp_path, "stream.cage")]
    assert [r for r in reasons if r.startswith("started cold: 9.0 s are missing")]


def test_a_net_whose_running_means_look_back_further_than_its_window_resumes_warm(
    tmp_path, name, source
):
    bundle = make_bundle(tmp_path, n_context=5, levels=True, **TINY)
    with running(tmp_path, name, source, bundle) as (daemon, subscriber):
        push(source, subscriber, 6, epoch=5)
        daemon.process.kill()
    source.push(9 * SFREQ)  # more than the window of 5 s, less than the mean of 64 s
    with running(tmp_path, name, source, bundle) as (daemon, subscriber):
        push(source, subscriber, 2, epoch=16)
    reasons = [e.message.reason for e in entries(tmp_path, "stream.cage")]
    assert [r for r in reasons if r.startswith("resumed warm: 9.0 s are missing")]
    assert [e.hop for e in entries(tmp_path)] == list(range(17))  # in the same time grid


def test_another_model_starts_cold(tmp_path, name, source, bundle):
    with running(tmp_path, name, source, bundle) as (daemon, subscriber):
        push(source, subscriber, 3, epoch=2)
        daemon.process.kill()
    other = make_bundle(tmp_path, n_context=16, **TINY)
    with running(tmp_path, name, source, other) as (daemon, subscriber):
        push(source, subscriber, 2, epoch=4)
    finals = entries(tmp_path, FINAL)
    assert [e.hop for e in finals] == [0, 1, 2]
    lives = {e.hop: e.message for e in entries(tmp_path)}
    for entry in finals:  # in the words of the model that read it
        assert entry.message.model == lives[entry.hop].model
        assert entry.message.stage == lives[entry.hop].stage
    assert lives[4].model != lives[2].model
    assert lives[4].slots_filled == 2


def test_epochs_count_epochs_and_hops_hops_and_go_on_with_another_hop(
    tmp_path, name, source, bundle
):
    for hop_s in (0.25, 1.0, 0.5):
        settings = {"more": f"[staging]\nhop_s = {hop_s}"}
        with running(tmp_path, name, source, bundle, settings) as (_, subscriber):
            source.push(3 * SFREQ, data=noise(3 * SFREQ, seed=source.sent))
            lives = [subscriber.until(lambda m: getattr(m, "kind", "") == "live")]
            while len(lives) < 2 / hop_s:
                lives.append(subscriber.until(lambda m: getattr(m, "kind", "") == "live"))
        assert {m.hop_s for m in lives} == {hop_s}
        assert [m.epoch for m in lives] == [int(m.hop * hop_s) for m in lives]
        assert len({m.epoch for m in lives}) == 2
        onsets = [m.onset - lives[0].onset for m in lives]
        assert onsets == pytest.approx([hop_s * k for k in range(len(lives))])
    found = [e.message for e in entries(tmp_path)]
    for former, later in itertools.pairwise(found):
        assert former.hop < later.hop
        assert former.epoch <= later.epoch
        assert former.epoch < later.epoch or former.hop_s == later.hop_s
    due = [m.hop for m in found if m.hop_s != 0.5 and m.hop % round(1 / m.hop_s) == 0]
    assert [e.hop for e in entries(tmp_path, FINAL)][: len(due)] == due


def test_a_second_daemon_on_one_journal_ends_in_one_sentence(tmp_path, name, source, bundle):
    with running(tmp_path, name, source, bundle) as (first, subscriber):
        with Daemon(tmp_path, one_stream(name), bundle) as second:
            code, written = second.end()
        assert code == 8
        assert "found that another daemon writes it" in written.splitlines()[-1]
        push(source, subscriber, 2, epoch=1)
        assert first.process.poll() is None


def reboot(folder):
    """Let the journal look as if this computer had been rebooted since."""
    with contextlib.closing(sqlite3.connect(folder / "journal.sqlite", isolation_level=None)) as db:
        (blob,) = db.execute("SELECT state FROM restart").fetchone()
        state = msgspec.msgpack.decode(blob) | {"boot": "another"}
        db.execute("UPDATE restart SET state = ?", (msgspec.msgpack.encode(state),))


@pytest.mark.parametrize(
    ("ends", "fsync", "jumps"),
    [("killed", "periodic", True), ("stopped", "periodic", False), ("killed", "each", False)],
)
def test_after_a_power_cut_no_number_comes_twice(
    tmp_path, name, source, bundle, ends, fsync, jumps
):
    settings = {"more": f'[journal]\nfsync = "{fsync}"'}
    with running(tmp_path, name, source, bundle, settings) as (daemon, subscriber):
        push(source, subscriber, 3, epoch=2)
        daemon.process.send_signal(signal.SIGKILL if ends == "killed" else signal.SIGTERM)
        daemon.process.wait(30)
    reboot(tmp_path)
    before = len(entries(tmp_path))
    with running(tmp_path, name, source, bundle, settings) as (daemon, subscriber):
        push(source, subscriber, 2, epoch=4)
    for topic in (LIVE, "stream.cage"):
        seqs = [entry.seq for entry in entries(tmp_path, topic)]
        assert (max(seqs) > 10**12) == jumps
        steps = np.diff(seqs)
        assert (steps > 0).all()
        assert (steps != 1).sum() == jumps
    assert len(entries(tmp_path)) >= before + 2


@pytest.mark.parametrize("trouble", ["locked", "deleted"])
def test_a_number_that_was_heard_never_comes_again(tmp_path, name, source, bundle, trouble):
    """Killed while the journal lacks what was published."""
    path, heard = tmp_path / "journal.sqlite", []
    with running(tmp_path, name, source, bundle) as (daemon, subscriber):
        push(source, subscriber, 2, epoch=1)
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            if trouble == "locked":
                other.execute("BEGIN EXCLUSIVE")
            else:
                for file in tmp_path.glob("journal.sqlite*[lm]"):  # its lock stays
                    file.unlink()
                daemon.event("journal not on disk")
            push(source, subscriber, 3, epoch=4)
            daemon.process.kill()
            daemon.process.wait(30)
        heard += subscriber.heard
    for _ in range(2):
        with running(tmp_path, name, source, bundle) as (daemon, subscriber):
            source.push(2 * SFREQ, data=noise(2 * SFREQ, seed=source.sent))
            subscriber.until(lambda m: getattr(m, "kind", "") == "live")
            daemon.process.kill()
            daemon.process.wait(30)
            heard += subscriber.heard
    for topic in (LIVE, FINAL, "stream.cage"):
        seqs = [m.seq for m in heard if m.topic == topic and not m.replayed]
        assert (np.diff(seqs) > 0).all(), (topic, seqs)
