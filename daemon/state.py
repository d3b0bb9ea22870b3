"""The daemon's lifecycle: one enum per stream, and the one place that changes it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum

import structlog

from daemon.config import StreamConfig
from daemon.messages import StreamMessage
from daemon.metrics import Metrics
from daemon.notify import Notifier
from daemon.outbox import Outbox

log = structlog.get_logger()


class State(StrEnum):
    """Where a stream is in its life."""

    STARTING = "STARTING"
    """The daemon is starting."""
    RESOLVING = "RESOLVING"
    """No LSL stream matches yet; it is waited for."""
    FILLING = "FILLING"
    """Staging, on a context window that is still mostly empty."""
    STAGING = "STAGING"
    """Staging."""
    STALLED = "STALLED"
    """No samples come; the epochs are UNKNOWN."""
    DRAINING = "DRAINING"
    """The daemon is stopping; the last estimates leave."""
    STOPPED = "STOPPED"
    """The end."""
    FAILED = "FAILED"
    """The stream is not as configured, or hypnod met a fault of its own; the end."""


READY = (State.FILLING, State.STAGING)
"""The states in which stages come out."""


class StateWriter:
    """Changes the state of streams, and shows it: log, gauge, message, systemd's status.

    Args:
        streams: the configured streams.
        session: identifies this run of the daemon.
        outbox: sends the StreamMessage.
        metrics: shows the state.
        notifier: shows it in `systemctl status`.
    """

    def __init__(
        self,
        streams: tuple[StreamConfig, ...],
        session: str,
        outbox: Outbox,
        metrics: Metrics,
        notifier: Notifier,
    ) -> None:
        self._session = session
        self._outbox = outbox
        self._troubles: dict[str, str] = {}
        self._remarks: dict[str, str] = {}
        self._metrics = metrics
        self._notifier = notifier
        self._subjects = {s.name: tuple(subject.name for subject in s.subjects) for s in streams}
        self._now: dict[str, tuple[State, str, datetime]] = {}
        for stream in streams:
            self.set(stream.name, State.STARTING, "the daemon is starting")

    def __getitem__(self, stream: str) -> State:
        return self._now[stream][0]

    @property
    def all(self) -> Mapping[str, State]:
        """The state of each stream."""
        return {stream: state for stream, (state, _, _) in self._now.items()}

    @property
    def troubles(self) -> Mapping[str, str]:
        """What is wrong beside the streams, and why."""
        return self._troubles

    @property
    def not_ready(self) -> dict[str, str]:
        """Why, for each stream that gives no stages now, and for each other trouble."""
        now = dict(self._now)
        streams = {s: f"{state}: {why}" for s, (state, why, _) in now.items() if state not in READY}
        return streams | self._troubles

    def set(self, stream: str, state: State, reason: str, sfreq: float | None = None) -> None:
        """Put a stream in a state; the same state for the same reason again says nothing.

        Args:
            stream: its name.
            state: the new one.
            reason: why, in one sentence.
            sfreq: measured sampling rate, Hz, where it is known.
        """
        before, why, since = self._now.get(stream, (None, "", datetime.now(UTC)))
        if (before, why) == (state, reason):
            return
        self._now[stream] = (state, reason, since if before is state else datetime.now(UTC))
        failed = state is State.FAILED
        (log.error if failed else log.info)("stream", stream=stream, state=state, reason=reason)
        self._metrics.show_state(stream, state, tuple(State))
        self._outbox.send([self._message(stream, state, reason, sfreq)])
        self._notifier.status(self._describe())

    def note(self, stream: str, reason: str, sfreq: float | None = None) -> None:
        """Tell subscribers and the journal what happened to a stream that stays in its state."""
        self._outbox.send([self._message(stream, self[stream], reason, sfreq)])

    def trouble(self, what: str, reason: str | None) -> None:
        """Show what is wrong beside the streams, or with None that it no longer is."""
        troubles = {**self._troubles, what: reason}
        self._troubles = {name: why for name, why in troubles.items() if why is not None}
        self._notifier.status(self._describe())

    def remark(self, what: str, text: str | None) -> None:
        """Show in `systemctl status` what a person should know, though stages come out.

        With None it holds no longer.
        """
        remarks = {**self._remarks, what: text}
        self._remarks = {name: why for name, why in remarks.items() if why is not None}
        self._notifier.status(self._describe())

    def _describe(self) -> str:
        """Put everything in one line for a person."""
        ready = [stream for stream, state in self.all.items() if state in READY]
        n_ready = sum(len(self._subjects[stream]) for stream in ready)
        n_subjects = sum(map(len, self._subjects.values()))
        staging = (
            f"staging {len(ready)} of {len(self._now)} streams, {n_ready} of {n_subjects} subjects"
        )
        others = [
            f"{stream}: {_explain(state, reason, since)}"
            for stream, (state, reason, since) in self._now.items()
            if state not in READY
        ]
        rest = [f"{what}: {text}" for what, text in (self._troubles | self._remarks).items()]
        return "; ".join([staging] * bool(ready) + others + rest)

    def _message(
        self, stream: str, state: State, reason: str, sfreq: float | None
    ) -> StreamMessage:
        return StreamMessage(
            session=self._session,
            stream=stream,
            state=state,
            reason=reason,
            utc=datetime.now(UTC).isoformat(timespec="milliseconds"),
            subjects=self._subjects[stream],
            sfreq=sfreq,
        )


def _explain(state: State, reason: str, since: datetime) -> str:
    """Say why a stream gives no stages."""
    if state is State.FAILED:
        return f"failed at {since:%H:%M} UTC: {reason}"
    if state in (State.RESOLVING, State.STALLED):
        return f"{reason} since {since:%H:%M} UTC"
    return state.lower()
