"""How far a replay has been read, told back to it, so that it never overruns its reader.

LSL has no flow control: a stream pushed faster than it is read loses its oldest samples. A real
source keeps real time and needs none; `hypnod replay` above real time names a local TCP port in
its stream's description, and an inlet on the same machine sends there what it has pulled. Other
readers need not know of it.
"""

import math
import uuid
from typing import Any

import msgspec
import zmq
from zmq.utils.monitor import recv_monitor_message

KEY = "progress_port"
"""The child of desc/replay that holds the port."""
SPEED = "speed"
"""The one that says how fast it is played: recording time per time."""


def is_live(info: Any) -> bool:
    """Whether a stream's samples come as time passes: a replay may play them faster."""
    return info.desc().child("replay").child_value(SPEED) in ("", "1")


class Progress(msgspec.Struct, frozen=True, array_like=True):
    """One reader's progress."""

    reader: str
    """Identifies the reader."""
    timestamp: float | None
    """Timestamp of the newest sample pulled, s; null before the first."""


class ProgressSender:
    """The reader's end; sends never block, and only the newest one is kept."""

    def __init__(self, port: int) -> None:
        self._reader = uuid.uuid4().hex
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUSH)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.CONFLATE, 1)
        self._socket.connect(f"tcp://127.0.0.1:{port}")
        self.send(None)

    def send(self, timestamp: float | None) -> None:
        """Tell the timestamp (s) of the newest sample pulled."""
        try:
            payload = msgspec.json.encode(Progress(self._reader, timestamp))
            self._socket.send(payload, zmq.DONTWAIT)
        except zmq.Again:
            return  # the replay has gone; there is nobody to tell

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class ProgressReceiver:
    """The replay's end: where the slowest of its readers is."""

    def __init__(self) -> None:
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PULL)
        self._socket.setsockopt(zmq.LINGER, 0)
        self.port: int = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self._events: zmq.Socket[bytes] = self._socket.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        )
        self._connected = self._gone = 0
        self._read: dict[str, float] = {}  # who told last is at the end

    @property
    def readers(self) -> int:
        """Number of readers that tell their progress."""
        return len(self._read)

    def slowest(self) -> float:
        """Timestamp (s) up to which every such reader has read; +inf where there is none."""
        return min(self._read.values(), default=math.inf)

    def update(self, sent: float, timeout_s: float = 0.0) -> bool:
        """Take in what the readers told, waiting up to `timeout_s` for it, and who has gone.

        Args:
            sent: Timestamp of the newest sample sent, s: where a reader that joins now starts.
            timeout_s: Longest wait for the first message, s.

        Returns:
            Whether anything was told.
        """
        told = False
        while self._socket.poll(0 if told else int(timeout_s * 1000)):
            progress = msgspec.json.decode(self._socket.recv(), type=Progress)
            newest = sent if progress.timestamp is None else progress.timestamp
            self._read.pop(progress.reader, None)
            self._read[progress.reader] = newest
            told = True
        self._forget_gone()
        return told

    def forget(self) -> None:
        """Wait for none of the present readers any longer."""
        self._read.clear()

    def close(self) -> None:
        """Close the socket."""
        self._socket.disable_monitor()
        self._events.close()
        self._socket.close()

    def _forget_gone(self) -> None:
        """Forget as many readers as are no longer connected: those that told nothing for longest.

        A reader that was killed cannot say so.
        """
        while self._events.poll(0):
            event = recv_monitor_message(self._events)["event"]
            come = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
            self._connected += 1 if come else -1
            self._gone += not come
        # That somebody came may be heard later than what he told: only who left is forgotten.
        while self._gone and len(self._read) > self._connected:
            del self._read[next(iter(self._read))]
            self._gone -= 1
