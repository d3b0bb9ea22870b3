"""What `hypnod pulse` tells of its outputs on the catch-up socket, on its way to the journal.

It is checked here, in the process that answers clients, and passed on to the daemon a few at a
time: whoever tells a lot fills this queue and nothing else.
"""

from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import structlog

from daemon.config import Config
from daemon.messages import PulseDone
from daemon.sockets.meter import FLOOD

log = structlog.get_logger()

KIND = b"pulse"
"""First frame of what is told; each frame after it is a PulseDone in JSON."""
REFUSED = "no_pulse"
"""Counts what is none, or not of this config."""
MAX_WAITING = 1000
"""Of those that wait; what comes on top is lost, and counted as a flood."""
AT_ONCE = 16
"""Passed on in one turn."""
_OLDEST, _AHEAD = timedelta(days=1), timedelta(seconds=1)
_MAX_TOLD = 100  # refusals that are logged


class Pulses:
    """Takes what clients tell, from the thread that hears them, for the one that passes it on.

    Args:
        config: whose subjects, rules and outputs there are.
        refuse: told the reason of each that is refused.
    """

    def __init__(self, config: Config, refuse: Callable[[str], object]) -> None:
        self._pairs = {
            (rule.name, subject)
            for rule in config.triggers
            for subject in filter(rule.is_for, config.subjects)
        }
        self._n_outputs = len(config.pulse)
        self._refuse = refuse
        self._n_told = 0
        self._waiting: deque[PulseDone] = deque()

    def take(self, frames: Sequence[bytes]) -> None:
        """Take the frames after the first one, whatever is in them."""
        for frame in frames:
            try:
                done = self._check(frame)
            except (ValueError, RecursionError) as error:
                self._refuse(REFUSED)
                if self._n_told < _MAX_TOLD:
                    self._n_told += 1
                    log.warning("refused what is no pulse", reason=str(error))
                continue
            if len(self._waiting) < MAX_WAITING:
                self._waiting.append(done)
            else:
                self._refuse(FLOOD)

    def pass_on(self) -> list[PulseDone]:
        """Return the oldest of those that wait, some of them."""
        return [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]

    def _check(self, frame: bytes) -> PulseDone:
        """Return what is in a frame.

        Raises:
            ValueError, RecursionError: no PulseDone, or not one that can be.
        """
        done = msgspec.json.decode(frame, type=PulseDone)
        if (done.rule, done.subject) not in self._pairs:
            raise ValueError(
                f"expected a rule and a subject of the config, found {done.rule!r} for "
                f"{done.subject!r}"
            )
        if done.output >= self._n_outputs:
            raise ValueError(
                f"expected an output below {self._n_outputs}, as the config has, "
                f"found {done.output}"
            )
        now = datetime.now(UTC)
        if not now - _OLDEST <= done.utc <= now + _AHEAD:
            raise ValueError(f"expected a time within the last day, found {done.utc}")
        done.decided_in.encode()  # half of a surrogate pair is valid JSON, but no text
        return done
