"""How the daemon does from outside: its latency, its appetite for time and memory, its start."""

import math
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
from models.simulator.species import SIMULATORS
from models.spec import ModelSpec
from tools.bench.floor import FloorSpec
from tools.client.subscriber import Subscriber
from tools.daemon_process import ChildError, DaemonProcess, confined_lsl, write_config
from tools.replay.process import ReplayProcess
from tools.simulate import write_edf

HOPS = 8
"""So much shorter than the usual live hop is the one where latency is measured: that many more to
take percentiles of. Each ends with a chunk, however often the recording is played."""
_CHUNK = 32  # samples, at most
DAEMON, FLOOR, RACK = "daemon", "floor", "rack"
SIMULATED_S = 16
_CONNECT_S = 30.0
_POLL_S = 0.2
_LEAST_HOPS = 2
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
    recording, spec = simulate(bundle.spec, folder, 1), bundle.spec
    played_s = spec.epoch_s + seconds
    with ExitStack() as stack:
        config = configure(bundle, engine, DAEMON, [DAEMON], HOPS)
        daemon = stack.enter_context(DaemonProcess(write_config(folder, config), environ))
        floor = stack.enter_context(run_floor(bundle.spec, FLOOR, HOPS, environ))
        daemon.wait_ready()
        socket = stack.enter_context(subscribed([daemon.endpoint, floor], ["stage."]))
        replays = [
            stack.enter_context(play(recording, spec, name, environ, "--duration", played_s))
            for name in (DAEMON, FLOOR)
        ]
        received = _receive(socket, daemon, replays, spec, seconds, tick)
        rss = _scrape(daemon)["process_resident_memory_bytes"]
    times: dict[str, list[float]] = {DAEMON: [], FLOOR: []}
    for moment, message in received:
        if isinstance(message, StageMessage) and _is_staged(message):
            times[message.subject].append(moment - message.onset - spec.epoch_s)
    return Latencies(times[DAEMON], times[FLOOR], rss)


def measure_load(
    bundle: Bundle,
    engine: str,
    n_subjects: int,
    seconds: float,
    folder: Path,
    tick: Tick,
    hops: int = 1,
) -> Load:
    """Measure many subjects in real time, so many epochs of each per usual live hop."""
    seconds = max(seconds, _LEAST_HOPS * bundle.spec.live_hop_s)
    with _running(bundle, engine, n_subjects, folder, hops) as (daemon, subscriber):
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
    bundle: Bundle, engine: str, n_subjects: int, folder: Path, hops: int = 1
) -> Iterator[tuple[DaemonProcess, Subscriber]]:
    """Run a daemon that stages many subjects, and listen to its stages."""
    environ = confined_lsl(folder)
    recording = simulate(bundle.spec, folder, n_subjects)
    with ExitStack() as stack:
        config = configure(bundle, engine, RACK, _subjects(n_subjects), hops)
        daemon = stack.enter_context(DaemonProcess(write_config(folder, config), environ))
        daemon.wait_ready()
        subscriber = stack.enter_context(Subscriber(daemon.endpoint, ["stage."]))
        replay = stack.enter_context(play(recording, bundle.spec, RACK, environ))
        _wait_for_stage(subscriber, daemon, replay, bundle.spec)
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
    config = configure(bundle, engine, DAEMON, [DAEMON])
    for k in range(n):
        place = folder / str(k)
        place.mkdir()
        with DaemonProcess(write_config(place, config), confined_lsl(place)) as daemon:
            daemon.wait_ready()
            times.append(daemon.startup_s)
    return float(np.median(times))


def configure(
    bundle: Bundle, engine: str, stream: str, subjects: Sequence[str], hops: int = 1
) -> dict[str, Any]:
    """Return the config of a daemon with one stream, of so many epochs per usual live hop."""
    named = [
        {"name": name, "channels": {m: f"{m.upper()}{k}" for m in bundle.spec.modalities}}
        for k, name in enumerate(subjects, start=1)
    ]
    return {
        "streams": [{"name": stream, "match": {"name": stream}, "subjects": named}],
        "engine": {"kind": engine, "bundle": str(bundle.path.resolve())},
        "staging": {"hop_s": bundle.spec.live_hop_s / hops},
    }


def simulate(spec: ModelSpec, folder: Path, n_subjects: int) -> Path:
    """Write a short recording that is played round and round."""
    who = SIMULATORS[spec.species]
    subjects = who(
        seed=0, duration_s=SIMULATED_S, sfreq=who.default_sfreq, n_subjects=n_subjects
    ).subjects()
    labelled = max(2, n_subjects)  # a person alone has labels of electrodes
    write_edf(folder / "simulated.edf", subjects, who.default_sfreq, labelled)
    return folder / "simulated.edf"


def play(
    recording: Path, spec: ModelSpec, name: str, environ: Mapping[str, str], *more: object
) -> ReplayProcess:
    """Play a recording round and round as the stream `name`."""
    return ReplayProcess(
        recording, "--name", name, "--loop", "--chunk", chunk_of(spec), *more, environ=environ
    )


def chunk_of(spec: ModelSpec) -> int:
    """Return the samples played at once: a hop ends with them, and so does the recording."""
    played = round(SIMULATED_S * SIMULATORS[spec.species].default_sfreq)
    common = math.gcd(_hop_samples(spec, HOPS), played)
    return next(n for n in range(_CHUNK, 0, -1) if common % n == 0)


def _hop_samples(spec: ModelSpec, hops: int) -> int:
    """Return the samples from one epoch to the next, of so many per usual live hop."""
    return round(spec.live_hop_s * SIMULATORS[spec.species].default_sfreq) // hops


@contextmanager
def run_floor(spec: ModelSpec, stream: str, hops: int, environ: Mapping[str, str]) -> Iterator[str]:
    """Run the floor; yield where it publishes.

    Args:
        spec: tells how long an epoch is.
        stream: what it reads, and whom its messages are of.
        hops: epochs per usual live hop.
        environ: on top of this process's environment.
    """
    sfreq = SIMULATORS[spec.species].default_sfreq
    n_epoch, n_hop = round(spec.epoch_s * sfreq), _hop_samples(spec, hops)
    floor = FloorSpec(name=stream, sfreq=sfreq, epoch=n_epoch, hop=n_hop)
    with subprocess.Popen(  # noqa: S603  this interpreter, our own module
        hypnod.command("-m", "tools.bench.floor", msgspec.json.encode(floor).decode()),
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
    spec: ModelSpec,
    seconds: float,
    tick: Tick,
) -> list[tuple[float, Message]]:
    """Receive until the streams are over; return when each message came, and the messages.

    They are over `seconds` after the last of them was first heard of, which whoever could not
    listen for a while notices by the clock alone: the daemon goes on telling that nothing comes.
    """
    deadline = time.monotonic() + _CONNECT_S + spec.epoch_s
    while not socket.poll(round(1000 * _POLL_S)):
        _check(deadline, daemon, *replays)
    received: list[tuple[float, bytes, bytes]] = []
    heard: dict[bytes, float] = {}
    passed = 0.0
    while passed < seconds + _OVER_S:
        if not socket.poll(round(1000 * _OVER_S)):
            if len(heard) == len(replays):
                break
            _check(deadline, daemon, *replays)  # one of them begins later
            continue
        topic, payload = socket.recv_multipart()
        received.append((time.monotonic(), topic, payload))
        heard.setdefault(topic.split(b".")[1], received[-1][0])
        if len(heard) == len(replays):
            passed = received[-1][0] - max(heard.values())
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


def _wait_for_stage(
    subscriber: Subscriber, daemon: DaemonProcess, replay: ReplayProcess, spec: ModelSpec
) -> None:
    deadline = time.monotonic() + _CONNECT_S + spec.epoch_s
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
