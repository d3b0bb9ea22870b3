"""From the last sample of the deciding epoch to the pin of a board, through all three processes."""

import math
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypnod
from daemon.messages import StageMessage, TriggerMessage, decode
from engines.bundle import Bundle
from tools.bench.board import Board
from tools.bench.daemon import RACK, Tick, configure, play, run_floor, simulate, subscribed
from tools.daemon_process import ChildError, DaemonProcess, confined_lsl, write_config

HOPS = 4
"""Decisions per epoch length."""
_CONNECT_S = 30.0
_POLL_S = 0.2
_LEAST = 3
"""Pulses to measure, however busy the machine is."""


@dataclass(frozen=True, slots=True)
class TriggerTimes:
    """Each from the end of the deciding epoch by its source's clock, s."""

    pin: list[float]
    """Until the last subject's pin goes high."""
    told: list[float]
    """The part of it from when the estimate was composed: decision, journal, publisher, `hypnod
    pulse`, board."""
    floor: list[float]
    """Until a subscriber hears of an epoch of the same stream where nothing is computed."""


def measure_trigger(
    bundle: Bundle, engine: str, n_subjects: int, seconds: float, folder: Path, tick: Tick
) -> TriggerTimes:
    """Measure the way to the pin, and the floor at the same time on the same stream.

    Every stage asks for a pulse of half a hop, every other hop.
    """
    environ = confined_lsl(folder)
    subjects = [f"m{k}" for k in range(1, n_subjects + 1)]
    spec = bundle.spec
    epoch_s, hop_s = spec.epoch_s, spec.live_hop_s / HOPS
    rule = {
        "name": "bench",
        "species": spec.species,
        "stages": list(spec.stages),
        "probability": 0.0,
        "usable": 0.0,
        "on_s": hop_s / 2,
        "refractory_s": hop_s,
        "armed": "always",
    }
    decided: list[TriggerMessage] = []
    floor: list[float] = []
    with ExitStack() as stack:
        board = stack.enter_context(Board())
        output = {"driver": "serial", "subjects": [subjects[-1]], "options": {"port": board.port}}
        config = configure(bundle, engine, RACK, subjects, HOPS) | {
            "triggers": [rule],
            "pulse": [output],
        }
        daemon = stack.enter_context(DaemonProcess(write_config(folder, config), environ))
        daemon.wait_ready()
        base = stack.enter_context(run_floor(spec, RACK, HOPS, environ))
        topics = [f"trigger.{subjects[-1]}", f"stage.{RACK}."]
        socket = stack.enter_context(subscribed([daemon.endpoint, base], topics))
        stack.enter_context(_pulse(folder, config, daemon, environ))
        replay = stack.enter_context(play(simulate(spec, folder, n_subjects), spec, RACK, environ))
        if not board.wait_for(high=True, timeout_s=_CONNECT_S + epoch_s):
            daemon.check_alive()
            replay.check()
            raise ChildError(f"expected a pulse within {_CONNECT_S:g} s, found none")
        began = time.monotonic()
        while (passed := time.monotonic() - began) < seconds or (
            passed < seconds + _CONNECT_S and min(len(decided), len(_rises(board, began))) < _LEAST
        ):
            tick(passed)
            daemon.check_alive()
            if socket.poll(round(1000 * _POLL_S)):
                topic, payload = socket.recv_multipart()
                now, message = time.monotonic(), decode(topic.decode(), payload)
                if isinstance(message, StageMessage):
                    floor.append(now - message.onset - epoch_s)
                elif isinstance(message, TriggerMessage) and message.action == "on":
                    decided.append(message)
        rises = _rises(board, began)
    pin, told = [], []
    for message, following in zip(decided, [*decided[1:], None], strict=True):
        composed = _composed_at(message, epoch_s)
        until = math.inf if following is None else _composed_at(following, epoch_s)
        rise = next((r for r in rises if composed <= r < until), None)
        if rise is not None:
            pin.append(rise - message.onset - epoch_s)
            told.append(rise - composed)
    return TriggerTimes(pin, told, floor)


def _rises(board: Board, since: float) -> list[float]:
    """Return when the pin went high, by the monotonic clock, s."""
    return [moment for moment, high in board.edges if high and moment >= since]


def _composed_at(message: TriggerMessage, epoch_s: float) -> float:
    """Return when a decision's estimate was composed, by the source's clock, s."""
    return message.onset + epoch_s + (message.age_s or 0.0)


@contextmanager
def _pulse(
    folder: Path, config: Mapping[str, Any], daemon: DaemonProcess, environ: Mapping[str, str]
) -> Iterator[None]:
    """Run `hypnod pulse`."""
    place = folder / "pulse"
    place.mkdir()
    publish = {"bind": daemon.endpoint, "catchup_bind": daemon.catch_up}
    path = write_config(place, {**config, "publish": publish})
    with subprocess.Popen(  # noqa: S603  this interpreter, our own module
        hypnod.command("pulse", "--config", str(path)),
        stdout=subprocess.PIPE,
        env={**os.environ, **environ},
    ) as process:
        try:
            if process.stdout is None or not process.stdout.readline():
                raise ChildError("expected hypnod pulse to begin, found that it ended")
            yield
        finally:
            process.kill()
