"""Whether a lead has just come off: a quick look that keeps a closed loop from firing on noise.

`no_brain.py` takes ten seconds to tell noise from a brain by itself. Noise that comes in the place
of a brain is seen sooner, since the brain of just before is there to compare it with: the spectrum
of the last two pieces of about a second, its fluctuation, and how far all of that lies from the
running mean of the pieces before make log odds, by weights that `models.fit.lead_off` found.

Two seconds are too few to be sure. So no stage changes by it, and nothing is called an artefact:
rules that stimulate switch nothing on while it is above 0 (`daemon.trigger.sight`).
"""

from functools import cache
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.signal.averages import Averages, Floats

LEAD_OFF_FILES = {"mouse": Path(__file__).with_name("mouse_lead_off.json")}
"""By species. Noise is not told from people's EEG in two seconds."""

LIMIT = 0.0
"""Log odds above which nothing is switched on."""
_N_PIECES = 2
_LEAST_VARIANCE = 1e-2  # of a log power


class LeadOffRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Linear log odds of what `describe` says."""

    source: str
    """What it was fitted to."""
    memory_s: float
    """Time constant of the running mean and variance of what came before, s."""
    bias: float
    """Such that no more seconds of simulated mice are beyond 0 than the fit allows."""
    stays: float
    """Added where a lead was told to be off a piece ago: it most likely still is."""
    weights: dict[str, tuple[float, ...]]
    """By what `describe` says, in its order."""


@cache
def read_lead_off_rule(species: str) -> LeadOffRule | None:
    """Return the rule for a species, None where there is none."""
    path = LEAD_OFF_FILES.get(species)
    return None if path is None else msgspec.json.decode(path.read_bytes(), type=LeadOffRule)


def describe(pieces: Floats, mean: Floats, variance: Floats, weight: Floats) -> dict[str, Floats]:
    """Return what a rule weighs of the newest pieces, beside those before.

    Args:
        pieces: (n, 2, 1 + n_bands), the mean log power and each band's relative to it.
        mean: (n, 1 + n_bands), of the pieces before.
        variance: likewise.
        weight: (1 + n_bands,), of each in a jump.

    Returns:
        (n, …) each.
    """
    now = pieces.mean(axis=1)
    shape, step = now[:, 1:], now - mean
    rows, columns = _pairs(shape.shape[1])
    return {
        "shape": shape,
        "products": shape[:, rows] * shape[:, columns],
        "swing": np.log(pieces.var(axis=1) + _LEAST_VARIANCE),
        "shape_before": mean[:, 1:],
        "swing_before": np.log(variance + _LEAST_VARIANCE),
        "step": step,
        "distance": np.abs(step),
        "jumps": np.log1p(np.square(pieces - mean[:, None]) @ weight),
    }


@cache
def _pairs(n: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return all pairs of n, each once."""
    return np.triu_indices(n)


class LeadOff:
    """What is said of all subjects of one stream, piece by piece.

    Args:
        rule: what noise after a brain is told by.
        n_subjects: subjects of the stream.
        weight: (n_features,), of each feature of a piece in a jump.
    """

    def __init__(self, rule: LeadOffRule, n_subjects: int, weight: NDArray[np.floating]) -> None:
        self._rule, self._weight = rule, np.asarray(weight, np.float64)
        self._of_described = {name: np.array(of) for name, of in rule.weights.items()}
        self._pieces = np.zeros((n_subjects, _N_PIECES, len(weight)))
        self._n_held = np.zeros(n_subjects)
        self._before = Averages(n_subjects, len(weight))
        self._added = np.zeros(n_subjects)
        self.log_odds: Floats = np.full(n_subjects, np.nan)
        """(n_subjects,), that a lead has just come off; NaN until enough came before."""

    @property
    def settled(self) -> NDArray[np.bool_]:
        """(n_subjects,), whether there is enough to compare with."""
        return self._before.settled

    def follow(self, found: Floats, came: NDArray[np.bool_], piece_s: float) -> None:
        """Take the features (n_subjects, n_features) of a piece so long, s, where it came."""
        leaves = came & (self._n_held == _N_PIECES)
        self._before.follow(self._pieces[:, 0], leaves, piece_s, self._rule.memory_s)
        moved = np.concatenate([self._pieces[:, 1:], found[:, None]], axis=1)
        self._pieces = np.where(came[:, None, None], moved, self._pieces)
        self._n_held = np.minimum(self._n_held + came, _N_PIECES)
        stays = np.where(self.log_odds > LIMIT, self._rule.stays, 0.0)
        self._added = np.where(came, stays, self._added)
        self._judge()

    def described(self) -> dict[str, Floats]:
        """Return what the rule is given now."""
        return describe(self._pieces, self._before.mean, self._before.variance, self._weight)

    def _judge(self) -> None:
        described = self.described()
        parts = [described[name] @ of for name, of in self._of_described.items()]
        found = np.round(self._rule.bias + sum(parts, self._added), 1)
        self.log_odds = np.where(self.settled, found, np.nan)

    def state(self) -> Floats:
        """Return what a restart needs to go on exactly here, (n_subjects, n_values)."""
        n = len(self._pieces)
        own = np.stack([self._n_held, self._added], axis=1)
        return np.concatenate([self._pieces.reshape(n, -1), own, self._before.state()], axis=1)

    def load_state(self, state: Floats) -> None:
        """Go on from `state()`."""
        size = self._pieces[0].size
        self._pieces = state[:, :size].reshape(self._pieces.shape).copy()
        self._n_held, self._added = state[:, size].copy(), state[:, size + 1].copy()
        self._before.load_state(state[:, size + 2 :])
        self._judge()
