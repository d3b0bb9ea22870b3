"""How a restarted daemon goes on: what each stream left in the journal, until it is found again.

Every epoch of before the restart gets its final estimate: of a stream that goes on warm when it is
due, of any other at once, with what its last reading said. Live ones between them get none.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence

import structlog

from daemon.compose import Composer
from daemon.config import Config, StreamConfig
from daemon.journal.tick import RestartPoint
from daemon.messages import StageMessage, is_read_again
from daemon.outbox import Outbox
from daemon.restart.history import History
from daemon.restart.point import Arrays, encode_arrays, encode_state, fingerprint
from daemon.restart.resumption import Past, Resumption, cold
from daemon.stager import Estimate, Stager
from daemon.state import StateWriter
from daemon.stream import Stream
from daemon.trigger.rulebook import States
from engines.bundle import Bundle
from models.signal.pipeline import EpochBatch
from models.signal.state import Adaptation

log = structlog.get_logger()


class Recall:
    """The past of all streams, and what a next restart will know of this run.

    Args:
        history: what the journal holds.
        stager: takes over the context windows.
        config: of this run.
        bundle: the model.
        compose: makes the final messages of live ones that will not be read again.
        outbox: sends them.
        states: notes in the stream's own topic how it goes on.
    """

    def __init__(
        self,
        history: History,
        stager: Stager,
        config: Config,
        bundle: Bundle,
        compose: Composer,
        outbox: Outbox,
        states: StateWriter,
    ) -> None:
        self._history = history
        self._stager = stager
        self._compose = compose
        self._outbox = outbox
        self._states = states
        self._spec = bundle.spec
        self._hop_s = config.staging.hop_s or bundle.spec.epoch_s
        self._due = {subject: list(due) for subject, due in history.due.items()}
        self._subjects = {s.name: [subject.name for subject in s.subjects] for s in config.streams}
        self._marks = {s.name: fingerprint(bundle.hash, config.staging, s) for s in config.streams}
        self._settled: set[str] = set()
        self.pasts = {stream.name: self._past(stream) for stream in config.streams}
        """The past of each stream."""

    def adaptation(self, stream: str) -> Adaptation | None:
        """Return what was learnt of a stream's animals until the restart, if that was just now."""
        return self.pasts[stream].adaptation(time.time())

    def close_orphans(self) -> None:
        """Publish the final messages of subjects that are no longer configured."""
        known = {subject for subjects in self._subjects.values() for subject in subjects}
        self._close(self._take(set(self._due) - known))

    def on_tick(self, stream: Stream, now: float) -> None:
        """See whether it is known by now how a stream goes on, and act on it.

        Args:
            stream: after it was polled.
            now: this machine's LSL clock, s.

        Raises:
            EngineError: the context in the journal does not fit.
        """
        if stream.error is None:
            self.pasts[stream.name].wait(now)
        self._settle(stream)

    def give_up(self, stream: Stream) -> None:
        """Let a stream that was not found start cold, since the daemon stops."""
        self.pasts[stream.name].give_up("the daemon stopped before it was found")
        self._settle(stream)

    @property
    def triggers(self) -> States:
        """What the rules remembered when the daemon ended."""
        states = self._history.states.values()
        return {of: by_rule for state in states for of, by_rule in state.triggers.items()}

    def point(self, batch: EpochBatch, stream: Stream, triggers: States) -> RestartPoint:
        """Return what a restart after this epoch, the last one of its stream, goes on from.

        Args:
            batch: the epoch.
            stream: its stream.
            triggers: what the rules remember of its subjects.
        """
        grid_hop = self.pasts[stream.name].grid_hop
        mark, sfreq = self._marks[stream.name], stream.nominal_sfreq
        return RestartPoint(
            stream=stream.name,
            hop=batch.hop,
            slot=batch.hop % self._stager.n_slots,
            state=encode_state(
                mark, sfreq, grid_hop, stream.clocks, self._hop_s, batch.after, triggers
            ),
            arrays=encode_arrays(self._stager.newest(stream.name)),
        )

    def _settle(self, stream: Stream) -> None:
        resumption = self.pasts[stream.name].resumption
        if resumption is None or stream.name in self._settled:
            return
        self._settled.add(stream.name)
        log.info("restart", stream=stream.name, reason=resumption.reason, away_s=resumption.away_s)
        self._close(self._act_on(resumption, stream.name))
        stream.show_filled(max(self._stager.slots_filled(stream.name)))
        self._states.note(stream.name, resumption.reason)

    def _act_on(self, resumption: Resumption, stream: str) -> Sequence[StageMessage]:
        """Put a stream's context back, or return the live estimates that will not be read again."""
        state, due = self._history.states.get(stream), self._take(self._subjects[stream])
        slots = self._slots(stream)
        if resumption.state is not None:
            try:
                self._stager.recall(stream, slots, [_estimate(m, resumption.shift) for m in due])
            except Exception:
                self._close(due)  # nothing will read them again
                raise
            return []
        if state is None or state.fingerprint != self._marks[stream]:
            return due
        if not self._is_whole(state.next_hop, due, set(slots)):
            return due
        finals = self._stager.last_words(stream, slots, [_estimate(m, 0.0) for m in due])
        last = {(final.subject, final.hop): final for final in finals}
        return [
            self._compose.read_again(m, last[m.subject, m.hop]) for m in due if _is_read_again(m)
        ]

    def _is_whole(self, next_hop: int, due: Sequence[StageMessage], agos: set[int]) -> bool:
        """Whether the journal holds all that is due up to a hop, and what it is read from."""
        hops: dict[str, list[int]] = defaultdict(list)
        for message in due:
            hops[message.subject].append(message.hop)
        return all(
            each == list(range(next_hop - len(each), next_hop))
            and set(range(1, min(len(each), self._stager.hops_per_epoch) + 1)) <= agos
            for each in hops.values()
        )

    def _close(self, lives: Sequence[StageMessage]) -> None:
        if words := [self._compose.last_word(live) for live in filter(_is_read_again, lives)]:
            self._outbox.send(words)

    def _past(self, stream: StreamConfig) -> Past:
        history, state = self._history, self._history.states.get(stream.name)
        subjects, span_s = self._subjects[stream.name], self._spec.looks_back_s
        hops = [history.next_hop.get(subject, 0) for subject in subjects]
        due = {m.hop for subject in subjects for m in self._due.get(subject, [])}
        if state is None:
            why = "there is no state of it in the journal"
            return Past(None, self._new_grid(subjects, hops), span_s, cold(why) if due else None)
        new = self._new_grid(subjects, [state.next_hop, *hops])
        if state.fingerprint != self._marks[stream.name]:
            changed = "another model, hop, final lag, subjects, channels or unit"
            return Past(None, new, span_s, cold(changed))
        needed = {state.next_hop - 1, *due}
        if set(hops) != {state.next_hop} or not needed <= set(history.slots[stream.name]):
            return Past(None, new, span_s, cold("its last epochs are not in the journal"))
        return Past(state, new, span_s)

    def _new_grid(self, subjects: Iterable[str], next_hops: Iterable[int]) -> int:
        """Return the number of a new grid's first point: no former hop or epoch had it.

        It is a whole number of epochs, so that the first point begins one, also where an epoch
        had another number of hops before.
        """
        per_epoch = self._stager.hops_per_epoch
        epochs = [self._history.next_epoch.get(subject, 0) for subject in subjects]
        return per_epoch * max(-(-max(next_hops) // per_epoch), *epochs)

    def _slots(self, stream: str) -> dict[int, Arrays]:
        """Return the arrays of a stream's last hops by their age: 1 is the newest hop.

        Those of another grid, or too old for the context window, are left out.
        """
        state = self._history.states.get(stream)
        if state is None:
            return {}
        return {
            state.next_hop - hop: arrays
            for hop, arrays in self._history.slots[stream].items()
            if max(state.grid_hop, state.next_hop - self._stager.n_slots) <= hop
        }

    def _take(self, subjects: Iterable[str]) -> list[StageMessage]:
        return [message for subject in subjects for message in self._due.pop(subject, [])]


def _is_read_again(live: StageMessage) -> bool:
    return is_read_again(live.hop, live.epoch_s, live.hop_s)


def _estimate(live: StageMessage, shift: float) -> Estimate:
    """Return the estimate that a message was made of."""
    return Estimate(
        subject=live.subject,
        stream=live.stream,
        kind="live",
        hop=live.hop,
        onset=live.onset + shift,
        stage=live.stage,
        probabilities=None,
        evidence=None,
        pathway=live.pathway,
        validity=live.validity,
        reason=live.reason,
        slots_filled=live.slots_filled,
        arrived=None,
        drift=live.drift,
    )
