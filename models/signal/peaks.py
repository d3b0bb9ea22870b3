"""A signal made short for the eye: of each piece the least and the greatest sample."""

import math

import numpy as np
from numpy.typing import NDArray

MOST_HZ = 128.0
"""So many values a second at most."""


def peaks(samples: NDArray[np.float32], sfreq: float) -> NDArray[np.float32]:
    """Return what a line through the samples looks like, spikes included, in fewer values.

    A piece gives its least and its greatest sample, in the order in which they came. Of 128 samples
    a second or fewer every one is kept.

    Args:
        samples: (n_channels, n_times).
        sfreq: their rate, Hz.

    Returns:
        (n_channels, n_values), evenly spaced but for the order within a piece.
    """
    size = math.ceil(2 * sfreq / MOST_HZ)
    if sfreq <= MOST_HZ:
        return samples
    n_channels, n_times = samples.shape
    n_pieces = math.ceil(n_times / size)
    padded = np.pad(samples, ((0, 0), (0, n_pieces * size - n_times)), "edge")
    pieces = padded.reshape(n_channels, n_pieces, size)
    order = np.sort(np.stack([pieces.argmin(axis=2), pieces.argmax(axis=2)], axis=2), axis=2)
    return np.take_along_axis(pieces, order, axis=2).reshape(n_channels, 2 * n_pieces)
