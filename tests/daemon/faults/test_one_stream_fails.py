"""Each step of a stream's way raises something unforeseen: that stream fails, and no other."""

import uuid
from contextlib import ExitStack, closing, contextmanager

import msgspec
import numpy as np
import pytest

from daemon.config import (
    Config,
    EngineConfig,
    JournalConfig,
    MetricsConfig,
    PublishConfig,
    StagingConfig,
    StreamConfig,
    SubjectConfig,
)
from daemon.messages import StageMessage, StreamMessage
from daemon.metrics import Metrics
from daemon.service import Service
from daemon.stager import Stager
from models.signal.pipeline import Pipeline
from tests.rigs.lsl import Source, wait_until
from tests.support.signals import noise

SFREQ = 512


class StrangeError(Exception):
    """What nobody expects."""


def boom(*_args, **_kwargs):
    raise StrangeError("like nothing before")


def only(name, method, stream_of):
    """A stand-in for what all streams share: it raises where it is about the stream `name`."""

    def stand_in(first, *more, **options):
        return boom() if stream_of(first, *more) == name else method(first, *more, **options)

    return stand_in


def shared(owner, method, stream_of):
    def put(_stream, service, name):
        it = owner(service)
        setattr(it, method, only(name, getattr(it, method), stream_of))

    return put


def own(path, method):
    def put(stream, _service, _name):
        it = stream
        for part in path.split("."):
            it = getattr(it, part) if part else it
        setattr(it, method, boom)

    return put


STEPS = {
    "pull": own("_inlet", "poll"),
    "montage": own("_pipeline._montage", "apply"),
    "timeline": own("_pipeline._timeline", "place"),
    "filter": own("_pipeline._conditioner", "filter"),
    "buffer": own("_pipeline._buffer", "append"),
    "cut": own("_pipeline._buffer", "pop"),
    "quality": own("_pipeline._quality", "assess"),
    "resample": own("_pipeline._conditioner", "resample"),
    "normalise": own("_pipeline._conditioner", "normalise"),
    "looks": own("_pipeline", "_looks"),
    "timestamps": own("_watch", "look"),
    "drift": own("_drift", "look"),
    "state": own("", "_judge"),
    "check": shared(lambda s: s._stager, "check", lambda batch: batch.stream),
    "compose": shared(lambda s: s._compose, "stages", lambda all_, *_: all_ and all_[0].stream),
    "point": shared(lambda s: s._recall, "point", lambda batch, *_: batch.stream),
    "trigger": shared(lambda s: s._rounds._triggers, "decide", lambda _, stream: stream.name),
    "outlet": lambda _stream, service, name: setattr(
        next(s for s in service._outbox.sinks if getattr(s, "_stream", None) is _stream),
        "_sink",
        Broken(),
    ),
    "close": own("_inlet", "close"),
}
ENDING = ("close",)
"""What is not done until the end."""


class Broken:
    take = staticmethod(boom)


class Heard:
    """The last sink: what was said."""

    def __init__(self):
        self.messages = []

    def take(self, what):
        self.messages += what.messages

    def live(self, stream):
        return [
            m.hop
            for m in self.messages
            if isinstance(m, StageMessage) and (m.stream, m.kind) == (stream, "live")
        ]

    def reasons(self, state):
        return {
            m.stream: m.reason
            for m in self.messages
            if isinstance(m, StreamMessage) and m.state == state
        }


def config(folder, bundle, source, names):
    run, _, _ = source.spec["name"].partition("-")

    def stream(name):
        subject = SubjectConfig(name=f"m-{name}", channels={"eeg": "EEG", "emg": "EMG"})
        return StreamConfig(name=name, match={"name": f"{run}-{name}"}, subjects=(subject,))

    return Config(
        streams=tuple(map(stream, names)),
        engine=EngineConfig(kind="onnxruntime", bundle=str(bundle)),
        staging=StagingConfig(stall_s=60.0),  # so long no epoch is given up, however slow this is
        journal=JournalConfig(path=str(folder / "journal.sqlite")),
        publish=PublishConfig(bind="tcp://127.0.0.1:*", catchup_bind="tcp://127.0.0.1:*"),
        metrics=MetricsConfig(port=0),
    )


@contextmanager
def running(settings):
    """A service in this process, ticked by hand, and what it says."""
    with ExitStack() as ends:
        service, heard = Service(settings, Metrics()), Heard()
        ends.callback(service.shutdown)
        service.startup()
        service._outbox.sinks.append(heard)
        yield service, heard


def tick_until(service, condition, what):
    def reached():
        service.on_tick()
        return condition()

    wait_until(reached, what)


def find_all(service, source):
    tick_until(service, lambda: all(s._pipeline for s in service._streams), "all to be found")
    source.wait_for_consumers()


def push(source, first, n_epochs, origin):
    data = noise((first + n_epochs) * SFREQ)[first * SFREQ :]
    times = origin + (first * SFREQ + np.arange(len(data))) / SFREQ
    source.push(len(data), timestamps=times, data=data)


def unforeseen(service, stream):
    value = service._metrics.registry.get_sample_value
    return value("hypnod_unforeseen_errors_total", {"stream": stream})


@pytest.fixture
def source(request):
    """A source of each of the streams that are to be."""
    run, names = uuid.uuid4().hex, getattr(request, "param", ("good", "bad"))
    first, *twins = [f"{run}-{name}" for name in names]
    with closing(Source(first, sfreq=SFREQ, source_id="", twins=twins)) as source:
        yield source


@pytest.mark.parametrize("source", [("good", *STEPS)], indirect=True, ids=["all"])
def test_whatever_step_raises_fails_that_stream_alone_and_a_restart_goes_on(
    source, bundle, tmp_path
):
    settings = config(tmp_path, bundle, source, ["good", *STEPS])
    origin = source.clock()
    with running(settings) as (service, heard):
        find_all(service, source)
        push(source, 0, 3, origin)
        tick_until(service, lambda: all(len(heard.live(n)) == 3 for n in STEPS), "3 epochs of all")
        for stream in service._streams[1:]:
            STEPS[stream.name](stream, service, stream.name)
        push(source, 3, 4, origin)
        tick_until(service, lambda: len(heard.live("good")) == 7, "4 more of the good one")
        failed = heard.reasons("FAILED")
        assert set(failed) == set(STEPS) - set(ENDING)
        for name, reason in failed.items():
            assert f"stream '{name}': " in reason
            assert "StrangeError: like nothing before" in reason
            assert unforeseen(service, name) == 1
            assert service._metrics.registry.get_sample_value(
                "hypnod_stream_state", {"stream": name, "state": "FAILED"}
            )
        assert heard.live("good") == list(range(7))
        assert unforeseen(service, "good") == 0
    assert heard.reasons("STOPPED").keys() == {"good"}
    assert heard.reasons("FAILED").keys() == set(STEPS)
    with running(settings) as (service, heard):
        find_all(service, source)
        push(source, 7, 2, origin)
        everyone = ("good", *STEPS)
        tick_until(service, lambda: all(len(heard.live(n)) > 1 for n in everyone), "all again")
        assert not heard.reasons("FAILED")
        tick_until(service, lambda: heard.live("good") == [7, 8], "the good one where it was")


def raising(name, method, stream_of):
    """Stand-ins of a class: `method` raises where it is about the stream `name`."""
    return lambda self, *more: boom() if stream_of(self, *more) == name else method(self, *more)


RESTART = {
    "the grid": (Pipeline, "recall", lambda self, _state: self._stream.name),
    "the context": (Stager, "recall", lambda _self, stream, *_: stream),
    "its levels": (Pipeline, "adapt", lambda self, _learnt: self._stream.name),
}


@pytest.mark.parametrize("step", RESTART)
def test_what_a_restart_cannot_go_on_with_fails_that_stream_alone(
    step, source, bundle, tmp_path, monkeypatch
):
    settings = config(tmp_path, bundle, source, ["good", "bad"])
    origin = source.clock()
    with running(settings) as (service, heard):
        find_all(service, source)
        push(source, 0, 3, origin)
        tick_until(service, lambda: len(heard.live("bad")) == 3, "3 epochs")
        service._rounds.finish = lambda: None  # as if it was killed: the final stages are due
    owner, method, stream_of = RESTART[step]
    monkeypatch.setattr(owner, method, raising("bad", getattr(owner, method), stream_of))
    with running(settings) as (service, heard):
        tick_until(service, lambda: service._streams[0]._pipeline, "the good one")
        source.wait_for_consumers()
        push(source, 3, 3, origin)
        tick_until(service, lambda: 5 in heard.live("good"), "3 more")
        assert heard.reasons("FAILED").keys() == {"bad"}
    finals = [m for m in heard.messages if getattr(m, "kind", "") == "final"]
    assert {m.hop for m in finals if m.stream == "bad"} == {0, 1, 2}
    assert {m.hop for m in finals if m.stream == "good"} == set(range(6))


@pytest.mark.parametrize("source", [("good",)], indirect=True, ids=["one"])
def test_stamps_that_cannot_be_a_time_fail_their_stream_with_a_sentence(source, bundle, tmp_path):
    settings = config(tmp_path, bundle, source, ["good", "bad"])
    with Source(f"ms-{uuid.uuid4().hex}", sfreq=SFREQ) as other:
        good, bad = settings.streams
        bad = StreamConfig(name="bad", match={"name": other.spec["name"]}, subjects=bad.subjects)
        settings = msgspec.structs.replace(settings, streams=(good, bad))
        with running(settings) as (service, heard):
            find_all(service, source)
            other.wait_for_consumers()
            data = noise(3 * SFREQ)
            ms = 1.8e12 + np.arange(len(data)) * 1000 / SFREQ
            other.push(len(data), timestamps=ms, data=data)
            push(source, 0, 3, source.clock())
            tick_until(service, lambda: len(heard.live("good")) == 3, "3 epochs")
            tick_until(service, lambda: heard.reasons("FAILED"), "the other one to fail")
            assert "expected timestamps in s, found 18000000" in heard.reasons("FAILED")["bad"]
            assert heard.live("bad") == []


@pytest.mark.parametrize("source", [("good",)], indirect=True, ids=["one"])
def test_a_better_engine_may_take_over_in_a_tick_that_staged_as_well(
    source, bundle, tmp_path, monkeypatch
):
    """Where the processor cannot keep up there is no other one."""
    with running(config(tmp_path, bundle, source, ("good",))) as (service, heard):
        find_all(service, source)
        ticks = []
        monkeypatch.setattr(service._engine, "improve", lambda: ticks.append(heard.live("good")))
        push(source, 0, 3, 1000.0)
        tick_until(service, lambda: heard.live("good") == [0, 1, 2], "all to be staged")
    assert [0] in ticks
    assert [0, 1] in ticks
