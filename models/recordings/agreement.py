"""How far two hypnograms agree: accuracy, κ, F1, precision, and what is taken for what."""

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
    macro_f1: float | None
    """Mean F1 score of the stages that occur or are found; null without any."""
    stages: tuple[str, ...]
    """The order of the confusion matrix."""
    confusion: tuple[tuple[int, ...], ...]
    """Epochs by true stage (row) and by found stage (column)."""
    f1: dict[str, float | None]
    """F1 score of each stage; null where a stage neither occurs nor is found."""
    precision: dict[str, float | None]
    """Of the epochs found to be of a stage, the share that truly is; null where none is."""


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
    return of_confusion(scored, stages, n_unscored=int(confusion.sum() - scored.sum()))


def of_confusion(confusion: NDArray[np.int64], stages: Sequence[str], n_unscored: int) -> Agreement:
    """Return the agreement that an (S, S) confusion matrix shows."""
    return Agreement(
        n_epochs=int(confusion.sum()),
        n_unscored=n_unscored,
        accuracy=or_null(accuracy(confusion)),
        kappa=or_null(kappa(confusion)),
        macro_f1=or_null(macro_f1(confusion)),
        stages=tuple(stages),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        f1=dict(zip(stages, map(or_null, f1(confusion)), strict=True)),
        precision=dict(zip(stages, map(or_null, precision(confusion)), strict=True)),
    )


def accuracy(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the fraction on the diagonal of (…, S, S) confusion matrices; NaN if empty."""
    return divide(np.trace(confusion, axis1=-2, axis2=-1), confusion.sum((-2, -1)))


def kappa(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return Cohen's κ of (…, S, S) confusion matrices; NaN where one stage is all there is."""
    n = confusion.sum((-2, -1)).astype(np.float64)
    expected = (confusion.sum(-2) * confusion.sum(-1)).sum(-1)  # n² times what chance gives
    observed = np.trace(confusion, axis1=-2, axis2=-1) * n
    return divide(observed - expected, np.square(n) - expected)


def f1(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return each stage's F1, (…, S); NaN where it neither occurs nor is found."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    return divide(2 * hits, confusion.sum(-2) + confusion.sum(-1))


def precision(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return each stage's precision, (…, S); NaN where it is not found."""
    return divide(np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(-2))


def macro_f1(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean F1 of the stages that have one, (…,); NaN if none has."""
    scores = f1(confusion)
    there = np.isfinite(scores)
    return divide(np.where(there, scores, 0.0).sum(-1), there.sum(-1))


def divide(numerator: NDArray[np.number], denominator: NDArray[np.number]) -> NDArray[np.float64]:
    """Divide; NaN where the denominator is 0."""
    safe = np.where(denominator == 0, 1, denominator)
    return np.asarray(np.where(denominator == 0, np.nan, numerator / safe), np.float64)


def or_null(number: float | NDArray[np.float64]) -> float | None:
    """Return a number as JSON can have it: null for NaN."""
    return None if np.isnan(number) else float(number)
