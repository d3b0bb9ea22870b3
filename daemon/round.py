"""From ready epochs to what goes out: all that are ready are staged in one call of the engine."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from daemon.compose import Composer
from daemon.journal.tick import RestartPoint
from daemon.messages import Message
from daemon.metrics import Metrics
from daemon.outbox import Outbox
from daemon.restart.recall import Recall
from daemon.stager import Estimate, Stager
from daemon.stream import Stream
from daemon.trigger.triggers import Triggers
from daemon.watch.engine import EngineWatch
from models.signal.pipeline import EpochBatch


class Rounds:
    """Takes ready epochs out of the streams, has them staged, and sends the messages of them.

    Args:
        streams: what is read.
        stager: stages it.
        engine: notices when another engine has taken over.
        recall: says what a restart goes on from.
        compose: puts estimates into messages.
        triggers: decide on the live ones.
        outbox: sends them.
        metrics: time the staging.
        viewed: returns the subjects whose signals somebody looks at.
    """

    def __init__(
        self,
        streams: Sequence[Stream],
        stager: Stager,
        engine: EngineWatch,
        recall: Recall,
        compose: Composer,
        triggers: Triggers,
        outbox: Outbox,
        metrics: Metrics,
        viewed: Callable[[], Collection[str]],
    ) -> None:
        self._streams = {stream.name: stream for stream in streams}
        self._stager = stager
        self._engine = engine
        self._recall = recall
        self._compose = compose
        self._triggers = triggers
        self._outbox = outbox
        self._metrics = metrics
        self._viewed = viewed

    def go(self) -> bool:
        """Stage at most one epoch of each stream and send what came of it, or that nothing did.

        Returns:
            Whether there was an epoch.
        """
        streams = self._streams.values()
        batches = [batch for stream in streams if (batch := self._next(stream)) is not None]
        if not batches:
            self._outbox.send()
            return False
        with self._metrics.step.time():
            estimates = self._stager.stage(batches)
        self._engine.look()
        self._send(estimates, batches)
        filled = defaultdict[str, int](int)
        for estimate in estimates:
            filled[estimate.stream] = max(filled[estimate.stream], estimate.slots_filled)
        for name, n in filled.items():
            self._streams[name].show_filled(n)
        return True

    def finish(self) -> None:
        """Stage all that is ready, and send the final estimates still due."""
        self._triggers.stop()
        while self.go():
            pass
        self._send(self._stager.flush())

    def _next(self, stream: Stream) -> EpochBatch | None:
        """Return a stream's next epoch, if there is one that can be staged with the others'."""
        batch = stream.pop()
        if batch is not None:
            with stream.guard("checking its epoch"):
                self._stager.check(batch)
        return None if stream.error is not None else batch

    def _send(self, estimates: Sequence[Estimate], batches: Sequence[EpochBatch] = ()) -> None:
        told: list[Message] = []  # first on their way: somebody waits to act on them
        messages: list[Message] = []
        points: list[RestartPoint] = []
        offsets: dict[str, float] = {}
        of = defaultdict[str, list[Estimate]](list)
        for estimate in estimates:
            of[estimate.stream].append(estimate)
        for name, stream in self._streams.items():
            with stream.guard("composing its messages"):
                offset, older = stream.clock_offset, stream.may_be_older
                mine = self._compose.stages(of[name], offset, older)
                decided = self._triggers.decide(mine, stream) if mine else []
                states = self._triggers.states(stream)
                points += [
                    self._recall.point(b, stream, states) for b in batches if b.stream == name
                ]
                told += decided
                messages += mine
                messages += [self._compose.echo(e, name, offset) for e in stream.take_edges()]
                offsets[name] = offset
        self._outbox.send([*told, *messages], points, offsets)
        if viewed := self._viewed():
            self._outbox.send(list(self._traces(batches, offsets, viewed)))

    def _traces(
        self,
        batches: Sequence[EpochBatch],
        offsets: Mapping[str, float],
        viewed: Collection[str],
    ) -> Iterator[Message]:
        """Yield what is looked at, after the stages, which it must not delay."""
        for batch in batches:
            if batch.stream not in offsets:  # it has just failed
                continue
            stream = self._streams[batch.stream]
            with stream.guard("composing its traces"):
                for row, name in enumerate(stream.subjects):
                    if name in viewed:
                        yield self._compose.trace(batch, row, name, offsets[batch.stream])
