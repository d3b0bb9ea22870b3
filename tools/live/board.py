"""Everything that the messages of a daemon tell of it now, subject by subject."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from daemon.messages import (
    Heartbeat,
    Message,
    PulseMessage,
    StageMessage,
    StreamMessage,
    TriggerMessage,
)
from models.signal.quality import OK
from tools.client.subscriber import SILENT_S, Received, age_when_received
from tools.live.history import History
from tools.live.trouble import Lasting, Trouble, judge

_UNHEARD = "nothing was heard of the daemon yet"
_DECISIONS = 50
"""So many changes of what a rule decided are kept of a subject."""


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule said last of a subject."""

    name: str
    action: str
    reason: str
    armed: bool


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A change of what a rule decides."""

    utc: str
    rule: str
    action: str
    reason: str


class Pulse(msgspec.Struct, frozen=True, kw_only=True):
    """The last pulse of a subject."""

    rule: str
    at: float
    """Unix time, s."""
    what: str
    """What was decided, or what `hypnod pulse` told that it did."""


class Daemon(msgspec.Struct, frozen=True, kw_only=True):
    """How the daemon itself is."""

    endpoint: str
    version: str | None
    lost: str | None
    """Why nothing is known of it now; null where it is heard."""
    troubles: dict[str, str]
    """What is wrong with it beside its streams."""


@dataclass(slots=True)
class Subject:
    """What is known of a subject."""

    name: str
    stream: str
    history: History | None = None
    """None before there is an estimate."""
    live: StageMessage | None = None
    heard: float = float("-inf")
    """When its newest epoch came, monotonic clock, s."""
    ended: float = float("-inf")
    """When that epoch had ended, monotonic clock, s."""
    rules: dict[str, Rule] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    """The newest last."""
    pulse: Pulse | None = None
    off: dict[str, Lasting] = field(default_factory=dict)
    troubles: tuple[Trouble, ...] = ()
    version: int = 0
    """Of the board when something of it changed last."""


class Board:
    """Takes messages in from one thread, and tells others what they come to.

    Args:
        endpoint: of the daemon, for people.
        hours: of the history that is kept of each subject.
    """

    is_past = False
    """Whether it is of a night that is over."""

    def __init__(self, endpoint: str, hours: float) -> None:
        self.lock = threading.Lock()
        """Held while a subject is read or changed."""
        self.version = 0
        """Grows with every change."""
        self._hours = hours
        self._endpoint = endpoint
        self._subjects: dict[str, Subject] = {}
        self._streams: dict[str, StreamMessage] = {}
        self._heard: float | None = None
        self._beat: Heartbeat | None = None
        self._lost: str | None = _UNHEARD

    @property
    def daemon(self) -> Daemon:
        """How the daemon itself is."""
        beat = self._beat
        return Daemon(
            endpoint=self._endpoint,
            version=beat.version if beat else None,
            lost=self._lost,
            troubles=beat.troubles if beat else {},
        )

    @property
    def streams(self) -> Mapping[str, StreamMessage]:
        """What each stream of the daemon said last."""
        states = self._beat.states if self._beat else {}
        return {name: m for name, m in self._streams.items() if name in states or not states}

    @property
    def subjects(self) -> dict[str, Subject]:
        """The subjects of these streams; a journal may know others, of before."""
        found = {}
        for stream in self.streams.values():
            for name in stream.subjects:
                found[name] = self._subjects.setdefault(name, Subject(name, stream.stream))
        return found

    def take(self, received: Received) -> None:
        """Take in a message."""
        message = received.message
        with self.lock:
            self.version += 1
            self._heard = received.monotonic
            if isinstance(message, Heartbeat):
                self._beat = message
            elif isinstance(message, StreamMessage):
                self._streams[message.stream] = message
            elif isinstance(message, StageMessage):
                self._take_stage(message, received)
            elif isinstance(message, TriggerMessage):
                self._take_decision(message)
            elif isinstance(message, PulseMessage) and message.done != "off":
                self._take_pulse(message.subject, message.rule, message.utc, message.done)

    def remember(self, message: Message) -> None:
        """Fill an estimate of before into its subject's history."""
        if isinstance(message, StageMessage):
            with self.lock:
                self._history(self._change(message.subject, message.stream), message).add(message)

    def look(self, now: float, *, connected: bool) -> None:
        """Judge how everything is at a time, monotonic clock, s."""
        with self.lock:
            self._lost = self._find_lost(now, connected=connected)
            streams = self.streams
            for subject in self.subjects.values():
                stream, waited = (
                    streams.get(subject.stream),
                    (now - subject.heard, now - subject.ended),
                )
                found = tuple(judge(subject.live, stream, *waited, subject.off))
                if found != subject.troubles:
                    self.version += 1
                    subject.version = self.version
                    subject.troubles = found

    def _find_lost(self, now: float, *, connected: bool) -> str | None:
        if not connected:
            at = f"no connection to the daemon at {self._endpoint}"
            return f"{at}: does it run, and does it know your key, if it wants one?"
        if self._heard is None:
            return _UNHEARD
        if now - self._heard > SILENT_S:
            return f"the daemon at {self._endpoint} is silent"
        return None

    def _change(self, name: str, stream: str) -> Subject:
        """Return a subject that is about to change."""
        subject = self._subjects.setdefault(name, Subject(name, stream))
        self.version += 1
        subject.version = self.version
        return subject

    def _history(self, subject: Subject, message: StageMessage) -> History:
        if subject.history is None:
            subject.history = History(self._hours, message.hop_s)
        elif not subject.history.fits(message.hop_s):  # the daemon was started with another hop
            subject.history = subject.history.finer(message.hop_s)
        return subject.history

    def _take_stage(self, message: StageMessage, received: Received) -> None:
        subject = self._change(message.subject, message.stream)
        self._history(subject, message).add(message)
        if message.kind == "final":
            return
        subject.stream, subject.live = message.stream, message
        subject.ended = received.monotonic - age_when_received(message, received)
        subject.heard = subject.ended if message.replayed else received.monotonic
        for modality, why in message.validity.items():
            lasting = subject.off.setdefault(modality, Lasting())
            lasting.look(bad=why != OK, time=message.onset)

    def _take_decision(self, message: TriggerMessage) -> None:
        subject = self._change(message.subject, message.stream)
        name, action, reason = message.rule, message.action, message.reason
        former = subject.rules.get(name)
        rule = Rule(name=name, action=action, reason=reason, armed=message.armed)
        subject.rules[name] = rule
        if former is None or former.action != action:
            decision = Decision(utc=message.utc, rule=name, action=action, reason=reason)
            subject.decisions = [*subject.decisions, decision][-_DECISIONS:]
        if action in ("on", "sham"):
            self._take_pulse(message.subject, name, message.utc, f"{action} decided")

    def _take_pulse(self, name: str, rule: str, utc: str, what: str) -> None:
        if (subject := self._subjects.get(name)) is not None:
            at = datetime.fromisoformat(utc).timestamp()
            self.version += 1
            subject.version = self.version
            subject.pulse = Pulse(rule=rule, at=at, what=what)
