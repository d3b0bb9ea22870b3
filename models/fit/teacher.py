"""Fit the offline teacher to widened simulated subjects: `models.teacher` reads what this writes.

    python -m models.fit.teacher --species mouse
    python -m models.fit.teacher --species human --scored runs/people/train

Mice have the stages that the simulator meant, and seeds of their own. Those that hardly sleep or
wake are left out, of the others every tenth second counts, not the same one of each, and the stages
weigh what they do in scored mice. L2 and the power of the evidence were chosen on two recordings;
docs/evaluation.md names them.

People have the stages that YASA finds in them, which `tests.rigs.accuracy.silver_people` writes to
a folder: a net that learnt what the simulator meant was poor on real people (docs/training.md).
"""

import argparse
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from models.base import NEW_MODELS, part_of
from models.fit.tables import WHO, rounded, write_table
from models.grammar import equilibrium, grammar_of
from models.recordings.as_stream import epochs_of
from models.recordings.lab import LabRecording, open_lab
from models.signal.relative import relative_of
from models.spec import ModelSpec
from models.stages import SPECIES, UNSCORED, to_indices
from models.teacher import TEACHER_FILES, Levels, Regression, TeacherWeights, around, scaled
from models.training.simulated import draw_sfreq, simulate_subject


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How a species' teacher is fitted."""

    spans_s: tuple[float, ...]
    power: float
    l2: float
    every: int
    """One epoch of so many counts."""
    least: dict[str, float]
    """Shares of stages without which a recording teaches nothing."""
    by_rates: bool
    """Whether the stages weigh what they do in scored recordings; else what they do in these."""
    alone: tuple[tuple[str, ...], ...]
    """Modalities that a regression of their own reads, where the others are missing."""


RECIPES = {
    "mouse": Recipe(
        spans_s=(5.0, 15.0, 61.0),
        power=0.4,
        l2=0.01,
        every=10,
        least={"Wake": 0.05, "NREM": 0.05},
        by_rates=True,
        alone=(),
    ),
    "human": Recipe(
        spans_s=(30.0, 90.0, 330.0),
        power=1.0,
        l2=0.001,
        every=1,
        least={},
        by_rates=False,
        alone=(("eeg",),),
    ),
}

_FIRST_SEED = 980_000
_DIGITS = 4
_LEAST_SD = 1e-6  # of a column: below it is rounding

Floats = NDArray[np.float64]


class Measured(NamedTuple):
    """A recording of one subject as the teacher sees it."""

    found: Floats
    """(n, M, F)"""
    usable: NDArray[np.bool_]
    """(n, M)"""
    stages: NDArray[np.int8]
    """(n,)"""


def spec_of(species: str) -> ModelSpec:
    """Return how a species' recordings are filtered, cut and measured."""
    net = part_of(NEW_MODELS[species], "net")
    spec: ModelSpec = net.given_levels(net.new_spec(1), relative_of(species))
    return spec


def simulate(species: str, hours: float, seed: int) -> LabRecording:
    """Simulate a subject, of whom three in four show every stage."""
    sfreq = draw_sfreq(species, seed)
    return simulate_subject(species, seed, hours, sfreq, every_stage=seed % 4 != 0, wide=True)


def measure(spec: ModelSpec, lab: LabRecording) -> Measured:
    """Measure the levels of a recording of one subject."""
    levels = Levels(spec, 1)
    for batch in epochs_of(lab.open(), lab.stream, spec):
        levels.add(batch.microvolts, batch.usable)
    found, usable = levels.of(0)
    (hypnogram,) = lab.hypnograms.values()
    return Measured(
        found, usable, to_indices(hypnogram.to_epochs(spec.epoch_s, len(found)), spec.stages)
    )


def measure_simulated(spec: ModelSpec, hours: float, seed: int) -> Measured:
    """Simulate a subject and measure it."""
    return measure(spec, simulate(spec.species, hours, seed))


def measure_scored(spec: ModelSpec, path: Path) -> Measured:
    """Measure a recording that somebody scored."""
    ((lab,), _) = open_lab([path], spec)
    return measure(spec, lab)


def fit(recordings: Sequence[Measured], spec: ModelSpec, source: str) -> TeacherWeights:
    """Fit the teacher, with L2 on coefficients of equally wide columns."""
    recipe = RECIPES[spec.species]
    spans = [round(s / spec.epoch_s) for s in recipe.spans_s]
    kept = [each for each in recordings if _shows(each, spec, recipe)]
    parts = [_thin(each, spans, recipe.every, i) for i, each in enumerate(kept)]
    levels, usable, stages = (np.concatenate(each) for each in zip(*parts, strict=True))
    found = []
    for modalities in (spec.modalities, *recipe.alone):
        read = [spec.modalities.index(m) for m in modalities]
        some = usable[:, read].all(axis=1) if recipe.alone else np.ones(len(usable), np.bool_)
        x = levels[some][:, :, read].reshape(np.count_nonzero(some), -1)
        found.append(_regression(modalities, x, stages[some], spec, recipe))
    return TeacherWeights(
        source=source,
        spec=spec,
        spans_s=recipe.spans_s,
        regressions=tuple(found),
        power=recipe.power,
    )


def _shows(each: Measured, spec: ModelSpec, recipe: Recipe) -> bool:
    """Whether its levels are high or low for a reason: a recording of one stage has none."""
    shares = {s: np.mean(each.stages == k) for k, s in enumerate(spec.stages)}
    return all(shares[stage] > least for stage, least in recipe.least.items())


def _thin(
    each: Measured, spans: list[int], every: int, first: int
) -> tuple[Floats, NDArray[np.bool_], NDArray[np.int8]]:
    """Return levels (n, spans, M, F), what is usable and stages, of some epochs, if any."""
    some = each.usable.any(axis=1) & (each.stages != UNSCORED)
    some &= np.arange(len(some)) % every == first % every
    levels = around(scaled(each.found, each.usable), each.usable, spans)
    return levels[some], each.usable[some], each.stages[some]


def _regression(
    modalities: tuple[str, ...],
    x: Floats,
    stages: NDArray[np.int8],
    spec: ModelSpec,
    recipe: Recipe,
) -> Regression:
    """Fit one regression: (n, columns), and stages (n,)."""
    counts = np.bincount(stages, minlength=len(spec.stages))
    shares = counts / counts.sum()
    if recipe.by_rates:
        shares = equilibrium(grammar_of(spec.species, recipe.power, recipe.power))
    columns = np.flatnonzero(x.std(axis=0) > _LEAST_SD)  # not all modalities have as many levels
    mean, sd = x[:, columns].mean(axis=0), x[:, columns].std(axis=0)
    truth = np.eye(len(counts))[stages] * (shares / counts)[stages][:, None]
    found = _regress((x[:, columns] - mean) / sd, truth, recipe.l2)
    coefficients = np.zeros((len(counts), x.shape[1]))
    coefficients[:, columns] = found[:, :-1] / sd
    intercepts = found[:, -1] - coefficients[:, columns] @ mean
    return Regression(
        modalities=modalities,
        coefficients=tuple(rounded(row, _DIGITS) for row in coefficients),
        intercepts=rounded(intercepts, _DIGITS),
    )


def _regress(x: Floats, truth: Floats, l2: float) -> Floats:
    """Return coefficients and, last, intercepts, (S, columns + 1).

    Args:
        x: (n, columns).
        truth: (n, S), each row's weight where its stage is; 1 in all.
        l2: of the coefficients.
    """
    n_stages, weights = truth.shape[1], truth.sum(axis=1, keepdims=True)

    def cost(flat: Floats) -> tuple[float, Floats]:
        by_stage = flat.reshape(n_stages, -1)
        said = log_softmax(x @ by_stage[:, :-1].T + by_stage[:, -1], axis=1)
        slope = np.exp(said) * weights - truth
        gradient = np.concatenate([slope.T @ x, slope.sum(axis=0)[:, None]], axis=1)
        gradient[:, :-1] += 2 * l2 * by_stage[:, :-1]
        loss = l2 * np.square(by_stage[:, :-1]).sum() - (said * truth).sum()
        return float(loss), gradient.ravel()

    begin = np.zeros(n_stages * (x.shape[1] + 1))
    found = minimize(cost, begin, jac=True, method="L-BFGS-B", options={"maxiter": 1000})
    return np.asarray(found.x, np.float64).reshape(n_stages, -1)


def main() -> None:
    """Measure subjects and fit the teacher to them."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--species", choices=SPECIES, required=True)
    parser.add_argument(
        "--scored",
        type=Path,
        help="folder of scored recordings, in place of simulated subjects and what was simulated",
    )
    parser.add_argument("--subjects", type=int, default=120, help="simulated; default: %(default)s")
    parser.add_argument("--hours", type=float, default=0.75, help="of each; default: %(default)s")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, help="default: the packaged file")
    arguments = parser.parse_args()
    species, hours, n = arguments.species, arguments.hours, arguments.subjects
    if species == "human" and arguments.scored is None:
        parser.error("expected --scored for people: what the simulator means is not what it shows")
    spec = spec_of(species)
    with ProcessPoolExecutor(arguments.processes, multiprocessing.get_context("spawn")) as pool:
        if arguments.scored is None:
            seeds = range(_FIRST_SEED, _FIRST_SEED + n)
            found = list(pool.map(partial(measure_simulated, spec, hours), seeds))
            source = f"{n} widened simulated {WHO[species]} of {hours:g} h"
        else:
            labs, _ = open_lab([arguments.scored], spec)
            paths = [lab.path for lab in labs if lab.path is not None]
            found = list(pool.map(partial(measure_scored, spec), paths))
            total = sum(lab.duration_s for lab in labs) / 3600
            source = f"{len(paths)} scored recordings of {total:.0f} h"
    write_table(arguments.out or TEACHER_FILES[species], fit(found, spec, source))


if __name__ == "__main__":
    main()
