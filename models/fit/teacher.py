"""Fit the offline teacher to widened simulated mice: `models.teacher` reads what this writes.

    python -m models.fit.teacher

The seeds are its own. Mice that hardly sleep or wake are left out, of the others every tenth second
counts, not the same one of each, and the stages weigh what they do in scored mice. L2 and the power
of the evidence were chosen on two recordings; docs/evaluation.md names them.
"""

import argparse
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from models.fit.tables import rounded, write_table
from models.grammar import equilibrium, grammar_of
from models.recordings.as_stream import epochs_of
from models.sdreamer.net import given_levels, new_spec
from models.signal.relative import relative_of
from models.spec import ModelSpec
from models.stages import UNSCORED, to_indices
from models.teacher import MOUSE_FILE, Levels, TeacherWeights, around
from models.training.simulated import draw_sfreq, simulate_subject

SPANS_S = (5.0, 15.0, 61.0)
POWER = 0.4
L2 = 0.01

_FIRST_SEED = 980_000
_EVERY = 10
_LEAST_SHARE = 0.05  # of Wake and of NREM
_DIGITS = 4

Floats = NDArray[np.float64]


class Mouse(NamedTuple):
    """A simulated mouse as the teacher sees it."""

    found: Floats
    """(n, M, F)"""
    usable: NDArray[np.bool_]
    """(n, M)"""
    stages: NDArray[np.int8]
    """(n,)"""


def measure_mouse(spec: ModelSpec, hours: float, seed: int) -> Mouse:
    """Simulate a mouse and measure its levels."""
    sfreq = draw_sfreq("mouse", seed)
    lab = simulate_subject("mouse", seed, hours, sfreq, every_stage=seed % 4 != 0, wide=True)
    levels = Levels(spec, 1)
    for batch in epochs_of(lab.open(), lab.stream, spec):
        levels.add(batch.microvolts, batch.usable)
    found, usable = levels.of(0)
    stages = lab.hypnograms["m1"].to_epochs(spec.epoch_s, len(found))
    return Mouse(found, usable, to_indices(stages, spec.stages))


def fit(mice: Sequence[Mouse], spec: ModelSpec, source: str) -> TeacherWeights:
    """Fit the teacher to simulated mice, with L2 on coefficients of equally wide columns."""
    spans = [round(s / spec.epoch_s) for s in SPANS_S]
    parts = [_thin(mouse, spans, i) for i, mouse in enumerate(mice) if _sleeps_and_wakes(mouse)]
    x, stages = (np.concatenate(each) for each in zip(*parts, strict=True))
    counts = np.bincount(stages, minlength=len(spec.stages))
    weights = equilibrium(grammar_of("mouse", POWER, POWER)) / counts
    columns = np.flatnonzero(x.any(axis=0))  # not all modalities have as many levels
    mean, sd = x[:, columns].mean(axis=0), x[:, columns].std(axis=0)
    truth = np.eye(len(counts))[stages] * weights[stages][:, None]
    found = _regress((x[:, columns] - mean) / sd, truth)
    coefficients = np.zeros((len(counts), x.shape[1]))
    coefficients[:, columns] = found[:, :-1] / sd
    intercepts = found[:, -1] - coefficients[:, columns] @ mean
    return TeacherWeights(
        source=source,
        spec=spec,
        spans_s=SPANS_S,
        coefficients=tuple(rounded(row, _DIGITS) for row in coefficients),
        intercepts=rounded(intercepts, _DIGITS),
        power=POWER,
    )


def _sleeps_and_wakes(mouse: Mouse) -> bool:
    """Whether its levels are high or low for a reason: a recording of one stage has none."""
    return bool(min(np.mean(mouse.stages == s) for s in (0, 1)) > _LEAST_SHARE)


def _thin(mouse: Mouse, spans: list[int], first: int) -> tuple[Floats, NDArray[np.int8]]:
    """Return columns and stages of every tenth second, where there are any."""
    some = mouse.usable.any(axis=1) & (mouse.stages != UNSCORED)
    some &= np.arange(len(some)) % _EVERY == first % _EVERY
    return around(mouse.found, mouse.usable, spans)[some], mouse.stages[some]


def _regress(x: Floats, truth: Floats) -> Floats:
    """Return coefficients and, last, intercepts, (S, columns + 1).

    Args:
        x: (n, columns).
        truth: (n, S), each row's weight where its stage is; 1 in all.
    """
    n_stages, weights = truth.shape[1], truth.sum(axis=1, keepdims=True)

    def cost(flat: Floats) -> tuple[float, Floats]:
        by_stage = flat.reshape(n_stages, -1)
        said = log_softmax(x @ by_stage[:, :-1].T + by_stage[:, -1], axis=1)
        slope = np.exp(said) * weights - truth
        gradient = np.concatenate([slope.T @ x, slope.sum(axis=0)[:, None]], axis=1)
        gradient[:, :-1] += 2 * L2 * by_stage[:, :-1]
        loss = L2 * np.square(by_stage[:, :-1]).sum() - (said * truth).sum()
        return float(loss), gradient.ravel()

    begin = np.zeros(n_stages * (x.shape[1] + 1))
    found = minimize(cost, begin, jac=True, method="L-BFGS-B", options={"maxiter": 1000})
    return np.asarray(found.x, np.float64).reshape(n_stages, -1)


def main() -> None:
    """Simulate mice and fit the teacher to them."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--mice", type=int, default=120)
    parser.add_argument("--hours", type=float, default=0.75, help="of each; default: %(default)s")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=MOUSE_FILE)
    arguments = parser.parse_args()
    spec = given_levels(new_spec(1), relative_of("mouse"))
    measure = partial(measure_mouse, spec, arguments.hours)
    seeds = range(_FIRST_SEED, _FIRST_SEED + arguments.mice)
    with ProcessPoolExecutor(arguments.processes, multiprocessing.get_context("spawn")) as pool:
        mice = list(pool.map(measure, seeds))
    source = f"{arguments.mice} widened simulated mice of {arguments.hours:g} h"
    write_table(arguments.out, fit(mice, spec, source))


if __name__ == "__main__":
    main()
