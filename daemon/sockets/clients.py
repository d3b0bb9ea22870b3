"""Everybody who connects is served by two processes of their own, which this starts and feeds.

What clients do, however much of it, takes no time of the process that stages. One that ends is
started again where it was, with the last message of every topic; who was connected connects anew,
and catches up from the journal.
"""

import select
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog
from prometheus_client import generate_latest

import hypnod
from daemon.config import Config
from daemon.errors import AddressError, KeyFileError, UnforeseenError
from daemon.messages import Message, PulseDone, TriggerMessage
from daemon.metrics import Metrics
from daemon.outbox import Round
from daemon.sockets.link import Link, Record
from daemon.sockets.meter import FLOOD
from daemon.sockets.publisher import frames_of
from daemon.sockets.pulses import MAX_WAITING
from daemon.sockets.serve import ANSWER, PUBLISH
from models.errors import ConfigError, HypnodError

log = structlog.get_logger()

_ERRORS = {error.__name__: error for error in (AddressError, ConfigError, KeyFileError)}
_AGAIN_S = 0.5  # from the end of a process to the start of the next
_STUCK_S = 10.0  # a process that takes nothing for so long is ended
_END_S = 3.0
_LOOK_S = 0.5
_TOGETHER = 500  # messages of a record
_DONE_AT_ONCE = 64

Look = Callable[[], tuple[dict[str, str], dict[str, str]]]
"""What is unhealthy, and what is not ready, by name; asked from other threads."""


class Clients:
    """Starts the two processes, and is the sink that they publish for.

    Args:
        config: of the daemon.
        journal: the file that missed messages come from.
        is_journalled: tells whether the journal has all that it was given.
        metrics: are shown to who asks, and count whom was refused.
        look: what probes are told.
    """

    def __init__(
        self,
        config: Config,
        journal: Path,
        is_journalled: Callable[[], bool],
        metrics: Metrics,
        look: Look,
    ) -> None:
        self._config, self._journal = config, journal
        self._is_journalled = is_journalled
        self._metrics, self._look = metrics, look
        self._last: dict[bytes, bytes] = {}
        self._done: deque[PulseDone] = deque()
        self.viewed: frozenset[str] = frozenset()
        """The subjects whose trace somebody subscribed to."""
        self._publisher = _Process(PUBLISH, self._greet, self._hear)
        self._answerer = _Process(ANSWER, self._greet, self._hear)

    def listen(self) -> dict[str, str]:
        """Wait until all sockets are bound; return where, `publish`, `catch_up` and `metrics`.

        Raises:
            ConfigError: a socket may not listen there, or (KeyFileError) a key cannot be used.
            AddressError: an address is in use, or is none of this machine.
            UnforeseenError: a process ended.
        """
        bound = self._publisher.listen() | self._answerer.listen()
        port = int(bound["metrics"])
        publish = msgspec.structs.replace(
            self._config.publish, bind=bound["publish"], catchup_bind=bound["catch_up"]
        )
        self._config = msgspec.structs.replace(
            self._config,
            publish=publish,
            metrics=msgspec.structs.replace(self._config.metrics, port=port),
        )
        return {**bound, "metrics": f"{self._config.metrics.host}:{port}"}

    @property
    def problem(self) -> str | None:
        """Why clients are not served, if they are not."""
        return self._publisher.problem or self._answerer.problem

    def take(self, what: Round) -> None:
        """Have the messages of a round published; sent together, they are there sooner."""
        all_frames = [
            frames_of(message, self._config.publish.encoding)
            for message in what.messages
            if self._is_journalled() or not _is_on(message)  # nothing is on that is not on record
        ]
        self._last.update((topic, again) for topic, _, again in all_frames if again)
        for k in range(0, len(all_frames), _TOGETHER):
            self._publisher.send("messages", all_frames[k : k + _TOGETHER])
        self._publisher.flush()

    def done(self) -> list[PulseDone]:
        """Return what `hypnod pulse` told that nobody has taken yet, a bounded part of it."""
        return [self._done.popleft() for _ in range(min(_DONE_AT_ONCE, len(self._done)))]

    def reload(self) -> None:
        """Have the allowed keys read again."""
        for process in (self._publisher, self._answerer):
            process.send("reload")

    def close(self) -> None:
        """Have what was published leave, and end both; a moment at most."""
        for process in (self._publisher, self._answerer):
            process.ask_to_end()
        for process in (self._publisher, self._answerer):
            process.close()

    def _greet(self, role: str) -> Iterable[Record]:
        """Yield what a process is told first."""
        yield ["begin", msgspec.json.encode(self._config), str(self._journal)]
        if role == PUBLISH:
            self.viewed = frozenset()  # who was connected subscribes anew
            for topic, again in list(self._last.items()):
                yield ["last", topic, again]

    def _hear(self, process: "_Process", record: Record) -> None:
        """Do what a process wants."""
        kind, *rest = record
        if kind == "counted":
            counts, lost = rest
            for reason, n in counts.items():
                self._metrics.refused.labels(reason).inc(n)
            self._metrics.log_lost.inc(lost)
        elif kind == "done":
            (told,) = rest
            room = max(0, MAX_WAITING - len(self._done))
            found = msgspec.convert(told, list[PulseDone])
            self._done += found[:room]
            self._metrics.refused.labels(FLOOD).inc(len(found[room:]))
        elif kind == "viewed":
            (names,) = rest
            self.viewed = frozenset(names)
        elif kind == "look":
            process.send("look", generate_latest(self._metrics.registry), *self._look())


def _is_on(message: Message) -> bool:
    return isinstance(message, TriggerMessage) and message.action == "on"


class _Process:
    """One of the processes, followed by a thread of this one.

    Args:
        role: PUBLISH or ANSWER.
        greet: returns what it is told first, each time that it is started.
        hear: told what it says.
    """

    def __init__(
        self,
        role: str,
        greet: Callable[[str], Iterable[Record]],
        hear: Callable[["_Process", Record], None],
    ) -> None:
        self._role, self._greet, self._hear = role, greet, hear
        self._change = threading.RLock()
        self._known, self._stopping = threading.Event(), threading.Event()
        self._bound: dict[str, str] = {}
        self._error: HypnodError | None = None
        self.problem: str | None = None
        """Why it does not serve, if it does not."""
        self._start()
        self._thread = threading.Thread(target=self._run, name=f"clients-{role}", daemon=True)
        self._thread.start()

    def listen(self) -> dict[str, str]:
        """Wait until it listens, and return where; raises the error that it met."""
        self._known.wait()
        if self._error is not None:
            raise self._error
        return self._bound

    def send(self, *record: object) -> None:
        """Tell it something; what it cannot take for long is lost."""
        with self._change:
            if not self._link.send(*record):
                self.problem = f"the process that serves clients ({self._role}) takes nothing"

    def flush(self) -> None:
        """Send what waits, as far as there is room."""
        self._link.flush()

    def ask_to_end(self) -> None:
        """Tell it that this is all."""
        self._stopping.set()
        self.send("end")

    def close(self) -> None:
        """Wait for its end, but not for long."""
        self._stopping.set()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        self._process.kill()
        self._thread.join()

    def _start(self) -> None:
        ours, its = socket.socketpair()
        with its:
            command = hypnod.command("-m", "daemon.sockets.serve", self._role, str(its.fileno()))
            self._process = subprocess.Popen(  # noqa: S603  this interpreter, our own module
                command, stdin=subprocess.DEVNULL, pass_fds=[its.fileno()], process_group=0
            )
        with self._change:
            self._link = Link(ours)
            for record in self._greet(self._role):
                self._link.send(*record)

    def _run(self) -> None:
        while True:
            self._follow()
            code = self._process.wait()
            self._link.close()
            if self._stopping.is_set():
                return
            what = f"the process that serves clients ({self._role}) ended with code {code}"
            if not self._known.is_set():
                self._error = UnforeseenError(f"{what} before it listened; its log says why")
                self._known.set()
                return
            self.problem = self.problem or what
            log.error("clients not served", role=self._role, reason=self.problem)
            if self._stopping.wait(_AGAIN_S):
                return
            self._start()

    def _follow(self) -> None:
        """Listen to it until its end."""
        poll = select.poll()
        poll.register(self._link, select.POLLIN)
        taken = time.monotonic()
        while True:
            ready = poll.poll(1000 * _LOOK_S)
            self._link.flush()
            if self._link.is_sent:
                taken = time.monotonic()
            elif time.monotonic() - taken > _STUCK_S:
                self._process.kill()
            records = self._link.receive() if ready else []
            if records is None:
                return
            for record in records:
                self._take(record)

    def _take(self, record: Record) -> None:
        kind, *rest = record
        if kind == "listening":
            (self._bound,) = rest
            if self.problem is not None:
                log.info("clients served again", role=self._role)
            self.problem = None
            self._known.set()
        elif kind == "error":
            name, sentence = rest
            if self._known.is_set():
                self.problem = sentence
            else:
                self._error = _ERRORS.get(name, UnforeseenError)(sentence)
                self._stopping.set()
                self._known.set()
        else:
            self._hear(self, record)
