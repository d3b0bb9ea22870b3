"""What nights of people have that the fitted ones lack: naps, insomnia, a recording begun late.

The shares and sizes are chosen, not fitted, as in `models.simulator.mouse.wide`; docs/simulator.md
lists them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.stages import HUMAN

_S = len(HUMAN)
_ENTER, _STAY = 0, _S  # where a stage's factors lie
_WAKE, _N1, _, _N3, _ = range(_S)
_NEVER = -20.0  # of a logit


@dataclass(frozen=True)
class Oddity:
    """How one night is unlike the fitted ones; by default it is not."""

    only_wake: bool = False
    """Nobody falls asleep."""
    begun_late: float = 0.0
    """Share of the night that is over when the recording begins."""
    nap_min: float | None = None
    """From sleep onset to the end of a nap, min; None: a night."""
    latency: float = 1.0
    """Factor on the time to sleep onset."""
    spread: float = 1.0
    """Factor on what nights have of their own."""
    shift: tuple[float, ...] = (0.0,) * (2 * _S)
    """(2 S,) added to it."""

    @property
    def lacks_stages(self) -> bool:
        """Whether a stage is missing on purpose."""
        return self.only_wake or self.nap_min is not None or min(self.shift) <= _NEVER


def draw_oddity(rng: np.random.Generator) -> Oddity:
    """Draw how one night is unlike the fitted ones; more than one thing may be."""
    if rng.random() < 0.05:
        return Oddity(only_wake=True)
    shift: NDArray[np.float64] = np.zeros(2 * _S)
    latency = 1.0
    if rng.random() < 0.12:  # insomnia
        shift[[_ENTER + _WAKE, _STAY + _WAKE]] += rng.uniform(0.3, 1.2, 2)
        latency = rng.uniform(1.0, 4.0)
    if rng.random() < 0.12:  # sleep that is broken again and again, as by apnoea
        shift[[_ENTER + _WAKE, _ENTER + _N1]] += rng.uniform(0.5, 1.5, 2)
    deep = rng.random()
    if deep < 0.12:  # old age
        shift[_ENTER + _N3] += _NEVER
    elif deep < 0.27:  # youth, or an expert who sees much N3
        shift[[_ENTER + _N3, _STAY + _N3]] += rng.uniform(0.2, 1.2, 2)
    is_nap, is_late = rng.random(2) < (0.08, 0.1)
    return Oddity(
        begun_late=float(rng.uniform(0.1, 0.8)) if is_late else 0.0,
        nap_min=float(rng.uniform(10.0, 120.0)) if is_nap else None,
        latency=latency,
        spread=1.3,
        shift=tuple(shift.tolist()),
    )
