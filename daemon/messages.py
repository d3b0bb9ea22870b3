"""What hypnod says on the wire: multipart `[topic, payload]`, JSON or MessagePack.

A new kind of message is a struct like these and its place in `Message`: the struct says its topic,
whether the journal keeps it, and whether a late subscriber gets it again.
"""

from datetime import datetime
from functools import cached_property
from typing import Annotated, ClassVar, Literal, get_args

import msgspec

SCHEMA = 2
"""Version of this schema. It grows by one when a field changes its meaning or goes away."""

Action = Literal["on", "off", "sham", "refused"]
Done = Literal["on", "off", "sham"]
Kind = Literal["live", "final"]
Encoding = Literal["json", "msgpack"]
Seq = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
_NO_SEQ = -1


class Published(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, dict=True):
    """What every message says of itself.

    Its bytes are made once and remembered: the journal keeps, and the publisher sends, the same
    ones.
    """

    TOPIC: ClassVar[str]
    """Format of its topic, whose argument is the message."""
    KEPT: ClassVar[bool] = True
    """Whether the journal keeps it."""
    SERVED: ClassVar[bool] = True
    """Whether who missed it can have it from there."""

    schema: int = SCHEMA
    """Version of this message's schema."""
    session: str
    """Identifies one run of the daemon."""
    seq: int = _NO_SEQ
    """Counts this topic's messages from 0 without a gap, over restarts too: a jump means that one
    was missed. The outbox gives it."""
    utc: str
    """When, in UTC, ISO 8601: the onset of a stage's epoch, or else when it was said."""
    replayed: bool = False
    """True in a copy sent again to a late subscriber, or fetched from the journal."""

    @property
    def topic(self) -> str:
        """The topic that it is published under."""
        return self.TOPIC.format(self)

    @property
    def is_replayed(self) -> bool:
        """Whether a late subscriber gets it again, as long as it is its topic's last one."""
        return True

    @cached_property
    def as_json(self) -> bytes:
        """The payload in JSON."""
        return msgspec.json.encode(self)

    @cached_property
    def as_msgpack(self) -> bytes:
        """The payload in MessagePack."""
        return msgspec.msgpack.encode(self)


class Features(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an epoch's signal looks like, dB re 1 µV², to 0.1 dB; no stage is made of it.

    It is of the filtered signal at the model's sampling rate, before the running normalisation.
    """

    eeg_db: tuple[float, ...]
    """Power of the EEG in each of the bands above, as many as lie below half of the model's
    sampling rate; empty where it could not be used."""
    emg_db: float | None
    """Mean square of the EMG; null where it could not be used."""


class StageMessage(Published, frozen=True, kw_only=True):
    """One estimate of one epoch of one subject."""

    TOPIC: ClassVar[str] = "stage.{0.subject}.{0.kind}"

    subject: str
    """The animal or person, as named in the config."""
    stream: str
    """The stream the subject is in, as named in the config."""
    kind: Kind
    """`live`: read at once from the last slot of the context window, for closed loop, at every hop;
    never sent again. `final`: the same epoch read again when its right-hand context has arrived,
    for the record, once an epoch length."""
    epoch: int
    """Counts the stream's epochs from 0, over restarts too; a new time grid goes on counting.
    With a hop shorter than the epoch, those that begin within one epoch length have one number."""
    hop: int
    """Counts the points of the stream's time grid likewise, one a hop: it tells a subject's
    estimates of one kind apart."""
    onset: float
    """Time of the epoch's first sample on the stream's LSL clock, s."""
    epoch_s: float
    """Length of the epoch, s."""
    hop_s: float
    """From one `live` epoch's onset to the next one's, s; `final` ones are `epoch_s` apart."""
    stage: str
    """A stage of the model's set, or ART (signal there, but an artefact), or UNKNOWN (no usable
    signal)."""
    probabilities: dict[str, float]
    """Probability of each stage, which the stage is the highest of: the evidence, weighed against
    which stage follows which, and how often, in scored animals (the bundle's grammar). Where the
    bundle has none, they are the evidence. Empty where the stage is ART or UNKNOWN."""
    evidence: dict[str, float] = {}
    """The net's own probability of each stage, of this epoch's context window alone; empty where
    the stage is ART or UNKNOWN."""
    confidence: float
    """The highest of the probabilities; 0 where there is none."""
    pathway: str | None
    """Which pathway of the net answered: that of the one usable modality where it has one, else
    `mixed`, as always with the bundle for people: `validity` says what of it could be read. null
    where nothing could be."""
    validity: dict[str, str]
    """For each modality that the subject has a channel of `ok`, or why this epoch of it could not
    be used: missing, not_finite, flat, clipped, out_of_range, settling (the filter rings of what
    was out of range), mains, no_brain."""
    lost_s: dict[str, float] = {}
    """How much of the epoch never came, is no number or is flat by the second, s, of each modality
    that is `ok` nevertheless: of a person's epoch up to half. Of a whole one nothing."""
    reason: str | None
    """Why the stage is ART or UNKNOWN, else null."""
    slots_filled: int
    """Epochs of the context window that hold a usable signal."""
    n_context: int
    """Epochs in the context window."""
    drift: float | None = None
    """How unlike the animals that the model was trained on this one has looked for the last half
    hour, in its most unlike modality: 99 % of such animals stay below 1. null: the bundle cannot
    tell, or it is not known yet: for ten minutes, or one where it is above 3."""
    features: Features | None = None
    """Of a `live` one: band powers of its EEG and level of its EMG; null where neither could be
    used. A `final` one does not repeat them: they are those of its live one, of the same `hop`."""
    lead_off: float | None = None
    """Of a `live` one: log odds that the EEG's lead has just come off, so that in its last two
    seconds it is noise, compared with those before. Above 0 no rule of a closed loop switches
    anything on; the stage does not rest on it. null where it is not known: of people, in the first
    ten seconds of signal, and where the EEG cannot be used."""
    latency_s: float | None
    """From the arrival of the epoch's last sample until this message was composed, s. Writing it
    to the journal and sending it come after that: a message holds the same numbers wherever it is
    read. Of a `final` one it is about `final_lag` epochs, since the samples after its epoch had to
    come first. null where the sample never came, or came before a restart."""
    age_s: float | None
    """From the newest sample that was read until this message was composed, s, by the source's
    clock brought to this machine's: what a closed loop must look at, since it holds what the
    source, its driver and the network took, too. That sample is the epoch's last, but for what
    never came at its end, and seconds there in which a modality that was read is flat. Where the
    arrival of samples contradicts that clock, it is by their arrival (docs/faults.md). Below 0
    where a replay is ahead of time; null where it is not known: in the last word on an epoch of
    before a restart."""
    published_utc: str
    """When this message was composed, in UTC, ISO 8601, to the µs: what `age_s` and `latency_s`
    end at. Whoever adds the time since then to `age_s` has the journal's share in it, too."""
    model: str
    """First 12 digits of the bundle's SHA-256."""
    engine: str
    """Library, version and device that computed it."""
    config: str
    """First 12 digits of the config's SHA-256."""

    @property
    def is_replayed(self) -> bool:
        """Not a live one: who acts on what was said before acts on an animal too late."""
        return self.kind != "live"


class TriggerMessage(Published, frozen=True, kw_only=True):
    """What a rule decided on a live estimate of a subject; one for each of both.

    Neither sent again nor served from the journal: an old decision is for nobody to act on.
    """

    TOPIC: ClassVar[str] = "trigger.{0.subject}"
    SERVED: ClassVar[bool] = False

    subject: str
    """The animal or person, as named in the config."""
    stream: str
    """The stream the subject is in, as named in the config."""
    rule: str
    """The rule, as named in the config."""
    action: Action
    """`on`: be on for `ttl_s` from `published_utc`, and no longer unless it is said again. `sham`:
    as `on`, but mark it only. `off`: nothing asks for a pulse, or nothing can be trusted; be off.
    `refused`: the subject's stage asks for one, the rule does not allow it; be off."""
    reason: str
    """Why, in words."""
    ttl_s: float
    """Time to live of `on` and `sham`, s; else 0."""
    pulse: int | None
    """Of `on` and `sham`: which pulse of this rule and subject it is, counted from 0."""
    epoch: int
    """Of the live estimate that it was decided on."""
    hop: int
    """Likewise; it tells which estimate that is."""
    onset: float
    """Likewise: time of the epoch's first sample on the stream's LSL clock, s."""
    age_s: float | None
    """How old that estimate was, s."""
    armed: bool
    """Whether the rule was armed for this subject, by a person or always; what else the decision
    rests on."""
    trouble: str | None
    """What spoke against any pulse, beside the estimate itself."""
    leads: bool
    """Whether the subject that a yoked rule follows was stimulated."""
    published_utc: str
    """When it was decided, in UTC, ISO 8601, to the µs."""
    model: str
    """First 12 digits of the bundle's SHA-256."""
    config: str
    """First 12 digits of the config's SHA-256."""

    @property
    def is_replayed(self) -> bool:
        """Never."""
        return False


class TraceMessage(Published, frozen=True, kw_only=True):
    """A hop of a subject's signals, for people to look at: sent while somebody subscribes to it.

    A subscription counts whose prefix begins with `trace.`; one to everything does not.
    """

    TOPIC: ClassVar[str] = "trace.{0.subject}"
    KEPT: ClassVar[bool] = False
    SERVED: ClassVar[bool] = False

    subject: str
    """The animal or person, as named in the config."""
    stream: str
    """The stream the subject is in, as named in the config."""
    hop: int
    """Of the live estimate of the epoch that ends with it."""
    start: float
    """Of its first value, on the stream's LSL clock, s; `utc` is the same time."""
    span_s: float
    """What its values span, s."""
    microvolts: dict[str, tuple[float, ...]]
    """Of each modality, filtered as the model reads it, µV, at most 128 values a second: of each of
    as many pieces as half of them the least and the greatest sample, in the order in which they
    came; 0 where there was no sample."""

    @property
    def is_replayed(self) -> bool:
        """Never."""
        return False


class PulseMessage(Published, frozen=True, kw_only=True):
    """What an output of `hypnod pulse` did for a pulse, as that told; `utc` is when it was done."""

    TOPIC: ClassVar[str] = "pulse.{0.subject}"

    subject: str
    """The animal or person, as named in the config."""
    rule: str
    """The rule, as named in the config."""
    pulse: int
    """Which pulse of this rule and subject, as in its decision."""
    decided_in: str
    """`session` of its decision, which may be of before a restart."""
    done: Done
    """`on` and `off`: since when the output is so for this pulse, as its driver said. `sham`: the
    beginning of a sham pulse, which was marked only."""
    output: int
    """Which `[[pulse]]` of the config, counted from 0."""
    driver: str
    """Its driver."""

    @property
    def is_replayed(self) -> bool:
        """Never: what an output did says nothing of what it is."""
        return False


class EchoMessage(Published, frozen=True, kw_only=True):
    """The line into which a subject's stimulus is copied back, its `echo`, has changed."""

    TOPIC: ClassVar[str] = "echo.{0.subject}"

    subject: str
    """The animal or person, as named in the config."""
    stream: str
    """The stream that the line is in, as named in the config."""
    high: bool
    """Whether it is high since."""
    time: float
    """Of the first sample that was so, on the stream's LSL clock, s; `utc` is the same time."""
    untold: int = 0
    """Changes before this one that are not told: of a line with noise the first 40 of a second
    are."""

    @property
    def is_replayed(self) -> bool:
        """Never: it says nothing of what the line is now."""
        return False


class StreamMessage(Published, frozen=True, kw_only=True):
    """A stream changed its state, or something happened to it."""

    TOPIC: ClassVar[str] = "stream.{0.stream}"

    stream: str
    """The stream, as named in the config."""
    state: str
    """STARTING, RESOLVING, FILLING, STAGING, STALLED, DRAINING, STOPPED or FAILED."""
    reason: str
    """Why, or what happened, in one sentence."""
    subjects: tuple[str, ...]
    """The stream's subjects."""
    sfreq: float | None
    """Sampling rate as measured from the timestamps, Hz; null before there are enough."""


class Heartbeat(Published, frozen=True, kw_only=True):
    """Sent every few seconds while the daemon makes progress; its `seq` is of this session."""

    TOPIC: ClassVar[str] = "heartbeat"
    KEPT: ClassVar[bool] = False

    uptime_s: float
    """Since the daemon started, s."""
    states: dict[str, str]
    """State of each stream."""
    version: str
    """Version of hypnod."""
    troubles: dict[str, str] = {}
    """What is wrong with it beside its streams, such as `journal`, and why."""
    newest: dict[str, int] = {}
    """Number of the newest message of each other topic: who has heard a lower one missed some."""


class CatchUpRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Asks for messages that were missed: one frame, JSON."""

    topic: Annotated[str, msgspec.Meta(max_length=256)]
    """The whole topic, such as `stage.<subject>.final` or `stream.<name>`."""
    first: Seq = 0
    """Number of the first message wanted."""
    last: Seq | None = None
    """Number of the last message wanted; null: the newest one there is."""
    since: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    """Begin with the first message whose `utc` is not before this, ISO 8601 with a time zone."""


class PulseDone(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `hypnod pulse` tells of an output, for the journal: one frame, JSON; see PulseMessage.

    It is not answered; one that is no such thing, or of what the config has not, is refused.
    """

    subject: Name
    """As named in the config."""
    rule: Name
    """As named in the config."""
    pulse: Seq
    """As in the decision."""
    decided_in: Name
    """`session` of the decision."""
    done: Done
    """What was done."""
    utc: Annotated[datetime, msgspec.Meta(tz=True)]
    """When, ISO 8601 with a time zone: within the last day."""
    output: Annotated[int, msgspec.Meta(ge=0, le=1000)]
    """Which `[[pulse]]` of the config, counted from 0."""


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


Message = (
    StageMessage
    | TriggerMessage
    | StreamMessage
    | TraceMessage
    | PulseMessage
    | EchoMessage
    | Heartbeat
)
_STRUCTS: dict[str, type[Message]] = {
    struct.TOPIC.partition(".")[0]: struct for struct in get_args(Message)
}


def is_read_again(hop: int, epoch_s: float, hop_s: float) -> bool:
    """Whether the epoch of a live message gets a final one: those that do, do not overlap."""
    return hop % round(epoch_s / hop_s) == 0


def is_served(topic: str) -> bool:
    """Whether messages of a topic can be had from the journal, if it has any."""
    struct = _STRUCTS.get(topic.partition(".")[0])
    return struct is None or struct.SERVED


def encode(message: Message, encoding: Encoding = "json") -> bytes:
    """Return the payload of a message; asked again, the same bytes."""
    return message.as_json if encoding == "json" else message.as_msgpack


def decode(topic: str, payload: bytes, encoding: Encoding = "json") -> Message:
    """Return the message in a payload.

    Raises:
        msgspec.ValidationError: the payload is not a message of this schema, or nothing is
            published under this topic.
    """
    struct = _STRUCTS.get(topic.partition(".")[0])
    if struct is None:
        raise msgspec.ValidationError(f"expected a topic of {', '.join(_STRUCTS)}, found {topic!r}")
    if encoding == "json":
        return msgspec.json.decode(payload, type=struct)
    return msgspec.msgpack.decode(payload, type=struct)
