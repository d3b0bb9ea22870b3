"""The ZeroMQ publisher: every message to everyone who listens, blocking for nobody.

An XPUB socket sees each subscription, so the last message of every matching topic, but for live
stages, is sent again to a late subscriber, with `replayed` true. The other subscribers of that
topic see the copy too; `seq` tells them that they had it. One copy is for all who come within
a moment: a crowd costs no more than one.
"""

import time
from contextlib import ExitStack, suppress
from typing import Self

import msgspec
import zmq

from daemon.config import PublishConfig, SecurityConfig
from daemon.messages import Encoding, Message, encode
from daemon.outbox import Round
from daemon.sockets.gate import Gate
from daemon.sockets.meter import Meter
from daemon.sockets.viewers import Viewers
from models.errors import HypnodError

_LINGER_MS = 1000  # at the end, this long for subscribers to take what is still queued
_SUBSCRIBE = b"\x01"
_UNREAD = 10  # subscriptions of one client that libzmq takes in on its own, ahead of us
_AT_ONCE = 20  # subscriptions taken in one call: messages come first
_REST_S = 0.005  # after so many: a flood waits in its connection, and costs next to nothing
_MOMENT_S = 0.05  # from one copy of a topic's last message to the next


class Publisher:
    """Publishes messages and answers subscriptions with the last value of each topic.

    Args:
        config: where to bind, how to encode, how much to keep for a slow subscriber.
        gate: who may listen; default: whoever is on this machine.
        viewers: told of every subscription; default: nobody is.

    Raises:
        ConfigError: the gate does not let a socket listen there.
        AddressError: the endpoint is in use, or is none of this machine.
    """

    def __init__(
        self, config: PublishConfig, gate: Gate | None = None, viewers: Viewers | None = None
    ) -> None:
        self._viewers = viewers or Viewers(())
        self._encoding = config.encoding
        self._last: dict[bytes, bytes] = {}
        self._due: set[bytes] = set()
        self._due_at = self._rests_until = 0.0
        self._resources = ExitStack()
        gate = gate or self._resources.enter_context(Gate(SecurityConfig()))
        self._meter = Meter(gate.refused)
        self._socket = gate.context.socket(zmq.XPUB)
        # Every subscriber gets its last value, and whoever only unsubscribes is seen, too.
        self._socket.setsockopt(zmq.XPUB_VERBOSER, 1)
        self._socket.setsockopt(zmq.RCVHWM, _UNREAD)
        self._socket.setsockopt(zmq.SNDHWM, config.high_water_mark)
        self._socket.setsockopt(zmq.LINGER, _LINGER_MS)
        try:
            endpoint = gate.bind(self._socket, config.bind, "publish.bind")
        except HypnodError:
            self.close()
            raise
        self.endpoint = endpoint
        """Where it is bound; of a wildcard, the port that was taken."""

    def take(self, what: Round) -> None:
        """Publish the messages of a round."""
        for message in what.messages:
            self.publish(message)

    def publish(self, message: Message) -> None:
        """Send a message to its topic; never blocks: who is too slow loses it."""
        self.send(*frames_of(message, self._encoding))

    def send(self, topic: bytes, payload: bytes, again: bytes) -> None:
        """Send what `frames_of` made of a message."""
        self.remember(topic, again)
        self._socket.send_multipart([topic, payload])

    def remember(self, topic: bytes, again: bytes) -> None:
        """Have the last message of a topic for late subscribers."""
        if again:
            self._last[topic] = again

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """For who waits until a subscription comes."""
        return self._socket

    @property
    def due_s(self) -> float | None:
        """When copies for late subscribers are due, s from now; None where none are."""
        return max(0.0, self._due_at - time.monotonic()) if self._due else None

    @property
    def rest_s(self) -> float:
        """For so long it takes no more subscriptions, after many at once, s."""
        return max(0.0, self._rests_until - time.monotonic())

    def serve(self, timeout_s: float) -> None:
        """Answer some of the subscriptions that have come; wait for one at most this long."""
        if self.rest_s == 0.0:
            self._socket.poll(round(timeout_s * 1000))
            self._take_subscriptions()
        if self.due_s == 0.0:
            for topic in sorted(self._due):
                self._socket.send_multipart([topic, self._last[topic]])
            self._due.clear()
            self._due_at = time.monotonic() + _MOMENT_S

    def _take_subscriptions(self) -> None:
        with suppress(zmq.Again):
            for _ in range(_AT_ONCE):
                frame = self._socket.recv(zmq.NOBLOCK, copy=False)
                self._viewers.note(frame.bytes)  # each: what is not counted is missing at its end
                if self._meter.allows(frame) and frame.bytes.startswith(_SUBSCRIBE):
                    prefix = frame.bytes[1:]
                    self._due.update(topic for topic in self._last if topic.startswith(prefix))
            self._rests_until = time.monotonic() + _REST_S

    def close(self) -> None:
        """Close the socket; queued messages have a second to leave."""
        self._socket.close()
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def frames_of(message: Message, encoding: Encoding) -> tuple[bytes, bytes, bytes]:
    """Return a message's topic and payload, and the payload of its copy for late subscribers.

    That is empty for one that is never sent again.
    """
    again = b""
    if message.is_replayed:
        again = encode(msgspec.structs.replace(message, replayed=True), encoding)
    return message.topic.encode(), encode(message, encoding), again
