"""Live signals: each browser that shows an animal is a subscriber of its own to that one's trace.

So the daemon computes them only while a browser shows them. What a slow one does not take waits at
the daemon's publisher, within its bound, until the browser is given up.
"""

from collections.abc import AsyncGenerator

import msgspec
import zmq
import zmq.asyncio

from daemon.messages import TraceMessage
from daemon.sockets.keys import ClientKeys
from tools.client.subscriber import connect_again, decode_any

_KEPT = 8
"""Messages that wait for a slow browser here."""
_TURN_MS = 1000


class Traces:
    """Subscribes to traces on behalf of browsers.

    Args:
        endpoint: of the daemon's publisher.
        keys: for a daemon with keys.
    """

    def __init__(self, endpoint: str, keys: ClientKeys | None) -> None:
        self._endpoint, self._keys = endpoint, keys

    async def follow(self, name: str) -> AsyncGenerator[bytes]:
        """Yield the messages of a subject's trace, JSON; `null` every second without one."""
        with zmq.asyncio.Context() as context, context.socket(zmq.SUB) as socket:
            socket.setsockopt(zmq.RCVHWM, _KEPT)
            socket.setsockopt(zmq.LINGER, 0)
            connect_again(socket)
            if self._keys is not None:
                self._keys.secure(socket)
            socket.setsockopt_string(zmq.SUBSCRIBE, f"trace.{name}")
            socket.connect(self._endpoint)
            while True:
                content = b"null"
                if await socket.poll(_TURN_MS):
                    topic, payload = await socket.recv_multipart()
                    content = _read(topic.decode(errors="replace"), payload, name) or content
                yield content


def _read(topic: str, payload: bytes, name: str) -> bytes | None:
    """Return a message of this subject's trace as JSON; a prefix brings those of others, too."""
    try:
        message = decode_any(topic, payload)
    except (msgspec.ValidationError, msgspec.DecodeError):  # of another version of hypnod
        return None
    ours = isinstance(message, TraceMessage) and message.subject == name
    return message.as_json if ours else None
