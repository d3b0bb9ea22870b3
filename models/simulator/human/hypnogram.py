"""Hypnograms of simulated people: which stage each second has.

A first-order chain of stages in epochs of 30 s, with the transitions that experts scored.
"""

import numpy as np

from models.errors import RecordingError
from models.stages import HUMAN

_EPOCH_S = 30
_MIN_SHARE = 0.03
_MAX_DRAWS = 5000
_TRANSITIONS = np.array(
    [  # from W, N1, N2, N3, REM (rows) to these, of an epoch: 208 nights of BOAS and Dreem Open
        (0.8493, 0.1341, 0.0106, 0.0, 0.0060),
        (0.1232, 0.4379, 0.4108, 0.0006, 0.0275),
        (0.0272, 0.0171, 0.9259, 0.0215, 0.0082),
        (0.0112, 0.0022, 0.0874, 0.8987, 0.0006),
        (0.0210, 0.0104, 0.0107, 0.0, 0.9578),
    ]
)


def draw_hypnogram(
    rng: np.random.Generator, duration_s: int, *, every_stage: bool = False, wide: bool = False
) -> tuple[str, ...]:
    """Draw one person's hypnogram, one stage per second.

    Args:
        rng: the source of randomness.
        duration_s: seconds to draw.
        every_stage: draw again until each stage fills at least 3 % of the hypnogram.
        wide: start in any stage.

    Raises:
        RecordingError: `every_stage` was not reached, since `duration_s` is too short.
    """
    n_epochs = -(-duration_s // _EPOCH_S) + 1
    edges = np.cumsum(_TRANSITIONS, axis=1)
    for _ in range(_MAX_DRAWS if every_stage else 1):
        index = [int(rng.integers(5)) if wide or every_stage else 0]
        for luck in rng.random(n_epochs - 1).tolist():
            index.append(int(np.searchsorted(edges[index[-1]], luck * edges[index[-1], -1])))
        begin = int(rng.integers(_EPOCH_S))
        seconds = np.repeat(index, _EPOCH_S)[begin : begin + duration_s]
        if not every_stage or np.bincount(seconds, minlength=5).min() >= _MIN_SHARE * duration_s:
            return tuple(np.array(HUMAN, dtype=object)[seconds])
    raise RecordingError(
        f"expected {duration_s} s to have room for every stage, "
        f"found none such in {_MAX_DRAWS} hypnograms"
    )
