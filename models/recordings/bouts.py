"""How stages follow each other: bouts, transitions, and how late the onset of a bout is noticed.

κ does not see them: a hypnogram may agree in nine of ten epochs and still be in pieces.

Epochs without a stage (ART, UNKNOWN, not scored) are of no bout. Where no more than `MAX_GAP_S` in
a row, or a single one of longer epochs, are without one, between two that have one, they take the
stage before them: one artefact does not make two bouts of one, and what changes over it is one
transition. A longer run of them
ends the bout before it, and no transition is counted across it. Two hypnograms are counted over
the same time: what either of them leaves without a stage after that is left out of both. A bout
that the start, the end or such a gap cuts counts as one, with what there is of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.recordings.agreement import divide, or_null
from models.stages import UNSCORED

MAX_GAP_S = 10.0
"""Epochs in a row without a stage that do not end a bout, s; nor does one longer epoch."""

_WAKE = 0  # the first of every stage set
_REM = "REM"

Indices = NDArray[np.integer]
"""(n,) index of each epoch's stage, or `UNSCORED`."""


class Bouts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the stages of one hypnogram follow each other."""

    transitions_per_hour: float | None
    """Changes of stage an hour; null without any time."""
    wake_to_rem_per_hour: float | None
    """Changes from Wake to REM an hour, which healthy animals hardly have."""
    n: dict[str, int]
    """Bouts of each stage."""
    mean_s: dict[str, float | None]
    """Their mean length, s; null without any."""


class Delay(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long after the onset of the expert's bouts of a stage they are called.

    From the onset to the end of the first epoch inside the bout that has its stage, so that one
    epoch is the least. Bouts whose onset nobody saw do not count: at the start, after a gap.
    """

    n_bouts: int
    """The expert's bouts with an onset."""
    median_s: float | None
    """Of those that were called, s; null without any."""
    p90_s: float | None
    """The 90th percentile of those that were called, s."""
    never: float | None
    """Share of the bouts that never were; null without any bout."""


class Course(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How stages follow each other, the expert's beside hypnod's, over the same time."""

    hours: float
    """Time in which both have a stage, h."""
    expert: Bouts
    hypnod: Bouts
    delays: dict[str, Delay]
    """By stage, Wake apart."""


@dataclass(frozen=True)
class BoutTally:
    """Sums over one hypnogram or several."""

    n_transitions: int
    n_wake_to_rem: int
    n_bouts: NDArray[np.int64]
    """(S,)"""
    seconds: NDArray[np.float64]
    """(S,) time in each stage, s."""

    def __add__(self, other: "BoutTally") -> "BoutTally":
        """Return the tally of both."""
        return BoutTally(
            self.n_transitions + other.n_transitions,
            self.n_wake_to_rem + other.n_wake_to_rem,
            self.n_bouts + other.n_bouts,
            self.seconds + other.seconds,
        )


@dataclass(frozen=True)
class CourseTally:
    """Sums over the recordings of one subject or several."""

    expert: BoutTally
    hypnod: BoutTally
    delays: tuple[NDArray[np.float64], ...]
    """By stage: of each bout with an onset, s; NaN where it never was called."""

    def __add__(self, other: "CourseTally") -> "CourseTally":
        """Return the tally of both's recordings."""
        pairs = zip(self.delays, other.delays, strict=True)
        return CourseTally(
            self.expert + other.expert,
            self.hypnod + other.hypnod,
            tuple(np.concatenate(pair) for pair in pairs),
        )


def find_runs(codes: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the onset and length of each run of equal codes, (n_runs,) epochs."""
    changes = np.flatnonzero(codes[1:] != codes[:-1]) + 1
    onsets = np.concatenate([np.zeros(min(1, len(codes)), np.int64), changes])
    return onsets, np.diff(np.append(onsets, len(codes)))


def longest_gap_s(epoch_s: float) -> float:
    """Return how long epochs without a stage may be that do not end a bout, s."""
    return max(MAX_GAP_S, epoch_s)


def fill_gaps(stages: Indices, epoch_s: float) -> Indices:
    """Return the stages with short gaps filled by the stage before them; see the module."""
    filled = stages.copy()
    onsets, lengths = find_runs(stages)
    short = (stages[onsets] == UNSCORED) & (lengths * epoch_s <= longest_gap_s(epoch_s))
    short[:1] = short[-1:] = False  # nothing before it, or nothing after it
    for onset, length in zip(onsets[short].tolist(), lengths[short].tolist(), strict=True):
        filled[onset : onset + length] = stages[onset - 1]
    return filled


def tally_bouts(stages: Indices, epoch_s: float, names: Sequence[str]) -> BoutTally:
    """Count the bouts and transitions of one hypnogram, whose gaps end bouts.

    Args:
        stages: (n,) index of each epoch's stage, or `UNSCORED`.
        epoch_s: length of the epochs, s.
        names: the stage set, Wake first.
    """
    onsets, _ = find_runs(stages)
    begun = stages[onsets]
    before, after = begun[:-1], begun[1:]
    change = (before != UNSCORED) & (after != UNSCORED)
    wake_to_rem = (before == _WAKE) & (after == names.index(_REM))
    return BoutTally(
        n_transitions=int(change.sum()),
        n_wake_to_rem=int(wake_to_rem.sum()),
        n_bouts=np.bincount(begun[begun != UNSCORED], minlength=len(names)),
        seconds=np.bincount(stages[stages != UNSCORED], minlength=len(names)) * np.float64(epoch_s),
    )


def find_delays(
    truth: Indices, found: Indices, epoch_s: float, n_stages: int
) -> tuple[NDArray[np.float64], ...]:
    """Return how long after its onset each of the expert's bouts is called; see `Delay`.

    Args:
        truth: (n,) the expert's.
        found: (n,) what was called.
        epoch_s: length of the epochs, s.
        n_stages: in the stage set.

    Returns:
        By stage, (n_bouts,) s; NaN where it never was called.
    """
    truth = fill_gaps(truth, epoch_s)
    delays: list[list[float]] = [[] for _ in range(n_stages)]
    onsets, lengths = find_runs(truth)
    for k in range(1, len(onsets)):
        onset, stage = int(onsets[k]), int(truth[onsets[k]])
        if UNSCORED in (stage, truth[onset - 1]):
            continue
        hits = np.flatnonzero(found[onset : onset + lengths[k]] == stage)
        delays[stage].append((hits[0] + 1) * epoch_s if len(hits) else np.nan)
    return tuple(np.array(each, np.float64) for each in delays)


def tally_both(
    truth: Indices, found: Indices, epoch_s: float, names: Sequence[str]
) -> tuple[BoutTally, BoutTally]:
    """Count the bouts and transitions of two hypnograms over the same time; see the module.

    Args:
        truth: (n,) the expert's.
        found: (n,) hypnod's.
        epoch_s: length of the epochs, s.
        names: the stage set, Wake first.
    """
    filled = [fill_gaps(stages, epoch_s) for stages in (truth, found)]
    lost = (filled[0] == UNSCORED) | (filled[1] == UNSCORED)
    one, other = (tally_bouts(np.where(lost, UNSCORED, f), epoch_s, names) for f in filled)
    return one, other


def bouts_of(stages: Indices, epoch_s: float, names: Sequence[str]) -> Bouts:
    """Return the figures of one hypnogram by itself.

    Args:
        stages: (n,) index of each epoch's stage, or `UNSCORED`.
        epoch_s: length of the epochs, s.
        names: the stage set, Wake first.
    """
    total = tally_bouts(fill_gaps(stages, epoch_s), epoch_s, names)
    return _describe_bouts(total, float(total.seconds.sum()) / 3600, names)


def describe_course(total: CourseTally, names: Sequence[str]) -> Course:
    """Return the figures of a tally."""
    hours = float(total.expert.seconds.sum()) / 3600
    sleep = list(zip(names, total.delays, strict=True))[_WAKE + 1 :]
    return Course(
        hours=hours,
        expert=_describe_bouts(total.expert, hours, names),
        hypnod=_describe_bouts(total.hypnod, hours, names),
        delays={stage: _describe_delays(delays) for stage, delays in sleep},
    )


def _describe_bouts(total: BoutTally, hours: float, names: Sequence[str]) -> Bouts:
    means = divide(total.seconds, total.n_bouts)
    return Bouts(
        transitions_per_hour=total.n_transitions / hours if hours else None,
        wake_to_rem_per_hour=total.n_wake_to_rem / hours if hours else None,
        n=dict(zip(names, total.n_bouts.tolist(), strict=True)),
        mean_s=dict(zip(names, map(or_null, means), strict=True)),
    )


def _describe_delays(delays: NDArray[np.float64]) -> Delay:
    called = delays[np.isfinite(delays)]
    median, p90 = np.percentile(called, [50, 90]).tolist() if len(called) else (None, None)
    n = len(delays)
    return Delay(
        n_bouts=n,
        median_s=median,
        p90_s=p90,
        never=1 - len(called) / n if n else None,
    )
