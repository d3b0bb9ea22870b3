"""Running means and variances of what is measured of each subject, piece by piece."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SETTLED_S = 8.0
"""Signal, s, before which nothing is said of them."""


class Averages:
    """Running means and variances of the features of one modality of all subjects."""

    def __init__(self, n_subjects: int, n_features: int) -> None:
        self.mean: Floats = np.zeros((n_subjects, n_features))
        self.variance: Floats = np.zeros((n_subjects, n_features))
        self.seen_s: Floats = np.zeros(n_subjects)
        """Signal that they were made of, s."""
        self.lost: NDArray[np.bool_] = np.zeros(n_subjects, bool)
        """Whether they were last taken for those of noise."""

    @property
    def settled(self) -> NDArray[np.bool_]:
        """(n_subjects,), whether they were made of enough."""
        return self.seen_s >= SETTLED_S

    def restart(self, where: NDArray[np.bool_]) -> None:
        """Forget what was, (n_subjects,)."""
        self.seen_s = np.where(where, 0.0, self.seen_s)

    def follow(
        self, found: Floats, came: NDArray[np.bool_], piece_s: float, memory_s: float
    ) -> None:
        """Let them follow the features of a piece so long, s."""
        self.seen_s = self.seen_s + np.where(came, piece_s, 0.0)
        weight = np.clip(self.seen_s, piece_s, memory_s)
        gain = np.where(came, piece_s / weight, 0.0)[:, None]
        step = found - self.mean
        self.mean = self.mean + gain * step
        self.variance = (1 - gain) * (self.variance + gain * np.square(step))

    def state(self) -> Floats:
        """Return all of them, (n_subjects, 2 × n_features + 2)."""
        parts = (self.mean, self.variance, self.seen_s[:, None], self.lost[:, None])
        return np.concatenate(parts, axis=1)

    def load_state(self, state: Floats) -> None:
        """Go on from `state()`."""
        n = self.mean.shape[1]
        self.mean, self.variance = state[:, :n].copy(), state[:, n : 2 * n].copy()
        self.seen_s, self.lost = state[:, -2].copy(), state[:, -1] > 0
