"""Traces: an animal's signals, for as long as somebody looks at them."""

import os
import signal
from itertools import count
from threading import Thread

import numpy as np
import pytest

from daemon.messages import Heartbeat, StreamMessage, TraceMessage
from models.signal.peaks import peaks
from tests.rigs.daemon import Daemon, Listener, clients_of, is_live, one_stream
from tests.support.signals import SPEC, pipeline, run

SFREQ = 512
MOST = 400


@pytest.fixture
def everything(request, name, source, bundle, tmp_path):
    """One who hears all messages of a daemon, from its first words on."""
    subjects = [{"name": "m1", "channels": {"eeg": "EEG", "emg": "EMG"}}]
    if "no_other" in request.node.name:
        subjects = [{"name": f"m{k}", "channels": {k: k.upper()}} for k in ("eeg", "emg")]
    with Daemon(tmp_path, one_stream(name, subjects=subjects), bundle) as daemon:
        daemon.listen()
        daemon.event("ready")
        source.wait_for_consumers()
        daemon.event("stream", state="FILLING")
        with Listener(daemon.endpoint) as everything:
            everything.until(lambda m: isinstance(m, StreamMessage))
            everything.daemon = daemon
            yield everything


@pytest.fixture
def push(source, everything):
    """Push an epoch, hear its stage, and return the traces heard by then: of the one before."""
    data = np.random.default_rng(0).normal(0, 50, (MOST * SFREQ, 2)).round(1)
    numbers = count()
    times = []

    def push():
        k = next(numbers)
        times.extend(source.push(SFREQ, data=data[k * SFREQ : (k + 1) * SFREQ]))
        before = len(everything.heard)
        everything.until(is_live(k))
        return [m for m in everything.heard[before:] if isinstance(m, TraceMessage)]

    push.data, push.times = data, times
    return push


def push_until(push, looked_at):
    for _ in range(MOST // 4):
        if bool(traces := push()) == looked_at:
            return traces
    raise AssertionError(f"traces did not {'come' if looked_at else 'end'}")


def test_they_come_while_somebody_looks_at_them_and_are_what_the_model_reads(everything, push):
    assert [push() for _ in range(4)] == [[]] * 4  # one who hears everything looks at nothing
    with Listener(everything.daemon.endpoint, "trace.m1") as viewer:
        (trace,) = push_until(push, looked_at=True)
        assert viewer.next().hop == trace.hop
        push()
    push_until(push, looked_at=False)
    assert push() == []
    n = len(push.times)
    offline = run(pipeline(), push.data[:n].astype(np.float32), np.asarray(push.times), [n])
    batch = offline[trace.hop]
    drawn = peaks(batch.microvolts[0], SPEC.sfreq)
    for modality, values in zip(SPEC.modalities, drawn, strict=True):
        assert trace.microvolts[modality] == pytest.approx(values, abs=0.0501)
    assert (trace.start, trace.span_s) == (pytest.approx(batch.onset), 1.0)


def test_they_go_on_when_the_process_that_publishes_was_started_again(everything, push):
    daemon = everything.daemon
    with Listener(daemon.endpoint, "trace.") as viewer:
        (last,) = push_until(push, looked_at=True)
        os.kill(clients_of(daemon.process.pid)["publish"], signal.SIGKILL)
        daemon.event("clients served again", role="publish")
        everything.until(lambda m: isinstance(m, Heartbeat) and m.replayed)  # it is back
        # libzmq subscribes anew in the thread that reads
        reader = Thread(target=viewer.until, args=[lambda m: m.hop > last.hop + 1], daemon=True)
        reader.start()
        for _ in range(MOST // 2):
            push()
            reader.join(0.02)
            if not reader.is_alive():
                return
    raise AssertionError("traces did not come again")


def test_who_looks_at_one_looks_at_no_other(everything, push):
    with Listener(everything.daemon.endpoint, "trace.m10"):
        assert [push() for _ in range(4)] == [[]] * 4
    with Listener(everything.daemon.endpoint, "trace.memg"):
        push_until(push, looked_at=True)
        traces = [trace for _ in range(4) for trace in push()]
    assert {trace.subject for trace in traces} == {"memg"}
