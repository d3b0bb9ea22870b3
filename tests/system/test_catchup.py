"""The whole way: a daemon, one who listens all the time, one who sleeps, one who comes late."""

import json
import time
import uuid
from collections import defaultdict

import msgspec
import numpy as np
import pytest

from daemon.journal.reader import JournalReader
from daemon.messages import Heartbeat
from tests.rigs.daemon import Daemon
from tests.rigs.lsl import Source
from tests.support.bundles import TINY, make_bundle
from tools.client.follower import Follower, Start
from tools.client.subscriber import Subscriber
from tools.night.record import Selection, read_records

SFREQ, EPOCHS, HOPS_PER_S, SUBJECTS = 512, 120, 4, 16
LABELS = [f"{modality}{i}" for i in range(SUBJECTS) for modality in ("EEG", "EMG")]
LAST = HOPS_PER_S * (EPOCHS - 1)
"""The hop of the last epoch of the recording, the first one being 0."""
TIMEOUT_S = 60.0


@pytest.fixture
def daemon(tmp_path):
    """A daemon that keeps little for slow subscribers, and its source."""
    name = f"catchup-{uuid.uuid4().hex}"
    subjects = ", ".join(
        f'{{ name = "m{i}", channels = {{ eeg = "EEG{i}", emg = "EMG{i}" }} }}'
        for i in range(SUBJECTS)
    )
    streams = f'[[streams]]\nname = "cage"\nmatch = {{ name = "{name}" }}\nsubjects = [{subjects}]'
    bundle = make_bundle(tmp_path, n_context=5, **TINY)
    hop = f"[staging]\nhop_s = {1 / HOPS_PER_S}\n"
    with (
        Source(name, sfreq=SFREQ, n_channels=len(LABELS), labels=LABELS) as source,
        Daemon(tmp_path, streams, bundle, high_water_mark=2000, more=hop) as daemon,
    ):
        daemon.listen()
        daemon.event("ready")
        source.wait_for_consumers()
        yield daemon, source


def is_whole(records):
    """Whether the last epoch of every subject is there, and so all before it."""
    return sum(m.hop == LAST and m.kind == "live" for m in records) == SUBJECTS


def listen(subscriber, done):
    """Listen until the record is whole; return it."""
    records, deadline = [], time.monotonic() + TIMEOUT_S
    while not done(records):
        assert time.monotonic() < deadline, f"{len(records)} messages"
        records += [
            received.message
            for received in subscriber.receive(0.05)
            if not isinstance(received.message, Heartbeat)
        ]
    return records


def by_topic(messages, until):
    """Return the numbered messages of each topic, as they were first published."""
    found = defaultdict(list)
    for message in messages:
        if message.seq <= until[message.topic]:
            found[message.topic].append(msgspec.structs.replace(message, replayed=False))
    return found


def test_sleeper_and_late_joiner_end_with_the_record_of_one_that_was_there(daemon, tmp_path):
    daemon, source = daemon
    options = {"prefixes": ["stage."], "catch_up": daemon.catch_up, "patience_s": TIMEOUT_S}
    with (
        Subscriber(daemon.endpoint, ["stage."]) as witness,
        Follower(daemon.endpoint, **options, high_water_mark=2, start=Start(first=0)) as sleeper,
    ):
        random = np.random.default_rng(0)
        source.push(4 * SFREQ, data=random.normal(0, 50, (4 * SFREQ, len(LABELS))).round(1))
        awake = listen(sleeper, lambda records: len(records) > SUBJECTS)
        n = (EPOCHS - 4) * SFREQ
        source.push(n, data=random.normal(0, 50, (n, len(LABELS))).round(1))
        heard = listen(witness, is_whole)
        until = {m.topic: m.seq for m in heard}
        woken = listen(sleeper, is_whole)
    with Follower(daemon.endpoint, **options, start=Start(first=0)) as late:
        joined = listen(late, is_whole)

    wanted = by_topic(heard, until)
    published = JournalReader(tmp_path / "journal.sqlite")
    kept = [
        entry.message
        for topic, last in until.items()
        for entry in published.between(topic, 0, time.time() + EPOCHS)
        if entry.seq <= last
    ]
    for record in (kept, awake + woken, joined):
        found = by_topic(record, until)
        for topic in wanted:
            first = wanted[topic][0].seq  # a plain subscriber may miss the very first ones
            assert [m.seq for m in found[topic]] == list(range(len(found[topic])))
            assert found[topic][first:] == wanted[topic]
    assert witness.n_missed == sleeper.n_missed == late.n_missed == 0
    assert sleeper.fetched > 1000
    assert late.fetched > 1000

    (record, *_) = read_records(published, Selection(), ["m0"])
    assert record.epoch_s == 1.0
    assert [m.hop for m in record.epochs][:EPOCHS] == list(range(0, LAST + 1, HOPS_PER_S))
    assert json.loads(published.sessions()[0].config)["staging"]["hop_s"] == 1 / HOPS_PER_S
