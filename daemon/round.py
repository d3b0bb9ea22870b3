"""A round: the epochs that are ready are staged together, kept, and told to everyone."""

import time
from collections.abc import Mapping, Sequence

from daemon.compose import Composer
from daemon.lsl.outlet import StageOutlet
from daemon.messages import StageMessage
from daemon.metrics import Metrics
from daemon.outbox import Outbox
from daemon.restart.checkpoint import Checkpoint
from daemon.restart.recall import Recall
from daemon.stager import Estimate, Stager
from daemon.state import StateWriter
from daemon.stream import Stream
from daemon.watch.engine import EngineWatch
from models.signal.pipeline import EpochBatch


class Rounds:
    """Takes epochs out of the streams and lets their stages out.

    Args:
        streams: what is read.
        stager: stages it.
        watch: tells when another engine has taken over.
        recall: what a restart goes on from, this one and the next.
        compose: puts estimates into messages.
        outbox: sends them.
        outlets: LSL's, by stream; of those streams that have one.
        states, metrics: told of it.
    """

    def __init__(
        self,
        streams: Sequence[Stream],
        stager: Stager,
        watch: EngineWatch,
        recall: Recall,
        compose: Composer,
        outbox: Outbox,
        outlets: Mapping[str, StageOutlet],
        states: StateWriter,
        metrics: Metrics,
    ) -> None:
        self._streams = streams
        self._stager = stager
        self._watch = watch
        self._recall = recall
        self._compose = compose
        self._outbox = outbox
        self._outlets = outlets
        self._states = states
        self._metrics = metrics

    def go(self) -> bool:
        """Stage at most one epoch of each stream and publish it; say whether there was one."""
        batches = [batch for stream in self._streams if (batch := stream.pop()) is not None]
        if not batches:
            return False
        with self._metrics.step.time():
            estimates = self._stager.stage(batches)
        self._watch.look()
        self._compose.run = self._watch.run
        self._publish(estimates, [self._checkpoint(batch) for batch in batches])
        for stream in self._streams:
            stream.show_filled(max(self._stager.slots_filled(stream.name)))
        return True

    def finish(self) -> None:
        """Stage all that is ready, and publish the final estimates still due."""
        while self.go():
            pass
        self._publish(self._stager.flush())

    def settle(self, stream: Stream) -> None:
        """Act on what a restart is to a stream, as soon as that is known."""
        verdict = stream.past.verdict
        if verdict is None or not self._recall.is_news(stream.name):
            return
        self.send_last_words(self._recall.settle(stream.name))
        stream.show_filled(max(self._stager.slots_filled(stream.name)))
        self._states.note(stream.name, verdict.reason)

    def send_last_words(self, lives: Sequence[StageMessage]) -> None:
        """Publish as final the live messages of a former run that will not be read again."""
        self._outbox.send([self._compose.last_word(live) for live in lives])

    def _checkpoint(self, batch: EpochBatch) -> Checkpoint:
        (stream,) = (stream for stream in self._streams if stream.name == batch.stream)
        return self._recall.checkpoint(batch, stream.nominal_sfreq, stream.clocks)

    def _publish(
        self, estimates: Sequence[Estimate], checkpoints: Sequence[Checkpoint] = ()
    ) -> None:
        offsets = {stream.name: stream.clock_offset for stream in self._streams}
        lived: dict[tuple[str, float], dict[str, str]] = {}
        messages: list[StageMessage] = []
        for estimate in estimates:
            onset = estimate.onset + offsets[estimate.stream]
            messages.append(self._compose.stage(estimate, onset))
            if estimate.kind == "live":
                lived.setdefault((estimate.stream, onset), {})[estimate.subject] = estimate.stage
        self._outbox.send(messages, checkpoints)
        for message in messages:
            if message.kind == "live":
                self._metrics.observe(message, time.time())
        for (stream_name, onset), stages in lived.items():
            if stream_name in self._outlets:
                self._outlets[stream_name].push(stages, onset)
