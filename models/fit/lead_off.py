"""Fit what tells that a lead has just come off a mouse: `models.signal.lead_off` reads it.

    python -m models.fit.lead_off

The brains are simulated mice, three of four widened; each lead comes off in the middle of a second
of one of them, and the noise of `models.simulator.no_brain` goes on. No training and no test draws
their seeds. No real recording takes part, so real ones tell how good it is.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from models.fit import no_brain
from models.fit.tables import rounded, write_table
from models.signal.lead_off import LEAD_OFF_FILES, LeadOff, LeadOffRule, describe
from models.signal.no_brain import NoBrain
from models.signal.quality import OK, Quality, QualityLimits
from models.simulator.no_brain import KINDS, draw_no_brain
from models.training.simulated import draw_sfreq, simulate_subject

MEMORY_S = 8.0
BEYOND = 0.005
"""Share of the seconds of simulated mice that may be taken for a lead that comes off."""
STAYS = 3.0
"""Log odds by which it is likelier where it was so a second before."""

_FIRST_SEED = 985_000
_N_LEADS = 8  # that come off each mouse
_BRAIN_S, _NOISE_S = 13, 6
"""Before and after a lead comes off; longer noise is what it is compared with itself."""
_STRIDE = 3  # seconds of a brain between two that are learnt from
_PENALTY = 1.0  # the inverse of the regression's
_ROUNDS = 300
_DIGITS = 5

Features = NDArray[np.float64]


class Measured(NamedTuple):
    """What one mouse shows, (n, n_features) each."""

    brain: Features
    noise: Features


def unfitted() -> LeadOffRule:
    """Return a rule that gives nothing any weight."""
    return LeadOffRule(source="nothing", memory_s=MEMORY_S, bias=0.0, stays=STAYS, weights={})


def measure(data: NDArray[np.floating], sfreq: float) -> list[Features]:
    """Return what is described of EEGs (n_samples, n_channels), µV, second by second.

    Each is (n_channels, n_features), NaN where there is not enough or it is not usable.
    """
    n, channels = round(sfreq), data.shape[1]
    quality = Quality(QualityLimits(), ("eeg",), channels, sfreq)
    check = NoBrain(no_brain.unfitted("mouse"), unfitted(), ("eeg",), channels, sfreq, 1.0, 1.0)
    soon, found = cast(LeadOff, check.lead_off), []
    for second in range(len(data) // n):
        raw = data[second * n : (second + 1) * n].astype(np.float64)
        reasons = quality.assess(raw, np.zeros(n, bool), np.zeros(raw.shape, bool)).reasons
        usable = reasons[:, 0] == OK
        check.mark(raw, second, reasons)
        seen = np.concatenate([*soon.described().values()], axis=1)
        found.append(np.where((usable & soon.settled)[:, None], seen, np.nan))
    return found


def measure_mouse(hours: float, seed: int) -> Measured:
    """Measure a simulated mouse, and leads that come off it; the kinds of noise take turns."""
    sfreq, rng = draw_sfreq("mouse", seed), np.random.default_rng([_FIRST_SEED, seed])
    mouse = simulate_subject("mouse", seed, hours, sfreq, wide=seed % 4 != 0).open()
    eeg = mouse.read(0, mouse.n_samples)[:, :1]
    brain = np.concatenate(measure(eeg, sfreq)[::_STRIDE])
    before, after, leads = round(_BRAIN_S * sfreq), round(_NOISE_S * sfreq), []
    for k in range(_N_LEADS):
        end = int(rng.integers(before, len(eeg) - round(sfreq)))
        within = int(rng.integers(round(sfreq)))
        kind = list(KINDS)[(seed * _N_LEADS + k) % len(KINDS)]
        wire = draw_no_brain(rng, _NOISE_S, sfreq, kind)[0][: after - within, :1]
        leads.append(np.concatenate([eeg[end - before : end + within], wire]))
    # the first second with noise is noise in part, so the first two are judged
    noise = np.concatenate(measure(np.concatenate(leads, axis=1), sfreq)[_BRAIN_S + 1 :])
    return Measured(*(x[np.isfinite(x).all(axis=1)] for x in (brain, noise)))


def fit(brain: Features, noise: Features) -> LeadOffRule:
    """Return the rule that tells what was described, (n, n_features), apart."""
    x = np.concatenate([brain, noise])
    is_noise = np.arange(len(x)) >= len(brain)
    scaler = StandardScaler().fit(x)
    regression = LogisticRegression(C=_PENALTY, class_weight="balanced", max_iter=_ROUNDS)
    regression.fit(scaler.transform(x), is_noise)
    weights = rounded(regression.coef_[0] / scaler.scale_, _DIGITS)
    beyond = np.quantile(brain @ np.array(weights), 1 - BEYOND)
    return msgspec.structs.replace(
        unfitted(), bias=rounded([-beyond], _DIGITS)[0], weights=_named(weights)
    )


def _named(weights: tuple[float, ...]) -> dict[str, tuple[float, ...]]:
    n = len(no_brain.EDGES_HZ)
    blank = np.zeros((1, n))
    sizes = {
        name: part.shape[1]
        for name, part in describe(np.zeros((1, 2, n)), blank, blank, np.zeros(n)).items()
    }
    ends = np.cumsum([*sizes.values()])
    return {
        name: weights[end - size : end]
        for (name, size), end in zip(sizes.items(), ends.tolist(), strict=True)
    }


def main() -> None:
    """Fit what tells that a lead has just come off a mouse."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--mice", type=int, default=400)
    parser.add_argument("--hours", type=float, default=0.12, help="of each; default: %(default)s")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=LEAD_OFF_FILES["mouse"])
    arguments = parser.parse_args()
    with ProcessPoolExecutor(arguments.processes) as pool:
        seeds = range(_FIRST_SEED, _FIRST_SEED + arguments.mice)
        mice = list(pool.map(partial(measure_mouse, arguments.hours), seeds))
    rule = msgspec.structs.replace(
        fit(*map(np.concatenate, zip(*mice, strict=True))),
        source=f"{arguments.mice} simulated mice of {arguments.hours:g} h, three of four widened, "
        f"and {_N_LEADS} leads that come off each",
    )
    write_table(arguments.out, rule)


if __name__ == "__main__":
    main()
