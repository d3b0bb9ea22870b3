"""The last hours of a subject, an epoch each: what its strip and its tracks are drawn from."""

import math
from collections.abc import Sequence
from datetime import datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from daemon.messages import Features, StageMessage
from models.signal.features import bands_hz
from models.stages import COLOURS

LEAST_S = 1.0
"""Epochs that begin closer together than this, s, share a place: the last one has it."""
CELL_S = 20.0
"""A cell of a strip is so long, s, or the next whole number of epochs."""
LETTERS = {name: chr(ord("a") + code) for code, name in enumerate(COLOURS)}
"""One character of a strip is the commonest stage of its cell."""
NOTHING = "-"
"""In a strip: no epoch."""
_CODES = {name: code for code, name in enumerate(LETTERS)}
_LETTER_OF = np.array([*LETTERS.values(), NOTHING])
_NO_STAGE = 255
_STORED = np.float16  # many animals for hours: a third of a % and of 0.1 dB will do
_SAME = 1e-3  # of a step: onsets in ms do not lie on the grid to the last digit


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A span of a subject's history, in as many steps as a picture has room for."""

    start: float
    """Of the first step, Unix time, s."""
    step_s: float
    """Length of a step, s."""
    stages: str
    """A letter a step, see `LETTERS`: the commonest stage."""
    probabilities: dict[str, list[int | None]]
    """Of each stage in %, the mean of a step; null where there is none."""
    evidence: dict[str, list[int | None]]
    """The same of the net alone."""
    eeg_db: list[list[int | None]]
    """Power of the EEG in each band of `bands_hz`, dB re 1 µV², likewise."""
    emg_db: list[int | None]
    """Level of the EMG, tenths of dB re 1 µV², likewise."""
    bands_hz: list[tuple[float, float]]
    """The bands, Hz."""


class History:
    """A ring of epochs by the time of their onset, filled in any order.

    Args:
        hours: how far back it reaches.
        hop_s: from one epoch's onset to the next one's, s; where epochs come less often, each has
            as many places as it takes.
    """

    def __init__(self, hours: float, hop_s: float) -> None:
        self._hours = hours
        self.step_s = max(LEAST_S, hop_s)
        self.cell_s = self.step_s * math.ceil(CELL_S / self.step_s)
        self._n = max(2, math.ceil(3600 * hours / self.step_s))
        self._at = np.full(self._n, -1, np.int64)  # the step that is in a place
        self._stage = np.zeros(self._n, np.uint8)
        self._stages: tuple[str, ...] = ()
        self._levels = np.zeros((self._n, 1), _STORED)  # of the EEG's bands, then of the EMG
        self._found = np.zeros((self._n, 0), _STORED)  # probabilities, then evidence
        self._newest = self._newest_final = -1
        self.rewritten = 0
        """Grows whenever a stage before the newest one is filled in."""

    @property
    def end(self) -> float:
        """When the newest epoch with a stage ended, Unix time, s; 0 where there is none."""
        return (self._newest_final + 1) * self.step_s

    @property
    def start(self) -> float:
        """When the oldest epoch that there is began, Unix time, s; 0 where there is none."""
        known = self._at[self._at > max(-1, self._newest - self._n)]
        return float(known.min()) * self.step_s if len(known) else 0.0

    def add(self, message: StageMessage) -> None:
        """Fill in an epoch's stage, if it is final, or else its features.

        One that is older than the ring reaches is left out.
        """
        onset = datetime.fromisoformat(message.utc).timestamp()
        first = math.floor(onset / self.step_s + _SAME)
        length_s = message.epoch_s if message.kind == "final" else message.hop_s
        end = math.floor((onset + length_s) / self.step_s + _SAME)
        for step in range(first, max(first + 1, end)):
            self._add_at(step, message)

    def fits(self, hop_s: float) -> bool:
        """Whether epochs that come so often, s, have a place each."""
        return max(LEAST_S, hop_s) >= self.step_s

    def finer(self, hop_s: float) -> "History":
        """Return the same with a place for each epoch of a shorter hop, s."""
        made = History(self._hours, hop_s)
        end = math.floor((self._newest + 1) * self.step_s / made.step_s + _SAME)
        steps = np.arange(end - made._n, end)
        of = np.floor((steps + 0.5) * made.step_s / self.step_s).astype(np.int64)
        known = self._at[of % self._n] == of
        places, former = steps[known] % made._n, of[known] % self._n
        made._stages = self._stages
        made._at[places] = steps[known]
        for name in ("_stage", "_levels", "_found"):
            old = getattr(self, name)
            new = np.zeros((made._n, *old.shape[1:]), old.dtype)
            new[places] = old[former]
            setattr(made, name, new)
        made._newest = end - 1
        made._newest_final = math.floor(self.end / made.step_s + _SAME) - 1
        return made

    def _add_at(self, step: int, message: StageMessage) -> None:
        if step <= self._newest - self._n:
            return
        self._newest = max(self._newest, step)
        place = step % self._n
        if self._at[place] != step:
            self._at[place] = step
            self._stage[place] = _NO_STAGE
            self._found[place] = self._levels[place] = np.nan
        if message.kind == "final":
            self.rewritten += step < self._newest_final
            self._newest_final = max(self._newest_final, step)
            self._add_stage(place, message)
        elif message.features is not None:
            self._add_levels(place, message.features)

    def _add_stage(self, place: int, message: StageMessage) -> None:
        self._stage[place] = _CODES[message.stage]
        stages = tuple(message.probabilities)
        if stages and stages != self._stages:
            self._stages = stages
            self._found = np.full((self._n, 2 * len(stages)), np.nan, _STORED)
        found = [*message.probabilities.values(), *message.evidence.values()]
        self._found[place] = found if len(found) == self._found.shape[1] else np.nan

    def _add_levels(self, place: int, features: Features) -> None:
        n_bands = len(features.eeg_db)
        if n_bands and self._levels.shape[1] != n_bands + 1:
            self._levels = np.full((self._n, n_bands + 1), np.nan, _STORED)
        self._levels[place, :-1] = features.eeg_db or np.nan
        self._levels[place, -1] = np.nan if features.emg_db is None else features.emg_db

    def cell(self, time: float) -> int:
        """Return the number of the cell that a Unix time lies in; number 0 began in 1970."""
        return math.floor(time / self.cell_s)

    def strip(self, first: int, last: int) -> str:
        """Return the letters of the cells from one to another."""
        group = round(self.cell_s / self.step_s)
        places, there = self._find(first * group, last - first + 1, group)
        return _commonest(self._stage[places], there)

    def window(self, start: float, end: float, most: int) -> Window:
        """Return a span.

        Args:
            start: Unix time, s.
            end: likewise.
            most: so many steps at most.
        """
        group = max(1, math.ceil((end - start) / self.step_s / most))
        first = math.floor(start / self.step_s / group) * group
        n = max(1, min(most, math.ceil((end / self.step_s - first) / group)))
        places, there = self._find(first, n, group)
        percent = _whole(100 * _means(self._found[places], there))
        levels = _means(self._levels[places], there)
        return Window(
            start=first * self.step_s,
            step_s=group * self.step_s,
            stages=_commonest(self._stage[places], there),
            probabilities=dict(zip(self._stages, percent, strict=False)),
            evidence=dict(zip(self._stages, percent[len(self._stages) :], strict=False)),
            eeg_db=list(_whole(levels[:, :-1])),
            emg_db=_whole(10 * levels[:, -1:])[0],
            bands_hz=bands_hz(levels.shape[1] - 1),
        )

    def _find(self, first: int, n: int, group: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the places of the steps of n groups, (n, group), and whether each has its step."""
        steps = first + np.arange(n * group, dtype=np.int64).reshape(n, group)
        places = steps % self._n
        return places, self._at[places] == steps


def _commonest(codes: NDArray[np.uint8], there: NDArray[np.bool_]) -> str:
    """Return a letter a group, of the commonest code (n, group) that is there."""
    n = len(codes)
    votes = np.zeros((n, len(LETTERS)), np.int64)
    there = there & (codes != _NO_STAGE)
    np.add.at(votes, (np.nonzero(there)[0], codes[there]), 1)
    chosen = np.where(votes.any(axis=1), votes.argmax(axis=1), len(LETTERS))
    return "".join(_LETTER_OF[chosen])


def _means(values: NDArray[np.float16], there: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the means (n, n_tracks) of groups (n, group, n_tracks), NaN where nothing is there."""
    known = there[:, :, None] & np.isfinite(values)
    n = known.sum(axis=1)
    total = np.where(known, values.astype(np.float32), 0.0).sum(axis=1)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan).astype(np.float32)


def _whole(values: NDArray[np.float32]) -> Sequence[list[int | None]]:
    """Return tracks (n, n_tracks) as lists, a track each, rounded, None where not known."""
    known = np.isfinite(values)
    whole = np.rint(np.where(known, values, 0.0)).astype(np.int64)
    columns = zip(whole.T.tolist(), known.T.tolist(), strict=True)
    return [[v if k else None for v, k in zip(*column, strict=True)] for column in columns]
