"""The ZeroMQ publisher: every message to everyone who listens, blocking for nobody.

An XPUB socket sees each subscription, so the last message of every matching topic, but for live
stages, is sent again to a late subscriber, with `replayed` true. The other subscribers of that
topic see the copy too; `seq` tells them that they had it.
"""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Self

import msgspec
import zmq

from daemon.config import PublishConfig, SecurityConfig
from daemon.messages import Message, TriggerMessage, encode
from daemon.outbox import Round
from daemon.sockets.gate import Gate
from models.errors import HypnodError

_LINGER_MS = 1000  # at the end, this long for subscribers to take what is still queued
_SUBSCRIBE = b"\x01"


class Publisher:
    """Publishes messages and answers subscriptions with the last value of each topic.

    Args:
        config: where to bind, how to encode, how much to keep for a slow subscriber.
        gate: who may listen; default: whoever is on this machine.
        is_journalled: tells whether the journal has all that it was given.

    Raises:
        ConfigError: the gate does not let a socket listen there.
        AddressError: the endpoint is in use, or is none of this machine.
    """

    def __init__(
        self,
        config: PublishConfig,
        gate: Gate | None = None,
        is_journalled: Callable[[], bool] = lambda: True,
    ) -> None:
        self._is_journalled = is_journalled
        self._encoding = config.encoding
        self._last: dict[str, Message] = {}
        self._resources = ExitStack()
        gate = gate or self._resources.enter_context(Gate(SecurityConfig()))
        self._socket = gate.context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.XPUB_VERBOSE, 1)  # every subscriber gets its last value
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
            if _is_on(message) and not self._is_journalled():
                continue  # nothing is switched on that is not on record
            self.publish(message)

    def publish(self, message: Message) -> None:
        """Send a message to its topic; never blocks: who is too slow loses it."""
        if message.is_replayed:
            self._last[message.topic] = message
        self._send(message)

    def serve(self, timeout_s: float) -> None:
        """Answer the subscriptions that have come; wait for one at most this long."""
        timeout_ms = round(timeout_s * 1000)
        while self._socket.poll(timeout_ms):
            frame = self._socket.recv()
            if frame.startswith(_SUBSCRIBE):
                self._replay(frame[1:].decode("utf-8", errors="replace"))
            timeout_ms = 0

    def close(self) -> None:
        """Close the socket; queued messages have a second to leave."""
        self._socket.close()
        self._resources.close()

    def _replay(self, prefix: str) -> None:
        for topic in sorted(topic for topic in self._last if topic.startswith(prefix)):
            self._send(msgspec.structs.replace(self._last[topic], replayed=True))

    def _send(self, message: Message) -> None:
        self._socket.send_multipart([message.topic.encode(), encode(message, self._encoding)])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _is_on(message: Message) -> bool:
    return isinstance(message, TriggerMessage) and message.action == "on"
