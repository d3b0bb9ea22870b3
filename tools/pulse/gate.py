"""Who is on, and until when: nothing stays on that the daemon does not say again.

No clock of its own: what of time it needs is given to it.
"""

from datetime import datetime

from daemon.messages import TriggerMessage

_AHEAD_S = 0.1
"""A decision from the future by more is not trusted: one of both clocks is wrong."""

Key = tuple[str, str]
"""Rule and subject."""


class Gate:
    """Holds for each rule and subject until when it is on."""

    def __init__(self) -> None:
        self._until: dict[Key, float] = {}
        self._newest: dict[Key, tuple[str, int]] = {}

    def take(self, message: TriggerMessage, wall: float, monotonic: float) -> bool:
        """Heed a decision. One that is replayed, old, or older than one heard switches nothing on.

        Args:
            message: the decision.
            wall: Unix time now, s.
            monotonic: this machine's monotonic clock now, s.

        Returns:
            Whether it holds now: of `on` and `sham`, its time to live is not over.
        """
        key = message.rule, message.subject
        session, seq = self._newest.get(key, ("", -1))
        age_s = wall - datetime.fromisoformat(message.published_utc).timestamp()
        follows = session != message.session or message.seq > seq
        if message.replayed or not follows:
            return False
        self._newest[key] = (message.session, message.seq)
        left_s = message.ttl_s - max(0.0, age_s)
        holds = age_s >= -_AHEAD_S and left_s > 0
        if message.action == "on" and holds:
            self._until[key] = monotonic + left_s
        else:
            self._until.pop(key, None)
        return holds

    def on(self, monotonic: float) -> set[Key]:
        """Return which rules are on for whom now."""
        self._until = {key: until for key, until in self._until.items() if until > monotonic}
        return {*self._until}

    def next_s(self, monotonic: float, longest_s: float) -> float:
        """Return for how long nothing changes by itself, s, at most so long."""
        return max(0.0, min([longest_s, *(t - monotonic for t in self._until.values())]))
