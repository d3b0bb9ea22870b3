"""The bands in which an EEG's power is given, fitted or let wander."""

import numpy as np
from numpy.typing import NDArray

from models.simulator.noise import Track

BANDS = {"delta": (0.5, 4), "theta": (4, 8), "alpha": (8, 13), "beta": (13, 30), "gamma": (30, 100)}
"""Edges, Hz."""

_EDGE = 0.06  # width of a change from one band to the next, in log frequency
_WIDE_EDGE = 0.2  # the same where bands wander: nothing in the spectrum shows where they end


def band_masks(freqs: Track, edge: float = _EDGE) -> NDArray[np.float64]:
    """Return the share of each band in the power at `freqs`, (n_bands, n_freqs); sums are 1."""
    lows = [low for low, _ in BANDS.values()][1:]
    log_f = np.log(np.maximum(freqs, 1e-3))
    above = [1.0 / (1.0 + np.exp(-(log_f - np.log(low)) / edge)) for low in lows]
    steps = np.stack([np.ones_like(log_f), *above, np.zeros_like(log_f)])
    return np.asarray(steps[:-1] - steps[1:])


def wide_bands(freqs: Track) -> NDArray[np.float64]:
    """Return the weight of each band's wandering at `freqs`, (n_bands, n_freqs).

    The squares add up to 1, so that the log power at every frequency strays by the same SD.
    """
    shares = band_masks(freqs, _WIDE_EDGE)
    return np.asarray(shares / np.sqrt((shares**2).sum(axis=0)))
