"""A GPU is lost while a real daemon runs: who is told, and what goes on."""

import json
import socket
import sqlite3
from contextlib import closing

import pylsl
import pytest
from prometheus_client.parser import text_string_to_metric_families

from daemon.journal.packing import unpack
from daemon.messages import StageMessage, StreamMessage
from tests.rigs.daemon import Daemon, Listener, is_live, one_stream
from tests.support.signals import noise

SFREQ = 512
GPU = "tensorrt 11.4.0 fp32 GPU none driver 595.1"
LOST = "GPU: cudaStreamSynchronize: expected success, found cudaErrorUnknown (999)"


def scraped(daemon):
    """Return the labels of hypnod_info, and how often an engine was lost."""
    families = text_string_to_metric_families(daemon.get("/metrics")[1])
    samples = {s.name: s for family in families for s in family.samples}
    return samples["hypnod_info"].labels, samples["hypnod_engine_losses_total"].value


@pytest.fixture
def systemd(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(30)
        yield systemd


@pytest.fixture
def daemon(name, source, systemd, bundle, tmp_path):
    """A daemon on a device that is lost as soon as the file `lost` is in its folder."""
    with Daemon(
        tmp_path,
        one_stream(name),
        bundle,
        environ={"NOTIFY_SOCKET": systemd.getsockname()},
        arguments=("-m", "tests.rigs.losing_daemon", str(tmp_path / "lost")),
    ) as daemon:
        daemon.listen()
        daemon.engine = daemon.event("engine")
        daemon.event("stream", state="FILLING")
        source.wait_for_consumers()
        yield daemon


@pytest.fixture
def subscriber(daemon):
    """One who heard the daemon's first words again, so that nothing later escapes it."""
    with Listener(daemon.endpoint) as subscriber:
        subscriber.until(lambda m: isinstance(m, StreamMessage))
        yield subscriber


def push(source, subscriber, n_epochs, epoch):
    """Push epochs and wait for the last one's live estimate."""
    source.push(n_epochs * SFREQ, data=noise(n_epochs * SFREQ, seed=source.sent))
    subscriber.until(is_live(epoch))


def stages(subscriber):
    return [m for m in subscriber.heard if isinstance(m, StageMessage)]


def test_no_epoch_is_lost_and_each_says_what_computed_it(source, daemon, subscriber, tmp_path):
    (found,) = pylsl.resolve_byprop("name", "hypnod.cage", timeout=20)
    recorder = pylsl.StreamInlet(found)
    recorder.open_stream(timeout=20)
    push(source, subscriber, 4, 3)
    (tmp_path / "lost").touch()
    push(source, subscriber, 4, 7)
    recorded = [recorder.pull_sample(timeout=20)[0] for _ in range(8)]
    recorder.close_stream()
    heard = stages(subscriber)
    live = [m for m in heard if m.kind == "live"]
    spare = live[-1].engine
    assert spare.startswith("onnxruntime")
    assert [(m.epoch, m.engine) for m in live] == [(k, GPU if k < 4 else spare) for k in range(8)]
    assert [m.seq for m in live] == list(range(8))
    assert [m.slots_filled for m in live] == [1, 2, 3, 4, 5, 5, 5, 5]
    assert all(m.stage in m.probabilities for m in heard)
    assert recorded == [[m.stage] for m in live]


def test_log_metric_status_and_journal_say_it_once(source, daemon, systemd, subscriber, tmp_path):
    passed = "a GPU is there and passed the parity check"
    assert (daemon.engine["engine"], daemon.engine["why"]) == (GPU, passed)
    push(source, subscriber, 2, 1)
    info, losses = scraped(daemon)
    assert (info["engine"], info["engine_why"], losses) == (GPU, passed, 0)
    (tmp_path / "lost").touch()
    push(source, subscriber, 4, 5)
    lost, now = daemon.event("engine lost"), daemon.event("engine")
    spare, why = stages(subscriber)[-1].engine, f"{GPU} was lost: {LOST}"
    assert (lost["level"], lost["reason"], lost["now"]) == ("error", LOST, spare)
    assert (now["engine"], now["why"], now["model"]) == (spare, why, daemon.engine["model"])
    info, losses = scraped(daemon)
    assert (info["engine"], info["engine_why"], losses) == (spare, why, 1)
    assert daemon.get("/readyz")[0] == 200
    status = ""
    while LOST not in status:
        status = systemd.recv(1024).decode()
    staging = "STATUS=staging 1 of 1 streams, 1 of 1 subjects"
    assert status == f"{staging}; engine: {why}; {spare} goes on"
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as journal:
        assert journal.execute("SELECT engine FROM session").fetchall() == [(spare,)]
        sql = "SELECT packed FROM message WHERE topic = 'stage.m1.live' ORDER BY seq"
        kept = [json.loads(unpack(packed))["engine"] for (packed,) in journal.execute(sql)]
    assert kept == [GPU] * 2 + [spare] * 4
