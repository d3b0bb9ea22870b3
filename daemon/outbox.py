"""The one way out: numbered, into the journal first, then to everyone who listens."""

from collections.abc import Sequence

from daemon.journal.writer import Journal
from daemon.messages import Message
from daemon.restart.checkpoint import Checkpoint
from daemon.sockets.publisher import Publisher


class Outbox:
    """Sends messages that must not be lost.

    Args:
        journal: where they are kept.
        publisher: who hears them.
    """

    def __init__(self, journal: Journal, publisher: Publisher) -> None:
        self._journal = journal
        self._publisher = publisher

    def next_seq(self, topic: str) -> int:
        """Return the number of the topic's next message."""
        return self._publisher.next_seq(topic)

    def send(self, messages: Sequence[Message], checkpoints: Sequence[Checkpoint] = ()) -> None:
        """Commit messages to the journal in one transaction, and then publish them.

        Args:
            messages: numbered by `next_seq`, in order.
            checkpoints: what a restart after them goes on from.
        """
        if not messages:
            return
        self._journal.write(messages, checkpoints)
        for message in messages:
            self._publisher.publish(message)
