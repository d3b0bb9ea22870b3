"""The signal itself goes wrong, as it does in the animal lab: what the daemon publishes."""

import uuid

import numpy as np
import pytest

from daemon.messages import StageMessage
from tests.rigs.daemon import Daemon, Listener, one_stream
from tests.rigs.lsl import Source
from tests.support.bundles import human_spec, make_bundle_of

SFREQ = 512
EVERY, FIRST, LAST = 7, 2, 5
"""Of every so many epochs those from FIRST to before LAST have a fault."""


@pytest.fixture
def hypnod(tmp_path, bundle):
    """A source, and the subscriber to a daemon that reads it."""
    name = f"fault-{uuid.uuid4().hex}"
    with (
        Source(name, sfreq=SFREQ) as source,
        Daemon(tmp_path, one_stream(name), bundle) as daemon,
    ):
        daemon.listen()
        source.wait_for_consumers()
        with Listener(daemon.endpoint, "stage.") as subscriber:
            yield source, subscriber


def noise(n_epochs, seed=0):
    return np.random.default_rng(seed).normal(0, 50, (n_epochs * SFREQ, 2)).round(1)


def live_until(subscriber, epoch):
    subscriber.until(lambda m: m.kind == "live" and m.epoch == epoch)
    live = [m for m in subscriber.heard if isinstance(m, StageMessage) and m.kind == "live"]
    assert [m.epoch for m in live] == list(range(epoch + 1))
    assert np.diff([m.onset for m in live]) == pytest.approx(np.ones(epoch))
    return live


def mains(x):
    return 2000 * np.sin(2 * np.pi * 50 * np.arange(len(x)) / SFREQ)


FAULTS = {
    "not_finite": lambda x: np.full_like(x, np.nan),
    "not_finite inf": lambda x: np.full_like(x, np.inf),
    "flat": np.zeros_like,
    "clipped": lambda x: np.clip(x, -60, 60),
    "mains": mains,
    "out_of_range": lambda x: x * 500,
}


LAST_FAULT = EVERY * (len(FAULTS) - 1) + LAST - 1


def spoilt(channels):
    """Return noise that has each fault in turn, and the fault of each epoch that has one."""
    data = noise(EVERY * len(FAULTS))
    faulty = {}
    for i, (name, spoil) in enumerate(FAULTS.items()):
        epochs = range(EVERY * i + FIRST, EVERY * i + LAST)
        part = slice(epochs.start * SFREQ, epochs.stop * SFREQ)
        for channel in channels:
            data[part, channel] = spoil(data[part, channel])
        faulty |= dict.fromkeys(epochs, name.split()[0])
    faulty[LAST_FAULT + 1] = "settling"  # the filter rings of what was out of range
    return data, faulty


def test_a_bad_emg_is_left_out_and_the_eeg_is_read(hypnod):
    source, subscriber = hypnod
    data, faulty = spoilt([1])
    source.push(len(data), data=data)
    live = live_until(subscriber, EVERY * len(FAULTS) - 1)
    assert {m.epoch: m.validity["emg"] for m in live if m.validity["emg"] != "ok"} == faulty
    assert {m.epoch for m in live if m.pathway == "eeg"} == set(faulty)
    assert all(m.pathway == "mixed" for m in live if m.epoch not in faulty)
    assert all(m.validity["eeg"] == "ok" and m.stage in m.probabilities for m in live)


def test_all_channels_bad_is_unknown_or_an_artefact_and_says_why(hypnod):
    source, subscriber = hypnod
    data, faulty = spoilt([0, 1])
    source.push(len(data), data=data)
    live = live_until(subscriber, EVERY * len(FAULTS) - 1)
    assert {m.epoch for m in live if m.pathway is None} == set(faulty)
    for epoch, reason in faulty.items():
        message = live[epoch]
        assert message.stage == ("UNKNOWN" if reason in ("flat", "not_finite") else "ART")
        assert message.reason == f"eeg {reason}, emg {reason}"
        assert message.probabilities == {}


def test_a_person_s_bad_eog_is_marked_absent_and_the_eeg_is_read(tmp_path):
    """The one net reads both; a fault of more than half of an epoch costs it the modality."""
    spec = human_spec()
    n, name = round(spec.epoch_s * SFREQ), f"fault-{uuid.uuid4().hex}"
    data = noise(8 * round(spec.epoch_s))
    data[2 * n : 3 * n, 1] = np.nan
    data[4 * n : 4 * n + n // 4, 1] = np.clip(data[4 * n : 4 * n + n // 4, 1], -60, 60)
    stream = one_stream(name).replace("emg", "eog").replace("EMG", "EOG")
    bundle = make_bundle_of(spec, tmp_path)
    with (
        Source(name, sfreq=SFREQ, labels=("EEG", "EOG")) as source,
        Daemon(tmp_path, stream, bundle) as daemon,
    ):
        daemon.listen()
        source.wait_for_consumers()
        with Listener(daemon.endpoint, "stage.") as subscriber:
            source.push(len(data), data=data)
            subscriber.until(lambda m: m.kind == "live" and m.epoch == 6)
    live = [m for m in subscriber.heard if m.kind == "live"]
    assert {m.epoch: m.validity["eog"] for m in live if m.validity["eog"] != "ok"} == {
        2: "not_finite"
    }
    assert all(m.pathway == "mixed" and m.stage in m.probabilities for m in live)


def test_the_emg_electrode_is_off_for_ten_minutes(hypnod):
    """The EEG is read alone from the first epoch without EMG to the last, and nothing is lost."""
    source, subscriber = hypnod
    block_s, blocks = 60, 12
    for block in range(blocks):
        data = noise(block_s, seed=block)
        if 1 <= block < 11:
            data[:, 1] = mains(data) + data[:, 1] / 100
        source.push(len(data), data=data)
        live = live_until(subscriber, (block + 1) * block_s - 1)
    pathways = [m.pathway for m in live]
    assert pathways == ["mixed"] * 60 + ["eeg"] * 600 + ["mixed"] * 60
    assert {m.validity["emg"] for m in live[60:660]} == {"mains"}
    assert all(m.stage in m.probabilities for m in live)
    final = {m.epoch: m.pathway for m in subscriber.heard if m.kind == "final"}
    assert all(final[epoch] == pathways[epoch] for epoch in final)
