"""Tells the daemon what outputs did, for its journal; hardware never waits for that."""

import time
from collections import deque
from datetime import UTC, datetime
from typing import Self

import msgspec
import zmq

from daemon.errors import AddressError
from daemon.messages import Done, PulseDone
from daemon.sockets.keys import ClientKeys
from daemon.sockets.pulses import KIND
from tools.client.subscriber import SILENT_S, connect_again
from tools.pulse.gate import Pulse

_EVERY_S = 0.1
"""From one to the next: the daemon cuts off whoever tells too much."""
_MAX_WAITING = 10_000  # while the daemon is away; the oldest are lost
_LAST = 20  # told at the end without waiting
_LINGER_MS = 500


class Teller:
    """Tells one after another, as the daemon takes them.

    Args:
        endpoint: `publish.catchup_bind` of the daemon, which need not run; empty: nothing is told.
        keys: for a daemon with `[security] clients`.

    Raises:
        AddressError: `endpoint` is no ZeroMQ endpoint.
    """

    def __init__(self, endpoint: str, keys: ClientKeys | None = None) -> None:
        self._waiting: deque[bytes] = deque(maxlen=_MAX_WAITING)
        self._endpoint = endpoint
        self._next, self._anew = 0.0, time.monotonic() + SILENT_S
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.IMMEDIATE, 1)  # what nobody takes waits here, not there
        self._socket.setsockopt(zmq.LINGER, _LINGER_MS)
        connect_again(self._socket)
        if keys is not None:
            keys.secure(self._socket)
        if not endpoint:
            return
        try:
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            self._end()
            raise AddressError(
                "publish.catchup_bind: expected a ZeroMQ endpoint such as tcp://127.0.0.1:5571, "
                f"found {endpoint!r}"
            ) from error

    def tell(self, output: int, pulse: Pulse, done: Done, when: float) -> None:
        """Have it told what an output did for a pulse, and when, Unix time, s."""
        what = PulseDone(
            subject=pulse.subject,
            rule=pulse.rule,
            pulse=pulse.number,
            decided_in=pulse.session,
            done=done,
            utc=datetime.fromtimestamp(when, UTC),
            output=output,
        )
        self._waiting.append(msgspec.json.encode(what))

    def send(self) -> None:
        """Tell the oldest, if it is time and somebody listens; call it often."""
        if self._waiting and time.monotonic() >= self._next:
            self._send_one()
            self._next = time.monotonic() + _EVERY_S

    def close(self) -> None:
        """Tell the last ones, if somebody listens, and close the socket."""
        for _ in range(min(_LAST, len(self._waiting))):
            self._send_one()
        self._end()

    def _send_one(self) -> None:
        try:
            self._socket.send_multipart([KIND, self._waiting[0]], zmq.NOBLOCK)
        except zmq.Again:
            self._connect_anew()
            return
        self._waiting.popleft()

    def _connect_anew(self) -> None:
        """Connect again now and then: a connection whose key was refused has ended for good."""
        now = time.monotonic()
        if self._endpoint and now >= self._anew:
            self._socket.disconnect(self._endpoint)
            self._socket.connect(self._endpoint)
            self._anew = now + SILENT_S

    def _end(self) -> None:
        self._socket.close()
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
