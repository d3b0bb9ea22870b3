"""Who is on, and until when: nothing stays on that the daemon does not say again.

No clock of its own: what of time it needs is given to it.
"""

from collections import deque
from datetime import datetime
from typing import NamedTuple

from daemon.messages import TriggerMessage

_AHEAD_S = 0.1
"""A decision from the future by more is not trusted: one of both clocks is wrong."""
_SET_BACK_S = 10.0
"""For so long after the clock was set back, decisions may come that were made before."""


class Pulse(NamedTuple):
    """Which pulse it is."""

    rule: str
    subject: str
    session: str
    """Of the decision."""
    number: int
    """Of the rule's pulses of the subject."""


class Gate:
    """Holds for each rule and subject which pulse is on, and until when.

    Attributes:
        trouble: why the last decisions switched nothing on, whatever they said; None: they do.
    """

    def __init__(self) -> None:
        self.trouble: str | None = None
        self._clocks: deque[tuple[float, float]] = deque()
        """How far the time of day was ahead of the other clock, falling, and since when."""
        self._until: dict[tuple[str, str], tuple[float, Pulse]] = {}
        self._newest: dict[tuple[str, str], tuple[str, int]] = {}

    def take(self, message: TriggerMessage, wall: float, monotonic: float) -> Pulse | None:
        """Heed a decision. One that is replayed, old, or older than one heard switches nothing on.

        Args:
            message: the decision.
            wall: Unix time now, s.
            monotonic: now by a clock of this machine that nobody sets, s.

        Returns:
            Of `sham` the pulse, while its time to live is not over.
        """
        key = message.rule, message.subject
        session, seq = self._newest.get(key, ("", -1))
        latest = self._latest(wall, monotonic)
        age_s = latest - datetime.fromisoformat(message.published_utc).timestamp()
        follows = session != message.session or message.seq > seq
        if message.replayed or not follows:
            return None
        self._newest[key] = (message.session, message.seq)
        left_s = message.ttl_s - max(0.0, age_s)
        self._look_at_clocks(message, age_s, left_s)
        self._until.pop(key, None)
        if message.pulse is None or age_s < -_AHEAD_S or left_s <= 0:
            return None
        pulse = Pulse(*key, message.session, message.pulse)
        if message.action == "on":
            self._until[key] = monotonic + left_s, pulse
        return pulse if message.action == "sham" else None

    def _latest(self, wall: float, monotonic: float) -> float:
        """Return the time of day, as if it had not been set back in the last seconds."""
        since, ahead = monotonic, wall - monotonic
        while self._clocks and self._clocks[-1][1] <= ahead:
            since, _ = self._clocks.pop()
        self._clocks.append((since, ahead))
        while len(self._clocks) > 1 and monotonic - self._clocks[1][0] >= _SET_BACK_S:
            self._clocks.popleft()
        return monotonic + self._clocks[0][1]

    def _look_at_clocks(self, message: TriggerMessage, age_s: float, left_s: float) -> None:
        acts = message.pulse is not None
        if age_s < -_AHEAD_S:
            found = f"one from {-age_s:.1f} s ahead"
        elif acts and left_s <= 0:
            found = f"one {age_s:.1f} s old"
        else:
            self.trouble = None if acts else self.trouble  # an "off" may be as old as it likes
            return
        self.trouble = self.trouble or (
            f"expected decisions that were just made, found {found}: such ones switch nothing on; "
            "see that the clocks of the daemon's computer and of this one agree"
        )

    def on(self, monotonic: float) -> set[Pulse]:
        """Return the pulses that are on now."""
        self._until = {key: held for key, held in self._until.items() if held[0] > monotonic}
        return {pulse for _, pulse in self._until.values()}

    def next_s(self, monotonic: float, longest_s: float) -> float:
        """Return for how long nothing changes by itself, s, at most so long."""
        return max(0.0, min([longest_s, *(t - monotonic for t, _ in self._until.values())]))
