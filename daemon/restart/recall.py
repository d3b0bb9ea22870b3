"""How a restarted daemon goes on: what each stream left in the journal, until it is found again.

Within the span of the context window a stream goes on warm: same time grid, same levels, same
context, and what is missing comes out as epochs with gaps. Later, or where something has changed,
it starts cold: a new grid, whose epochs are numbered on. Either way every live estimate of
before the restart gets its final one.
"""

from collections.abc import Iterable, Mapping

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray

from daemon.config import Config, StreamConfig
from daemon.messages import StageMessage
from daemon.restart.checkpoint import (
    Arrays,
    Checkpoint,
    Clocks,
    StreamState,
    Verdict,
    cold,
    encode_arrays,
    encode_state,
    fingerprint,
    judge,
)
from daemon.restart.history import History
from daemon.stager import Estimate, Stager
from engines.bundle import Bundle
from models.signal.pipeline import EpochBatch, Pipeline
from models.signal.state import Adaptation

log = structlog.get_logger()


class Past:
    """One stream's past, until its first sample tells what it is worth.

    Args:
        state: of the stream before the restart; None where there is none, or of no use.
        epoch: the number of the next epoch.
        span_s: what the context window spans, s.
        verdict: where it is known already.
    """

    def __init__(
        self, state: StreamState | None, epoch: int, span_s: float, verdict: Verdict | None = None
    ) -> None:
        self._state = state
        self._span_s = span_s
        self._since: float | None = None
        self._met = False
        self.epoch = epoch
        """The number of the next epoch."""
        self.verdict = verdict
        """Whether it goes on; None before that is known, or where there is no past."""

    @property
    def grid_epoch(self) -> int:
        """The first epoch of the stream's grid."""
        warm = self.verdict is not None and self.verdict.state is not None
        return self._state.grid_epoch if self._state is not None and warm else self.epoch

    def adaptation(self, wall: float) -> Adaptation | None:
        """Return what was learnt until the restart, where that was not long ago; else None.

        Args:
            wall: Unix time now, s.
        """
        if self._state is None or self.verdict is not None:
            return None
        next_onset = self._state.origin + self._state.next_epoch * self._state.hop_s
        away_s = wall - next_onset - self._state.utc_offset
        return self._state.adaptation if away_s <= self._span_s else None

    def meet(self, pipeline: Pipeline, timestamps: NDArray[np.float64], clocks: Clocks) -> None:
        """Let a pipeline go on where it can, before its first samples.

        Args:
            pipeline: a new one.
            timestamps: of the samples that will be pushed next.
            clocks: now.
        """
        known = timestamps[np.isfinite(timestamps)]
        if self._met or not len(known):
            return
        self._met = True
        if self.verdict is None and self._state is not None:
            sfreq, first = pipeline.description.sfreq, float(known[0])
            self.verdict = judge(self._state, sfreq, clocks, first, self._span_s)
        if self.verdict is not None and self.verdict.state is not None:
            pipeline.recall(self.verdict.state)
        else:
            pipeline.count_from(self.epoch)

    def wait(self, now: float) -> None:
        """Give up what is too old to be of use, once no sample came for so long."""
        self._since = now if self._since is None else self._since
        if now - self._since > self._span_s:
            self.give_up("no sample came for as long as the context window spans")

    def give_up(self, why: str) -> None:
        """Start cold, whatever comes, unless it is known already."""
        if self.verdict is None and self._state is not None:
            self.verdict = cold(why)


class Recall:
    """The past of all streams, and what a next restart will know of this run.

    Args:
        history: what the journal holds.
        stager: takes over the context windows.
        config: of this run.
        bundle: the model.
    """

    def __init__(self, history: History, stager: Stager, config: Config, bundle: Bundle) -> None:
        self._history = history
        self._stager = stager
        self._spec = bundle.spec
        self._hop_s = config.staging.hop_s or bundle.spec.epoch_s
        self._due = {subject: list(due) for subject, due in history.due.items()}
        self._subjects = {s.name: [subject.name for subject in s.subjects] for s in config.streams}
        self._marks = {s.name: fingerprint(bundle.hash, config.staging, s) for s in config.streams}
        self._settled: set[str] = set()
        self.pasts = {stream.name: self._past(stream) for stream in config.streams}
        """The past of each stream."""

    def orphans(self) -> list[StageMessage]:
        """Return the live estimates due of subjects that are no longer configured."""
        known = {subject for subjects in self._subjects.values() for subject in subjects}
        return self._take(set(self._due) - known)

    def is_news(self, stream: str) -> bool:
        """Whether the verdict on a stream is known and not acted on yet."""
        return self.pasts[stream].verdict is not None and stream not in self._settled

    def settle(self, stream: str) -> list[StageMessage]:
        """Act on the verdict on a stream: put back its context, or else tell what is due.

        Returns:
            The live estimates that will not be read again, with what their last reading said:
            each must be published as final.

        Raises:
            EngineError: the context does not fit.
        """
        self._settled.add(stream)
        verdict, state = self.pasts[stream].verdict, self._history.states.get(stream)
        due, slots = self._take(self._subjects[stream]), self._slots(stream)
        if verdict is None:
            return due
        log.info("restart", stream=stream, verdict=verdict.reason, away_s=verdict.away_s)
        if verdict.state is not None:
            self._stager.recall(stream, slots, [_estimate(m, verdict.shift) for m in due])
            return []
        if state is None or state.fingerprint != self._marks[stream]:
            return due
        return [self._last_word(m, state.next_epoch - 1 - m.epoch, slots) for m in due]

    def checkpoint(self, batch: EpochBatch, sfreq: float, clocks: Clocks) -> Checkpoint:
        """Return what a restart after this epoch, the last one staged, goes on from.

        Args:
            batch: the epoch.
            sfreq: its stream's nominal sampling rate, Hz.
            clocks: now.
        """
        grid_epoch = self.pasts[batch.stream].grid_epoch
        mark = self._marks[batch.stream]
        return Checkpoint(
            stream=batch.stream,
            epoch=batch.epoch,
            slot=batch.epoch % self._stager.n_slots,
            state=encode_state(mark, sfreq, grid_epoch, clocks, self._hop_s, batch.after),
            arrays=encode_arrays(self._stager.newest(batch.stream)),
        )

    def _past(self, stream: StreamConfig) -> Past:
        history, state = self._history, self._history.states.get(stream.name)
        subjects = self._subjects[stream.name]
        epochs = [history.next_epoch.get(subject, 0) for subject in subjects]
        if state is None:
            due = any(self._due.get(subject) for subject in subjects)
            verdict = cold("there is no checkpoint of it") if due else None
            return Past(None, max(epochs), 0.0, verdict)
        epoch, span_s = max(state.next_epoch, *epochs), self._spec.n_context * self._spec.epoch_s
        if state.fingerprint != self._marks[stream.name]:
            changed = "another model, hop, final lag, subjects, channels or unit"
            return Past(None, epoch, span_s, cold(changed))
        due_epochs = {m.epoch for subject in subjects for m in self._due.get(subject, [])}
        needed = {state.next_epoch - 1, *due_epochs}
        if set(epochs) != {state.next_epoch} or not needed <= set(history.slots[stream.name]):
            return Past(None, epoch, span_s, cold("its last epochs are not in the journal"))
        return Past(state, epoch, span_s)

    def _slots(self, stream: str) -> dict[int, Arrays]:
        """Return what of a stream's last epochs is still in its window, by how long ago it was."""
        state = self._history.states.get(stream)
        if state is None:
            return {}
        return {
            state.next_epoch - epoch: arrays
            for epoch, arrays in self._history.slots[stream].items()
            if max(state.grid_epoch, state.next_epoch - self._stager.n_slots) <= epoch
        }

    def _last_word(self, live: StageMessage, age: int, slots: Mapping[int, Arrays]) -> StageMessage:
        """Return the live message with what its last reading said, `age` hops after it."""
        hops = self._stager.hops_per_epoch
        if live.pathway is None or 1 + age % hops not in slots:
            return live
        row = self._subjects[live.stream].index(live.subject)
        pathway = self._spec.pathways.index(live.pathway)
        found = np.asarray(slots[1 + age % hops]["reading"], np.float32)[row, pathway]
        if age // hops >= len(found) or not np.isfinite(found[-1 - age // hops]).all():
            return live
        values = found[-1 - age // hops].tolist()
        probabilities = dict(zip(self._spec.stages, values, strict=True))
        return msgspec.structs.replace(
            live,
            stage=max(probabilities, key=probabilities.__getitem__),
            probabilities=probabilities,
            confidence=max(values),
        )

    def _take(self, subjects: Iterable[str]) -> list[StageMessage]:
        return [message for subject in subjects for message in self._due.pop(subject, [])]


def _estimate(live: StageMessage, shift: float) -> Estimate:
    """Return the estimate that a message was made of."""
    return Estimate(
        subject=live.subject,
        stream=live.stream,
        kind="live",
        epoch=live.epoch,
        onset=live.onset + shift,
        stage=live.stage,
        probabilities=None,
        pathway=live.pathway,
        validity=live.validity,
        reason=live.reason,
        slots_filled=live.slots_filled,
        arrived=None,
        drift=live.drift,
    )
