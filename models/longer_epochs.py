"""From the model's epochs to longer ones, as experts score: the mean of the probabilities."""

import numpy as np
from numpy.typing import NDArray


def average(answers: NDArray[np.floating], length: float) -> NDArray[np.float32]:
    """Return the mean answers of longer epochs; only whole ones.

    Epoch k spans k × length to (k + 1) × length. An answer weighs as much as it lies in there.

    Args:
        answers: (n, …, S) probabilities of consecutive epochs; NaN where there are none.
        length: of the longer epochs, in epochs; need not be whole.

    Returns:
        (n / length, …, S), NaN where less than half of an epoch has an answer.
    """
    edges = np.arange(int(len(answers) / length + 1e-6) + 1) * np.float64(length)
    there = np.isfinite(answers)
    total, span = (
        np.diff(_integrate(x, edges), axis=0) for x in (np.where(there, answers, 0.0), there)
    )
    with np.errstate(invalid="ignore"):  # 0 / 0
        means = np.where(span >= length / 2 - 1e-6, total / span, np.nan)
    return means.astype(np.float32)


def _integrate(values: NDArray[np.generic], ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the integral of values (n, …), each of width 1, from 0 to each of the ends."""
    sums = np.zeros((len(values) + 1, *values.shape[1:]))
    np.cumsum(values, axis=0, out=sums[1:])
    whole = np.minimum(ends.astype(np.intp), len(values) - 1)
    part = (ends - whole).reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray(sums[whole] + part * (sums[whole + 1] - sums[whole]))
