"""How unlike the training animals each subject of a recording looked, from its start to its end."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.signal.drift import LIMIT, unlike

DOUBT_S = 180.0
"""For so long drift must be beyond its limit, and in most of the recording, to contradict that the
recording is of animals such as the model was trained on, s."""


class DriftSummary(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The drift of one modality of one animal, where it was known."""

    median: float | None
    """Over the recording; 1 is the limit; null where it never was known."""
    beyond: float | None
    """Share of the time above the limit."""
    why: str | None
    """In what the animal differs most, at its farthest; null where that is within the limit."""
    doubtful: bool
    """Whether it was beyond the limit for minutes, and in most of the recording."""


@dataclass
class DriftSeen:
    """The drift of one modality of one animal."""

    hop_s: float
    values: list[float] = field(default_factory=list)
    """Of each epoch in which it was known."""
    farthest: float = LIMIT
    why: str | None = None

    def add(self, value: float, explain: Callable[[], str]) -> None:
        """Take in an epoch."""
        self.values.append(value)
        if value > self.farthest:
            self.farthest, self.why = value, explain()

    def __add__(self, other: Self) -> "DriftSeen":
        """Return what was seen in both recordings."""
        most = max(self, other, key=lambda seen: seen.farthest)
        return DriftSeen(self.hop_s, self.values + other.values, most.farthest, most.why)

    def summarise(self) -> DriftSummary:
        """Return the figures."""
        if not self.values:
            return DriftSummary(median=None, beyond=None, why=None, doubtful=False)
        median, beyond = float(np.median(self.values)), np.array(self.values) > LIMIT
        return DriftSummary(
            median=median,
            beyond=float(beyond.mean()),
            why=self.why,
            doubtful=bool(median > LIMIT and beyond.sum() * self.hop_s >= DOUBT_S),
        )


class DriftLog:
    """Keeps the drift of a recording's subjects.

    Args:
        subjects: their names, in order.
        modalities: in the model's order.
        hop_s: from one epoch's onset to the next one's, s.
    """

    def __init__(self, subjects: Sequence[str], modalities: Sequence[str], hop_s: float) -> None:
        self.seen = {name: {m: DriftSeen(hop_s) for m in modalities} for name in subjects}
        """By subject and modality."""
        self._order = [list(seen.values()) for seen in self.seen.values()]

    def look(self, drift: NDArray[np.float64], explain: Callable[[int, int], str]) -> None:
        """Take in an epoch.

        Args:
            drift: (n_subjects, n_modalities), NaN where it is not known.
            explain: says in what a subject and modality, by index, differs most.
        """
        for s, m in np.argwhere(np.isfinite(drift)).tolist():
            self._order[s][m].add(float(drift[s, m]), partial(explain, s, m))


Drifts = Mapping[str, Mapping[str, DriftSummary]]
"""By subject and modality."""


def summarise(seen: Mapping[str, Mapping[str, DriftSeen]]) -> Drifts:
    """Return the figures of every subject, without the modalities whose drift never was known."""
    return {
        name: {m: s.summarise() for m, s in by_modality.items() if s.values}
        for name, by_modality in seen.items()
    }


def say(drifts: Drifts) -> list[str]:
    """Say of each subject how far it is from the training animals, and in what where it is far."""
    lines = []
    for name, by_modality in drifts.items():
        parts = [_say(modality, drift) for modality, drift in by_modality.items()]
        if parts:
            lines.append(f"{name}: drift {'; '.join(parts)}")
    return lines


def _say(modality: str, drift: DriftSummary) -> str:
    why = "" if drift.why is None else f" (at its farthest {drift.why})"
    share = 100 * (drift.beyond or 0.0)
    return f"{modality} {drift.median:.2f}, above {LIMIT:g} for {share:.0f} % of the time{why}"


def doubts(drifts: Drifts) -> list[str]:
    """Say which subjects look like no animal that the model was trained on, and in what."""
    return [
        f"{modality} of {name} {unlike(drift.median or 0.0, drift.why or '')}"
        for name, by_modality in drifts.items()
        for modality, drift in by_modality.items()
        if drift.doubtful
    ]
