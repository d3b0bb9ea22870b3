"""A daemon, its source and its subscriber for `make chaos`."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from daemon.messages import Message, StageMessage
from engines.bundle import Bundle
from models.simulator.species import SIMULATORS
from tests.rigs.lsl import Source
from tools.client.subscriber import Received, Subscriber
from tools.daemon_process import DaemonProcess, confined_lsl, write_config

NAME = "chaos"
_POLL_S = 0.02
_TIMEOUT_S = 40.0
_ROUNDING_S = 1e-6

Says = Callable[[Message], bool]


class Rehearsal:
    """Everything that a scenario needs, from a ready daemon to its end.

    Args:
        folder: where files go.
        bundle: the model.
        faults: of the first source.
        hop_s: from one estimate to the next, s.
    """

    def __init__(
        self, folder: Path, bundle: Bundle, faults: Sequence[str] = (), hop_s: float = 1.0
    ) -> None:
        folder.mkdir()
        self.spec = bundle.spec
        self.labels = tuple(m.upper() for m in self.spec.modalities)
        os.environ.update(confined_lsl(folder))
        self.heard: list[Received] = []
        self._resources = ExitStack()
        channels = dict(zip(self.spec.modalities, self.labels, strict=True))
        subjects = [{"name": "m1", "channels": channels}]
        settings = {
            "streams": [{"name": NAME, "match": {"name": NAME}, "subjects": subjects}],
            "engine": {"kind": "onnxruntime", "bundle": str(bundle.path.resolve())},
            "staging": {"hop_s": hop_s},
        }
        config = write_config(folder, settings)
        self.daemon = self._resources.enter_context(DaemonProcess(config, {}))
        self.daemon.wait_ready()
        self._subscriber = Subscriber(self.daemon.endpoint)
        self._resources.callback(self._subscriber.close)
        self.source = self.start(faults=faults)

    def start(self, **changes: Any) -> Source:
        """Start a source like the first one, but for `changes`; `source` is it from now on."""
        species = self.spec.species
        first: dict[str, Any] = {
            "sfreq": SIMULATORS[species].default_sfreq,
            "labels": self.labels,
            "source_id": "amp",
            "faults": (),
            "species": species,
        }
        self.source = Source(NAME, **{**first, **changes})
        self._resources.callback(self.source.kill)
        return self.source

    def restart(self) -> None:
        """Kill the source and start one like the first."""
        self.source.kill()
        self.start()

    def live(self, since: float = 0.0) -> list[StageMessage]:
        """Return the live estimates received since a time."""
        received = (r.message for r in self.heard if r.monotonic >= since)
        return [m for m in received if isinstance(m, StageMessage) and m.kind == "live"]

    def staged_s(self) -> float:
        """Return for how long there are live estimates, s."""
        return sum(m.hop_s for m in self.live())

    def listen(self, seconds: float) -> None:
        """Hear what is said for a while."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.heard += self._subscriber.receive(min(left, _POLL_S))

    def until(self, says: Says, since: float) -> Received | None:
        """Return the first message since a time that says so; None where none comes."""
        looked, end = 0, max(since, time.monotonic()) + _TIMEOUT_S + self.spec.epoch_s
        while time.monotonic() < end:
            for received in self.heard[looked:]:
                if received.monotonic >= since and says(received.message):
                    return received
            looked = len(self.heard)
            self.daemon.check_alive()
            self.heard += self._subscriber.receive(_POLL_S)
        return None

    def grid_problem(self) -> str:
        """Tell what is wrong with the record of live epochs; empty where nothing is."""
        live = self.live()
        hops, first = [m.hop for m in live], live[0]
        if hops != list(range(hops[0], hops[0] + len(hops))):
            return f"expected hops one after the other, found {hops}"
        if any(m.epoch != int(m.hop * m.hop_s / m.epoch_s) for m in live):
            return f"expected epochs to count epochs, found {[m.epoch for m in live]} of {hops}"
        moved = [m.onset - first.onset - (m.hop - first.hop) * m.hop_s for m in live]
        if max(map(abs, moved)) > _ROUNDING_S:
            return f"expected onsets on the grid, found one off by {max(map(abs, moved))} s"
        return f"{self._subscriber.n_missed} messages lost" if self._subscriber.n_missed else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._resources.close()
