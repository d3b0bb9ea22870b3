"""`hypnod -m daemon.sockets.serve ROLE FD`: a process that serves clients, at the daemon's command.

One publishes, one answers questions: old messages, metrics, probes. Whatever clients do costs these
two, and not the process that stages. Each ends with the daemon. See `clients.py` for the other end.
"""

import math
import os
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec
import zmq

from daemon.config import Config
from daemon.log import configure_log
from daemon.sockets.catchup import CatchUp
from daemon.sockets.gate import Gate
from daemon.sockets.link import Link
from daemon.sockets.metrics_server import MetricsServer, Snapshot
from daemon.sockets.publisher import Publisher
from daemon.sockets.pulses import Pulses
from daemon.sockets.viewers import Viewers
from daemon.stderr import free_stderr
from models.errors import HypnodError

PUBLISH, ANSWER = "publish", "answer"

_TURN_S = 0.05
"""Longest wait; so often the daemon is told what was counted, and asked how it is."""
_SWITCH_S = 0.0005  # from one thread to the next, so that none holds up the others
_NICENESS = 10  # of who answers questions: stages come first
_SNAPSHOT_S = 5.0


class Asker:
    """Asks the daemon how it is, once for all who ask at the same time.

    Args:
        link: to the daemon.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._change = threading.Condition()
        self._wanted = self._asked = self._answered = 0
        self._snapshot = Snapshot(b"", {}, {})

    def __call__(self) -> Snapshot:
        """Return how it is since this was called; from any thread."""
        with self._change:
            self._wanted = number = self._asked + 1
            if not self._change.wait_for(lambda: self._answered >= number, _SNAPSHOT_S):
                silent = {"daemon": f"no answer for {_SNAPSHOT_S:g} s"}
                return Snapshot(b"", silent, silent)
            return self._snapshot

    def pass_on(self) -> None:
        """Ask the daemon, if somebody wants to know and it was not asked yet."""
        with self._change:
            if self._wanted > self._asked == self._answered:
                self._asked += 1
                self._link.send("look")

    def answer(self, metrics: bytes, unhealthy: dict[str, str], unready: dict[str, str]) -> None:
        """Hand on what the daemon said."""
        with self._change:
            self._snapshot = Snapshot(metrics, unhealthy, unready)
            self._answered = self._asked
            self._change.notify_all()


class Server:
    """The sockets of one process, and its link to the daemon.

    Args:
        role: PUBLISH or ANSWER.
        link: to the daemon.
    """

    def __init__(self, role: str, link: Link) -> None:
        self._role, self._link = role, link
        self._resources = ExitStack()
        self._poller, self._resting = zmq.Poller(), zmq.Poller()
        self._poller.register(link, zmq.POLLIN)
        self._resting.register(link, zmq.POLLIN)
        self._counts: Counter[str] = Counter()
        self._n_lost = 0
        self._turn_at = 0.0
        self._gate: Gate | None = None
        self._publisher: Publisher | None = None
        self._viewers = Viewers(())
        self._pulses: Pulses | None = None
        self._asker = Asker(link)
        self._ended = False

    def run(self) -> None:
        """Serve until the daemon says that it ends; where it is gone, end at once."""
        do: dict[str, Callable[..., None]] = {
            "begin": self._begin,
            "messages": self._messages,
            "last": self._last,
            "reload": self._reload,
            "look": self._asker.answer,
            "end": self._end,
        }
        with self._resources:
            while not self._ended:
                records = self._link.receive()
                if records is None:
                    os._exit(1)  # another daemon may want the addresses
                for kind, *rest in records:
                    do[kind](*rest)
                self._serve()

    def lost(self, n: int) -> None:
        """Count lines of the log that could not be written."""
        self._n_lost += n

    def _begin(self, config_json: bytes, journal: str) -> None:
        config = msgspec.json.decode(config_json, type=Config)
        configure_log(config.log)
        try:
            bound = self._open(config, Path(journal))
        except HypnodError as error:
            self._link.send("error", type(error).__name__, str(error))
            self._ended = True
            return
        self._link.send("listening", bound)

    def _open(self, config: Config, journal: Path) -> dict[str, str]:
        """Bind the sockets of this role, and return where."""
        if self._role == ANSWER:
            server = MetricsServer(config.metrics, self._asker)
            self._resources.callback(server.close)
        self._gate = self._resources.enter_context(Gate(config.security, self._count))
        for each in self._gate.sockets:
            self._poller.register(each, zmq.POLLIN)
        if self._role == ANSWER:
            self._pulses = Pulses(config, self._count)
            catch_up = self._resources.enter_context(
                CatchUp(config.publish, journal, self._gate, self._pulses)
            )
            bound = {"catch_up": catch_up.endpoint, "metrics": str(server.port)}
        else:
            self._viewers = Viewers(config.subjects)
            self._publisher = self._resources.enter_context(
                Publisher(config.publish, self._gate, self._viewers)
            )
            self._poller.register(self._publisher.socket, zmq.POLLIN)
            bound = {"publish": self._publisher.endpoint}
        for each in self._gate.sockets:  # those that watch what was just bound, too
            self._poller.register(each, zmq.POLLIN)
        return bound

    def _messages(self, all_frames: list[tuple[bytes, bytes, bytes]]) -> None:
        if self._publisher is not None:
            for topic, payload, again in all_frames:
                self._publisher.send(topic, payload, again)

    def _last(self, topic: bytes, again: bytes) -> None:
        if self._publisher is not None:
            self._publisher.remember(topic, again)

    def _reload(self) -> None:
        if self._gate is not None:
            self._gate.reload()

    def _end(self) -> None:
        self._ended = True

    def _count(self, reason: str) -> None:
        self._counts[reason] += 1

    def _serve(self) -> None:
        """Do some of what clients want, and wait for more."""
        wait_s, poller = _TURN_S, self._poller
        if self._publisher is not None:
            self._publisher.serve(0)
            due_s = self._publisher.due_s
            wait_s = _TURN_S if due_s is None else min(due_s, _TURN_S)
            if (rest_s := self._publisher.rest_s) > 0:
                wait_s, poller = min(wait_s, rest_s), self._resting
        if self._gate is not None:
            self._gate.serve()
        if time.monotonic() >= self._turn_at:
            self._turn_at = time.monotonic() + _TURN_S
            counts, self._counts = self._counts, Counter()
            lost, self._n_lost = self._n_lost, 0
            if counts or lost:
                self._link.send("counted", counts, lost)
            self._asker.pass_on()
            if (viewed := self._viewers.news()) is not None:
                self._link.send("viewed", viewed)
            if self._pulses is not None and (done := self._pulses.pass_on()):
                self._link.send("done", done)
        self._link.flush()
        poller.poll(math.ceil(1000 * wait_s))


def main() -> None:
    """Serve until the daemon ends."""
    role, descriptor = sys.argv[1:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # all meant for the daemon
        signal.signal(number, signal.SIG_IGN)
    sys.setswitchinterval(_SWITCH_S)
    if role == ANSWER:
        os.nice(_NICENESS)
    server = Server(role, Link(socket.socket(fileno=int(descriptor))))
    free_stderr(server.lost)
    server.run()


if __name__ == "__main__":
    main()
