"""What the next stage of a night depends on, and the values between which its curves are drawn."""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.stages import HUMAN

WAKE, N1, N2, N3, REM = range(len(HUMAN))
KNOTS: dict[str, tuple[int, ...]] = {
    "night": (0, 120, 240, 420, 600, 840),
    "stay": (1, 2, 3, 6, 15, 40, 100),
    "since_rem": (0, 1, 4, 15, 40, 80, 120, 180, 300),
    "rem": (0, 1, 6, 20, 50, 90),
    "deep": (0, 1, 10, 30, 80),
    "awake": (0, 1, 4, 10, 20),
    "before": tuple(range(len(HUMAN))),
}
"""By field of `History`: the values, in epochs, between which its curve is straight, and beyond
which it is level. `before` is a stage, each with a value of its own."""

REM_GAP = 30
"""So many epochs without REM, 15 min, end a REM period: Feinberg & Floyd 1979,
doi:10.1111/j.1469-8986.1979.tb02991.x."""

_LATELY = 20  # epochs


@dataclass
class History:
    """What the next stage depends on: counts of epochs since sleep onset."""

    stage: int
    """The present one."""
    before: int = WAKE
    """The stage before the present bout."""
    night: int = 0
    """Since sleep onset."""
    stay: int = 1
    """In the present bout."""
    since_rem: int = 0
    """Since the last epoch of REM, or sleep onset; 0 in REM."""
    rem: int = 0
    """REM of the present REM period, or the last one."""
    deep: int = 0
    """N3 since the last epoch of REM."""

    def __post_init__(self) -> None:
        self._lately: deque[bool] = deque([False] * _LATELY, _LATELY)
        self.awake = 0
        """Wake among the last 20."""

    def step(self, stage: int) -> None:
        """Go on to the next epoch."""
        if stage == self.stage:
            self.stay += 1
        else:
            self.before, self.stay = self.stage, 1
        self.awake += (stage == WAKE) - self._lately[0]
        self._lately.append(stage == WAKE)
        self.night += 1
        if stage == REM:
            self.rem = 1 if self.since_rem >= REM_GAP or self.rem == 0 else self.rem + 1
            self.since_rem = self.deep = 0
        else:
            self.since_rem += 1
            self.deep += stage == N3
        self.stage = stage


def tabulate(name: str) -> NDArray[np.float64]:
    """Return what each knot weighs at each value of a field of `History`, (values, knots)."""
    knots = KNOTS[name]
    return np.array([np.interp(range(knots[-1] + 1), knots, row) for row in np.eye(len(knots))]).T
