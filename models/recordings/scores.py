"""How well probabilities of stages fit an expert's stages: agreement and calibration.

All figures follow from sums over epochs (a `Tally`), so those of several subjects are figures of
the summed tallies, and a bootstrap over subjects needs no second look at the epochs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.recordings.agreement import (
    Agreement,
    accuracy,
    divide,
    f1,
    kappa,
    macro_f1,
    of_confusion,
    or_null,
    precision,
)
from models.stages import UNSCORED

N_BINS = 15
"""Bins of equal width between confidence 0 and 1, as in Guo et al. 2017 (arXiv:1706.04599)."""
N_RESAMPLES = 2000
"""Of the bootstrap."""


@dataclass(frozen=True)
class Tally:
    """Sums over epochs; the leading axes, if any, are those of several tallies."""

    confusion: NDArray[np.int64]
    """(…, S, S), rows: true stage."""
    n_unscored: NDArray[np.int64]
    """(…,) epochs that the expert gave no stage."""
    n_unscorable: NDArray[np.int64]
    """(…,) epochs with an expert's stage for which there are no probabilities."""
    bins: NDArray[np.float64]
    """(…, N_BINS, 3): by the confidence in the found stage, how many epochs there are, the sum of
    their confidences, and how many are right."""
    squared: NDArray[np.float64]
    """(…,) sum of the squared distances between probabilities and truth."""

    def __add__(self, other: "Tally") -> "Tally":
        """Return the tally of both's epochs."""
        return Tally(
            self.confusion + other.confusion,
            self.n_unscored + other.n_unscored,
            self.n_unscorable + other.n_unscorable,
            self.bins + other.bins,
            self.squared + other.squared,
        )


class Bin(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One bin of the reliability diagram."""

    n_epochs: int
    """Epochs whose confidence lies in the bin."""
    confidence: float | None
    """Their mean confidence; null without any."""
    accuracy: float | None
    """Fraction of them with the true stage; null without any."""


class Scores(Agreement, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Agreement with the truth, and whether the confidence deserves its name."""

    n_unscorable: int
    """Of `n_unscored`, epochs that the expert did give a stage: what the model had to leave."""
    ece: float | None
    """Expected calibration error: mean distance between confidence and accuracy over the bins of
    `reliability`, weighted by their epochs (arXiv:1706.04599)."""
    brier: float | None
    """Mean over epochs of the squared distance between the probabilities and the truth, summed
    over stages: 0 is perfect, 2 the worst (doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2)."""
    reliability: tuple[Bin, ...]
    """Bins of equal width by the confidence in the found stage, from 0 to 1."""


def tally(truth: NDArray[np.integer], probabilities: NDArray[np.floating]) -> Tally:
    """Count epochs.

    Args:
        truth: (n,) index of the expert's stage, or `UNSCORED`.
        probabilities: (n, S); NaN where the model gives none.
    """
    n_stages = probabilities.shape[-1]
    scored = truth != UNSCORED
    there = scored & np.isfinite(probabilities).all(axis=-1)
    true, given = truth[there], probabilities[there].astype(np.float64)
    found, confidence = given.argmax(axis=-1), given.max(axis=-1, initial=0.0)
    confusion = np.zeros((n_stages, n_stages), np.int64)
    np.add.at(confusion, (true, found), 1)
    bins = np.zeros((N_BINS, 3))
    places = np.clip(np.ceil(confidence * N_BINS).astype(int) - 1, 0, N_BINS - 1)
    values = np.stack([np.ones(len(true)), confidence, true == found], axis=1)
    np.add.at(bins, places, values)
    return Tally(
        confusion,
        np.asarray(np.count_nonzero(~scored)),
        np.asarray(np.count_nonzero(scored & ~there)),
        bins,
        np.asarray(np.square(given - np.eye(n_stages)[true]).sum()),
    )


def score(total: Tally, stages: Sequence[str]) -> Scores:
    """Return all figures of one tally."""
    counts, confidence, right = total.bins.T
    n_unscored = int(total.n_unscored + total.n_unscorable)
    return Scores(
        **msgspec.structs.asdict(of_confusion(total.confusion, stages, n_unscored)),
        n_unscorable=int(total.n_unscorable),
        ece=or_null(ece(total)),
        brier=or_null(brier(total)),
        reliability=tuple(
            Bin(n_epochs=int(n), confidence=or_null(c), accuracy=or_null(a))
            for n, c, a in zip(
                counts, divide(confidence, counts), divide(right, counts), strict=True
            )
        ),
    )


def ece(total: Tally) -> NDArray[np.float64]:
    """Return the expected calibration error, (…,); NaN without epochs."""
    distance = np.abs(total.bins[..., 1] - total.bins[..., 2]).sum(-1)
    return divide(distance, total.bins[..., 0].sum(-1))


def brier(total: Tally) -> NDArray[np.float64]:
    """Return the Brier score over all stages, (…,); NaN without epochs."""
    return divide(total.squared, total.bins[..., 0].sum(-1))


def bootstrap(
    tallies: Sequence[Tally], stages: Sequence[str]
) -> dict[str, tuple[float, float] | None]:
    """Return 95 % intervals of the pooled figures over resampled subjects.

    Args:
        tallies: one a subject. Epochs of a subject depend on each other, subjects do not, so
            whole subjects are drawn with replacement (percentile bootstrap, Efron 1979,
            doi:10.1214/aos/1176344552).
        stages: the stage set.

    Returns:
        By the figure's name, `f1 <stage>` and `precision <stage>`; None with fewer than two
        subjects, or where a tenth of the draws has no such figure.
    """
    n = len(tallies)
    draws = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), N_RESAMPLES)

    def pool(arrays: list[NDArray[np.number]]) -> NDArray[np.float64]:
        return np.tensordot(draws.astype(np.float64), np.stack(arrays), axes=1)

    pooled = Tally(
        pool([t.confusion for t in tallies]).round().astype(np.int64),
        pool([t.n_unscored for t in tallies]).round().astype(np.int64),
        pool([t.n_unscorable for t in tallies]).round().astype(np.int64),
        pool([t.bins for t in tallies]),
        pool([t.squared for t in tallies]),
    )
    figures = {
        "accuracy": accuracy(pooled.confusion),
        "kappa": kappa(pooled.confusion),
        "macro_f1": macro_f1(pooled.confusion),
        "ece": ece(pooled),
        "brier": brier(pooled),
    }
    for name, by_stage in (("f1", f1), ("precision", precision)):
        of_stages = zip(stages, by_stage(pooled.confusion).T, strict=True)
        figures |= {f"{name} {stage}": values for stage, values in of_stages}
    return {name: _interval(values) if n > 1 else None for name, values in figures.items()}


def _interval(values: NDArray[np.float64]) -> tuple[float, float] | None:
    finite = values[np.isfinite(values)]
    if len(finite) < 0.9 * len(values):
        return None
    low, high = np.percentile(finite, [2.5, 97.5])
    return float(low), float(high)
