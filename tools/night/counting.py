"""The epochs of a record as the user wants them counted, and the bouts in them.

Stages are those that were published, after the grammar. Whatever is counted says by which rule.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.errors import ConfigError
from models.longer_epochs import average
from models.recordings.bouts import fill_gaps, find_runs, longest_gap_s
from models.stages import ART, UNKNOWN, UNSCORED, from_indices, to_indices
from tools.night.record import Record
from tools.score.aggregate import check_epoch

NOT_RECORDED = ""
"""In the place of a stage where there is no epoch."""

_TOLERANCE_S = 1e-6


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How epochs and bouts are counted."""

    epoch_s: float | None = None
    """Length of the epochs, s; None: as they were staged."""
    min_bout_s: float = 0.0
    """What is shorter is no bout, s."""

    def check(self, hop_s: float) -> None:
        """Raise ConfigError where epochs staged every so many seconds cannot be counted so."""
        if self.epoch_s is not None:
            check_epoch(self.epoch_s, hop_s)
        if not 0 <= self.min_bout_s < np.inf:
            raise ConfigError(
                f"--min-bout: expected 0 or more seconds, found {self.min_bout_s:g} s"
            )

    def in_words(self, hop_s: float) -> str:
        """Return what a reader must know of how it was counted."""
        epochs = f"epochs of {self.epoch_s or hop_s:g} s"
        if self.epoch_s is not None and self.epoch_s > hop_s:
            epochs += f" (mean probabilities of {hop_s:g} s each)"
        shortest = "bouts of any length"
        if self.min_bout_s:
            shortest = f"bouts of {self.min_bout_s:g} s or more, shorter ones are of the one before"
        gap_s = longest_gap_s(self.epoch_s or hop_s)
        return (
            f"stages after the grammar, {epochs}, {shortest}, "
            f"up to {gap_s:g} s without a stage are of the bout before"
        )


class Bout(NamedTuple):
    """A run of one stage."""

    stage: str
    start: float
    """Unix time, s."""
    duration: float
    """s."""
    follows: bool
    """Whether it follows another bout without a gap."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """The stages of a subject over a night, in epochs of one length."""

    start: float
    """Of the first epoch, Unix time, s."""
    epoch_s: float
    names: tuple[str, ...]
    """The stage set."""
    stages: Sequence[str]
    """Of each epoch: a stage, ART, UNKNOWN, or NOT_RECORDED."""
    min_bout_s: float

    @property
    def end(self) -> float:
        """Of the last epoch, Unix time, s."""
        return self.start + len(self.stages) * self.epoch_s

    @property
    def middles(self) -> NDArray[np.float64]:
        """(n_epochs,), Unix time, s."""
        middles = (np.arange(len(self.stages)) + 0.5) * self.epoch_s
        return np.asarray(self.start + middles, np.float64)

    @cached_property
    def bouts(self) -> list[Bout]:
        """The bouts by the rule, in the order of time."""
        lost = {NOT_RECORDED: UNKNOWN}
        codes = to_indices((lost.get(s, s) for s in self.stages), self.names)
        counted = _absorb(fill_gaps(codes, self.epoch_s), self.min_bout_s / self.epoch_s)
        onsets, lengths = find_runs(counted)
        begun = counted[onsets]
        stages = from_indices(begun.tolist(), self.names)
        return [
            Bout(
                stage,
                self.start + onset * self.epoch_s,
                n * self.epoch_s,
                follows=k > 0 and begun[k - 1] != UNSCORED,
            )
            for k, (stage, onset, n) in enumerate(
                zip(stages, onsets.tolist(), lengths.tolist(), strict=True)
            )
            if begun[k] != UNSCORED
        ]

    @property
    def transitions(self) -> list[tuple[str, str]]:
        """From which stage to which, in the order of time."""
        return [
            (one.stage, other.stage)
            for one, other in zip(self.bouts, self.bouts[1:], strict=False)
            if other.follows
        ]


def count(record: Record, rule: Rule) -> Course:
    """Return a record's epochs by a rule."""
    stages: Sequence[str] = _as_staged(record)
    if rule.epoch_s is not None and abs(rule.epoch_s - record.epoch_s) > _TOLERANCE_S:
        stages = _longer(record, stages, rule.epoch_s / record.epoch_s)
    return Course(
        start=float(record.times[0]),
        epoch_s=rule.epoch_s or record.epoch_s,
        names=record.stages,
        stages=stages,
        min_bout_s=rule.min_bout_s,
    )


def hypnodensity(record: Record) -> NDArray[np.float64]:
    """Return the probabilities of every hop, (n, n_stages); NaN where there are none."""
    density = np.full((len(record.grid), len(record.stages)), np.nan)
    for i, message in record.grid_epochs():
        if message.probabilities:
            density[i] = [message.probabilities.get(stage, np.nan) for stage in record.stages]
    return density


def _as_staged(record: Record) -> list[str]:
    """Return the stage of every hop; NOT_RECORDED where there is no epoch."""
    known = {i for i, _ in record.grid_epochs()}
    return [
        NOT_RECORDED if stage == UNKNOWN and i not in known else stage
        for i, stage in enumerate(record.grid)
    ]


def _longer(record: Record, stages: Sequence[str], length: float) -> list[str]:
    """Return the stages of epochs so many hops long, by the mean of the probabilities in them."""
    means = average(hypnodensity(record), length)
    others = (UNKNOWN, ART, NOT_RECORDED)
    lost = average(np.array([[s == other for other in others] for s in stages], float), length)
    read = np.isfinite(means[:, 0]).tolist()
    best = np.nan_to_num(means).argmax(axis=1)
    worst = lost.argmax(axis=1)
    return [record.stages[best[k]] if known else others[worst[k]] for k, known in enumerate(read)]


def _absorb(codes: NDArray[np.integer], least: float) -> NDArray[np.integer]:
    """Let runs shorter than so many epochs be of the bout before them, from the first one on.

    Where none is before them, at the start and after a gap, they stay.
    """
    counted = codes.copy()
    before = UNSCORED
    onsets, lengths = find_runs(codes)
    for onset, n in zip(onsets.tolist(), lengths.tolist(), strict=True):
        if UNSCORED not in (before, codes[onset]) and n < least - _TOLERANCE_S:
            counted[onset : onset + n] = before
        else:
            before = int(codes[onset])
    return counted
