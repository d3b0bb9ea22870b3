"""How the daemon does from outside: its latency, its appetite for time and memory, its start."""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import msgspec
import numpy as np
import zmq
from prometheus_client.parser import text_string_to_metric_families

from daemon.messages import Message, StageMessage, decode
from engines.bundle import Bundle
from tools.bench.floor import FloorSpec
from tools.bench.outlet import OutletSpec, Pushed
from tools.client.subscriber import Subscriber
from tools.daemon_process import ChildError, DaemonProcess, confined_lsl

SFREQ = 512.0
CHUNK = 32
HOPS = 8
"""Epochs per epoch length where latency is measured: that many more to take percentiles of."""
DAEMON, FLOOR = "daemon", "floor"
_CONNECT_S = 30.0
_POLL_S = 0.2

Tick = Callable[[float], None]
"""Told the seconds of measuring that passed."""


@dataclass(frozen=True, slots=True)
class Latencies:
    """From handing an epoch's last sample to LSL until a subscriber has the message, s."""

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


def measure_latency(
    bundle: Bundle, engine: str, seconds: float, folder: Path, tick: Tick
) -> Latencies:
    """Measure one subject in real time, and the floor at the same time.

    One process pushes two equal streams whose chunks alternate; the daemon reads one of them,
    `tools.bench.floor` the other.
    """
    n_epoch = round(bundle.spec.epoch_s * SFREQ)
    environ = confined_lsl(folder)
    spec = OutletSpec(
        names=(DAEMON, FLOOR), n_subjects=1, sfreq=SFREQ, chunk=CHUNK, seconds=seconds
    )
    with ExitStack() as stack:
        config = _config(bundle, engine, DAEMON, [DAEMON], bundle.spec.epoch_s / HOPS)
        daemon = stack.enter_context(DaemonProcess(config, folder, environ))
        floor = stack.enter_context(
            _child(
                "bench_floor", FloorSpec(name=FLOOR, epoch=n_epoch, hop=n_epoch // HOPS), environ
            )
        )
        daemon.wait_ready()
        socket = stack.enter_context(_subscriber([daemon.endpoint, _read_line(floor)]))
        outlet = stack.enter_context(_child("bench_outlet", spec, environ))
        received = _receive(socket, outlet, tick)
        pushed = msgspec.json.decode(_read_line(outlet), type=Pushed)
        rss = _scrape(daemon)["process_resident_memory_bytes"]
    times = {name: _latencies(name, received, pushed, n_epoch) for name in (DAEMON, FLOOR)}
    return Latencies(times[DAEMON], times[FLOOR], rss)


def measure_load(
    bundle: Bundle, engine: str, n_subjects: int, seconds: float, folder: Path, tick: Tick
) -> Load:
    """Measure many subjects in real time, an epoch of each per epoch length."""
    environ = confined_lsl(folder)
    spec = OutletSpec(names=("rack",), n_subjects=n_subjects, sfreq=SFREQ, chunk=CHUNK, seconds=1e6)
    subjects = [f"m{k}" for k in range(1, n_subjects + 1)]
    with ExitStack() as stack:
        config = _config(bundle, engine, "rack", subjects, bundle.spec.epoch_s)
        daemon = stack.enter_context(DaemonProcess(config, folder, environ))
        daemon.wait_ready()
        subscriber = stack.enter_context(Subscriber(daemon.endpoint, ["stage."]))
        stack.enter_context(_child("bench_outlet", spec, environ))
        _wait_for_stage(subscriber, daemon)
        began, before = time.monotonic(), _scrape(daemon)
        latencies: list[float] = []
        while (passed := time.monotonic() - began) < seconds:
            tick(passed)
            latencies += _read_latencies(subscriber)
        after, took = _scrape(daemon), time.monotonic() - began
    used = after["process_cpu_seconds_total"] - before["process_cpu_seconds_total"]
    rss = after["process_resident_memory_bytes"]
    return Load(used / took, rss, latencies, subscriber.n_missed)


def measure_startup(bundle: Bundle, engine: str, n: int, folder: Path) -> float:
    """Return the median time from starting a daemon of one subject until it is ready, s."""
    times = []
    for k in range(n):
        place = folder / str(k)
        place.mkdir()
        config = _config(bundle, engine, DAEMON, [DAEMON], bundle.spec.epoch_s)
        with DaemonProcess(config, place, confined_lsl(place)) as daemon:
            daemon.wait_ready()
            times.append(daemon.startup_s)
    return float(np.median(times))


def _config(
    bundle: Bundle, engine: str, stream: str, subjects: Sequence[str], hop_s: float
) -> dict[str, Any]:
    named = [
        {"name": name, "channels": {m: f"{m.upper()}{k}" for m in bundle.spec.modalities}}
        for k, name in enumerate(subjects, start=1)
    ]
    return {
        "streams": [{"name": stream, "match": {"name": stream}, "subjects": named}],
        "engine": {"kind": engine, "bundle": str(bundle.path.resolve())},
        "staging": {"hop_s": hop_s},
    }


@contextmanager
def _child(
    module: str, spec: msgspec.Struct, environ: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run one of the bench's own processes; it ends when its standard input is closed."""
    process = subprocess.Popen(  # noqa: S603  this interpreter, our own module
        [sys.executable, "-m", f"tools.{module}", msgspec.json.encode(spec).decode()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        env={**os.environ, **environ},
    )
    with process:
        try:
            yield process
        finally:
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(_CONNECT_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _read_line(process: subprocess.Popen[bytes]) -> str:
    line = process.stdout.readline() if process.stdout is not None else b""
    if not line:
        raise ChildError(f"expected a line from {process.args!r}, found that it ended")
    return line.decode().strip()


@contextmanager
def _subscriber(endpoints: Sequence[str]) -> Iterator[zmq.Socket[bytes]]:
    """Listen to several publishers with one socket, so that none waits for another."""
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt_string(zmq.SUBSCRIBE, "stage.")
        for endpoint in endpoints:
            socket.connect(endpoint)
        yield socket


def _receive(
    socket: zmq.Socket[bytes], outlet: subprocess.Popen[bytes], tick: Tick
) -> list[tuple[float, str, bytes]]:
    """Receive until the outlet has told what it pushed and nothing comes any more."""
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    poller.register(outlet.stdout, zmq.POLLIN)
    received: list[tuple[float, str, bytes]] = []
    told = False
    while True:
        ready = dict(poller.poll(round(1000 * _POLL_S)))
        if socket in ready:
            topic, payload = socket.recv_multipart()
            received.append((time.monotonic(), topic.decode(), payload))
            tick(received[-1][0] - received[0][0])
        elif ready:
            told = True
            poller.unregister(outlet.stdout)
        elif told:
            return received


def _latencies(
    name: str, received: Sequence[tuple[float, str, bytes]], pushed: Pushed, n_epoch: int
) -> list[float]:
    """Return the time from the push of each live epoch's last sample to its message, s."""
    latencies = []
    for moment, topic, payload in received:
        message = decode(topic, payload)
        if _is_live(message, name):
            first = round((message.onset - pushed.t0[name]) * SFREQ)
            if name == FLOOR:  # its onset is that of the stream's first sample
                first += message.hop * n_epoch // HOPS
            latencies.append(moment - pushed.times[name][(first + n_epoch - 1) // CHUNK])
    return latencies


def _is_live(message: Message, subject: str) -> TypeGuard[StageMessage]:
    """Return whether a message is a live stage of the subject, whose last sample came."""
    return (
        isinstance(message, StageMessage)
        and message.kind == "live"
        and message.subject == subject
        and message.latency_s is not None
    )


def _wait_for_stage(subscriber: Subscriber, daemon: DaemonProcess) -> None:
    deadline = time.monotonic() + _CONNECT_S
    while not _read_latencies(subscriber):
        daemon.check_alive()
        if time.monotonic() > deadline:
            raise ChildError(f"expected a stage within {_CONNECT_S:g} s, found none")


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
    url = daemon.metrics_url  # http://127.0.0.1:…/metrics, from the daemon's own log
    with urllib.request.urlopen(url) as answer:  # noqa: S310
        text = answer.read().decode()
    families = text_string_to_metric_families(text)
    return {s.name: s.value for family in families for s in family.samples if not s.labels}
