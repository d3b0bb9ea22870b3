"""Fit what moves a mouse off the mean of its hour: how long it was awake, and which mouse it is.

Both act alike: on the log of how often each kind of bout comes, and on the normal score of the
lengths of that kind. A vector of them has 2 × kinds entries, rates first.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize
from scipy.special import ndtri

from models.fit.hypnograms.scored_bouts import N_KINDS, Bouts
from models.fit.hypnograms.scored_mice import EPOCH_S

_MIN_HOURS = 12.0  # a shorter recorded mouse says little of how mice differ
_TURN = 20  # bouts, above half an hour
_RIDGE = 1.0  # on the slopes, which are defined up to a constant per set of rivals


@dataclass(frozen=True)
class Variation:
    """How bouts depart from the mean of their hour."""

    pressure: NDArray[np.float64]
    """(2 × kinds,) effect of one unit of wakefulness above that of the hour."""
    mouse_factors: NDArray[np.float64]
    """(2 × kinds)²: root of the covariance between mice."""


@dataclass(frozen=True)
class _Sample:
    """All bouts that follow two others."""

    mouse: NDArray[np.intp]
    kind: NDArray[np.intp]
    chances: NDArray[np.float64]
    """(n, kinds) fitted for the place each bout is in."""
    score: NDArray[np.float64]
    """(n,) normal score of the length."""
    awake: NDArray[np.float64]
    """(n,) wakefulness before the bout, above that of the hour."""
    half: NDArray[np.intp]
    """(n,) 0 or 1, in turns of `_TURN` bouts."""


def fit_variation(
    bouts: Sequence[Bouts],
    transitions: NDArray[np.float64],
    levels: NDArray[np.float64],
    log_epochs: NDArray[np.float64],
    wake_lately: NDArray[np.float64],
) -> Variation:
    """Fit the effects of recent wakefulness and of the mouse.

    Args:
        bouts: of every record.
        transitions: (parts, kinds before, kinds, next kinds) chances.
        levels: (levels,) of the quantiles.
        log_epochs: (parts, kinds, levels) quantiles of the log of the length in epochs.
        wake_lately: (parts,) usual share of Wake lately.
    """
    names = sorted({record.mouse for record in bouts})
    sample = _Sample(
        *(
            np.concatenate(columns)
            for columns in zip(
                *(
                    _describe(r, names.index(r.mouse), transitions, levels, log_epochs, wake_lately)
                    for r in bouts
                ),
                strict=True,
            )
        )
    )
    pressure = _fit_pressure(sample)
    hours: dict[str, float] = defaultdict(float)
    for record in bouts:
        hours[record.mouse] += record.epochs.sum() * EPOCH_S / 3600
    kept = np.array([hours[name] >= _MIN_HOURS for name in names])
    return Variation(pressure, _fit_mouse_factors(sample, pressure, kept))


def _describe(
    record: Bouts,
    mouse: int,
    transitions: NDArray[np.float64],
    levels: NDArray[np.float64],
    log_epochs: NDArray[np.float64],
    wake_lately: NDArray[np.float64],
) -> tuple[NDArray[np.generic], ...]:
    """Return one record's columns of `_Sample`."""
    part, before, kind, following, where = record.transitions()
    return (
        np.full(len(where), mouse),
        following,
        transitions[part, before, kind],
        normal_scores(record.epochs[where], log_epochs[part, following], levels),
        record.awake[where] - wake_lately[part],
        where // _TURN % 2,
    )


def normal_scores(
    epochs: NDArray[np.int64], quantiles: NDArray[np.float64], levels: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return where each bout's length stands among its kind's, as the mean of a standard normal.

    Args:
        epochs: (n_bouts,) lengths; k epochs stand for all lengths from k - 0.5 to k + 0.5.
        quantiles: (n_bouts, levels) of the log of the length, each bout's own.
        levels: (levels,) of the quantiles.

    Returns:
        (n_bouts,).
    """
    low, high = (
        np.array(
            [np.interp(x, q, levels) for x, q in zip(np.log(epochs + d), quantiles, strict=True)]
        )
        for d in (-0.5, 0.5)
    )
    low = np.clip(low, 1e-4, 1 - 2e-4)
    high = np.clip(high, low + 1e-4, 1 - 1e-4)
    density_low, density_high = (np.exp(-(ndtri(x) ** 2) / 2) for x in (low, high))
    return np.asarray((density_low - density_high) / np.sqrt(2 * np.pi) / (high - low))


def _tilt(chances: NDArray[np.float64], log_rates: NDArray[np.float64]) -> NDArray[np.float64]:
    tilted = chances * np.exp(log_rates)
    return np.asarray(tilted / tilted.sum(axis=1, keepdims=True))


def _fit_pressure(sample: _Sample) -> NDArray[np.float64]:
    """Return the slopes on wakefulness, each mouse's own mean taken off it.

    Rates: a multinomial logit beside the fitted chances; lengths: least squares.
    """
    n = np.maximum(1, np.bincount(sample.mouse))
    awake = sample.awake - (np.bincount(sample.mouse, sample.awake) / n)[sample.mouse]
    chosen = np.eye(N_KINDS)[sample.kind]

    def cost(slopes: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        tilted = _tilt(sample.chances, awake[:, None] * slopes)
        likelihood = np.log(tilted[np.arange(len(tilted)), sample.kind]).sum()
        gradient = ((chosen - tilted) * awake[:, None]).sum(axis=0)
        return _RIDGE * float(slopes @ slopes) - likelihood, 2 * _RIDGE * slopes - gradient

    rates = optimize.minimize(cost, np.zeros(N_KINDS), jac=True, method="BFGS").x
    lengths = np.zeros(N_KINDS)
    for kind in range(N_KINDS):
        of_kind = sample.kind == kind
        x = awake[of_kind] - awake[of_kind].mean()
        lengths[kind] = x @ sample.score[of_kind] / (x @ x)
    return np.concatenate([rates, lengths])


def _fit_mouse_factors(
    sample: _Sample, pressure: NDArray[np.float64], kept: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the root of the covariance of the mice's factors.

    A mouse's factors are the log of how often each kind comes against how often it should, and
    the mean normal score of the kind's lengths. Half of each mouse's bouts is set against its
    other half, so that what changes from hour to hour does not count as the mouse's own.
    """
    one, other = (_find_factors(sample, pressure, len(kept), half)[kept] for half in (0, 1))
    n = one.shape[1]
    between = np.cov(one.T, other.T)[:n, n:]
    values, vectors = np.linalg.eigh((between + between.T) / 2)
    return np.asarray(vectors * np.sqrt(np.maximum(0, values)))


def _find_factors(
    sample: _Sample, pressure: NDArray[np.float64], n_mice: int, half: int
) -> NDArray[np.float64]:
    """Return each mouse's factors in half of its bouts, (n_mice, 2 × kinds)."""
    rate_slopes, length_slopes = np.split(pressure, 2)
    tilted = _tilt(sample.chances, sample.awake[:, None] * rate_slopes)
    scores = sample.score - sample.awake * length_slopes[sample.kind]
    shape = (n_mice, N_KINDS)
    expected, found, total = np.full(shape, 0.5), np.full(shape, 0.5), np.zeros(shape)
    used = sample.half == half
    mouse, kind = sample.mouse[used], sample.kind[used]
    np.add.at(expected, mouse, tilted[used])
    np.add.at(found, (mouse, kind), 1)
    np.add.at(total, (mouse, kind), scores[used])
    return np.concatenate([np.log(found / expected), total / found], axis=1)
