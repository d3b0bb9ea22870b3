"""The one way out: messages are numbered here, and a round of them goes through every sink in turn.

A sink is the journal, the publisher, an LSL outlet, the metrics, or the watchdog: whatever has
`take`. The service composes their list; what is published must be in the journal, so the journal
comes first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from daemon.journal.tick import RestartPoint
from daemon.messages import Message, is_served


@dataclass(frozen=True, slots=True)
class Round:
    """The messages of one tick, which the journal commits together; often none."""

    messages: Sequence[Message] = ()
    """Numbered, in the order in which they were composed."""
    points: Sequence[RestartPoint] = ()
    """For each stream that was staged in this tick, what a restarted daemon goes on from."""
    clock_offsets: Mapping[str, float] = field(default_factory=dict)
    """By stream, to add to an onset for the time on this machine's LSL clock, s."""


class Sink(Protocol):
    """One of those that get every round, in their order."""

    def take(self, what: Round, /) -> None:
        """Write, send or count what concerns this sink; never wait for a client."""


class Outbox:
    """Numbers messages and hands them to the sinks.

    Args:
        sinks: in the order in which they get each round.
    """

    def __init__(self, *sinks: Sink) -> None:
        self.sinks = list(sinks)
        """May grow while the service starts."""
        self._next_seq: dict[str, int] = {}
        self._next_unkept: dict[str, int] = {}
        self._first_seq = 0

    def number_from(self, next_seq: Mapping[str, int], first_seq: int) -> None:
        """Go on after the messages of former runs.

        Args:
            next_seq: number of the next message of some topics.
            first_seq: none of them, and no other topic, goes on below it.
        """
        self._next_seq, self._first_seq = dict(next_seq), first_seq

    @property
    def newest(self) -> dict[str, int]:
        """Number of the newest message of each topic that can be had from the journal."""
        return {t: seq - 1 for t, seq in self._next_seq.items() if seq and is_served(t)}

    def send(
        self,
        messages: Sequence[Message] = (),
        points: Sequence[RestartPoint] = (),
        clock_offsets: Mapping[str, float] | None = None,
    ) -> None:
        """Give messages their numbers, and every sink the round of them; see `Round`."""
        what = Round([self._number(message) for message in messages], points, clock_offsets or {})
        for sink in self.sinks:
            sink.take(what)

    def _number(self, message: Message) -> Message:
        numbers, first, topic = self._next_unkept, 0, message.topic
        if message.KEPT:
            numbers, first = self._next_seq, self._first_seq
        seq = max(numbers.get(topic, 0), first)
        numbers[topic] = seq + 1
        return msgspec.structs.replace(message, seq=seq)
