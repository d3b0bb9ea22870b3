"""How the daemon does from outside: its latency, its appetite for time and memory, its start."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import zmq
from prometheus_client.parser import text_string_to_metric_families

import hypnod
from daemon.messages import Message, StageMessage, decode
from engines.bundle import Bundle
from models.simulator.mouse.simulate import iterate_subjects
from tools.bench.floor import FloorSpec
from tools.client.subscriber import Subscriber
from tools.daemon_process import ChildError, DaemonProcess, confined_lsl, write_config
from tools.replay.process import ReplayProcess
from tools.simulate import write_edf

SFREQ = 512.0
CHUNK = 32
HOPS = 8
"""Epochs per epoch length where latency is measured: that many more to take percentiles of. Each
ends with a chunk."""
DAEMON, FLOOR, RACK = "daemon", "floor", "rack"
_SIMULATED_S = 16
_CONNECT_S = 30.0
_POLL_S = 0.2
_OVER_S = 1.0
"""Without a message for so long the streams are over; the daemon tells so only later."""

Tick = Callable[[float], None]
"""Told the seconds of measuring that passed."""


@dataclass(frozen=True, slots=True)
class Latencies:
    """From the end of an epoch, by its source's clock, until a subscriber has the message, s."""

    daemon: list[float]
    floor: list[float]
    rss_bytes: float
    """Memory of the daemon, one subject."""


@dataclass(frozen=True, slots=True)
class Load:
    """What many subjects cost."""

    cpu: float
    """Seconds of computing per second."""
    rss_bytes: float
    latencies: list[float]
    """Of the live messages, as they tell it: last sample's arrival until published, s."""
    missed: int
    """Messages that never came."""


@dataclass(frozen=True, slots=True)
class Views:
    """What it costs that somebody looks at the live signals: seconds of computing per second."""

    nobody: float
    """While nobody does, before and after."""
    all: float
    """While somebody looks at every subject."""


def measure_latency(
    bundle: Bundle, engine: str, seconds: float, folder: Path, tick: Tick
) -> Latencies:
    """Measure one subject in real time, and the floor at the same time.

    The same recording is played twice, each by a process of its own; the daemon reads one of the
    streams, `tools.bench.floor` the other.
    """
    environ = confined_lsl(folder)
    recording = simulate(folder, 1)
    with ExitStack() as stack:
        config = configure(bundle, engine, DAEMON, [DAEMON], bundle.spec.epoch_s / HOPS)
        daemon = stack.enter_context(DaemonProcess(write_config(folder, config), environ))
        floor = stack.enter_context(run_floor(bundle, FLOOR, HOPS, environ))
        daemon.wait_ready()
        socket = stack.enter_context(subscribed([daemon.endpoint, floor], ["stage."]))
        replays = [
            stack.enter_context(play(recording, name, environ, "--duration", seconds))
            for name in (DAEMON, FLOOR)
        ]
        received = _receive(socket, daemon, replays, seconds, tick)
        rss = _scrape(daemon)["process_resident_memory_bytes"]
    times: dict[str, list[float]] = {DAEMON: [], FLOOR: []}
    for moment, message in received:
        if isinstance(message, StageMessage) and _is_staged(message):
            times[message.subject].append(moment - message.onset - message.epoch_s)
    return Latencies(times[DAEMON], times[FLOOR], rss)


def measure_load(
    bundle: Bundle,
    engine: str,
    n_subjects: int,
    seconds: float,
    folder: Path,
    tick: Tick,
    hops_per_epoch: int = 1,
) -> Load:
    """Measure many subjects in real time, so many epochs of each per epoch length."""
    with _running(bundle, engine, n_subjects, folder, hops_per_epoch) as (daemon, subscriber):
        cpu, latencies = _spell(daemon, subscriber, seconds, tick)
        rss = _scrape(daemon)["process_resident_memory_bytes"]
    return Load(cpu, rss, latencies, subscriber.n_missed)


def measure_views(
    bundle: Bundle, engine: str, n_subjects: int, seconds: float, folder: Path, tick: Tick
) -> Views:
    """Measure many subjects in real time while nobody looks, while somebody does, and after."""
    with _running(bundle, engine, n_subjects, folder) as (daemon, subscriber):
        before, _ = _spell(daemon, subscriber, seconds, tick)
        topics = [f"trace.{name}" for name in _subjects(n_subjects)]
        with subscribed([daemon.endpoint], topics) as viewer:
            if not viewer.poll(round(1000 * _CONNECT_S)):
                raise ChildError("expected live signals of what is looked at, found none")
            viewed, _ = _spell(daemon, subscriber, seconds, lambda s: tick(seconds + s))
        after, _ = _spell(daemon, subscriber, seconds, lambda s: tick(2 * seconds + s))
    return Views(nobody=(before + after) / 2, all=viewed)


def _subjects(n: int) -> list[str]:
    return [f"m{k}" for k in range(1, n + 1)]


@contextmanager
def _running(
    bundle: Bundle, engine: str, n_subjects: int, folder: Path, hops_per_epoch: int = 1
) -> Iterator[tuple[DaemonProcess, Subscriber]]:
    """Run a daemon that stages many subjects, and listen to its stages."""
    environ = confined_lsl(folder)
    recording = simulate(folder, n_subjects)
    with ExitStack() as stack:
        hop_s = bundle.spec.epoch_s / hops_per_epoch
        config = configure(bundle, engine, RACK, _subjects(n_subjects), hop_s)
        daemon = stack.enter_context(DaemonProcess(write_config(folder, config), environ))
        daemon.wait_ready()
        subscriber = stack.enter_context(Subscriber(daemon.endpoint, ["stage."]))
        replay = stack.enter_context(play(recording, RACK, environ))
        _wait_for_stage(subscriber, daemon, replay)
        yield daemon, subscriber


def _spell(
    daemon: DaemonProcess, subscriber: Subscriber, seconds: float, tick: Tick
) -> tuple[float, list[float]]:
    """Return the daemon's computing time per time over a spell, and its messages' latencies."""
    began, before = time.monotonic(), _scrape(daemon)
    latencies: list[float] = []
    while (passed := time.monotonic() - began) < seconds:
        tick(passed)
        latencies += _read_latencies(subscriber)
    after, took = _scrape(daemon), time.monotonic() - began
    used = after["process_cpu_seconds_total"] - before["process_cpu_seconds_total"]
    return used / took, latencies


def measure_startup(bundle: Bundle, engine: str, n: int, folder: Path) -> float:
    """Return the median time from starting a daemon of one subject until it is ready, s."""
    times = []
    config = configure(bundle, engine, DAEMON, [DAEMON], bundle.spec.epoch_s)
    for k in range(n):
        place = folder / str(k)
        place.mkdir()
        with DaemonProcess(write_config(place, config), confined_lsl(place)) as daemon:
            daemon.wait_ready()
            times.append(daemon.startup_s)
    return float(np.median(times))


def configure(
    bundle: Bundle, engine: str, stream: str, subjects: Sequence[str], hop_s: float
) -> dict[str, Any]:
    """Return the config of a daemon with one stream."""
    named = [
        {"name": name, "channels": {m: f"{m.upper()}{k}" for m in bundle.spec.modalities}}
        for k, name in enumerate(subjects, start=1)
    ]
    return {
        "streams": [{"name": stream, "match": {"name": stream}, "subjects": named}],
        "engine": {"kind": engine, "bundle": str(bundle.path.resolve())},
        "staging": {"hop_s": hop_s},
    }


def simulate(folder: Path, n_subjects: int) -> Path:
    """Write a short recording that is played round and round."""
    mice = iterate_subjects(seed=0, duration_s=_SIMULATED_S, sfreq=SFREQ, n_subjects=n_subjects)
    write_edf(folder / "mice.edf", mice, SFREQ, n_subjects)
    return folder / "mice.edf"


def play(recording: Path, name: str, environ: Mapping[str, str], *more: object) -> ReplayProcess:
    """Play a recording round and round as the stream `name`."""
    return ReplayProcess(
        recording, "--name", name, "--loop", "--chunk", CHUNK, *more, environ=environ
    )


@contextmanager
def run_floor(bundle: Bundle, stream: str, hops: int, environ: Mapping[str, str]) -> Iterator[str]:
    """Run the floor; yield where it publishes.

    Args:
        bundle: tells how long an epoch is.
        stream: what it reads, and whom its messages are of.
        hops: epochs per epoch length.
        environ: on top of this process's environment.
    """
    n_epoch = round(bundle.spec.epoch_s * SFREQ)
    spec = FloorSpec(name=stream, sfreq=SFREQ, epoch=n_epoch, hop=n_epoch // hops)
    with subprocess.Popen(  # noqa: S603  this interpreter, our own module
        hypnod.command("-m", "tools.bench.floor", msgspec.json.encode(spec).decode()),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ},
    ) as process:
        endpoint = process.stdout.readline().strip() if process.stdout is not None else ""
        if not endpoint:
            raise ChildError("expected an address from the floor of the bench, found that it ended")
        try:
            yield endpoint
        finally:
            process.kill()


@contextmanager
def subscribed(endpoints: Sequence[str], topics: Sequence[str]) -> Iterator[zmq.Socket[bytes]]:
    """Listen to several publishers with one socket, so that none waits for another."""
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.setsockopt(zmq.LINGER, 0)
        for topic in topics:
            socket.setsockopt_string(zmq.SUBSCRIBE, topic)
        for endpoint in endpoints:
            socket.connect(endpoint)
        yield socket


def _receive(
    socket: zmq.Socket[bytes],
    daemon: DaemonProcess,
    replays: Sequence[ReplayProcess],
    seconds: float,
    tick: Tick,
) -> list[tuple[float, Message]]:
    """Receive until the streams are over; return when each message came, and the messages.

    They are over after `seconds`, which whoever could not listen for a while notices by the clock
    alone: the daemon goes on telling that nothing comes.
    """
    deadline = time.monotonic() + _CONNECT_S
    while not socket.poll(round(1000 * _POLL_S)):
        _check(deadline, daemon, *replays)
    received: list[tuple[float, bytes, bytes]] = []
    passed = 0.0
    while passed < seconds + _OVER_S and socket.poll(round(1000 * _OVER_S)):
        topic, payload = socket.recv_multipart()
        received.append((time.monotonic(), topic, payload))
        passed = received[-1][0] - received[0][0]
        tick(passed)
    return [(moment, decode(topic.decode(), payload)) for moment, topic, payload in received]


def _check(deadline: float, daemon: DaemonProcess, *replays: ReplayProcess) -> None:
    """Raise ChildError where no stage can be expected any more."""
    daemon.check_alive()
    for replay in replays:
        replay.check()
    if time.monotonic() > deadline:
        raise ChildError(f"expected a stage within {_CONNECT_S:g} s, found none")


def _is_staged(message: StageMessage) -> bool:
    """Return whether a message is a live one of an epoch whose last sample came."""
    return message.kind == "live" and message.latency_s is not None


def _wait_for_stage(subscriber: Subscriber, daemon: DaemonProcess, replay: ReplayProcess) -> None:
    deadline = time.monotonic() + _CONNECT_S
    while not _read_latencies(subscriber):
        _check(deadline, daemon, replay)


def _read_latencies(subscriber: Subscriber) -> list[float]:
    """Return the latencies that the live messages tell which come now."""
    messages = [received.message for received in subscriber.receive(_POLL_S)]
    return [
        m.latency_s
        for m in messages
        if isinstance(m, StageMessage) and m.kind == "live" and m.latency_s is not None
    ]


def _scrape(daemon: DaemonProcess) -> dict[str, float]:
    """Return the daemon's metrics that have no labels."""
    families = text_string_to_metric_families(daemon.get("/metrics")[1])
    return {s.name: s.value for family in families for s in family.samples if not s.labels}
