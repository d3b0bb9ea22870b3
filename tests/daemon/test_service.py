import json
import os
import re
import signal
import socket
import time
from collections import Counter
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import numpy as np
import pylsl
import pytest
from prometheus_client.parser import text_string_to_metric_families

from daemon.config import parse_config
from daemon.messages import Heartbeat, StageMessage, StreamMessage
from daemon.metrics import Metrics
from daemon.service import Service
from tests.rigs.daemon import Daemon, Listener, clients_of, is_live, one_stream, write_config
from tests.rigs.lsl import Source, wait_until
from tests.support.signals import pipeline, run
from tools.daemon_process import start_daemon

SFREQ = 512
FINAL_LAG = 4


def noise(n_epochs, n_channels=2):
    return np.random.default_rng(0).normal(0, 50, (n_epochs * SFREQ, n_channels)).round(1)


def push(source, n_epochs):
    """Push whole epochs at once: LSL carries any timestamps, so a test need not take that long."""
    return source.push(n_epochs * SFREQ, data=noise(n_epochs))


def stages_of(messages, kind=None):
    return [m for m in messages if isinstance(m, StageMessage) and kind in (None, m.kind)]


@pytest.fixture
def daemon(name, source, bundle, tmp_path):
    """A daemon connected to a source, nothing pushed yet."""
    with Daemon(tmp_path, one_stream(name), bundle) as daemon:
        daemon.listen()
        daemon.event("ready")
        source.wait_for_consumers()
        daemon.event("stream", state="FILLING")
        yield daemon


@pytest.fixture
def subscriber(daemon):
    """One who heard the daemon's first words again, so that nothing later escapes it."""
    with Listener(daemon.endpoint) as subscriber:
        subscriber.until(lambda m: isinstance(m, StreamMessage))
        yield subscriber


def test_every_epoch_is_published_once_in_order(source, daemon, subscriber):
    times = push(source, 10)
    subscriber.until(is_live(9))
    heard = [m for m in stages_of(subscriber.heard) if not m.replayed]
    for kind, n in (("live", 10), ("final", 10 - FINAL_LAG - 1)):
        found = [(m.seq, m.epoch, m.hop) for m in stages_of(heard, kind)]
        assert found == [(k, k, k) for k in range(n)]
    first = heard[0]
    assert first.onset == pytest.approx(times[0], abs=1 / SFREQ)
    assert first.stage in first.probabilities
    assert sum(first.probabilities.values()) == pytest.approx(1)
    assert first.confidence == max(first.probabilities.values())
    assert first.latency_s > 0
    assert first.pathway == "mixed"
    assert first.validity == {"eeg": "ok", "emg": "ok"}
    maps = Path(f"/proc/{daemon.process.pid}/maps").read_text("utf-8")
    assert "onnxruntime" in maps
    assert "libtorch" not in maps
    assert [m.slots_filled for m in stages_of(heard, "live")] == [1, 2, 3, 4, 5, 5, 5, 5, 5, 5]


def test_live_messages_say_what_the_signal_looks_like_and_final_ones_do_not_repeat_it(
    source, subscriber
):
    times = push(source, 7)
    subscriber.until(is_live(6))
    offline = run(pipeline(), noise(7).astype(np.float32), np.asarray(times), [7 * SFREQ])
    for message, batch in zip(stages_of(subscriber.heard, "live"), offline, strict=True):
        assert [*message.features.eeg_db, message.features.emg_db] == batch.features[0].tolist()
    finals = stages_of(subscriber.heard, "final")
    assert finals
    assert {m.features for m in finals} == {None}


def test_a_recorder_gets_the_live_stages_at_their_onsets(source, daemon, subscriber):
    (found,) = pylsl.resolve_byprop("name", "hypnod.cage", timeout=20)
    inlet = pylsl.StreamInlet(found)
    inlet.open_stream(timeout=20)
    push(source, 5)
    recorded = [inlet.pull_sample(timeout=20) for _ in range(5)]
    subscriber.until(is_live(4))
    live = stages_of(subscriber.heard, "live")
    assert [stages for stages, _ in recorded] == [[m.stage] for m in live]
    assert [t for _, t in recorded] == pytest.approx([m.onset for m in live], abs=1e-3)
    inlet.close_stream()


def test_streams_are_staged_side_by_side(name, source, bundle, tmp_path):
    with (
        Source(f"{name}-2", sfreq=256) as other,
        Daemon(tmp_path, one_stream(name) + one_stream(f"{name}-2", "den", "m2"), bundle) as daemon,
    ):
        daemon.listen()
        source.wait_for_consumers()
        other.wait_for_consumers()
        with Listener(daemon.endpoint) as subscriber:
            beat = {"cage": "FILLING", "den": "FILLING"}
            subscriber.until(lambda m: isinstance(m, Heartbeat) and m.states == beat)
            push(source, 6)
            other.push(6 * 256, data=noise(3))
            for _ in range(2):  # the last of each, whoever is first
                subscriber.until(is_live(5))
            daemon.signal(signal.SIGTERM)
            subscriber.until(lambda m: isinstance(m, StreamMessage) and m.state == "STOPPED")
            subscriber.until(lambda m: isinstance(m, StreamMessage) and m.state == "STOPPED")
    for subject in ("m1", "m2"):
        of = [m for m in stages_of(subscriber.heard) if m.subject == subject and not m.replayed]
        for kind in ("live", "final"):
            found = [(m.seq, m.epoch) for m in of if m.kind == kind]
            assert found == [(k, k) for k in range(6)]


def test_a_late_subscriber_gets_the_last_of_everything_but_live_stages(source, daemon, subscriber):
    push(source, 10)
    subscriber.until(is_live(9))
    subscriber.until(lambda m: isinstance(m, Heartbeat) and m.states == {"cage": "STAGING"})
    with Listener(daemon.endpoint) as late:
        beat = late.until(lambda m: isinstance(m, Heartbeat))
        final, state = (
            late.until(lambda m, t=t: isinstance(m, t)) for t in (StageMessage, StreamMessage)
        )
        assert beat.states == {"cage": "STAGING"}
        assert (final.kind, final.epoch, final.replayed) == ("final", 9 - FINAL_LAG, True)
        assert (state.state, state.replayed) == ("STAGING", True)
        source.push(SFREQ, data=noise(1))
        first = late.until(lambda m: isinstance(m, StageMessage) and m.kind == "live")
        assert (first.epoch, first.replayed) == (10, False)


@pytest.mark.parametrize("late_s", [0.0, 1.5])
def test_age_is_from_the_end_of_the_epoch_by_the_source_and_grows_with_a_late_chunk(
    source, daemon, subscriber, late_s
):
    ends = source.clock() - late_s
    before = pylsl.local_clock()
    source.push(3 * SFREQ, timestamps=ends + np.arange(-3 * SFREQ, 0) / SFREQ, data=noise(3))
    last = subscriber.until(is_live(2))
    after = pylsl.local_clock()
    exact = 2 / SFREQ  # a clock offset, and the last sample's own length
    assert last.onset + last.epoch_s == pytest.approx(ends, abs=exact)
    assert before - ends - exact <= last.age_s <= after - ends + exact
    assert late_s <= last.age_s + exact
    assert last.latency_s < last.age_s + exact
    for older in stages_of(subscriber.heard, "live")[:2]:
        assert older.age_s == pytest.approx(last.age_s + 2 - older.epoch, abs=after - before)


@pytest.mark.parametrize("by_s", [1.7e9, 1800.0, -1800.0])
def test_utc_is_right_whatever_clock_the_source_stamps_by(source, daemon, subscriber, by_s):
    ends = source.clock()
    before = time.time()
    source.push(3 * SFREQ, timestamps=ends + by_s + np.arange(-3 * SFREQ, 0) / SFREQ, data=noise(3))
    last = subscriber.until(is_live(2))
    after = time.time()
    assert last.onset + last.epoch_s == pytest.approx(ends + by_s, abs=2 / SFREQ)
    end = datetime.fromisoformat(last.utc).timestamp() + last.epoch_s
    assert before - 0.1 <= end <= after + 0.1
    assert -0.1 <= last.age_s <= after - before + 0.1
    streams = [m.reason for m in subscriber.heard if isinstance(m, StreamMessage)]
    (said,) = {reason for reason in streams if "this machine's clock" in reason}
    assert float(re.search(r"are ([0-9.]+) s", said)[1]) == pytest.approx(abs(by_s), abs=10)
    assert "utc and age_s go by the arrival" in said


def test_what_waited_for_a_frozen_daemon_is_as_old_as_it_is(source, daemon, subscriber):
    """By whatever clock it is stamped: the first epoch says how that stands to this machine's."""
    origin = source.clock() + 1e6
    source.push(SFREQ, timestamps=origin + np.arange(-SFREQ, 0) / SFREQ, data=noise(1))
    subscriber.until(is_live(0))
    daemon.signal(signal.SIGSTOP)
    ends = source.clock()
    stamps = np.arange(0, (ends + 1e6 + 3 - origin) * SFREQ) / SFREQ
    source.push(len(stamps), timestamps=origin + stamps, data=np.resize(noise(3), (len(stamps), 2)))
    wait_until(lambda: source.clock() > ends + 3, "three seconds")
    daemon.signal(signal.SIGCONT)
    first, third = subscriber.until(is_live(1)), subscriber.until(is_live(3))
    assert first.age_s > 1.9
    assert first.age_s == pytest.approx(third.age_s + 2, abs=0.5)


def test_sigterm_publishes_the_finals_and_ends_in_order(source, daemon, subscriber):
    push(source, 10)
    subscriber.until(is_live(9))
    daemon.signal(signal.SIGTERM)
    subscriber.until(lambda m: isinstance(m, StreamMessage) and m.state == "STOPPED")
    assert daemon.end()[0] == 0
    live, final = (stages_of(subscriber.heard, kind) for kind in ("live", "final"))
    assert [m.epoch for m in final] == [m.epoch for m in live]
    states = [m.state for m in subscriber.heard if isinstance(m, StreamMessage)]
    assert states[-2:] == ["DRAINING", "STOPPED"]
    for messages in (live, final):
        assert [m.seq for m in messages] == list(range(len(messages)))


def test_sigint_ends_as_well(daemon):
    daemon.signal(signal.SIGINT)
    assert daemon.end()[0] == 0


def test_a_second_sigint_forces_the_exit(name, bundle, tmp_path):
    config = write_config(tmp_path, one_stream(name), bundle)
    log, stderr = os.pipe()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd, os.fdopen(log) as lines:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(30)
        process = start_daemon(config, {"NOTIFY_SOCKET": str(tmp_path / "notify")}, stderr)
        os.close(stderr)
        clients = []
        try:
            while "RESOLVING" not in next(lines):
                pass
            clients = clients_of(process.pid).values()
            for pid in clients:
                os.kill(pid, signal.SIGSTOP)  # the shutdown waits for them
            process.send_signal(signal.SIGINT)
            while systemd.recv(1024) != b"STOPPING=1":
                pass
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
        finally:
            process.kill()
            process.wait()
            for pid in clients:
                with suppress(ProcessLookupError):  # they follow the daemon, sooner or later
                    os.kill(pid, signal.SIGKILL)


def test_metrics_and_probes(source, daemon, subscriber):
    push(source, 10)
    subscriber.until(is_live(9))
    subscriber.until(lambda m: isinstance(m, Heartbeat) and m.states == {"cage": "STAGING"})
    assert daemon.get("/healthz")[0] == 200
    assert daemon.get("/readyz") == (200, '{"ok": true}')
    families = text_string_to_metric_families(daemon.get("/metrics")[1])
    samples = [s for family in families for s in family.samples]
    values = {(s.name, *sorted(s.labels.values())): s.value for s in samples}
    assert values["hypnod_samples_total", "cage"] == 10 * SFREQ
    assert values["hypnod_stream_state", "STAGING", "cage"] == 1
    assert values["hypnod_slots_filled", "cage", "m1"] == 5
    assert values["hypnod_sampling_rate_hertz", "cage"] == pytest.approx(SFREQ, rel=1e-3)
    live = Counter(m.stage for m in stages_of(subscriber.heard, "live"))
    for stage, count in live.items():
        assert values["hypnod_epochs_total", stage, "cage", "m1"] == count
    assert values["hypnod_latency_seconds_count", "cage"] == live.total()
    (info,) = [s.labels for s in samples if s.name == "hypnod_info"]
    first = stages_of(subscriber.heard)[0]
    assert (info["model"], info["engine"], info["config"]) == (
        first.model,
        first.engine,
        first.config,
    )


def test_the_source_goes_and_the_same_comes_back(source, daemon, subscriber):
    times = push(source, 6)
    subscriber.until(is_live(5))
    source.restart()
    daemon.event("reconnected", stream="cage")
    source.wait_for_consumers()
    after = times[-1] + 20 + np.arange(1, 6 * SFREQ + 1) / SFREQ  # 20 s were missed
    source.push(6 * SFREQ, timestamps=after, data=noise(6))
    subscriber.until(is_live(31))
    live = stages_of(subscriber.heard, "live")
    assert [m.epoch for m in live] == list(range(32))
    assert np.diff([m.onset for m in live]) == pytest.approx(np.ones(31))
    assert [m.epoch for m in live if m.stage == "UNKNOWN"] == list(range(6, 26))
    assert {m.reason for m in live if m.stage == "UNKNOWN"} == {"eeg missing, emg missing"}


def test_a_silent_source_is_stalled_and_not_ready(source, name, bundle, tmp_path):
    soon = "[staging]\nstall_s = 0.5"
    with Daemon(tmp_path, one_stream(name), bundle, more=soon) as daemon:
        daemon.listen()
        daemon.event("ready")
        source.wait_for_consumers()
        with Listener(daemon.endpoint) as subscriber:
            push(source, 10)
            subscriber.until(lambda m: isinstance(m, StreamMessage) and m.state == "STALLED")
            code, text = daemon.get("/readyz")
            assert code == 503
            said = json.loads(text)["problems"]["cage"]
            assert said.startswith("STALLED: connected, but no sample")
            assert daemon.get("/healthz")[0] == 200
            message = subscriber.until(
                lambda m: isinstance(m, StageMessage) and m.stage == "UNKNOWN" and m.kind == "live"
            )
            assert message.latency_s is None
            assert message.probabilities == {}


def test_an_absent_source_is_waited_for(name, bundle, tmp_path):
    with Daemon(tmp_path, one_stream(name), bundle) as daemon:
        daemon.listen()
        daemon.event("ready")
        assert name in daemon.event("stream", state="RESOLVING")["reason"]
        assert daemon.get("/readyz")[0] == 503
        with Source(name, sfreq=SFREQ) as source, Listener(daemon.endpoint) as subscriber:
            source.wait_for_consumers()
            subscriber.until(lambda m: isinstance(m, StreamMessage))
            push(source, 3)
            subscriber.until(is_live(2))


def test_one_stream_fails_and_the_other_goes_on(name, source, bundle, tmp_path):
    streams = one_stream(name) + one_stream(f"{name} den", "den", "m2", "E7")
    with Source(f"{name} den", sfreq=SFREQ), Daemon(tmp_path, streams, bundle) as daemon:
        daemon.listen()
        failed = daemon.event("stream", state="FAILED")
        assert failed["stream"] == "den"
        assert "E7" in failed["reason"]
        with Listener(daemon.endpoint) as subscriber:
            state = subscriber.until(
                lambda m: isinstance(m, StreamMessage) and (m.stream, m.state) == ("den", "FAILED")
            )
            assert state.reason == failed["reason"]
            push(source, 3)
            subscriber.until(is_live(2))
            problems = json.loads(daemon.get("/readyz")[1])["problems"]
            assert problems == {"den": f"FAILED: {failed['reason']}"}
            daemon.signal(signal.SIGTERM)
            assert daemon.end()[0] == 0


@pytest.mark.parametrize(
    ("more", "code", "sentence"),
    [
        ({"eeg": "E7"}, 5, "E7"),
        ({"n_channels": 8}, 5, "expected 8 channels, found 2"),
        ({"sfreq": 1000.0}, 5, "expected 1000 Hz, found 512 Hz"),
    ],
)
def test_a_stream_unlike_the_config_ends_the_daemon(
    name, source, bundle, tmp_path, more, code, sentence
):
    with Daemon(tmp_path, one_stream(name, **more), bundle) as daemon:
        daemon.event("stream", state="FAILED")
        found, written = daemon.end()
        assert found == code
        assert sentence in written.splitlines()[-1]
        assert written.splitlines()[-1].startswith("hypnod: ")


def test_two_matching_streams_end_the_daemon(name, source, bundle, tmp_path):
    with Source(name, sfreq=SFREQ), Daemon(tmp_path, one_stream(name), bundle) as daemon:
        daemon.event("stream", state="FAILED")
        code, written = daemon.end()
        assert code == 5
        assert "expected exactly one visible stream" in written.splitlines()[-1]


def test_wrong_units_end_the_daemon(name, source, bundle, tmp_path):
    with Daemon(tmp_path, one_stream(name), bundle) as daemon:
        daemon.event("stream", state="FILLING")
        source.push(12 * SFREQ, data=noise(12) / 1000)  # mV, said to be µV
        code, written = daemon.end()
        assert code == 5
        assert "mV" in written.splitlines()[-1]


def test_a_bad_config_is_one_sentence_and_exit_3(name, bundle, tmp_path):
    streams = one_stream(name).replace("match", "mtach")
    with Daemon(tmp_path, streams, bundle) as daemon:
        code, written = daemon.end()
    assert code == 3
    assert "did you mean 'match'?" in written
    assert written.count("\n") == 1


def test_a_hop_that_does_not_fit_is_one_sentence_and_exit_3(name, bundle, tmp_path):
    with Daemon(tmp_path, one_stream(name), bundle, more="[staging]\nhop_s = 0.3") as daemon:
        daemon.listen()
        code, written = daemon.end()
    assert code == 3
    assert "expected a whole fraction of the epoch of 1 s, found 0.3 s" in written


def test_a_modality_that_the_model_does_not_read_ends_the_start(name, bundle, tmp_path):
    """Before a socket is bound or the journal is touched."""
    streams = one_stream(name).replace("emg =", "ecg =")
    with Daemon(tmp_path, streams, bundle) as daemon:
        code, written = daemon.end()
    assert code == 3
    assert "expected channels for eeg and emg, found eeg, ecg" in written
    assert "listening" not in written
    assert not (tmp_path / "journal.sqlite").exists()


def test_without_progress_the_process_is_not_healthy(name):
    service = Service(parse_config(one_stream(name), "test"), Metrics())
    assert service._unhealthy() == {}
    service._progressed -= 11
    assert service._unhealthy() == {"loop": "no progress for 11 s"}
    assert service._unready() == {"engine": "not running"}
    service._notifier.close()


def test_a_missing_bundle_is_one_sentence_and_exit_4(name, tmp_path):
    with Daemon(tmp_path, one_stream(name), tmp_path / "nowhere") as daemon:
        code, written = daemon.end()
    assert code == 4
    assert "expected a bundle" in written.splitlines()[-1]


@pytest.mark.parametrize("which", ["publish", "metrics"])
def test_a_port_in_use_is_one_sentence_and_exit_7(name, bundle, tmp_path, which):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        taken = {"bind": f"tcp://127.0.0.1:{port}"} if which == "publish" else {"port": port}
        with Daemon(tmp_path, one_stream(name), bundle, **taken) as daemon:
            code, written = daemon.end()
    assert code == 7
    assert re.search(rf"expected a free (address|port).* found .*1:{port}.* in use", written)


def test_systemd_is_told_when_it_is_ready_and_fed_while_it_works(name, source, bundle, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(30)
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
        with Daemon(tmp_path, one_stream(name), bundle, environ=environ) as daemon:
            said = [systemd.recv(1024).decode()]
            while said.count("WATCHDOG=1") < 3:
                said.append(systemd.recv(1024).decode())
            daemon.signal(signal.SIGTERM)
            while said[-1] != "STATUS=cage: stopped":
                said.append(systemd.recv(1024).decode())
            assert daemon.end()[0] == 0
    assert said[0] == "STATUS=cage: starting"
    assert said.index("READY=1") < said.index("WATCHDOG=1") < said.index("STOPPING=1")
