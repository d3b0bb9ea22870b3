"""The catch-up socket: messages that were missed, out of the journal, piece by piece.

A ROUTER that answers each `CatchUpRequest` with one `CatchUpReply` and the messages after it, and
hears, without an answer, what `hypnod pulse` has done. It is served by a thread of its own: a slow
disk delays who missed something and nobody else. After each answer the thread rests for longer than
the answer took, so that a greedy client gets a part of one core at most, and staging is not
disturbed.
"""

import math
import threading
import time
from itertools import accumulate
from pathlib import Path
from typing import Self

import msgspec
import zmq

from daemon.config import PublishConfig
from daemon.errors import JournalError
from daemon.journal.reader import Entry, JournalReader
from daemon.messages import SCHEMA, CatchUpReply, CatchUpRequest, is_served
from daemon.sockets.gate import Gate
from daemon.sockets.meter import Meter
from daemon.sockets.pulses import KIND, Pulses
from models.errors import HypnodError

PIECE = 500
"""Most messages in a reply."""
PIECE_BYTES = 2**20
"""Size of the messages in a reply, unless one alone is larger."""

_REST = 3.0
"""Rest per processor time taken: answering takes a quarter of one core at most."""
_REQUESTS_KEPT, _REPLIES_KEPT = 16, 4  # of one client: so much may wait, the rest is dropped
_OLD_DECISION = (
    "expected another topic than trigger.<subject>, found one: nobody may act on an old decision; "
    "hypnod night lists them"
)
_STOP_ENDPOINT = "inproc://hypnod.catchup.stop"


class CatchUp:
    """Answers requests until it is closed.

    Args:
        config: where to bind.
        journal: the file to answer from; it need not be there yet.
        gate: who may ask.
        pulses: takes what outputs did; default: nobody does.

    Raises:
        ConfigError: the gate does not let a socket listen there.
        AddressError: the endpoint is in use, or is none of this machine.
    """

    def __init__(
        self, config: PublishConfig, journal: Path, gate: Gate, pulses: Pulses | None = None
    ) -> None:
        self._reader = JournalReader(journal)
        self._pulses = pulses
        self._meter = Meter(gate.refused)
        self._socket = gate.context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.RCVHWM, _REQUESTS_KEPT)
        self._socket.setsockopt(zmq.SNDHWM, _REPLIES_KEPT)
        self._socket.setsockopt(zmq.LINGER, 0)
        try:
            endpoint = gate.bind(self._socket, config.catchup_bind, "publish.catchup_bind")
        except HypnodError:
            self._socket.close()
            raise
        self.endpoint = endpoint
        """Where it is bound; of a wildcard, the port that was taken."""
        self._stop, self._stopped = gate.context.socket(zmq.PAIR), gate.context.socket(zmq.PAIR)
        self._stop.bind(_STOP_ENDPOINT)
        self._stopped.connect(_STOP_ENDPOINT)
        self._thread = threading.Thread(target=self._run, name="catch-up", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Finish the answer that is being sent, and close the socket."""
        self._stop.send(b"")
        self._thread.join()
        for socket in (self._socket, self._stop, self._stopped):
            socket.close(linger=0)

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._stopped, zmq.POLLIN)
        while self._stopped not in dict(poller.poll()):
            began = time.thread_time()
            self._serve_one()
            rest_s = _REST * (time.thread_time() - began)
            if self._stopped.poll(math.ceil(1000 * rest_s)):
                return

    def _serve_one(self) -> None:
        frames = self._socket.recv_multipart(copy=False)
        if not all(self._meter.allows(frame) for frame in frames[1:]):
            return
        client, *parts = (frame.bytes for frame in frames)
        if self._pulses is not None and parts[:1] == [KIND]:
            self._pulses.take(parts[1:])
            return
        n = _n_envelope(parts)
        reply = self.answer(parts[n:])
        self._socket.send_multipart([client, *parts[:n], *reply])  # drops what finds no room

    def answer(self, parts: list[bytes]) -> list[bytes]:
        """Return the frames of the reply to those of a request, whatever is in them."""
        try:
            request = _decode(parts)
        except (ValueError, RecursionError) as error:
            return [_encode_error("", f"expected a request as CatchUpRequest describes: {error}")]
        if not is_served(request.topic):
            return [_encode_error(request.topic, _OLD_DECISION)]
        try:
            return self._read(request)
        except JournalError as error:
            return [_encode_error(request.topic, str(error))]

    def _read(self, request: CatchUpRequest) -> list[bytes]:
        topic, newest = request.topic, self._reader.last_seq(request.topic)
        pieces: list[bytes] = []
        after = None
        if newest is not None:
            newest_wanted = newest if request.last is None else min(request.last, newest)
            if (first := self._first(request)) is not None:
                entries = self._reader.messages(topic, first, newest_wanted, PIECE)
                pieces = _cut([_payload(entry) for entry in entries])
                after = entries[len(pieces) - 1].seq + 1 if pieces else None
        rest = after is not None and after <= newest_wanted
        reply = CatchUpReply(
            schema=SCHEMA,
            topic=topic,
            n_messages=len(pieces),
            next=after if rest else None,
            newest=newest,
        )
        return [msgspec.json.encode(reply), *pieces]

    def _first(self, request: CatchUpRequest) -> int | None:
        """Return the number to begin with, None where there is no message so late."""
        if request.since is None:
            return request.first
        since = request.since.timestamp()
        found = next(self._reader.between(request.topic, since, math.inf), None)
        return None if found is None else max(found.seq, request.first)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _n_envelope(parts: list[bytes]) -> int:
    """Return how many frames a REQ socket put before the request: an empty one, and maybe a number.

    The number (REQ_CORRELATE) tells its answer from a late one to a request given up.
    """
    return next((i + 1 for i in (0, 1) if len(parts) > i + 1 and parts[i] == b""), 0)


def _decode(parts: list[bytes]) -> CatchUpRequest:
    """Return the request in the frames of one.

    Raises:
        ValueError, RecursionError: there is none.
    """
    if len(parts) != 1:
        raise ValueError(f"one frame, found {len(parts)}")
    try:
        request = msgspec.json.decode(parts[0], type=CatchUpRequest)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error
    request.topic.encode()  # half of a surrogate pair is valid JSON, but no text
    return request


def _cut(payloads: list[bytes]) -> list[bytes]:
    """Return as many of them as fit in a reply, but one at least."""
    fitting = sum(size <= PIECE_BYTES for size in accumulate(map(len, payloads)))
    return payloads[: max(1, fitting)]


def _payload(entry: Entry) -> bytes:
    """Return a message as it was published; nothing of one that the disk has damaged."""
    try:
        return entry.payload
    except JournalError:
        return b""


def _encode_error(topic: str, error: str) -> bytes:
    return msgspec.json.encode(
        CatchUpReply(schema=SCHEMA, topic=topic, n_messages=0, next=None, newest=None, error=error)
    )
