"""Triggers in the daemon: what the rules say of each round's live estimates, as messages."""

from collections.abc import Sequence

from daemon.compose import Composer
from daemon.config import Config
from daemon.journal.writer import Journal
from daemon.messages import StageMessage, TriggerMessage
from daemon.stream import Stream
from daemon.trigger.armed import ArmedFile, armed_path
from daemon.trigger.rulebook import Rulebook, States
from daemon.trigger.sight import Sight


class Triggers:
    """Decides on live estimates.

    Args:
        config: its rules and subjects.
        before: what the rules remembered when the daemon ended.
        journal: nothing is switched on while it cannot be written.
        compose: makes the messages.
    """

    def __init__(self, config: Config, before: States, journal: Journal, compose: Composer) -> None:
        self._any = bool(config.triggers)
        self._book = Rulebook(config.triggers, config.subjects, before)
        self._armed = ArmedFile(armed_path(journal.path))
        self._armed.forget({(rule, of) for of, by_rule in before.items() for rule in by_rule})
        self._stopping = False
        self._journal = journal
        self._compose = compose

    def decide(self, estimates: Sequence[StageMessage], stream: Stream) -> list[TriggerMessage]:
        """Return what the rules say of a stream's live estimates.

        Args:
            estimates: of the stream; the final ones decide nothing.
            stream: which may contradict the model.
        """
        live = {m.subject: m for m in estimates if m.kind == "live"}
        if not live or not self._any:
            return []
        self._armed.look()
        trouble = "the daemon is stopping" if self._stopping else stream.contradiction
        if not self._journal.has_all:
            trouble = f"the journal cannot be written: {self._journal.problem or 'it is behind'}"
        sights = {
            subject: Sight.of(message, armed=False, trouble=trouble)
            for subject, message in live.items()
        }
        return self._compose.triggers(live, self._book.look(sights, self._armed))

    def stop(self) -> None:
        """Switch nothing on from now."""
        self._stopping = True

    def states(self, stream: Stream) -> States:
        """Return what the rules remember of a stream's subjects, for a restart."""
        return self._book.states(stream.subjects)
