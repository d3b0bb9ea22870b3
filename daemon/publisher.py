"""The ZeroMQ publisher: every message to everyone who listens, blocking for nobody.

An XPUB socket sees each subscription, so the last message of every matching topic is sent
again to a late subscriber, with `replayed` true. The other subscribers of that topic see the
copy too; `seq` tells them that they had it.
"""

import errno
from collections import Counter
from typing import Self

import msgspec
import zmq

from daemon.config import PublishConfig
from daemon.errors import AddressError
from daemon.messages import Message, StageMessage, encode, topic_of

_LINGER_MS = 1000  # at the end, this long for subscribers to take what is still queued
_SUBSCRIBE = b"\x01"


class Publisher:
    """Publishes messages and answers subscriptions with the last value of each topic.

    Args:
        config: where to bind, how to encode, how much to keep for a slow subscriber.

    Raises:
        AddressError: the endpoint is in use, or is none of this machine.
    """

    def __init__(self, config: PublishConfig) -> None:
        self._encoding = config.encoding
        self._seq: Counter[str] = Counter()
        self._last: dict[tuple[str, str], Message] = {}
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.XPUB_VERBOSE, 1)  # every subscriber gets its last value
        self._socket.setsockopt(zmq.SNDHWM, config.high_water_mark)
        self._socket.setsockopt(zmq.LINGER, _LINGER_MS)
        try:
            self._socket.bind(config.bind)
        except zmq.ZMQError as error:
            self.close()
            raise AddressError(_explain(config.bind, error)) from error
        self.endpoint: str = self._socket.get_string(zmq.LAST_ENDPOINT)
        """Where it is bound; of a wildcard, the port that was taken."""

    def next_seq(self, topic: str) -> int:
        """Return the number of the topic's next message; they count from 0."""
        seq = self._seq[topic]
        self._seq[topic] += 1
        return seq

    def publish(self, message: Message) -> None:
        """Send a message to its topic; never blocks: who is too slow loses it."""
        topic = topic_of(message)
        kind = message.kind if isinstance(message, StageMessage) else ""
        self._last[topic, kind] = message
        self._send(topic, message)

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
        self._context.term()

    def _replay(self, prefix: str) -> None:
        matching = [(t, m) for (t, _), m in self._last.items() if t.startswith(prefix)]
        for topic, message in sorted(matching, key=lambda pair: (pair[0], pair[1].seq)):
            self._send(topic, msgspec.structs.replace(message, replayed=True))

    def _send(self, topic: str, message: Message) -> None:
        self._socket.send_multipart([topic.encode(), encode(message, self._encoding)])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _explain(bind: str, error: zmq.ZMQError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"publish.bind: expected a free address, found {bind} already in use"
    return f"publish.bind: expected an endpoint of this machine, found {bind}: {error.strerror}"
