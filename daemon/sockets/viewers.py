"""Whose live signals somebody looks at: nobody computes a trace that nobody subscribed to."""

from collections.abc import Iterable

from daemon.messages import TraceMessage

_KIND = TraceMessage.TOPIC.partition(".")[0].encode() + b"."
_SUBSCRIBE, _UNSUBSCRIBE = 1, 0


class Viewers:
    """Counts the subscriptions to each subject's trace.

    One to everything is not counted: who asks for all messages is sent the traces that others look
    at, but does not cause them.

    Args:
        subjects: of the daemon.
    """

    def __init__(self, subjects: Iterable[str]) -> None:
        self._counts = dict.fromkeys(subjects, 0)
        self._told: list[str] = []
        self._changed = False

    def note(self, frame: bytes) -> None:
        """Take note of a subscription, or of its end, as an XPUB socket tells it."""
        if frame[1 : 1 + len(_KIND)] != _KIND or frame[0] not in (_SUBSCRIBE, _UNSUBSCRIBE):
            return
        self._changed = True
        prefix = frame[1 + len(_KIND) :].decode("utf-8", "replace")
        step = 1 if frame[0] == _SUBSCRIBE else -1
        for name, n in self._counts.items():
            if name.startswith(prefix):
                self._counts[name] = n + step

    def news(self) -> list[str] | None:
        """Return whose traces are wanted, where that has changed since the last call."""
        if not self._changed:
            return None
        self._changed = False
        wanted = [name for name, n in self._counts.items() if n > 0]
        if wanted == self._told:
            return None
        self._told = wanted
        return wanted
