"""A subscriber: receives the daemon's messages, decodes them, and counts those that it missed."""

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import msgspec
import zmq
from zmq.utils.monitor import recv_monitor_message

from daemon.errors import AddressError
from daemon.messages import Encoding, Message, StageMessage, decode
from daemon.sockets.keys import ClientKeys

DEFAULT_ENDPOINT = "tcp://127.0.0.1:5570"

SILENT_S = 15.0
"""A daemon sends a heartbeat every 5 s by default; after three that did not come it is silent."""
_CONNECT_MS = 5000
"""An attempt to connect that takes longer is given up for another."""
_BURST = 10_000  # a caller gets its turn, however fast messages come
_JSON_BEGIN = b"{"  # a message in MessagePack begins with another byte


def decode_any(topic: str, payload: bytes) -> Message:
    """Return the message in a payload of either encoding.

    Raises:
        msgspec.ValidationError, msgspec.DecodeError: it is none of this version of the schema.
    """
    encoding: Encoding = "json" if payload[:1] == _JSON_BEGIN else "msgpack"
    return decode(topic, payload, encoding)


def connect_again(socket: zmq.Socket[Any]) -> None:
    """Let a socket try anew where connecting takes long; TCP alone would wait for minutes."""
    socket.setsockopt(zmq.HANDSHAKE_IVL, _CONNECT_MS)
    socket.setsockopt(zmq.CONNECT_TIMEOUT, _CONNECT_MS)


def dial(bind: str) -> str:
    """Return where a socket of this machine that is bound so can be reached.

    Raises:
        AddressError: only the daemon knows its port.
    """
    host, _, port = bind.removeprefix("tcp://").rpartition(":")
    if bind.startswith("tcp://") and port in ("*", "0"):
        raise AddressError(
            f"expected an address with a port in the config, found {bind}; the daemon's log tells "
            "the free one that it took"
        )
    here = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - read only
    return f"tcp://{here.get(host, host)}:{port}" if bind.startswith("tcp://") else bind


@dataclass(frozen=True, slots=True)
class Received:
    """A message and when it came."""

    topic: str
    message: Message
    wall: float
    """Wall clock when it was received, s since 1970-01-01 UTC."""
    monotonic: float
    """The same on this machine's monotonic clock (on Linux also that of LSL), s."""


def age_when_received(message: StageMessage, received: Received) -> float:
    """Return how long ago the epoch had ended, s; where a replay is ahead of time, 0."""
    age_s = max(message.age_s or 0.0, 0.0)
    if message.replayed:
        published = datetime.fromisoformat(message.published_utc).timestamp()
        age_s += max(received.wall - published, 0.0)
    return age_s


class Subscriber:
    """Receives what a daemon publishes, in either encoding.

    Late joiners get the last message of each topic but `stage.<subject>.live` again, marked
    `replayed`; a copy of a message that already came is dropped. After `SILENT_S` without a message
    the connection is made anew, since TCP waits for hours where a cable came out or the other
    computer lost its power. (ZeroMQ's own heartbeats would do so too, but end the process where the
    queue is full: libzmq #3937.)

    Args:
        endpoint: ZeroMQ endpoint of the daemon; it need not run yet.
        prefixes: topics to receive, by their beginning; default: all.
        keys: for a daemon with `[security] clients`.
        high_water_mark: messages kept while nobody calls `receive`; 0: all that come.

    Attributes:
        missed: messages that never came, by topic, as the jumps of `seq` tell.
        unread: payloads that are no messages of this version of the schema.

    Raises:
        AddressError: `endpoint` is no ZeroMQ endpoint.
    """

    def __init__(
        self,
        endpoint: str = DEFAULT_ENDPOINT,
        prefixes: Iterable[str] = ("",),
        keys: ClientKeys | None = None,
        high_water_mark: int = 0,
    ) -> None:
        self.endpoint = endpoint
        self.missed: dict[str, int] = {}
        self.unread = 0
        self._last: dict[str, Message] = {}
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.RCVHWM, high_water_mark)
        self._socket.setsockopt(zmq.LINGER, 0)
        connect_again(self._socket)
        self._connected = False
        self._monitor = self._socket.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        )
        if keys is not None:
            keys.secure(self._socket)
        for prefix in prefixes:
            self._socket.setsockopt_string(zmq.SUBSCRIBE, prefix)
        try:
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise AddressError(
                f"expected a ZeroMQ endpoint such as {DEFAULT_ENDPOINT}, found {endpoint!r}"
            ) from error
        self._heard = time.monotonic()

    def receive(self, timeout_s: float) -> Iterator[Received]:
        """Yield the messages that are there; wait for the first one at most this long."""
        self._look_at_connection()
        timeout_ms = max(0, round(timeout_s * 1000))
        for _ in range(_BURST):
            if not self._socket.poll(timeout_ms):
                self._look_behind_silence()
                return
            topic, payload = self._socket.recv_multipart()
            wall, monotonic = time.time(), time.monotonic()
            self._heard = monotonic
            name = topic.decode(errors="replace")
            message = self._decode(name, payload)
            if message is not None:
                yield from self._take(Received(name, message, wall, monotonic))
            timeout_ms = 0

    @property
    def n_missed(self) -> int:
        """Messages that never came, of all topics."""
        return sum(self.missed.values())

    @property
    def connected(self) -> bool:
        """Whether the daemon is at the other end: its death ends the connection at once."""
        self._look_at_connection()
        return self._connected

    def close(self) -> None:
        """Close the socket."""
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close()
        self._context.term()

    def _look_at_connection(self) -> None:
        """Take in what the monitor tells, which nobody else takes."""
        with suppress(zmq.Again):
            while True:
                event = recv_monitor_message(self._monitor, zmq.NOBLOCK)["event"]
                self._connected = event == zmq.EVENT_HANDSHAKE_SUCCEEDED

    def _look_behind_silence(self) -> None:
        """Connect anew where nothing came for long, though nothing has ended the connection."""
        if time.monotonic() - self._heard > SILENT_S:
            self._socket.disconnect(self.endpoint)
            self._socket.connect(self.endpoint)
            self._heard = time.monotonic()

    def _decode(self, topic: str, payload: bytes) -> Message | None:
        """Return the message, or None where it is of another version of hypnod."""
        try:
            return decode_any(topic, payload)
        except (msgspec.ValidationError, msgspec.DecodeError):
            self.unread += 1
            return None

    def _take(self, received: Received) -> Iterator[Received]:
        """Yield what a message that has come brings: itself, unless it is a copy."""
        if self._is_new(received.topic, received.message):
            yield received

    def _is_new(self, topic: str, message: Message) -> bool:
        """Count what is missing before this message; a new session of the daemon starts anew."""
        last = self._last.get(topic)
        if last is None or last.session != message.session:
            self._last[topic] = message
            self.missed.setdefault(topic, 0)
            return True
        if message.seq <= last.seq:
            return False
        self.missed[topic] += message.seq - last.seq - 1
        self._last[topic] = message
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
