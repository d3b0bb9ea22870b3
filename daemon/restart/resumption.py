"""Whether a stream goes on where it was before a restart, which its first sample tells.

Within what an estimate looks back a stream goes on warm: same time grid, same levels, same
context, and what is missing comes out as epochs with gaps. Later, or where something has changed,
it starts cold: in a new grid, whose points are numbered on.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daemon.lsl.inlet import Clocks
from daemon.restart.point import StreamState, boot_id, decode_arrays
from models.signal.chunk import are_times
from models.signal.pipeline import Pipeline
from models.signal.state import Adaptation, PipelineState

_SAME_CLOCK_S = 0.1
"""The clock offset of one and the same pair of clocks, measured twice."""
_SAME_TIME_S = 0.5
"""Two machines' ideas of the time of day."""
_BACK_S = 0.5
"""So far a first sample may lie before the newest one of before."""


@dataclass(frozen=True, slots=True)
class Resumption:
    """How a restarted daemon goes on with a stream: warm, in its former time grid, or cold."""

    state: PipelineState | None
    """What to go on from; None to start anew."""
    shift: float
    """To add to a time on the source's former clock for one on its present clock, s."""
    reason: str
    """For people: how long it was away, or why not."""
    away_s: float | None = None
    """From the onset of the next epoch to the first sample, s, where it goes on; below 0 where
    that epoch had been given up before its samples came."""


def resume(
    before: StreamState, sfreq: float, clocks: Clocks, first: float, span_s: float
) -> Resumption:
    """Decide whether a stream goes on where it was.

    The clocks tell whether the source's clock is the one of before. Another (its machine was
    rebooted) is brought in line through the time of day.

    Args:
        before: the state in the journal.
        sfreq: the stream's nominal sampling rate, Hz.
        clocks: now.
        first: timestamp of the first sample, on the source's clock, s.
        span_s: how far back an estimate looks, s.
    """
    shift, clock_shift = before.utc_offset - clocks.utc_offset, 0.0
    if _same_clock(before, clocks):
        shift, clock_shift = 0.0, before.clock_shift
    next_onset = before.origin + shift + before.next_hop * before.hop_s
    away_s = first + clock_shift - next_onset
    if away_s > span_s:
        return cold(f"{away_s:.1f} s are missing, more than an estimate looks back")
    back_s = before.newest + shift - first - clock_shift
    if back_s > _BACK_S:
        return cold(f"the source's time went back by {back_s:.1f} s")
    if -away_s > span_s:
        return cold(f"its samples are {-away_s:.1f} s late, more than an estimate looks back")
    state = PipelineState(
        origin=before.origin + shift,
        next_hop=before.next_hop,
        newest=before.newest + shift,
        drift=before.drift if before.sfreq == sfreq else 0.0,
        clock_shift=clock_shift,
        adaptation=before.adaptation,
        recent=decode_arrays(before.recent),
    )
    return Resumption(state, shift, f"resumed warm: {max(away_s, 0.0):.1f} s are missing", away_s)


def cold(why: str) -> Resumption:
    """Return that a stream starts anew, and why."""
    return Resumption(None, 0.0, f"started cold: {why}")


def _same_clock(before: StreamState, clocks: Clocks) -> bool:
    """Whether the source's clock is the one of before.

    Until this machine boots its own LSL clock goes on, whatever becomes of its time of day.
    """
    if before.boot == boot_id():
        return abs(before.offset - clocks.offset) < _SAME_CLOCK_S
    return abs(before.utc_offset - clocks.utc_offset) < _SAME_TIME_S


class Past:
    """One stream's past, until its first sample tells what it is worth.

    Args:
        state: of the stream before the restart; None where there is none, or of no use.
        hop: the first point of its time grid, if that is a new one.
        span_s: how far back an estimate looks, s.
        resumption: how it goes on, where that is known already.
    """

    def __init__(
        self,
        state: StreamState | None,
        hop: int,
        span_s: float,
        resumption: Resumption | None = None,
    ) -> None:
        self._state = state
        self._span_s = span_s
        self._since: float | None = None
        self._began = False
        self._hop = hop
        self.resumption = resumption
        """How it goes on; None before that is known, or where there is no past."""

    @property
    def grid_hop(self) -> int:
        """The first point of the stream's grid."""
        warm = self.resumption is not None and self.resumption.state is not None
        return self._state.grid_hop if self._state is not None and warm else self._hop

    def adaptation(self, wall: float) -> Adaptation | None:
        """Return what was learnt until the restart, where that was not long ago; else None.

        Args:
            wall: Unix time now, s.
        """
        if self._state is None or self.resumption is not None:
            return None
        next_onset = self._state.origin + self._state.next_hop * self._state.hop_s
        away_s = wall - next_onset - self._state.utc_offset
        return self._state.adaptation if away_s <= self._span_s else None

    def begin(self, pipeline: Pipeline, timestamps: NDArray[np.float64], clocks: Clocks) -> None:
        """Set where a new pipeline begins: where it ended before the restart, if it goes on.

        Args:
            pipeline: a new one, or, without an effect, one that has begun.
            timestamps: of the samples that will be pushed next.
            clocks: now.
        """
        known = timestamps[are_times(timestamps)]
        if self._began or not len(known):
            return
        self._began = True
        if self.resumption is None and self._state is not None:
            sfreq, first = pipeline.description.sfreq, float(known[0])
            self.resumption = resume(self._state, sfreq, clocks, first, self._span_s)
        if self.resumption is not None and self.resumption.state is not None:
            pipeline.recall(self.resumption.state)
        else:
            pipeline.count_from(self._hop)

    def wait(self, now: float) -> None:
        """Give up what is too old to be of use, once no sample came for so long."""
        self._since = now if self._since is None else self._since
        if now - self._since > self._span_s:
            self.give_up("no sample came for as long as an estimate looks back")

    def give_up(self, why: str) -> None:
        """Start cold, whatever comes, unless it is known already."""
        if self.resumption is None and self._state is not None:
            self.resumption = cold(why)
