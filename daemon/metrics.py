"""What Prometheus scrapes.

Names follow https://prometheus.io/docs/practices/naming/: base units, `_total` on counters,
`_timestamp_seconds` (of the wall clock) rather than ages.
"""

import math
import time
from collections.abc import Iterable
from functools import cache, partial

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)

from daemon.messages import EchoMessage, Features, PulseMessage, StageMessage, TriggerMessage
from daemon.outbox import Round
from models.signal.features import BANDS_HZ, power_between

_STAGED = ("FILLING", "STAGING", "STALLED", "DRAINING")
"""States of a stream in which every hop has an estimate."""
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Metrics:
    """Every metric of the daemon, in a registry of its own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        r = self.registry
        self.info = Info("hypnod", "What is running.", registry=r)
        self.engine_losses = Counter(
            "hypnod_engine_losses",
            "Times the GPU was lost and the processor went on; hypnod_info says what runs now.",
            registry=r,
        )
        self.samples = Counter("hypnod_samples", "Samples received.", ["stream"], registry=r)
        self.dropped = Counter(
            "hypnod_dropped_samples",
            "Samples whose timestamps lay in the past.",
            ["stream"],
            registry=r,
        )
        self.epochs = Counter(
            "hypnod_epochs", "Live estimates.", ["stream", "subject", "stage"], registry=r
        )
        self.unusable = Counter(
            "hypnod_unusable_epochs",
            "Epochs of one modality that could not be used.",
            ["stream", "subject", "modality", "reason"],
            registry=r,
        )
        self.latency = Histogram(
            "hypnod_latency_seconds",
            "From the arrival of an epoch's last sample until its live estimate was composed.",
            ["stream"],
            buckets=_SECONDS,
            registry=r,
        )
        self.step = Histogram(
            "hypnod_step_seconds",
            "Time to stage the epochs that became ready together.",
            buckets=_SECONDS,
            registry=r,
        )
        self.state = Gauge(
            "hypnod_stream_state",
            "1 for the state a stream is in.",
            ["stream", "state"],
            registry=r,
        )
        self.last_tick = Gauge(
            "hypnod_last_tick_timestamp_seconds",
            "When the main loop last completed a tick; the watchdog is fed then.",
            registry=r,
        )
        self.last_sample = Gauge(
            "hypnod_last_sample_timestamp_seconds", "When it arrived.", ["stream"], registry=r
        )
        self.last_epoch = Gauge(
            "hypnod_last_epoch_timestamp_seconds", "When it was published.", ["stream"], registry=r
        )
        self.stage = Gauge(
            "hypnod_stage",
            "1 for the stage of a subject's newest live estimate; all 0 while it is not staged.",
            ["stream", "subject", "stage"],
            registry=r,
        )
        self.eeg_power = Gauge(
            "hypnod_eeg_power_decibels",
            "Power of the newest epoch's EEG in a band, re 1 µV²; NaN where it could not be used.",
            ["stream", "subject", "band"],
            registry=r,
        )
        self.emg_power = Gauge(
            "hypnod_emg_power_decibels",
            "Power of the newest epoch's EMG, re 1 µV²; NaN where it could not be used.",
            ["stream", "subject"],
            registry=r,
        )
        self._stages: dict[tuple[str, str], str] = {}
        self._features: dict[tuple[str, str], Features | None] = {}
        self.slots_filled = Gauge(
            "hypnod_slots_filled",
            "Epochs of the context window that hold a usable signal.",
            ["stream", "subject"],
            registry=r,
        )
        self.drift = Gauge(
            "hypnod_drift_ratio",
            "How unlike the animals that the model was trained on this one looks; 1 is the limit.",
            ["stream", "subject", "modality"],
            registry=r,
        )
        self.reconnects = Counter(
            "hypnod_reconnects", "Times a lost stream was found again.", ["stream"], registry=r
        )
        self.unforeseen = Counter(
            "hypnod_unforeseen_errors",
            "Times a fault in hypnod was met on a stream's way, which made it FAILED.",
            ["stream"],
            registry=r,
        )
        self.timestamp_gaps = Counter(
            "hypnod_timestamp_gaps",
            "Gaps of less than 1 s: lost samples, or bunches wider than jitter_s.",
            ["stream"],
            registry=r,
        )
        self.clock_sets = Counter(
            "hypnod_clock_sets", "Times a source's clock was set.", ["stream"], registry=r
        )
        self.clock_contradicted = Gauge(
            "hypnod_clock_contradicted",
            "1 while arrival or the declared rate contradicts the timestamps of a source.",
            ["stream"],
            registry=r,
        )
        self.refused = Counter(
            "hypnod_refused_clients",
            "Connections refused; a client that keeps trying is counted each time.",
            ["reason"],
            registry=r,
        )
        self.log_lost = Counter(
            "hypnod_log_lost_lines",
            "Lines of the log that could not be written.",
            registry=r,
        )
        self.clock_offset = Gauge(
            "hypnod_clock_offset_seconds",
            "To add to the stream's clock for this machine's LSL clock.",
            ["stream"],
            registry=r,
        )
        self.sampling_rate = Gauge(
            "hypnod_sampling_rate_hertz",
            "As measured from the timestamps.",
            ["stream"],
            registry=r,
        )

        self.trigger_on = Gauge(
            "hypnod_trigger_on",
            "1 while a rule asks for a pulse of a subject, until the time to live is over.",
            ["rule", "subject"],
            registry=r,
        )
        self.pulses = Counter(
            "hypnod_pulses",
            "Pulses that a rule has begun; sham ones are marked only.",
            ["rule", "subject", "sham"],
            registry=r,
        )
        self.refusals = Counter(
            "hypnod_trigger_refusals",
            "Decisions by which a rule refused a pulse that the stages ask for, one a hop.",
            ["rule", "subject"],
            registry=r,
        )
        self.outputs = Counter(
            "hypnod_pulse_changes",
            "What outputs of hypnod pulse told that they did.",
            ["driver", "subject", "done"],
            registry=r,
        )
        self.echoes = Counter(
            "hypnod_echo_changes",
            "Changes of the line that a subject's stimulus is copied back into.",
            ["subject"],
            registry=r,
        )
        self._pulse: dict[tuple[str, str], tuple[str, int]] = {}
        self._on_until: dict[tuple[str, str], float] = {}

        self.journal_failing = Gauge(
            "hypnod_journal_failing",
            "1 while the journal cannot be written, or does not reach the disk.",
            registry=r,
        )
        self.journal_pending = Gauge(
            "hypnod_journal_pending_messages",
            "Published messages that wait to be written to the journal.",
            registry=r,
        )
        self.journal_size = Gauge(
            "hypnod_journal_size_bytes", "What the journal takes, its log included.", registry=r
        )
        self.journal_disk_free = Gauge(
            "hypnod_journal_disk_free_bytes", "What is left on the journal's disk.", registry=r
        )
        self.journal_full = Gauge(
            "hypnod_journal_full_timestamp_seconds",
            "When the disk will be full of the journal while every subject is staged; +Inf: never, "
            "since what is old is deleted.",
            registry=r,
        )
        self.journal_lost = Counter(
            "hypnod_journal_lost_messages",
            "Published messages that the journal will never hold.",
            registry=r,
        )

        # of every live estimate; looking up a label takes longer than all the rest
        self._epochs = cache(self.epochs.labels)
        self._slots_filled = cache(self.slots_filled.labels)
        self._last_epoch = cache(self.last_epoch.labels)
        self._latency = cache(self.latency.labels)

    def count_from_zero(self, stream: str) -> None:
        """Show a stream's counters before they count: Prometheus sees no increase to the first."""
        for counter in (
            self.samples,
            self.dropped,
            self.reconnects,
            self.timestamp_gaps,
            self.clock_sets,
            self.unforeseen,
        ):
            counter.labels(stream)
        self.clock_contradicted.labels(stream)

    def count_triggers_from_zero(self, rule: str, subject: str) -> None:
        """Show what a rule did to a subject before it has decided anything."""
        key = rule, subject
        # found out when somebody looks: there may be no decision any more that says it is over
        self.trigger_on.labels(*key).set_function(
            lambda: float(time.time() < self._on_until.get(key, 0.0))
        )
        self.refusals.labels(*key)
        for sham in ("no", "yes"):
            self.pulses.labels(*key, sham)

    def show_state(self, stream: str, state: str, states: Iterable[str]) -> None:
        """Set the gauge of a stream's state to 1 and those of the other states to 0."""
        for each in states:
            self.state.labels(stream, each).set(each == state)
        if state not in _STAGED:
            for of, subject in [key for key in self._stages if key[0] == stream]:
                self.stage.labels(of, subject, self._stages.pop((of, subject))).set(0)

    def take(self, what: Round) -> None:
        """Count what is in a round, and that a tick came to its end."""
        for message in what.messages:
            if isinstance(message, StageMessage) and message.kind == "live":
                self.observe(message, time.time())
            elif isinstance(message, TriggerMessage):
                self._count_decision(message, time.time())
            elif isinstance(message, PulseMessage):
                self.outputs.labels(message.driver, message.subject, message.done).inc()
            elif isinstance(message, EchoMessage):
                self.echoes.labels(message.subject).inc(1 + message.untold)
        self.last_tick.set_to_current_time()

    def observe(self, message: StageMessage, wall: float) -> None:
        """Count a live estimate that was published at this wall time, s."""
        stream, subject = message.stream, message.subject
        self._epochs(stream, subject, message.stage).inc()
        self._show_stage(stream, subject, message.stage)
        self._show_features(stream, subject, message.features)
        self._slots_filled(stream, subject).set(message.slots_filled)
        self._last_epoch(stream).set(wall)
        if message.latency_s is not None:
            self._latency(stream).observe(message.latency_s)
        for modality, reason in message.validity.items():
            if reason != "ok":
                self.unusable.labels(stream, subject, modality, reason).inc()

    def _show_stage(self, stream: str, subject: str, stage: str) -> None:
        before = self._stages.get((stream, subject))
        if before == stage:
            return
        if before is not None:
            self.stage.labels(stream, subject, before).set(0)
        self.stage.labels(stream, subject, stage).set(1)
        self._stages[stream, subject] = stage

    def _show_features(self, stream: str, subject: str, features: Features | None) -> None:
        key = stream, subject
        is_new = key not in self._features
        self._features[key] = features
        if is_new:  # computed when somebody looks, which is seldom
            for band in BANDS_HZ:
                power = partial(self._eeg_db, key, band)
                self.eeg_power.labels(*key, band).set_function(power)
            self.emg_power.labels(*key).set_function(partial(self._emg_db, key))

    def _eeg_db(self, key: tuple[str, str], band: str) -> float:
        features = self._features[key]
        return power_between(() if features is None else features.eeg_db, BANDS_HZ[band])

    def _emg_db(self, key: tuple[str, str]) -> float:
        features = self._features[key]
        return math.nan if features is None or features.emg_db is None else features.emg_db

    def _count_decision(self, message: TriggerMessage, wall: float) -> None:
        key = message.rule, message.subject
        self._on_until[key] = wall + message.ttl_s if message.action == "on" else 0.0
        if message.action == "refused":
            self.refusals.labels(*key).inc()
        if message.pulse is not None and self._pulse.get(key) != (message.session, message.pulse):
            self._pulse[key] = message.session, message.pulse
            self.pulses.labels(*key, "yes" if message.action == "sham" else "no").inc()
