"""What Open Ephys' ZMQ Interface plugin sends, as blocks of samples.

A message is one channel's part of a block: an envelope, a JSON header and float32 samples. A client
says that it is there on the port after that of the data.
https://open-ephys.github.io/gui-docs/User-Manual/Plugins/ZMQ-Interface.html
"""

import json
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Self

import msgspec
import numpy as np
import zmq
from numpy.typing import NDArray

from daemon.errors import AddressError
from models.errors import StreamError

HEARTBEAT_S = 2.0
"""As the plugin's documentation recommends; after 5 s it shows a client as gone."""
_FLOAT_BYTES = 4

Count = Annotated[int, msgspec.Meta(ge=0)]


class Layout(msgspec.Struct, frozen=True):
    """What all messages of a stream have in common."""

    stream: str
    """The name that Open Ephys has for it."""
    sample_rate: Annotated[float, msgspec.Meta(gt=0, lt=1e6)]
    """Hz."""


class _Content(Layout, frozen=True):
    channel_num: Count
    num_samples: Count
    sample_num: Count


class _Header(msgspec.Struct, frozen=True):
    type: str
    content: msgspec.Raw = msgspec.Raw(b"")


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive samples of all channels."""

    layout: Layout
    channels: tuple[int, ...]
    """Numbers of the channels, from 0, ascending."""
    first: int
    """Number of the first sample since the acquisition began."""
    data: NDArray[np.float32]
    """(n_samples, n_channels), µV; NaN where a channel's message is missing."""


class Assembler:
    """Puts the messages of single channels together again.

    The channels are those of the first block that is known to be whole; a block with others
    changes them.
    """

    def __init__(self) -> None:
        self._channels: tuple[int, ...] = ()
        self._key: tuple[Layout, int, int] | None = None
        self._parts: dict[int, NDArray[np.float32]] = {}
        self._n_blocks = 0

    def take(self, frames: list[bytes]) -> Iterator[Block]:
        """Yield the blocks that a message completes; what is no message of data yields none.

        Raises:
            StreamError: it is not as the plugin's documentation says.
        """
        found = _read(frames)
        if found is None:
            return
        content, samples = found
        layout = Layout(content.stream, content.sample_rate)
        key = (layout, content.sample_num, content.num_samples)
        if key != self._key or content.channel_num in self._parts:
            yield from self._flush()
            self._key, self._parts = key, {}
        self._parts[content.channel_num] = samples
        if self._channels and set(self._channels) == set(self._parts):
            yield from self._flush()

    def _flush(self) -> Iterator[Block]:
        if self._key is None or not self._parts:
            return
        (layout, first, n_samples), parts = self._key, self._parts
        self._parts = {}
        self._n_blocks += 1
        if self._n_blocks == 1:
            return  # whoever subscribes amid a block gets the rest of it
        if not set(parts) <= set(self._channels):
            self._channels = tuple(sorted(parts))
        missing = np.full(n_samples, np.nan, np.float32)
        columns = [parts.get(channel, missing) for channel in self._channels]
        yield Block(layout, self._channels, first, np.column_stack(columns))


def _read(frames: list[bytes]) -> tuple[_Content, NDArray[np.float32]] | None:
    """Return a message of data; None where it is of an event or a spike."""
    try:
        header = msgspec.json.decode(frames[1] if len(frames) > 1 else b"", type=_Header)
        if header.type != "data":
            return None
        content = msgspec.json.decode(header.content, type=_Content)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise StreamError(
            "expected messages of Open Ephys' ZMQ Interface 0.3 or newer, found one whose header "
            f"cannot be read: {error}"
        ) from error
    n_bytes = len(frames[2]) if len(frames) == 3 else 0
    if n_bytes != content.num_samples * _FLOAT_BYTES:
        raise StreamError(
            f"expected {content.num_samples} float32 samples of channel {content.channel_num} from "
            f"Open Ephys, found {n_bytes} bytes"
        )
    return (content, np.frombuffer(frames[2], "<f4")) if n_bytes else None


class OpenEphys:
    """A client of the plugin.

    Args:
        endpoint: its data port; it need not run yet.

    Raises:
        AddressError: `endpoint` is none of tcp://HOST:PORT.
    """

    def __init__(self, endpoint: str) -> None:
        found = re.fullmatch(r"tcp://([^:]+|\[.+\]):(\d+)", endpoint)
        if not found or int(found[2]) > 65534:
            raise AddressError(
                f"expected tcp://HOST:PORT, the Data Port of the plugin, found {endpoint!r}"
            )
        self._assembler = Assembler()
        self._context = zmq.Context()
        self._data = self._socket(zmq.SUB, endpoint)
        self._data.setsockopt(zmq.SUBSCRIBE, b"")
        self._beats = self._socket(zmq.REQ, f"tcp://{found[1]}:{int(found[2]) + 1}")
        self._beat_due = 0.0
        client = {"application": "hypnod", "uuid": str(uuid.uuid4()), "type": "heartbeat"}
        self._beat = json.dumps(client).encode()

    def _socket(self, kind: zmq.SocketType, endpoint: str) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        if kind == zmq.REQ:  # the next heartbeat goes out, whether this one was answered or not
            socket.setsockopt(zmq.REQ_RELAXED, 1)
            socket.setsockopt(zmq.REQ_CORRELATE, 1)
        else:
            socket.setsockopt(zmq.RCVHWM, 0)
        socket.connect(endpoint)
        return socket

    def receive(self, timeout_s: float) -> Iterator[Block]:
        """Yield the blocks that are complete; wait for the first message at most this long.

        Raises:
            StreamError: what comes is not as the plugin's documentation says.
        """
        self._say_alive()
        timeout_ms = round(timeout_s * 1000)
        while self._data.poll(timeout_ms):
            yield from self._assembler.take(self._data.recv_multipart())
            timeout_ms = 0

    def _say_alive(self) -> None:
        if time.monotonic() >= self._beat_due:
            self._beat_due = time.monotonic() + HEARTBEAT_S
            if self._beats.poll(0, zmq.POLLOUT):
                self._beats.send(self._beat, zmq.NOBLOCK)

    def close(self) -> None:
        """Close the sockets."""
        self._data.close()
        self._beats.close()
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
