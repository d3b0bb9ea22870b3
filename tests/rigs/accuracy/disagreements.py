"""Where hypnod and another scorer disagree for long, and what is measured and seen there."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.stages import ART, UNKNOWN
from tests.rigs.accuracy.threshold_scorer import EPOCH_S, Features

LONG_S = 20.0
"""Disagreements longer than this are listed."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a stretch of the recording shows by eye."""

    onset: float
    """s."""
    duration: float
    """s."""
    stage: str
    """By eye, of nobody who is an expert."""
    seen: str
    """Why."""


class Disagreement(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch in which hypnod and another scorer differ in every epoch."""

    onset: float
    """From the recording's first sample, s."""
    duration: float
    """s."""
    scorer: str
    """Who differs from hypnod."""
    found: str
    """hypnod's most frequent final stage."""
    other: str
    """The other's most frequent stage."""
    emg: float
    """Root mean square of the EMG over the median of the whole recording's."""
    emg_uv: float
    """The same, µV."""
    delta: float
    """Power over 1 to 4 Hz over the median of the whole recording's."""
    theta: float
    """6 to 9 Hz, likewise."""
    gamma: float
    """30 to 80 Hz, likewise."""
    theta_delta: float
    """Power of theta over that of delta."""
    p_found: dict[str, float | None]
    """Mean probability of `found` by what is read: both channels, EEG alone, EMG alone."""
    eye: str
    """The stage by eye of most of it."""
    seen: tuple[str, ...]
    """What is to be seen there."""


@dataclass(frozen=True)
class Evidence:
    """What a disagreement is explained by, in epochs of 4 s."""

    stages: Sequence[str]
    """The stage set."""
    features: Features
    probabilities: Mapping[str, NDArray[np.floating]]
    """hypnod's final ones, (n, S), by what was read: both, eeg, emg."""
    seen: Sequence[Seen]


def explain(
    found: Sequence[str], others: Mapping[str, Sequence[str]], evidence: Evidence
) -> tuple[Disagreement, ...]:
    """Return every disagreement longer than 20 s between hypnod's stages and each other's."""
    return tuple(
        _describe(where, scorer, _most(found[where]), _most(other[where]), evidence)
        for scorer, other in others.items()
        for where in find_disagreements(found, other)
    )


def find_disagreements(found: Sequence[str], other: Sequence[str]) -> list[slice]:
    """Return the epochs of each disagreement longer than 20 s; ART and UNKNOWN disagree not."""
    blank = (ART, UNKNOWN)
    apart = [
        a != b and a not in blank and b not in blank for a, b in zip(found, other, strict=True)
    ]
    spans, at = [], 0
    for differs, run in groupby(apart):
        length = len(list(run))
        if differs and length * EPOCH_S > LONG_S:
            spans.append(slice(at, at + length))
        at += length
    return spans


def read_seen(path: Path) -> list[Seen]:
    """Read what is to be seen, from a CSV."""
    with path.open(encoding="utf-8", newline="") as file:
        return [msgspec.convert(row, Seen, strict=False) for row in csv.DictReader(file)]


def _describe(where: slice, scorer: str, found: str, other: str, e: Evidence) -> Disagreement:
    """Say what was measured and seen in a stretch."""
    onset, end = where.start * EPOCH_S, where.stop * EPOCH_S
    features, shares = e.features, _within(e.seen, onset, end)
    column = e.stages.index(found)

    def relative(values: NDArray[np.float64]) -> float:
        return float(np.median(values[where]) / np.median(values))

    return Disagreement(
        onset=onset,
        duration=end - onset,
        scorer=scorer,
        found=found,
        other=other,
        emg=relative(features.emg_uv),
        emg_uv=float(np.median(features.emg_uv[where])),
        delta=relative(features.delta),
        theta=relative(features.theta),
        gamma=relative(features.gamma),
        theta_delta=float(features.theta[where].mean() / features.delta[where].mean()),
        p_found={name: _mean(p[where, column]) for name, p in e.probabilities.items()},
        eye=_longest(shares),
        seen=tuple(s.seen for s in shares),
    )


def _within(seen: Sequence[Seen], onset: float, end: float) -> list[Seen]:
    """Return what of each stretch lies between two times."""
    cut = []
    for s in seen:
        start, stop = max(s.onset, onset), min(s.onset + s.duration, end)
        if stop > start:
            cut.append(msgspec.structs.replace(s, onset=start, duration=stop - start))
    return cut


def _longest(seen: Sequence[Seen]) -> str:
    spent: Counter[str] = Counter()
    for s in seen:
        spent[s.stage] += round(s.duration * 1000)
    return spent.most_common(1)[0][0] if spent else UNKNOWN


def _mean(values: NDArray[np.floating]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _most(stages: Sequence[str]) -> str:
    return max(stages, key=list(stages).count)
