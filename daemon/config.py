"""The config file: a strict TOML, read into frozen structs.

Every field's docstring is its reference; docs/config.md is generated from here. An unknown
key is refused, with the nearest known one suggested.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from daemon.config_checks import MAX_SUBJECTS, check
from daemon.messages import Encoding
from daemon.trigger.rules import Rule
from engines.gpu.flavour import Precision
from models.errors import ConfigError
from models.signal.chunk import MAX_SFREQ
from models.signal.montage import StreamChannels, SubjectChannels, check_modalities
from models.signal.quality import QualityLimits
from models.spec import SLOWEST_HZ
from models.toml import parse_toml, read_toml

Interval = Annotated[float, msgspec.Meta(ge=0.05, le=3600)]
Endpoint = Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x1f]*$", max_length=256)]
ClockTime = Annotated[str, msgspec.Meta(pattern=r"^(([01]\d|2[0-3]):[0-5]\d)?$")]
LslValue = Annotated[str, msgspec.Meta(max_length=256)]
LslProperty = Annotated[str, msgspec.Meta(pattern=r"^(name|type|source_id|hostname)$")]


class SubjectConfig(SubjectChannels, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One animal or person in a stream; its messages' topics are `stage.<name>.…`."""

    baseline: str = ""
    """A recording of the same subject with the same labels, say an hour of the day before: what is
    learnt of a subject while it is staged is learnt from it before the first epoch. Default: none,
    and it is learnt from the first epoch on."""
    echo: str = ""
    """Label of a channel of the stream into which this subject's stimulus is copied back, such as
    "TTL1": its changes are journalled, and `hypnod night` compares. Default: none."""
    echo_above: Annotated[float, msgspec.Meta(gt=0, le=1e12)] = 0.5
    """That channel is high from this value on, as the stream sends it, and low below half of it."""


class StreamConfig(StreamChannels, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One LSL stream and the subjects in it."""

    match: Annotated[dict[LslProperty, LslValue], msgspec.Meta(min_length=1)]
    """LSL properties that exactly one visible stream must have: name, type, source_id, hostname. A
    type may be in capitals or small letters."""
    subjects: Annotated[tuple[SubjectConfig, ...], msgspec.Meta(max_length=MAX_SUBJECTS)]
    """The subjects in this stream."""
    n_channels: Annotated[int, msgspec.Meta(gt=0, le=10_000)] | None = None
    """Channels the stream must have; default: any number that contains the labels."""
    sfreq: Annotated[float, msgspec.Meta(ge=min(SLOWEST_HZ.values()), le=MAX_SFREQ)] | None = None
    """Nominal sampling rate the stream must have, Hz; default: any from 100 to 4000, of people from
    50 on."""


class EngineConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What computes the stages."""

    kind: Literal["auto", "onnxruntime", "tensorrt", "tensorrt-rtx", "torch"] = "auto"
    """The engine; `auto` takes TensorRT where it is installed, finds a GPU and agrees there with
    ONNX Runtime, and ONNX Runtime until then and otherwise."""
    precision: Precision = "fp32"
    """In which a GPU computes. The processor always computes in fp32."""
    bundle: str = ""
    """Folder of the model bundle; default: the one shipped with hypnod for the species."""
    species: Literal["mouse", "human"] | None = None
    """Whose sleep the bundle stages: mouse, human; default: mouse, or whomever `bundle` is for."""
    threads: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    """Threads of one engine step. One is best below some 32 subjects."""

    @property
    def folder(self) -> Path | None:
        """Of the bundle; None: the shipped one."""
        return Path(self.bundle) if self.bundle else None


class StagingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When epochs are staged and read again."""

    hop_s: Interval | None = None
    """Time between two live epochs' onsets, s; the epoch length must be a multiple of it, and final
    ones are an epoch length apart. Default: the epoch length. For people, of 30 s, `hypnod init`
    writes 5 s: less than that between two stages costs more steps of the model and says little new.
    """
    final_lag: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 4
    """Epoch lengths after which an epoch is read again as `final`, below n_context."""
    stall_s: Interval = 2.0
    """Without a sample for this long a stream is STALLED and its epochs are UNKNOWN, s."""


class PublishConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where stages go."""

    bind: Endpoint = "tcp://127.0.0.1:5570"
    """ZeroMQ endpoint of the publisher."""
    catchup_bind: Endpoint = "tcp://127.0.0.1:5571"
    """ZeroMQ endpoint that answers who missed messages, out of the journal."""
    encoding: Encoding = "json"
    """Encoding of the payload."""
    high_water_mark: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 10_000
    """Messages kept for a subscriber that is slow; it loses the ones beyond."""
    heartbeat_s: Interval = 5.0
    """Time between heartbeats, s."""
    lsl: bool = True
    """Also publish each stream's live stages as LSL streams: `hypnod.<stream>` in words, and
    `hypnod.<stream>.prob` as the probability of each; docs/clients.md."""


class PulseConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An output that `hypnod pulse` drives; the daemon itself does not."""

    driver: str
    """`serial`, `open-ephys`, `lsl`, `osc`, or one of your own (docs/closed-loop.md)."""
    rules: tuple[str, ...] = ()
    """The triggers that switch it on; default: every one."""
    subjects: tuple[str, ...] = ()
    """The subjects whose triggers switch it on; default: every one."""
    options: dict[str, str | int | float | bool] = {}
    """Of the driver, such as `{ port = "/dev/ttyACM0" }`."""


class SecurityConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who may connect to the ZeroMQ sockets; docs/security.md says how to set it up."""

    clients: str = ""
    """Folder of the allowed clients' public keys, `*.key`, read again on SIGHUP; with it every
    ZeroMQ socket speaks CURVE. Default: none, and no socket listens to other machines."""
    secret_key: str = ""
    """File of the server's secret key; default: the credential `hypnod.key_secret` of systemd."""
    open_to_network: bool = False
    """Without keys listen to other machines all the same: everyone there can read all stages."""


class JournalConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where everything that is published is kept."""

    path: str = ""
    """The SQLite file; default: `journal.sqlite` in systemd's STATE_DIRECTORY, else in
    `~/.local/state/hypnod`."""
    fsync: Literal["periodic", "each"] = "periodic"
    """When it is on the disk for good. `periodic`: 5 s later at the latest. `each`: before it is
    published, which costs as much as the disk takes. The end of the process alone, even by
    SIGKILL, loses nothing either way; `periodic` may lose 5 s to the end of the power."""
    keep_days: Annotated[float, msgspec.Meta(ge=1, le=36500)] | None = None
    """Messages older than this are deleted, all but the last one of each topic, days; their room
    is used again. Default: none ever is."""


class DayConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When it is light for the animals: reports and pictures show it, nothing else goes by it."""

    lights_on: ClockTime = ""
    """When the lights go on, such as "07:00", on the clock of `zone`; zeitgeber time counts from
    there. Default: not known, and no light and dark are shown."""
    lights_off: ClockTime = ""
    """When they go off, likewise. Default: 12 hours later on that clock."""
    zone: Annotated[str, msgspec.Meta(max_length=100)] = ""
    """Time zone, such as "Europe/Berlin"; "Etc/GMT-1" for a timer that knows no summer time, one
    hour before UTC. Default: this computer's."""


class MetricsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where Prometheus and health probes look: /metrics, /healthz, /readyz."""

    host: Annotated[str, msgspec.Meta(pattern="^[!-~]{1,255}$")] = "127.0.0.1"
    """Address to listen on."""
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 9570
    """Port to listen on; 0 takes a free one and logs it."""
    open_to_network: bool = False
    """Let `host` be an address that other machines reach: everyone there can read all metrics."""


class NotifyConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whom `hypnod notify` tells what is wrong; the daemon itself does not. docs/web.md.

    Either a webhook or mail.
    """

    webhook: str = ""
    """Address that is sent each notice as JSON, with `text` in it. The journal holds the config: an
    address that is a secret belongs into `webhook_file`."""
    webhook_file: str = ""
    """File that holds such an address."""
    mail_to: tuple[str, ...] = ()
    """Addresses that are sent each notice by mail."""
    mail_from: str = "hypnod@localhost"
    """Sender of the mail."""
    smtp: Annotated[str, msgspec.Meta(pattern=r"^[!-~]+:[0-9]{1,5}$")] = "localhost:25"
    """Server that takes the mail, host:port."""
    smtp_security: Literal["none", "starttls", "tls"] = "none"
    """How the connection to it is encrypted."""
    smtp_user: str = ""
    """Whom to log in as there; default: nobody."""
    password_file: str = ""
    """File with the password for that."""
    after_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 60.0
    """So long something must be wrong before it is told, and be over before that is, s."""


class WebConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where `hypnod web` shows its page; the daemon itself does not. docs/web.md."""

    host: Annotated[str, msgspec.Meta(pattern="^[!-~]{1,255}$")] = "127.0.0.1"
    """Address to listen on. One that other machines reach needs a token, a certificate and its
    key."""
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8570
    """Port to listen on; 0 takes a free one and says it."""
    token: str = ""
    """File with the token that a browser must show, at least 32 characters; default: the
    credential `hypnod-web.token` of systemd where there is one, and else none is asked for."""
    certificate: str = ""
    """File with the TLS certificate, PEM, and those that vouch for it."""
    key: str = ""
    """File with its secret key, PEM."""


class LogConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the daemon logs to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level logged."""
    format: Literal["console", "json"] = "console"
    """For people or for machines."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file."""

    streams: Annotated[tuple[StreamConfig, ...], msgspec.Meta(max_length=100)]
    """The streams to stage."""
    engine: EngineConfig = EngineConfig()
    """What computes the stages."""
    staging: StagingConfig = StagingConfig()
    """When epochs are staged and read again."""
    quality: QualityLimits = QualityLimits()
    """When an epoch cannot be used."""
    triggers: tuple[Rule, ...] = ()
    """When to stimulate whom; docs/closed-loop.md."""
    pulse: tuple[PulseConfig, ...] = ()
    """What `hypnod pulse` drives."""
    publish: PublishConfig = PublishConfig()
    """Where stages go."""
    security: SecurityConfig = SecurityConfig()
    """Who may connect to the ZeroMQ sockets."""
    journal: JournalConfig = JournalConfig()
    """Where everything that is published is kept."""
    metrics: MetricsConfig = MetricsConfig()
    """Where Prometheus and health probes look."""
    notify: tuple[NotifyConfig, ...] = ()
    """Whom `hypnod notify` tells what is wrong."""
    web: WebConfig = WebConfig()
    """Where `hypnod web` shows its page."""
    day: DayConfig = DayConfig()
    """When it is light."""
    log: LogConfig = LogConfig()
    """What is logged."""

    @property
    def hash(self) -> str:
        """First 12 digits of the SHA-256 of everything configured, defaults included."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()[:12]

    @property
    def subjects(self) -> list[str]:
        """The names of all subjects."""
        return [subject.name for stream in self.streams for subject in stream.subjects]

    def check_modalities(self, modalities: Sequence[str]) -> None:
        """Raise ConfigError where a subject's channels are of others than these of the model."""
        for stream in self.streams:
            for subject in stream.subjects:
                check_modalities(subject, modalities)

    def stream(self, name: str | None) -> StreamConfig:
        """Return the stream of this name, or the only one; raises ConfigError without one."""
        fitting = [s for s in self.streams if name is None or s.name == name]
        if len(fitting) != 1:
            names = ", ".join(s.name for s in self.streams)
            wanted = f"a stream {name!r} in the config" if name else "one stream in the config"
            raise ConfigError(f"expected {wanted}, found {names}; choose one with --stream")
        return fitting[0]


def load_config(path: Path) -> Config:
    """Read a config file.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or a key or value is not known.
    """
    return parse_config(read_toml(path), str(path))


def parse_config(text: str, source: str) -> Config:
    """Return the config in a TOML text; `source` names it in errors."""
    config = parse_toml(text, source, Config)
    try:
        check(config)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error
    return config
