"""From the last sample of the deciding epoch to the pin of a board, through all three processes."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import hypnod
from daemon.messages import TriggerMessage
from engines.bundle import Bundle
from tools.bench.board import Board
from tools.bench.daemon import RACK, Tick, configure, play, simulate
from tools.client.subscriber import Subscriber
from tools.daemon_process import ChildError, DaemonProcess, confined_lsl, write_config

HOPS = 4
"""Decisions per epoch length."""
_CONNECT_S = 30.0
_POLL_S = 0.2


def measure_trigger(
    bundle: Bundle, engine: str, n_subjects: int, seconds: float, folder: Path, tick: Tick
) -> list[float]:
    """Return the times from the end of the deciding epoch to the last subject's pin going high, s.

    Every stage asks for a pulse of one hop, every other hop.
    """
    environ = confined_lsl(folder)
    subjects = [f"m{k}" for k in range(1, n_subjects + 1)]
    hop_s = bundle.spec.epoch_s / HOPS
    rule = {
        "name": "bench",
        "species": bundle.spec.species,
        "stages": list(bundle.spec.stages),
        "probability": 0.0,
        "usable": 0.0,
        "on_s": hop_s / 2,
        "refractory_s": hop_s,
        "armed": "always",
    }
    ends: dict[int, float] = {}
    with ExitStack() as stack:
        board = stack.enter_context(Board())
        output = {"driver": "serial", "subjects": [subjects[-1]], "options": {"port": board.port}}
        config = configure(bundle, engine, RACK, subjects, hop_s) | {
            "triggers": [rule],
            "pulse": [output],
        }
        daemon = stack.enter_context(DaemonProcess(write_config(folder, config), environ))
        daemon.wait_ready()
        subscriber = stack.enter_context(Subscriber(daemon.endpoint, [f"trigger.{subjects[-1]}"]))
        stack.enter_context(_pulse(folder, config, daemon.endpoint, environ))
        replay = stack.enter_context(play(simulate(folder, n_subjects), RACK, environ))
        if not board.wait_for(high=True, timeout_s=_CONNECT_S):
            daemon.check_alive()
            replay.check()
            raise ChildError(f"expected a pulse within {_CONNECT_S:g} s, found none")
        began = board.edges[0][0]
        while (passed := board.edges[-1][0] - began) < seconds:
            tick(passed)
            for received in subscriber.receive(_POLL_S):
                message = received.message
                if isinstance(message, TriggerMessage) and message.action == "on":
                    ends.setdefault(message.hop, message.onset + bundle.spec.epoch_s)
            daemon.check_alive()
        edges = list(board.edges)
    rises = [moment for moment, high in edges if high]
    times = [[rise - end for rise in rises if 0 <= rise - end < hop_s] for end in ends.values()]
    return [found[0] for found in times if found]


@contextmanager
def _pulse(
    folder: Path, config: Mapping[str, Any], endpoint: str, environ: Mapping[str, str]
) -> Iterator[None]:
    """Run `hypnod pulse`."""
    place = folder / "pulse"
    place.mkdir()
    path = write_config(place, {**config, "publish": {"bind": endpoint}})
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
