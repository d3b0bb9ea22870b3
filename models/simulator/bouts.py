"""Bouts: found in a hypnogram, and placed so that the stage changes at any second."""

import numpy as np
from numpy.typing import NDArray


def place_ends(
    rng: np.random.Generator, lengths: NDArray[np.int64], epoch_s: float
) -> NDArray[np.float64]:
    """Return the bouts' lengths in s after each end moved by up to half an epoch.

    Of each epoch's seconds its own stage keeps the most, or the first of as many, so that scoring
    by majority gives the bouts back: a bout of one epoch that begins late may not also end early.

    Args:
        rng: the source of randomness.
        lengths: (n_bouts,) in epochs.
        epoch_s: length of an epoch, an even number of s.
    """
    half = int(epoch_s / 2)
    moved = rng.integers(-half, half, len(lengths) + 1)
    moved[0] = 0
    late_and_early = (lengths == 1) & (moved[:-1] > 0) & (moved[1:] < 0)
    moved[:-1][late_and_early] = 0
    return np.asarray(lengths * epoch_s + np.diff(moved))


def find_bouts(hypnogram: tuple[str, ...]) -> list[tuple[int, int, str]]:
    """Return (onset, length, stage) of each bout, in epochs of the hypnogram."""
    names: NDArray[np.str_] = np.array(hypnogram)
    onsets = [0, *(np.flatnonzero(names[1:] != names[:-1]) + 1).tolist()]
    ends = [*onsets[1:], len(hypnogram)]
    return [(on, end - on, hypnogram[on]) for on, end in zip(onsets, ends, strict=True)]
