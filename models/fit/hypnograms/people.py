"""Fit simulated nights to the expert hypnograms of people, and compare both.

    python -m models.fit.hypnograms.people ../shared/data/human_hypnograms                 # fit
    python -m models.fit.hypnograms.people ../shared/data/human_hypnograms --report docs   # compare

The curves of `models.simulator.human.hypnogram` by maximum likelihood with a small ridge; what
nights have of their own as normal random effects, by EM in Laplace's approximation (Breslow &
Clayton 1993, doi:10.1080/01621459.1993.10594284).
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import optimize
from scipy.special import log_softmax, softmax

from models.fit.hypnograms.people_compared import write_report
from models.fit.hypnograms.scored_people import EPOCH_S, SOURCE, Night, datasets_of, read_nights
from models.fit.hypnograms.splits import split_subjects
from models.fit.tables import write_table
from models.simulator.human.history import KNOTS, WAKE, History, tabulate
from models.simulator.human.hypnogram import NIGHTS_FILE, Nights, add_factors
from models.stages import HUMAN, UNSCORED

N_ROUNDS = 8
"""Of EM."""

_S = len(HUMAN)
_RIDGE = 1.0
_N_NEWTON = 6
_QUANTILES = np.linspace(0, 1, 21)
_PLACE = add_factors(np.arange(2.0 * _S)).astype(int)
"""(S, S): which of a night's factors the logit of a next stage has, by present and next stage."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Steps:
    """Steps from an epoch of sleep to the next, of all nights."""

    night: NDArray[np.intp]
    """(n,) which night."""
    present: NDArray[np.intp]
    following: NDArray[np.intp]
    counts: NDArray[np.intp]
    """(n, terms), what `History` counted."""


def fit(nights: Sequence[Night], n_rounds: int = N_ROUNDS) -> Nights:
    """Fit the curves and what nights have of their own."""
    steps = find_steps(nights)
    design = np.concatenate(
        [
            table[np.minimum(steps.counts[:, k], len(table) - 1)]
            for k, table in enumerate(map(tabulate, KNOTS))
        ],
        axis=1,
    )
    own, covariance = np.zeros((len(nights), 2 * _S)), np.eye(2 * _S)
    curves = np.zeros((_S, design.shape[1], _S))
    for _ in range(n_rounds):
        curves = _fit_curves(steps, design, own[:, _PLACE], curves)
        own, covariance = _fit_own(steps, design, curves, covariance, own)
    values, vectors = np.linalg.eigh(covariance)
    ends = np.cumsum([len(knots) for knots in KNOTS.values()])[:-1]
    parts = np.split(curves.swapaxes(0, 1).round(3), ends)  # each (knots, S, S)
    return Nights(
        source=SOURCE,
        n_subjects=len({night.person for night in nights}),
        n_nights=len(nights),
        epoch_s=EPOCH_S,
        curves={name: _as_tuples(part) for name, part in zip(KNOTS, parts, strict=True)},
        factors=_as_tuples((vectors * np.sqrt(np.maximum(0, values))).round(3)),
        **_measure_ends(nights),
    )


def find_steps(nights: Sequence[Night]) -> Steps:
    """Return the steps between sleep onset and the last epoch of sleep, without unscored epochs.

    What comes before and after an unscored epoch is counted as if the stage before it went on.
    """
    rows: list[tuple[int, ...]] = []
    for k, night in enumerate(nights):
        asleep = np.flatnonzero(night.stages > WAKE)
        stages = night.stages[asleep[0] : asleep[-1] + 1].tolist()
        history = History(stages[0])
        for before, after in pairwise(stages):
            if UNSCORED not in (before, after):
                rows.append((k, history.stage, after, *(getattr(history, name) for name in KNOTS)))
            history.step(history.stage if after == UNSCORED else after)
    found = np.array(rows, np.intp)
    return Steps(found[:, 0], found[:, 1], found[:, 2], found[:, 3:])


def _fit_curves(steps: Steps, design: Array, own: Array, start: Array) -> Array:
    """Return the coefficients, (S present, columns, S next); own (nights, S, S)."""
    found = np.empty_like(start)
    for stage in range(_S):
        of_stage = steps.present == stage
        x, following = design[of_stage], steps.following[of_stage]
        offset = own[steps.night[of_stage], stage]
        chosen = np.eye(_S)[following]

        def cost(
            flat: Array, x: Array = x, offset: Array = offset, chosen: Array = chosen
        ) -> tuple[float, Array]:
            coefficients = flat.reshape(-1, _S)
            logs = log_softmax(x @ coefficients + offset, axis=1)
            gradient = x.T @ (np.exp(logs) - chosen) + _RIDGE * coefficients
            value = -(logs * chosen).sum() + _RIDGE / 2 * (flat @ flat)
            return float(value), gradient.ravel()

        best = optimize.minimize(cost, start[stage].ravel(), jac=True, method="L-BFGS-B")
        found[stage] = best.x.reshape(-1, _S)
    return found


def _fit_own(
    steps: Steps, design: Array, curves: Array, covariance: Array, start: Array
) -> tuple[Array, Array]:
    """Return each night's factors, (nights, 2 S), mean 0, and their covariance."""
    logits = np.empty((len(design), _S))
    for stage in range(_S):
        of_stage = steps.present == stage
        logits[of_stage] = design[of_stage] @ curves[stage]
    precision = np.linalg.inv(covariance)
    own, spread = start.copy(), np.zeros_like(covariance)
    for night in range(len(start)):
        of_night = steps.night == night
        present, chosen = steps.present[of_night], np.eye(_S)[steps.following[of_night]]
        for _ in range(_N_NEWTON):
            place = _PLACE[present]
            chances = softmax(logits[of_night] + own[night][place], axis=1)
            gradient = -precision @ own[night]
            np.add.at(gradient, place, chosen - chances)
            hessian = precision.copy()
            curvature = chances[:, :, None] * (np.eye(_S) - chances[:, None, :])
            np.add.at(hessian, (place[:, :, None], place[:, None, :]), curvature)
            own[night] += np.linalg.solve(hessian, gradient)
        spread += np.linalg.inv(hessian)
    own -= own.mean(axis=0)
    return own, (own.T @ own + spread) / len(own)


def _measure_ends(nights: Sequence[Night]) -> dict[str, tuple[float, ...]]:
    """Return how nights begin and end: fields of `Nights`."""
    asleep = [np.flatnonzero(night.stages > WAKE) for night in nights]
    first = [night.stages[each[0]] for night, each in zip(nights, asleep, strict=True)]
    times = {
        "latency_min": [each[0] for each in asleep],
        "sleep_min": [each[-1] - each[0] + 1 for each in asleep],
        "awake_min": [
            len(night.stages) - 1 - each[-1] for night, each in zip(nights, asleep, strict=True)
        ],
    }
    shares = np.bincount(first, minlength=_S) / len(nights)
    return {"first": _as_tuples(shares.round(4))} | {
        name: _as_tuples(np.quantile(epochs, _QUANTILES).round(1) * EPOCH_S / 60)
        for name, epochs in times.items()
    }


def _as_tuples(values: Array) -> tuple:  # type: ignore[type-arg]
    """Return nested tuples."""
    return tuple(map(_as_tuples, values)) if values.ndim > 1 else tuple(values.tolist())


def main() -> None:
    """Fit 137 of the 180 people, or compare simulated nights with those of the other 43."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path, help="holds dodh_scorers.npz, boas_stages.npz, …")
    parser.add_argument("--out", type=Path, default=NIGHTS_FILE, help="the fit's file")
    parser.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help="do not fit: write simulator-nights.json, of the packaged fit, to DIR",
    )
    arguments = parser.parse_args()
    nights = read_nights(arguments.folder)
    if arguments.report:
        write_report(nights, arguments.report)
        return
    fitted, _ = split_subjects(datasets_of(nights))
    write_table(arguments.out, fit([night for night in nights if night.person in fitted]))


if __name__ == "__main__":
    main()
