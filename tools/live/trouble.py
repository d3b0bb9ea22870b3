"""What is wrong with a subject, its stream or the daemon, as the messages tell: judged here alone.

The live page shows it, notices tell it.
"""

from collections.abc import Iterator
from typing import Literal

import msgspec

from daemon.messages import StageMessage, StreamMessage
from daemon.state import READY
from models.signal.quality import OK

Level = Literal["bad", "warn"]
"""`bad`: nothing is staged, or nothing is known. `warn`: staged, but somebody should look."""

STREAM, SILENT = "stream", "silent"
"""What is wrong where no stage is known now."""
SILENT_S = 3.0
"""Without an epoch for so long, or for three hops, or with older ones, nothing is known now, s."""
_HOPS = 3
_OFF_S, _ON_S = 5.0, 10.0
"""So much unusable signal in a row is trouble, so much usable one is its end, s."""


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is wrong now."""

    what: str
    """Names it: `stream`, `silent`, `eeg`, `emg`, `drift`, …; one of each at a time."""
    level: Level
    text: str
    """In words."""


class Lasting:
    """Whether something has been so for long: an epoch alone makes no trouble, and ends none."""

    def __init__(self) -> None:
        self.is_on = False
        self._bad = False
        self._since = float("-inf")

    def look(self, *, bad: bool, time: float) -> bool:
        """Take note of how it is at a time, s; return whether it is trouble."""
        if bad != self._bad:
            self._bad, self._since = bad, time
        if self.is_on != bad and time - self._since >= (_OFF_S if bad else _ON_S):
            self.is_on = bad
        return self.is_on


def judge(
    live: StageMessage | None,
    stream: StreamMessage | None,
    silent_s: float,
    late_s: float,
    off: dict[str, Lasting],
) -> Iterator[Trouble]:
    """Yield what is wrong with a subject, the worst first.

    Args:
        live: its newest live estimate.
        stream: what its stream said last.
        silent_s: how long ago that came, s.
        late_s: how long ago its epoch had ended, s.
        off: of each modality whether it is off.
    """
    if stream is not None and stream.state not in READY:
        yield Trouble(what=STREAM, level="bad", text=f"{stream.state.lower()}: {stream.reason}")
        return  # the rest follows from it
    if live is None:
        yield Trouble(what=SILENT, level="bad", text="no epoch yet")
        return
    longest_s = max(SILENT_S, _HOPS * live.hop_s)
    if silent_s > longest_s:
        yield Trouble(what=SILENT, level="bad", text="silent: no epoch comes")
    elif late_s > longest_s:
        yield Trouble(what=SILENT, level="bad", text="late: the epochs that come are old")
    lost = [modality for modality, lasting in off.items() if lasting.is_on]
    for modality in lost:
        why = live.validity.get(modality, OK)
        reason = "comes and goes" if why == OK else why.replace("_", " ")
        level: Level = "bad" if len(lost) == len(live.validity) else "warn"
        yield Trouble(what=modality, level=level, text=f"{modality.upper()} {reason}")
    if live.drift is not None and live.drift > 1:
        text = f"drift {live.drift:.1f}: unlike the training animals"
        yield Trouble(what="drift", level="warn", text=text)
