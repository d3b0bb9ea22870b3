"""The real mouse, from its file through LSL and the daemon to a subscriber, and offline."""

import csv
import json
import signal
import subprocess
import uuid

import numpy as np
import pytest

from daemon.messages import StageMessage
from engines.bundle import open_bundle
from models.recordings.agreement import compare
from models.recordings.find import hash_file
from models.recordings.hypnograms.read import read_hypnogram
from models.stages import MOUSE
from tests.rigs.accuracy import real_mouse
from tests.rigs.accuracy.real_mice import RECORDINGS, SEEN, read_scorers
from tests.rigs.accuracy.threshold_scorer import EPOCH_S
from tests.rigs.daemon import Daemon, Listener, is_live, one_stream
from tests.rigs.forked import Forked
from tests.rigs.lsl import Source

FINAL_LAG = 4
LIVE_S = 900  # of the recording: fourteen context windows


def start(*arguments):
    return Forked(arguments, stdout=subprocess.PIPE)


@pytest.fixture(scope="module")
def scored(shared_data, tmp_path_factory):
    """Stage the recording offline; return every row of the table, by kind and epoch."""
    recording = shared_data / "mouse_raw" / "mouse_eeg_emg_29min.edf"
    table = tmp_path_factory.mktemp("score") / "stages.csv"
    process = start("score", recording, "--csv", table, "--json")
    summary, _ = process.communicate()
    assert process.returncode == 0
    with table.open(newline="", encoding="utf-8") as lines:
        rows = {(row["kind"], int(row["hop"])): row for row in csv.DictReader(lines)}
    n_epochs = json.loads(summary)["subjects"]["m1"]["epochs"]
    assert n_epochs == 1742
    return recording, rows


def test_live_and_offline_are_the_same(scored, tmp_path):
    recording, rows = scored
    name = f"mouse-{uuid.uuid4().hex}"
    with Daemon(tmp_path, one_stream(name), open_bundle().path) as daemon:
        daemon.listen()
        with Listener(daemon.endpoint, "stage.m1.") as subscriber:
            daemon.event("ready")
            played = ("--name", name, "--speed", "max", "--duration", LIVE_S, "--quiet")
            with start("replay", recording, *played) as replay:
                subscriber.until(is_live(LIVE_S - 1))
                daemon.signal(signal.SIGTERM)
                subscriber.until(lambda m: (m.kind, m.epoch) == ("final", LIVE_S - 1))
                assert daemon.end()[0] == 0
                assert replay.wait() == 0
    heard = [m for m in subscriber.heard if m.epoch < LIVE_S]
    for kind in ("live", "final"):
        messages = [m for m in heard if m.kind == kind]
        assert [m.epoch for m in messages] == list(range(LIVE_S))
        onsets = np.array([m.onset for m in messages])
        np.testing.assert_allclose(np.diff(onsets), 1.0, atol=1e-9)
        same_context = messages if kind == "live" else messages[:-FINAL_LAG]
        for message in same_context:
            assert_same(message, rows[kind, message.hop])


def assert_same(message: StageMessage, row):
    """A message says what the table says, probabilities to 1e-6."""
    assert message.stage == row["stage"]
    assert (message.pathway or "") == row["pathway"]
    assert (message.reason or "") == row["reason"]
    assert message.slots_filled == int(row["slots_filled"])
    for stage, probability in message.probabilities.items():
        assert probability == pytest.approx(float(row[f"p_{stage}"]), abs=1e-6)


def test_the_gap_masks_exactly_the_epochs_it_touches(shared_data, tmp_path):
    first_s, n_epochs = 1700, 42
    with np.load(shared_data / "mouse_raw" / "mouse_eeg_emg_29min_gap.npz") as file:
        times = file["sample_index"] / float(file["sfreq"])
        data = np.stack([file["eeg"], file["emg"]], axis=1) * float(file["microvolt_per_bit"])
    kept = (times >= first_s) & (times < first_s + n_epochs)
    times, data = times[kept], data[kept]
    lost = np.flatnonzero(np.diff(times) > 0.0015)
    touched = {int(t - first_s) for i in lost for t in (times[i] + 0.001, times[i + 1] - 0.001)}
    assert touched
    name = f"gap-{uuid.uuid4().hex}"
    source = Source(name, sfreq=1000.0, labels=["EEG", "EMG"], units=["uV", "uV"])
    ends = "[staging]\nstall_s = 2.0"  # the last epoch lacks its last samples
    with source, Daemon(tmp_path, one_stream(name), open_bundle().path, more=ends) as daemon:
        daemon.listen()
        with Listener(daemon.endpoint, "stage.m1.") as subscriber:
            daemon.event("connected")
            source.push(len(data), data=data, timestamps=times)
            subscriber.until(is_live(n_epochs - 1))
    live = [m for m in subscriber.heard if m.kind == "live"]
    assert [m.epoch for m in live] == list(range(n_epochs))
    assert {m.epoch for m in live if m.stage == "UNKNOWN"} == touched
    for message in live:
        why = "missing" if message.epoch in touched else "ok"
        assert message.validity == {"eeg": why, "emg": why}


@pytest.mark.usefixtures("shared_data")
@pytest.mark.parametrize(
    ("recording", "least"),
    [(RECORDINGS[0], 0.6), (RECORDINGS[3], 0.65)],
    ids=["where the three scorers agree", "by eye"],
)
def test_the_shipped_bundle_stages_recordings_it_did_not_learn_from(recording, least):
    """docs/accuracy.md has the figures; the first bundle had 0.06 and 0.58."""
    bundle = open_bundle()
    assert hash_file(recording) not in bundle.manifest.learnt_from
    live = [estimate.stage for estimate in real_mouse.stage(recording, bundle)["live"]]
    if recording in SEEN:
        truth = read_hypnogram(SEEN[recording], MOUSE).to_epochs(EPOCH_S, len(live))
    else:
        truth = read_scorers(recording)["consensus"]
    n = min(len(truth), len(live))
    assert compare(truth[:n], live[:n], MOUSE).kappa >= least
