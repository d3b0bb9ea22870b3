"""Hypnograms: stages over time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from models.errors import RecordingError
from models.recordings.base import Recording
from models.stages import UNKNOWN

_TOLERANCE_S = 1e-3  # onsets are written with milliseconds
OVERLAP_S = 2e-3  # an onset, a duration and the next onset, each rounded
_EPOCH_S = (0.25, 30.0)  # no scorer uses shorter or longer epochs
_EXACT = 0.1  # of an epoch, how far off a multiple may be while its length is being found
_LONGEST_S = 1e8  # three years; no recording lasts longer
_MOST_EPOCHS = 400  # of the shortest bout
_ENOUGH_BOUTS = 10  # for their common divisor not to be chance


@dataclass(frozen=True, eq=False)
class Hypnogram:
    """Stages over time, in order and without overlap.

    Args:
        onsets: (n,), from the recording's first sample, s.
        durations: (n,), s.
        stages: (n,) names of one stage set, or ART or UNKNOWN.

    Raises:
        RecordingError: a time is not finite or negative, or two stages overlap.
    """

    onsets: NDArray[np.float64]
    durations: NDArray[np.float64]
    stages: tuple[str, ...]

    def __post_init__(self) -> None:
        if not (np.isfinite(self.onsets).all() and np.isfinite(self.durations).all()):
            raise RecordingError("expected finite onsets and durations, found another number")
        if np.any(self.durations < 0):
            raise RecordingError(f"expected no duration below 0 s, found {self.durations.min():g}")
        overlap = self.onsets[:-1] + self.durations[:-1] - self.onsets[1:]
        if np.any(overlap > OVERLAP_S):
            at = float(self.onsets[1:][overlap > OVERLAP_S][0])
            raise RecordingError(f"expected one stage at a time, found two at {at:g} s")

    @classmethod
    def from_epochs(cls, stages: Sequence[str], epoch_s: float) -> Self:
        """Return the hypnogram of consecutive epochs, the first one at 0 s."""
        onsets = np.arange(len(stages)) * np.float64(epoch_s)
        return cls(onsets, np.full(len(stages), float(epoch_s)), tuple(stages))

    @property
    def end(self) -> float:
        """When the last stage ends, s; 0 without stages."""
        return float(self.onsets[-1] + self.durations[-1]) if self.stages else 0.0

    @property
    def scored_end(self) -> float:
        """When the last stage other than UNKNOWN ends, s; 0 without one."""
        scored = [i for i, stage in enumerate(self.stages) if stage != UNKNOWN]
        return float(self.onsets[scored[-1]] + self.durations[scored[-1]]) if scored else 0.0

    @property
    def epoch_s(self) -> float | None:
        """Length of the epochs it was scored in, s; None where that cannot be seen.

        It is the length of the stages where all but the last have one; else the common divisor of
        their times, where there are ten or more.
        """
        lengths = self.durations[:-1]
        if len(lengths) == 0 or (len(lengths) < _ENOUGH_BOUTS and np.ptp(lengths) > _TOLERANCE_S):
            return None
        return _common_epoch(np.concatenate([lengths, self.onsets - self.onsets[0]]))

    def to_epochs(self, epoch_s: float, n_epochs: int, hop_s: float | None = None) -> list[str]:
        """Return the stage that fills most of each epoch, UNKNOWN where most is unscored.

        Epoch k begins k × hop_s (default: epoch_s) after the recording's first sample.
        """
        if not self.stages:
            return [UNKNOWN] * n_epochs
        edges = np.arange(n_epochs)[:, None] * (hop_s or epoch_s) + [0.0, epoch_s]
        times = np.stack([self.onsets, self.onsets + self.durations], axis=1).ravel()
        times = np.maximum.accumulate(times)
        names = sorted({*self.stages} - {UNKNOWN})
        scored = np.zeros((len(names) + 1, n_epochs))
        for i, name in enumerate(names):
            spent = np.cumsum(np.where(np.array(self.stages) == name, self.durations, 0.0))
            before = np.stack([np.concatenate([[0.0], spent[:-1]]), spent], axis=1).ravel()
            scored[i] = np.diff(np.interp(edges, times, before), axis=1)[:, 0]
        scored[-1] = epoch_s - scored.sum(axis=0) - 1e-9  # a tie goes to the stage
        return [[*names, UNKNOWN][i] for i in scored.argmax(axis=0)]

    def moved(self, by_s: float, until: float) -> Self:
        """Return it laid later by so much, s, and what is left of it between 0 and `until`."""
        onsets = np.clip(self.onsets + by_s, 0.0, until)
        durations = np.clip(self.onsets + self.durations + by_s, 0.0, until) - onsets
        kept = np.flatnonzero((durations > 0) | (self.durations == 0))
        return type(self)(onsets[kept], durations[kept], tuple(self.stages[i] for i in kept))

    def merged(self) -> Self:
        """Return the same hypnogram with adjoining equal stages as one bout."""
        if not self.stages:
            return self
        ends = self.onsets + self.durations
        changes = np.array(self.stages[1:]) != np.array(self.stages[:-1])
        apart = self.onsets[1:] - ends[:-1] > _TOLERANCE_S
        first = np.flatnonzero(np.concatenate([[True], changes | apart]))
        last = np.append(first[1:] - 1, len(ends) - 1)
        onsets = self.onsets[first]
        return type(self)(onsets, ends[last] - onsets, tuple(self.stages[i] for i in first))


def check_length(hypnogram: Hypnogram, recording: Recording) -> None:
    """Raise RecordingError where a hypnogram is of another length than its recording.

    Less than one scored epoch may be missing at the end; what follows as UNKNOWN is ignored.
    """
    too_short, too_long = _compare(hypnogram, recording)
    if too_short or too_long:
        found = hypnogram.end if too_short else hypnogram.scored_end
        each = hypnogram.durations
        alike = len(each) > 1 and float(np.ptp(each)) < _TOLERANCE_S
        parts = f" ({len(each)} × {each[0]:g} s)" if alike else ""
        advice = "write UNKNOWN where nobody scored"
        if too_long:
            advice = "take that of this recording, name the unit of its times as in 'onset (ms)'"
        raise RecordingError(
            f"{recording.path}: expected a hypnogram of the recording's {recording.duration:g} s, "
            f"found one of {found:g} s{parts}: {advice}, or, for a stage a line, correct "
            "--hypnogram-epoch"
        )


def is_as_long(hypnogram: Hypnogram, recording: Recording) -> bool:
    """Whether `check_length` finds nothing."""
    return not any(_compare(hypnogram, recording))


def _compare(hypnogram: Hypnogram, recording: Recording) -> tuple[bool, bool]:
    """Tell whether a hypnogram is too short, and whether it is too long."""
    times = np.concatenate([hypnogram.onsets, hypnogram.durations])
    step = hypnogram.epoch_s or _common_divisor(np.minimum(times, _LONGEST_S))
    epoch_s = min(max(step, 2 * _TOLERANCE_S), _EPOCH_S[1])
    too_short = hypnogram.end <= recording.duration - epoch_s
    return too_short, hypnogram.scored_end >= recording.duration + epoch_s


def _common_divisor(times: NDArray[np.float64]) -> float:
    """Return the longest time of which all are multiples, to the ms; 0 without times, s."""
    return float(np.gcd.reduce(np.round(times * 1000).astype(np.int64))) / 1000


def _common_epoch(times: NDArray[np.float64]) -> float | None:
    """Return the longest epoch of which all times are multiples; None: no scorer's.

    It need not be whole milliseconds: at 511.96 Hz epochs last 4.0006 s. So it begins as a part of
    the shortest time, and each longer one says it more exactly.
    """
    known = np.unique(times[times > _TOLERANCE_S])
    if len(known) == 0 or known[-1] > _LONGEST_S:
        return None
    for parts in range(1, min(_MOST_EPOCHS, int(known[0] / _EPOCH_S[0]) + 1) + 1):
        epoch_s = float(known[0]) / parts
        for time in known.tolist():
            n = max(1, round(time / epoch_s))
            if abs(time - n * epoch_s) > _EXACT * epoch_s:
                break
            epoch_s = time / n
        else:
            fits = np.abs(known - np.round(known / epoch_s) * epoch_s) <= 1.5 * _TOLERANCE_S
            in_range = _EPOCH_S[0] - _TOLERANCE_S <= epoch_s <= _EPOCH_S[1] + _TOLERANCE_S
            if fits.all():
                return round(epoch_s, 6) if in_range else None
    return None
