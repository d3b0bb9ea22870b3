"""Ask the daemon's journal for messages.

docs/catchup.md shows the same in plain pyzmq, for programs that want no more than that.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Self

import msgspec
import zmq

from daemon.errors import AddressError
from daemon.messages import CatchUpReply, CatchUpRequest, Message, decode
from daemon.sockets.keys import ClientKeys
from models.errors import HypnodError
from tools.client.subscriber import DEFAULT_ENDPOINT, connect_again

_ANSWER_S = 5.0


class CatchUpError(HypnodError):
    """What was missed cannot be had now."""

    exit_code = 7


class NoAnswerError(CatchUpError):
    """Nobody answers."""


class CatchUpClient:
    """Fetches messages out of a daemon's journal.

    Args:
        endpoint: `publish.catchup_bind` of the daemon; it need not run yet.
        keys: for a daemon with `[security] clients`.

    Raises:
        AddressError: `endpoint` is no ZeroMQ endpoint.
    """

    def __init__(self, endpoint: str, keys: ClientKeys | None = None) -> None:
        self.endpoint = endpoint
        self._keys = keys
        self._context = zmq.Context()
        self._socket = self._connect()

    def fetch(
        self, topic: str, first: int = 0, last: int | None = None, since: datetime | None = None
    ) -> Iterator[Message]:
        """Yield a topic's messages in the order of `seq`, piece by piece, but for damaged ones.

        Args:
            topic: such as `stage.<subject>.final` or `stream.<name>`.
            first: number to begin with.
            last: number to end with; default: the newest one there is.
            since: leave out what is before the first message not before this.

        Raises:
            CatchUpError: nobody answers, the journal cannot be read, or it ends before `last`.
        """
        following: int | None = first
        while following is not None:
            request = CatchUpRequest(topic=topic, first=following, last=last, since=since)
            reply, payloads = self._ask(request)
            yield from _decode_all(topic, payloads)
            following, since = reply.next, None
        if last is not None and (reply.newest is None or reply.newest < last):
            raise CatchUpError(
                f"{topic}: expected message {last} in the journal of {self.endpoint}, found "
                f"{'none' if reply.newest is None else f'{reply.newest} as the newest one'}"
            )

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        self._context.term()

    def _ask(self, request: CatchUpRequest) -> tuple[CatchUpReply, list[bytes]]:
        content = msgspec.json.encode(request)
        try:
            self._socket.send(content, zmq.NOBLOCK)
        except zmq.Again:  # whose key was refused may have no connection, and tries for none
            self._connect_anew()
            self._socket.send(content, zmq.NOBLOCK)
        if not self._socket.poll(round(_ANSWER_S * 1000)):
            self._connect_anew()  # so that an answer that still comes is not taken for the next
            raise NoAnswerError(f"expected an answer from {self.endpoint} in {_ANSWER_S:g} s")
        head, *payloads = self._socket.recv_multipart()
        try:
            reply = msgspec.json.decode(head, type=CatchUpReply)
        except msgspec.DecodeError as error:
            raise CatchUpError(f"{self.endpoint}: expected a reply, found: {error}") from error
        if reply.error is not None:
            raise CatchUpError(f"{self.endpoint}: {reply.error}")
        return reply, payloads

    def _connect_anew(self) -> None:
        self._socket.close()
        self._socket = self._connect()

    def _connect(self) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        connect_again(socket)
        if self._keys is not None:
            self._keys.secure(socket)
        try:
            socket.connect(self.endpoint)
        except zmq.ZMQError as error:
            socket.close()
            self._context.term()
            raise AddressError(
                f"expected a ZeroMQ endpoint such as tcp://127.0.0.1:5571, found {self.endpoint!r}"
            ) from error
        return socket

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _decode_all(topic: str, payloads: list[bytes]) -> Iterator[Message]:
    """Yield the messages that can be read; of one that was damaged the number is missing."""
    for payload in payloads:
        try:
            yield decode(topic, payload)
        except msgspec.DecodeError:
            continue


def catch_up_endpoint(endpoint: str) -> str:
    """Return where a daemon with a publisher at `endpoint` answers: by default a port further.

    Raises:
        AddressError: the publisher has no port.
    """
    found = re.fullmatch(r"(tcp://.*:)(\d+)", endpoint)
    if found is None:
        raise AddressError(
            f"expected a ZeroMQ endpoint such as {DEFAULT_ENDPOINT}, found {endpoint!r}; the one "
            "to catch up from must be given where the publisher's has no port"
        )
    return f"{found[1]}{int(found[2]) + 1}"
