"""A GPU gets ready, or is lost, while a real daemon runs: who is told, and what goes on."""

import json
import os
import select
import signal
import socket
import sqlite3
from contextlib import closing, contextmanager

import pylsl
import pytest
from prometheus_client.parser import text_string_to_metric_families

from daemon.journal.packing import unpack
from daemon.messages import StageMessage, StreamMessage
from tests.rigs.daemon import Daemon, Listener, is_live, one_stream
from tests.support.signals import noise

pytest.importorskip("cuda.bindings")

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
def start(name, systemd, bundle, tmp_path):
    """Start a daemon, start(kind of the engine, what is in its environment), on a device that is
    lost as soon as the file `lost` is in its folder.
    """
    return lambda kind="auto", **environ: Daemon(
        tmp_path,
        one_stream(name),
        bundle,
        environ={"NOTIFY_SOCKET": systemd.getsockname(), **environ},
        arguments=("-m", "tests.rigs.gpu_daemon", kind, str(tmp_path / "lost")),
    )


@pytest.fixture
def held(tmp_path):
    """A pipe that the process which tries the GPU waits at, until who opened it closes it."""
    os.mkfifo(tmp_path / "held")
    return tmp_path / "held"


@pytest.fixture
def daemon(source, start):
    """A daemon that the GPU stages for."""
    with start() as daemon:
        listen(daemon, source)
        daemon.engine = entry(daemon, 1, "engine", engine=GPU)
        yield daemon


def entry(daemon, n, event, **fields):
    """Return the n-th entry of an event in a daemon's log, whatever comes between; wait for it."""
    while (
        len(found := [e for e in daemon.log if {"event": event, **fields}.items() <= e.items()]) < n
    ):
        daemon.event(event, **fields)
    return found[n - 1]


def listen(daemon, source):
    """Wait until a daemon reads the source."""
    daemon.listen()
    daemon.first = entry(daemon, 1, "engine")
    entry(daemon, 1, "stream", state="FILLING")
    source.wait_for_consumers()


@contextmanager
def subscribed(daemon):
    """One who heard the daemon's first words again, so that nothing later escapes it."""
    with Listener(daemon.endpoint) as subscriber:
        subscriber.until(lambda m: isinstance(m, StreamMessage))
        yield subscriber


@pytest.fixture
def subscriber(daemon):
    with subscribed(daemon) as subscriber:
        yield subscriber


def push(source, subscriber, n_epochs, epoch):
    """Push epochs and wait for the last one's live estimate."""
    source.push(n_epochs * SFREQ, data=noise(n_epochs * SFREQ, seed=source.sent))
    subscriber.until(is_live(epoch))


def journalled(folder):
    """Return the engine of the run, and epoch and engine of every live estimate."""
    with closing(sqlite3.connect(folder / "journal.sqlite")) as journal:
        ((engine,),) = journal.execute("SELECT engine FROM session").fetchall()
        sql = "SELECT packed FROM message WHERE topic = 'stage.m1.live' ORDER BY seq"
        kept = [json.loads(unpack(packed)) for (packed,) in journal.execute(sql)]
    return engine, [(m["epoch"], m["engine"]) for m in kept]


def markers(folder):
    return [*(folder / "plans").glob("*.failed")]


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
    passed = daemon.engine["why"]
    assert passed.startswith("a GPU is there and passed the parity check, within")
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
    assert journalled(tmp_path) == (spare, [(k, GPU if k < 2 else spare) for k in range(6)])


def test_stages_come_at_once_and_from_the_gpu_when_it_is_ready(source, start, held, tmp_path):
    with start(FAKE_TRIAL=str(held)) as daemon:
        listen(daemon, source)
        why, processor = daemon.first["why"], daemon.first["engine"]
        assert processor.startswith("onnxruntime")
        assert why == "until a GPU is ready (tensorrt or else tensorrt-rtx)"
        with subscribed(daemon) as subscriber:
            with held.open("wb"):  # the plan is being built
                push(source, subscriber, 4, 3)
                assert daemon.get("/readyz")[0] == 200
                info, losses = scraped(daemon)
                assert (info["engine"], info["engine_why"], losses) == (processor, why, 0)
            now = entry(daemon, 2, "engine")
            push(source, subscriber, 4, 7)
            live = [m for m in stages(subscriber) if m.kind == "live"]
        assert now["engine"] == GPU
        assert [(m.epoch, m.engine) for m in live] == [
            (k, processor if k < 4 else GPU) for k in range(8)
        ]
        assert [m.slots_filled for m in live] == [1, 2, 3, 4, 5, 5, 5, 5]
        info, losses = scraped(daemon)
        assert (info["engine"], info["engine_why"], losses) == (GPU, now["why"], 0)
    assert journalled(tmp_path) == (GPU, [(m.epoch, m.engine) for m in live])


def test_one_that_was_asked_for_by_name_and_crashes_is_a_remark_at_every_start(
    source, start, systemd, tmp_path
):
    """Only the first start tries it; all of them stage."""
    whys = []
    for _ in range(2):
        with start("tensorrt", FAKE_TRIAL="crash") as daemon:
            listen(daemon, source)
            whys.append(entry(daemon, 2, "engine")["why"])
            with subscribed(daemon) as subscriber:
                source.push(3 * SFREQ)
                subscriber.until(lambda m: isinstance(m, StageMessage))
            assert scraped(daemon)[1] == 0
            daemon.ask_to_stop()
            assert daemon.end()[0] == 0
        status = ""
        while "engine: tensorrt cannot be used: " not in status:
            status = systemd.recv(4096).decode()
        assert f"; engine: {whys[-1]}; onnxruntime" in status
    assert "ended by SIGSEGV" in whys[0]
    assert whys[0] == whys[1]
    assert len(markers(tmp_path)) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_process_that_builds_ends_with_the_daemon(start, held, tmp_path, number):
    with start(FAKE_TRIAL=str(held)) as daemon:
        daemon.wait_ready()
        with held.open("wb") as pipe:
            daemon.process.send_signal(number)
            gone = select.poll()
            gone.register(pipe, 0)
            assert gone.poll()  # nobody is left to read
        assert daemon.end()[0] == (0 if number == signal.SIGTERM else -number)
    assert not markers(tmp_path)


def test_a_driver_that_ends_the_daemon_ends_it_once(start, tmp_path):
    with start("tensorrt", CRASH="") as daemon:
        assert daemon.end()[0] == -signal.SIGSEGV
    with start("tensorrt", CRASH="") as daemon:
        daemon.wait_ready()
        why = entry(daemon, 2, "engine")["why"]
        assert "to load, as it did in a process apart, found the daemon's end; " in why
    assert len(markers(tmp_path)) == 1
