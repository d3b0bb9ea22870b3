"""A subject's scored recording as a model sees it: conditioned epochs and their stages."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ScoredEpochs:
    """One recording of one subject, conditioned.

    Several recordings of a subject have the same name: whoever splits subjects splits by name.
    """

    name: str
    """The subject's."""
    epochs: NDArray[np.floating]
    """(n, M, n_inputs), what the net is given of each; float32, or float16 where memory counts."""
    stages: NDArray[np.int64]
    """(n,) index into the stage set, or `models.stages.UNSCORED`."""
    usable: NDArray[np.bool_]
    """(n, M), as the daemon finds it; where False, the samples do not matter."""
    scored_in: float = 1.0
    """Length of the epochs that the expert scored, in epochs: 4 where 1 s epochs got their stages
    from one of 4 s. It need not be whole, and is never below 1."""
    dataset: str = ""
    """Which data set it is of, where several are learnt from: what losses align between."""
    looks: NDArray[np.float64] | None = None
    """(n, M, features), what drift is measured from; see `models.signal.drift.Looks`."""
