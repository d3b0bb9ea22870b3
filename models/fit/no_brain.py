"""Fit what tells a mouse's EEG from noise: `models.signal.no_brain` reads it.

    python -m models.fit.no_brain

The brains are widened simulated mice, the noise is that of `models.simulator.no_brain`, both with
seeds that no training and no test draws. No real recording takes part, so real ones tell how good
it is.
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

from models.fit.tables import rounded, write_table
from models.signal.lead_off import LeadOffRule
from models.signal.no_brain import RULE_FILES, NoBrain, NoBrainRule, log_variance
from models.signal.quality import OK, Quality, QualityLimits
from models.simulator.no_brain import KINDS, draw_no_brain
from models.simulator.species import SIMULATORS
from models.training.simulated import draw_sfreq, simulate_subject

EDGES_HZ = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 11.0, 13.0, 16.0, 20.0, 24.0)
"""Of the bands: what every amplifier passes, finer at theta."""
MEMORY_S = 6.0
LOST_BELOW, FOUND_ABOVE = 0.0, 2.0
SURE_ABOVE, DOUBTED_BELOW = 4.0, -4.0
"""Log odds at which a brain is said to be lost, and to be there again."""

_NOISE_SFREQS = (100.0, *SIMULATORS["mouse"].sfreqs, 4000.0)
_NOISE_S = 40.0
_FIRST_SEED = 995_000
_GROUP = 12  # wires measured at once
_STRIDE = 3  # seconds between two that are learnt from: running averages differ little
_PENALTY = 3.0  # the inverse of the regression's
_DIGITS = 5

Features = NDArray[np.float64]


def unfitted() -> NoBrainRule:
    """Return a rule that gives nothing any weight."""
    n = len(EDGES_HZ) - 1
    return NoBrainRule(
        source="nothing",
        edges_hz=EDGES_HZ,
        memory_s=MEMORY_S,
        lost_below=LOST_BELOW,
        found_above=FOUND_ABOVE,
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
    soon = LeadOffRule(source="nothing", memory_s=1.0, bias=0.0, stays=0.0, weights={})
    check = NoBrain(unfitted(), soon, ("eeg",), channels, sfreq, 1.0, 1.0)
    found = [np.zeros((0, 2, len(EDGES_HZ)))]
    for second in range(len(x) // n):
        raw = x[second * n : (second + 1) * n]
        reasons = quality.assess(raw, np.zeros(n, bool), np.zeros(raw.shape, bool))
        usable = reasons[:, 0] == OK
        check.mark(raw, second, reasons)
        if second % _STRIDE == 0:
            averages = np.stack([check.eeg.mean, check.eeg.variance], axis=1)
            found.append(averages[usable & check.eeg.settled])
    return np.concatenate(found)


def measure_mouse(hours: float, seed: int) -> Features:
    """Measure a widened simulated mouse."""
    sfreq = draw_sfreq("mouse", seed)
    mouse = simulate_subject("mouse", seed, hours, sfreq, wide=True).open()
    return measure([mouse.read(0, mouse.n_samples)[:, 0]], sfreq)


def measure_wires(group: int) -> Features:
    """Measure a group of wires without a brain, at one rate; the kinds take turns."""
    rng = np.random.default_rng([_FIRST_SEED, group])
    sfreq = _NOISE_SFREQS[group % len(_NOISE_SFREQS)]
    kinds = [list(KINDS)[(group + i) % len(KINDS)] for i in range(_GROUP)]
    return measure([draw_no_brain(rng, _NOISE_S, sfreq, kind)[0][:, 0] for kind in kinds], sfreq)


def fit(brains: Features, noise: Features) -> NoBrainRule:
    """Return the rule that tells running means and variances (n, 2, 1 + n_bands) apart."""
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
        unfitted(),
        bias=rounded([bias], _DIGITS)[0],
        shape=rounded(linear, _DIGITS),
        curvature=tuple(rounded(row, _DIGITS) for row in curvature),
        fluctuation=rounded(fluctuation, _DIGITS),
    )


def main() -> None:
    """Fit what tells a mouse's EEG from noise."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--mice", type=int, default=400)
    parser.add_argument("--hours", type=float, default=0.2, help="of each; default: %(default)s")
    parser.add_argument("--wires", type=int, default=2160)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RULE_FILES["mouse"])
    arguments = parser.parse_args()
    with ProcessPoolExecutor(arguments.processes) as pool:
        seeds = range(_FIRST_SEED, _FIRST_SEED + arguments.mice)
        mice = list(pool.map(partial(measure_mouse, arguments.hours), seeds))
        wires = list(pool.map(measure_wires, range(arguments.wires // _GROUP)))
    rule = msgspec.structs.replace(
        fit(np.concatenate(mice), np.concatenate(wires)),
        source=f"{arguments.mice} widened simulated mice of {arguments.hours:g} h, "
        f"{arguments.wires} wires without a brain of {_NOISE_S:g} s",
    )
    write_table(arguments.out, rule)


if __name__ == "__main__":
    main()
