"""How far two hypnograms agree: accuracy, Cohen's κ, and which stage is taken for which."""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.stages import ART, UNKNOWN


class Agreement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Agreement of stages with the truth. ART and UNKNOWN are counted apart, not hidden."""

    n_epochs: int
    """Epochs compared: those with a stage in both."""
    n_unscored: int
    """Epochs that are ART or UNKNOWN in either; no other figure counts them."""
    accuracy: float | None
    """Fraction of the compared epochs with the true stage; null without any."""
    kappa: float | None
    """Cohen's κ (doi:10.1177/001316446002000104); null where only one stage occurs."""
    stages: tuple[str, ...]
    """The order of the confusion matrix."""
    confusion: tuple[tuple[int, ...], ...]
    """Epochs by true stage (row) and by found stage (column)."""
    f1: dict[str, float | None]
    """F1 score of each stage; null where a stage neither occurs nor is found."""


def compare(truth: Sequence[str], found: Sequence[str], stages: Sequence[str]) -> Agreement:
    """Compare two hypnograms of the same epochs.

    Args:
        truth: (n,) stages, ART or UNKNOWN.
        found: (n,) likewise.
        stages: the stage set.

    Raises:
        ValueError: they differ in length, or hold something that is no stage.
    """
    if len(truth) != len(found):
        raise ValueError(f"expected as many stages as in truth, {len(truth)}, found {len(found)}")
    index = {stage: i for i, stage in enumerate((*stages, ART, UNKNOWN))}
    if strange := {*truth, *found} - index.keys():
        raise ValueError(f"expected {', '.join(index)}, found {', '.join(sorted(strange))}")
    n = len(stages)
    confusion = np.zeros((n + 2, n + 2), np.int64)
    np.add.at(confusion, ([index[s] for s in truth], [index[s] for s in found]), 1)
    scored = confusion[:n, :n]
    return Agreement(
        n_epochs=int(scored.sum()),
        n_unscored=int(confusion.sum() - scored.sum()),
        accuracy=float(np.trace(scored) / scored.sum()) if scored.sum() else None,
        kappa=_kappa(scored),
        stages=tuple(stages),
        confusion=tuple(tuple(row) for row in scored.tolist()),
        f1=dict(zip(stages, _f1(scored), strict=True)),
    )


def _kappa(confusion: NDArray[np.int64]) -> float | None:
    n = int(confusion.sum())
    by_chance = float(confusion.sum(axis=0) @ confusion.sum(axis=1)) / n**2 if n else 1.0
    if by_chance >= 1.0:
        return None
    return float((np.trace(confusion) / n - by_chance) / (1.0 - by_chance))


def _f1(confusion: NDArray[np.int64]) -> list[float | None]:
    both = confusion.sum(axis=0) + confusion.sum(axis=1)
    hits = 2 * np.diag(confusion)
    return [float(h / b) if b else None for h, b in zip(hits, both, strict=True)]
