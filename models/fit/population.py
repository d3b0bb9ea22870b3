"""Measure what a mouse's levels are held against at first: `models.signal.relative` reads it.

    python -m models.fit.population

The animals are widened simulated ones, with seeds that no training draws: real amplifiers and
electrodes differ as these do, and a real population with its gains known is not at hand.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.fit.tables import rounded, write_table
from models.recordings.as_stream import epochs_of
from models.sdreamer.net import given_levels, new_spec
from models.signal.features import Powers
from models.signal.relative import RELATIVE_FILES, Relative
from models.spec import ModelSpec, RelativeSpec
from models.training.simulated import draw_sfreq, simulate_subject

EDGES_HZ = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 11.0, 15.0, 20.0, 25.0)
"""Of the EEG: what every amplifier passes. Finer at theta, which tells REM from NREM."""

_FIRST_SEED = 990_000
_DIGITS = 4


def unscaled() -> RelativeSpec:
    """Return the features without a population: means of 0 and SDs of 1."""
    edges = (EDGES_HZ, ())
    sizes = [len(e) or 2 for e in edges]
    return RelativeSpec(
        source="nothing",
        edges_hz=edges,
        mean=tuple((0.0,) * n for n in sizes),
        sd=tuple((1.0,) * n for n in sizes),
    )


def measure_mouse(spec: ModelSpec, hours: float, seed: int) -> NDArray[np.float64]:
    """Return mean and variance, (2, M, features), of a simulated mouse's usable epochs."""
    sfreq = draw_sfreq("mouse", seed)
    lab = simulate_subject("mouse", seed, hours, sfreq, every_stage=True, wide=True)
    relative = Relative(spec, 1, spec.epoch_s)
    batches = list(epochs_of(lab.open(), lab.stream, spec))
    found = np.concatenate([relative.measure(Powers(b.microvolts, spec.sfreq)) for b in batches])
    usable = np.concatenate([b.usable for b in batches])
    parts = [found[usable[:, m], m] for m in range(spec.n_modalities)]
    return np.stack(
        [np.stack([f(part) for part in parts]) for f in (partial(np.mean, axis=0), _variance)]
    )


def _variance(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.var(x, axis=0), np.float64)


def fit(n_mice: int, hours: float, processes: int) -> RelativeSpec:
    """Return the features with the population's means and the animals' typical SDs."""
    features = unscaled()
    spec = given_levels(new_spec(), features)
    measure = partial(measure_mouse, spec, hours)
    with ProcessPoolExecutor(processes) as pool:
        seeds = range(_FIRST_SEED, _FIRST_SEED + n_mice)
        found = np.array([each for each in pool.map(measure, seeds) if np.isfinite(each).all()])
    mean, variance = np.median(found, axis=0)
    sizes = features.n_features
    return msgspec.structs.replace(
        features,
        source=f"medians over {len(found)} widened simulated mice of {hours:g} h",
        mean=tuple(rounded(mean[m, :n], _DIGITS) for m, n in enumerate(sizes)),
        sd=tuple(rounded(np.sqrt(variance[m, :n]), _DIGITS) for m, n in enumerate(sizes)),
    )


def main() -> None:
    """Measure simulated mice."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--mice", type=int, default=60)
    parser.add_argument("--hours", type=float, default=0.5, help="of each; default: %(default)s")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RELATIVE_FILES["mouse"])
    arguments = parser.parse_args()
    found = fit(arguments.mice, arguments.hours, arguments.processes)
    write_table(arguments.out, found)


if __name__ == "__main__":
    main()
