"""What hypnod says on the wire: multipart `[topic, payload]`, JSON or MessagePack.

Topics are `stage.<subject>`, `stream.<name>` and `heartbeat`. A subscriber that wants one
subject subscribes to `stage.m01`; ZeroMQ matches by prefix. Who missed some asks a second socket.
"""

from datetime import datetime
from typing import Annotated, Literal

import msgspec

SCHEMA = 1
"""Version of this schema. It grows by one when a field changes its meaning or goes away."""

Kind = Literal["live", "final"]
Encoding = Literal["json", "msgpack"]
Seq = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class StageMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One estimate of one epoch of one subject; topic `stage.<subject>`."""

    schema: int
    """Version of this message's schema."""
    session: str
    """Identifies one run of the daemon."""
    subject: str
    """The animal or person, as named in the config."""
    stream: str
    """The stream the subject is in, as named in the config."""
    seq: int
    """Counts this subject's stage messages from 0 without a gap, over restarts too: a jump means
    that one was missed."""
    kind: Kind
    """`live`: read at once from the last slot of the context window, for closed loop. `final`:
    the same epoch read again when its right-hand context has arrived, for the record."""
    epoch: int
    """Counts the stream's epochs from 0, over restarts too; a new time grid goes on counting."""
    onset: float
    """Time of the epoch's first sample on the stream's LSL clock, s."""
    utc: str
    """The same in UTC, ISO 8601."""
    epoch_s: float
    """Length of the epoch, s."""
    stage: str
    """A stage of the model's set, or ART (signal there, but an artefact), or UNKNOWN (no usable
    signal)."""
    probabilities: dict[str, float]
    """Probability of each stage; empty where the stage is ART or UNKNOWN."""
    confidence: float
    """The highest of the probabilities; 0 where there is none."""
    pathway: str | None
    """What was read: `mixed`, or the one usable modality; null where nothing could be."""
    validity: dict[str, str]
    """For each modality `ok`, or why this epoch of it could not be used: missing, not_finite,
    flat, clipped, out_of_range, mains."""
    reason: str | None
    """Why the stage is ART or UNKNOWN, else null."""
    slots_filled: int
    """Epochs of the context window that hold a usable signal."""
    n_context: int
    """Epochs in the context window."""
    drift: float | None = None
    """How unlike the animals that the model was trained on this one has looked for the last half
    hour, in its most unlike modality: 99 % of such animals stay below 1. null: not known yet, or
    the bundle cannot tell."""
    latency_s: float | None
    """From the arrival of the epoch's last sample until the message goes to the journal and, once
    it is there, out, s; null where the sample never came, or came before a restart."""
    published_utc: str
    """When it was published, in UTC, ISO 8601, to the µs: how old a message is, on this machine."""
    model: str
    """First 12 digits of the bundle's SHA-256."""
    engine: str
    """Library, version and device that computed it."""
    config: str
    """First 12 digits of the config's SHA-256."""
    replayed: bool = False
    """True in a copy sent again to a late subscriber."""


class StreamMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A stream changed its state; topic `stream.<name>`."""

    schema: int
    """Version of this message's schema."""
    session: str
    """Identifies one run of the daemon."""
    stream: str
    """The stream, as named in the config."""
    seq: int
    """Counts this stream's messages from 0, over restarts too."""
    state: str
    """STARTING, RESOLVING, FILLING, STAGING, STALLED, DRAINING, STOPPED or FAILED."""
    reason: str
    """Why, in one sentence."""
    utc: str
    """When, ISO 8601."""
    subjects: tuple[str, ...]
    """The stream's subjects."""
    sfreq: float | None
    """Sampling rate as measured from the timestamps, Hz; null before there are enough."""
    replayed: bool = False
    """True in a copy sent again to a late subscriber."""


class Heartbeat(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Sent every few seconds while the daemon makes progress; topic `heartbeat`."""

    schema: int
    """Version of this message's schema."""
    session: str
    """Identifies one run of the daemon."""
    seq: int
    """Counts heartbeats from 0."""
    utc: str
    """When, ISO 8601."""
    uptime_s: float
    """Since the daemon started, s."""
    states: dict[str, str]
    """State of each stream."""
    version: str
    """Version of hypnod."""
    newest: dict[str, int] = {}
    """Number of the newest message of each other topic: who has heard a lower one missed some."""
    replayed: bool = False
    """True in a copy sent again to a late subscriber."""


class CatchUpRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Asks for messages that were missed: one frame, JSON."""

    topic: Annotated[str, msgspec.Meta(max_length=256)]
    """The whole topic, `stage.<subject>` or `stream.<name>`."""
    first: Seq = 0
    """Number of the first message wanted."""
    last: Seq | None = None
    """Number of the last message wanted; null: the newest one there is."""
    since: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    """Begin with the first message whose `utc` is not before this, ISO 8601 with a time zone."""


class CatchUpReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Says what is sent: the first frame of the reply; the messages are the frames after it."""

    schema: int
    """Version of this message's schema."""
    topic: str
    """As asked; empty where the request could not be read."""
    n_messages: int
    """Frames that follow: messages in the order of `seq`, in JSON, as they were published."""
    next: int | None
    """`first` of the next request for the rest of what was asked for; null: that was all."""
    newest: int | None
    """Number of the newest message of the topic in the journal; null where it has none."""
    error: str | None = None
    """Why there is no answer, in one sentence."""


Message = StageMessage | StreamMessage | Heartbeat


def topic_of(message: Message) -> str:
    """Return the topic that a message is published under."""
    if isinstance(message, StageMessage):
        return f"stage.{message.subject}"
    if isinstance(message, StreamMessage):
        return f"stream.{message.stream}"
    return "heartbeat"


def encode(message: Message, encoding: Encoding = "json") -> bytes:
    """Return the payload of a message."""
    if encoding == "json":
        return msgspec.json.encode(message)
    return msgspec.msgpack.encode(message)


def decode(topic: str, payload: bytes, encoding: Encoding = "json") -> Message:
    """Return the message in a payload.

    Raises:
        msgspec.ValidationError: the payload is not a message of this schema.
    """
    kinds: dict[str, type[Message]] = {"stage": StageMessage, "stream": StreamMessage}
    kind = kinds.get(topic.partition(".")[0], Heartbeat)
    if encoding == "json":
        return msgspec.json.decode(payload, type=kind)
    return msgspec.msgpack.decode(payload, type=kind)
