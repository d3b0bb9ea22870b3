"""The ZeroMQ publisher: every message to everyone who listens, blocking for nobody.

An XPUB socket sees each subscription, so the last message of every matching topic is sent
again to a late subscriber, with `replayed` true. The other subscribers of that topic see the
copy too; `seq` tells them that they had it.
"""

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Self

import msgspec
import zmq

from daemon.config import PublishConfig, SecurityConfig
from daemon.messages import Message, StageMessage, encode, topic_of
from daemon.sockets.gate import Gate
from models.errors import HypnodError

_LINGER_MS = 1000  # at the end, this long for subscribers to take what is still queued
_SUBSCRIBE = b"\x01"


class Publisher:
    """Publishes messages and answers subscriptions with the last value of each topic.

    Args:
        config: where to bind, how to encode, how much to keep for a slow subscriber.
        gate: who may listen; default: whoever is on this machine.

    Raises:
        ConfigError: the gate does not let a socket listen there.
        AddressError: the endpoint is in use, or is none of this machine.
    """

    def __init__(self, config: PublishConfig, gate: Gate | None = None) -> None:
        self._encoding = config.encoding
        self._seq: Counter[str] = Counter()
        self._first_seq = 0
        self._last: dict[tuple[str, str], Message] = {}
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

    def number_from(self, next_seq: Mapping[str, int], first_seq: int) -> None:
        """Go on after the messages of former runs.

        Args:
            next_seq: number of the next message of some topics.
            first_seq: number of the first message of the others.
        """
        self._seq, self._first_seq = Counter(next_seq), first_seq

    def next_seq(self, topic: str) -> int:
        """Return the number of the topic's next message; they count from 0."""
        seq = self._seq.get(topic, self._first_seq)
        self._seq[topic] = seq + 1
        return seq

    @property
    def newest(self) -> dict[str, int]:
        """Number of the newest message of each topic but `heartbeat`."""
        return {topic: seq - 1 for topic, seq in self._seq.items() if seq and topic != "heartbeat"}

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
        self._resources.close()

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
