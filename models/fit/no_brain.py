"""Fit what tells a brain from noise: `models.signal.no_brain` reads it.

    python -m models.fit.no_brain
    python -m models.fit.no_brain --species human --subjects 200 --hours 0.4

The brains are widened simulated mice or people, the noise is that of `models.simulator.no_brain`,
both with seeds that no training and no test draws. No real recording takes part, so real ones tell
how good it is.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from models.fit.tables import WHO, rounded, write_table
from models.signal.no_brain import RULE_FILES, NoBrain, NoBrainRule, log_variance
from models.signal.quality import OK, Quality, QualityLimits
from models.simulator.no_brain import KINDS, draw_no_brain
from models.simulator.species import SIMULATORS
from models.training.simulated import draw_sfreq, simulate_subject

EDGES_HZ = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 11.0, 13.0, 16.0, 20.0, 24.0)
"""Of the bands: what every amplifier passes, finer at theta."""
MEMORY_S = 6.0
LOST_BELOW = {"mouse": 0.0, "human": -3.0}
"""Log odds at which a brain is said to be lost; the night of a person is long."""
FOUND_AFTER = 2.0
"""By so much they have to rise until it is there again."""
SURE_ABOVE, DOUBTED_BELOW = 4.0, -4.0
NOISE = {"mouse": tuple(KINDS), "human": ("white", "hum", "modulated", "quantised")}
"""What is told from a brain: people's quiet EEG is as pink and brown as noise may be."""

_SEE_A_BRAIN = {"mouse": ("eeg",), "human": ("eeg", "eog")}
_OTHER_SFREQS = {"mouse": (100.0, 4000.0), "human": (50.0, 4000.0)}
_NOISE_S = 40.0
_FIRST_SEED = 995_000
_GROUP = 12  # wires measured at once
_STRIDE = 3  # seconds between two that are learnt from: running averages differ little
_PENALTY = 3.0  # the inverse of the regression's
_DIGITS = 5

Features = NDArray[np.float64]


def unfitted(species: str) -> NoBrainRule:
    """Return a rule of a species that gives nothing any weight."""
    n = len(EDGES_HZ) - 1
    return NoBrainRule(
        source="nothing",
        edges_hz=EDGES_HZ,
        memory_s=MEMORY_S,
        lost_below=LOST_BELOW[species],
        found_above=LOST_BELOW[species] + FOUND_AFTER,
        sure_above=SURE_ABOVE,
        doubted_below=DOUBTED_BELOW,
        bias=0.0,
        shape=(0.0,) * n,
        curvature=((0.0,) * n,) * n,
        fluctuation=(0.0,) * (n + 1),
    )


def measure(data: list[NDArray[np.floating]], sfreq: float) -> Features:
    """Return running means and variances, (n, 2, 1 + n_bands), of EEGs (n_samples,), µV."""
    n, channels = round(sfreq), len(data)
    x = np.stack(data, axis=1).astype(np.float64)
    quality = Quality(QualityLimits(), ("eeg",), channels, sfreq)
    check = NoBrain(unfitted("mouse"), None, ("eeg",), channels, sfreq, 1.0, 1.0)  # any bounds do
    found = [np.zeros((0, 2, len(EDGES_HZ)))]
    for second in range(len(x) // n):
        raw = x[second * n : (second + 1) * n]
        reasons = quality.assess(raw, np.zeros(n, bool), np.zeros(raw.shape, bool)).reasons
        usable = reasons[:, 0] == OK
        check.mark(raw, second, reasons)
        if second % _STRIDE == 0:
            averages = np.stack([check.wires.mean, check.wires.variance], axis=1)
            found.append(averages[usable & check.wires.settled])
    return np.concatenate(found)


def measure_subject(species: str, hours: float, seed: int) -> Features:
    """Measure what sees the brain of a widened simulated subject."""
    sfreq = draw_sfreq(species, seed)
    subject = simulate_subject(species, seed, hours, sfreq, wide=True).open()
    data = subject.read(0, subject.n_samples)
    return measure([data[:, i] for i in range(len(_SEE_A_BRAIN[species]))], sfreq)


def measure_wires(species: str, group: int) -> Features:
    """Measure a group of wires without a brain, at one rate; the kinds take turns."""
    rng = np.random.default_rng([_FIRST_SEED, group])
    slow, fast = _OTHER_SFREQS[species]
    sfreqs = (slow, *SIMULATORS[species].sfreqs, fast)
    sfreq, every = sfreqs[group % len(sfreqs)], NOISE[species]
    kinds = [every[(group + i) % len(every)] for i in range(_GROUP)]
    return measure([draw_no_brain(rng, _NOISE_S, sfreq, kind)[0][:, 0] for kind in kinds], sfreq)


def fit(species: str, brains: Features, noise: Features) -> NoBrainRule:
    """Return a species' rule that tells running means and variances (n, 2, 1 + n_bands) apart."""
    n = len(EDGES_HZ) - 1
    rows, columns = np.triu_indices(n)
    found = np.concatenate([brains, noise])
    shape = found[:, 0, 1:]
    products = shape[:, rows] * shape[:, columns]
    x = np.concatenate([shape, products, log_variance(found[:, 1])], axis=1)
    is_brain = np.arange(len(found)) < len(brains)
    scaler = StandardScaler().fit(x)
    regression = LogisticRegression(C=_PENALTY, class_weight="balanced", max_iter=3000)
    regression.fit(scaler.transform(x), is_brain)
    weights = regression.coef_[0] / scaler.scale_
    bias = float(regression.intercept_[0] - weights @ scaler.mean_)
    linear, pairs, fluctuation = np.split(weights, [n, n + len(rows)])
    curvature = np.zeros((n, n))
    curvature[rows, columns] = pairs
    return msgspec.structs.replace(
        unfitted(species),
        bias=rounded([bias], _DIGITS)[0],
        shape=rounded(linear, _DIGITS),
        curvature=tuple(rounded(row, _DIGITS) for row in curvature),
        fluctuation=rounded(fluctuation, _DIGITS),
    )


def main() -> None:
    """Fit what tells a brain from noise."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--species", choices=RULE_FILES, default="mouse")
    parser.add_argument("--subjects", type=int, default=400)
    parser.add_argument("--hours", type=float, default=0.2, help="of each; default: %(default)s")
    parser.add_argument("--wires", type=int, default=2160)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, help="default: the packaged rule of the species")
    arguments = parser.parse_args()
    species = arguments.species
    with ProcessPoolExecutor(arguments.processes) as pool:
        seeds = range(_FIRST_SEED, _FIRST_SEED + arguments.subjects)
        brains = list(pool.map(partial(measure_subject, species, arguments.hours), seeds))
        groups = range(arguments.wires // _GROUP)
        wires = list(pool.map(partial(measure_wires, species), groups))
    rule = msgspec.structs.replace(
        fit(species, np.concatenate(brains), np.concatenate(wires)),
        source=f"{arguments.subjects} widened simulated {WHO[species]} of {arguments.hours:g} h, "
        f"{arguments.wires} wires without a brain of {_NOISE_S:g} s",
    )
    write_table(arguments.out or RULE_FILES[species], rule)


if __name__ == "__main__":
    main()
