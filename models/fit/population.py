"""Measure what levels are held against at first, by species: `models.signal.relative` reads it.

    python -m models.fit.population mouse
    python -m models.fit.population human --subjects 40 --hours 7

The subjects are widened simulated ones, with seeds that no training draws: real amplifiers and
electrodes differ as these do, and a real population with its gains known is not at hand.
"""

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.base import NEW_MODELS, part_of
from models.errors import RecordingError
from models.fit.tables import WHO, rounded, write_table
from models.recordings.as_stream import epochs_of
from models.relative_spec import RelativeSpec
from models.signal.features import Powers
from models.signal.relative import RELATIVE_FILES, Relative
from models.spec import ModelSpec
from models.training.simulated import draw_sfreq, simulate_subject

EDGES_HZ: dict[str, tuple[tuple[float, ...], ...]] = {
    "mouse": ((1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 11.0, 15.0, 20.0, 25.0), ()),
    "human": (
        (1.0, 2.0, 4.0, 6.0, 8.0, 11.0, 13.0, 16.0, 21.0, 30.0),
        (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0),
    ),
}
"""By species and modality: what every amplifier passes. A mouse's are finer at theta, which tells
REM from NREM; a person's EEG apart at sigma, where spindles are."""
_OTHERWISE: dict[str, dict[str, Any]] = {
    "mouse": {"own": "both"},
    "human": {
        "own": "quantiles",
        "population": False,
        "total": False,
        "n_parts": 10,
        "recent_s": (),
        "prior_s": 2400.0,
    },
}
"""What differs from the defaults of `RelativeSpec`. A window of people is ten minutes long, so that
running means would add nothing; parts of 3 s show spindles and slow waves come and go. Gains of
people's recordings differ by ten, and shares without the power of all stage as well."""

_FIRST_SEED = 990_000
_DIGITS = 4


def unscaled(species: str) -> RelativeSpec:
    """Return the features without a population: means of 0 and SDs of 1."""
    edges, otherwise = EDGES_HZ[species], _OTHERWISE[species]
    sizes = [len(e) - (not otherwise.get("total", True)) if e else 2 for e in edges]
    return RelativeSpec(
        source="nothing",
        edges_hz=edges,
        mean=tuple((0.0,) * n for n in sizes),
        sd=tuple((1.0,) * n for n in sizes),
        **otherwise,
    )


def spec_of(species: str) -> ModelSpec:
    """Return the spec of a new net that is given these features."""
    net = part_of(NEW_MODELS[species], "net")
    spec: ModelSpec = net.given_levels(net.new_spec(), unscaled(species))
    return spec


def measure_subject(spec: ModelSpec, hours: float, seed: int) -> NDArray[np.float64]:
    """Return mean and variance, (2, M, features), of a simulated subject's usable epochs.

    NaN of one who never shows every stage, as somebody without N3 does not.
    """
    species, n_parts = spec.species, 1 if spec.relative is None else spec.relative.n_parts
    sfreq = draw_sfreq(species, seed)
    try:
        lab = simulate_subject(species, seed, hours, sfreq, every_stage=True, wide=True)
    except RecordingError:
        return np.full((2, spec.n_modalities, 1), np.nan)
    relative = Relative(spec, 1, spec.epoch_s)
    batches = list(epochs_of(lab.open(), lab.stream, spec))
    powers = [Powers(b.microvolts, spec.sfreq).in_parts(n_parts) for b in batches]
    found = np.concatenate([relative.measure(each) for each in powers])
    usable = np.repeat(np.concatenate([b.usable for b in batches]), n_parts, axis=0)
    parts = [found[usable[:, m], m] for m in range(spec.n_modalities)]
    return np.stack(
        [np.stack([f(part) for part in parts]) for f in (partial(np.mean, axis=0), _variance)]
    )


def _variance(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.var(x, axis=0), np.float64)


def fit(species: str, n_subjects: int, hours: float, processes: int) -> RelativeSpec:
    """Return the features with the population's means and the subjects' typical SDs."""
    features = unscaled(species)
    measure = partial(measure_subject, spec_of(species), hours)
    with ProcessPoolExecutor(processes) as pool:
        seeds = range(_FIRST_SEED, _FIRST_SEED + n_subjects)
        whole = [each for each in pool.map(measure, seeds) if np.isfinite(each).all()]
    found = np.array(whole)
    mean, variance = np.median(found, axis=0)
    return msgspec.structs.replace(
        features,
        source=f"medians over {len(found)} widened simulated {WHO[species]} of {hours:g} h",
        mean=_by_modality(mean, features.n_features),
        sd=_by_modality(np.sqrt(variance), features.n_features),
    )


def _by_modality(
    values: NDArray[np.float64], sizes: Sequence[int]
) -> tuple[tuple[float, ...], ...]:
    return tuple(rounded(values[m, :n], _DIGITS) for m, n in enumerate(sizes))


def main() -> None:
    """Measure simulated subjects."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("species", choices=sorted(RELATIVE_FILES))
    parser.add_argument("--subjects", type=int, default=60)
    parser.add_argument("--hours", type=float, default=0.5, help="of each; default: %(default)s")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, help="default: the packaged file")
    arguments = parser.parse_args()
    found = fit(arguments.species, arguments.subjects, arguments.hours, arguments.processes)
    write_table(arguments.out or RELATIVE_FILES[arguments.species], found)


if __name__ == "__main__":
    main()
