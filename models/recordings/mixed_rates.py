"""A slower channel at the rate of a faster one, so that both are samples of one recording.

Interpolation by a windowed sinc over its neighbours keeps what a slower channel holds up to 0.44 of
its rate and adds nothing above. It looks ahead, which a file allows: nothing is shifted in time.
"""

from functools import lru_cache
from math import gcd

import numpy as np
from numpy.typing import NDArray

REACH = 16
"""So many samples before and after its time give a new one."""
_BETA = 6.0  # of the Kaiser window: what is above half the rate is 60 dB down


def interpolate(
    x: NDArray[np.float64],
    first: int,
    wanted: NDArray[np.int64],
    ratio: tuple[int, int],
    run: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> NDArray[np.float32]:
    """Return a channel at a higher rate; sample k of it is at k · slow / fast of the old ones.

    No new sample is beyond the old ones around it, so what was clipped stays at one value; it costs
    a peak between two samples its tip.

    Args:
        x: (n,), some of its samples, with REACH of them around each that is wanted, if there are.
        first: number of the first of these in the recording.
        wanted: (n_wanted,), numbers of the new samples.
        ratio: samples of the slow and of the fast channel in the same time.
        run: (n_wanted,) twice, numbers of the first and last old sample in one piece with each; at
            its ends the outermost one is held.

    Returns:
        (n_wanted,), each by itself: any division into calls gives the same.
    """
    slow, fast = ratio
    at, rest = np.divmod(wanted * slow, fast)
    step = gcd(slow, fast)
    taps = _taps(fast // step)[rest // step]
    total = np.zeros(len(wanted))
    low, high = np.full(len(wanted), np.inf), np.full(len(wanted), -np.inf)
    for i, offset in enumerate(range(1 - REACH, REACH + 1)):
        near = x[np.clip(at + offset, *run) - first]
        total += taps[:, i] * near
        np.minimum(low, near, out=low)
        np.maximum(high, near, out=high)
    return np.clip(total, low, high).astype(np.float32)


@lru_cache(4)
def _taps(n_phases: int) -> NDArray[np.float64]:
    """Return the weights of the samples around a time, (n_phases, 2 · REACH); they sum to 1."""
    phase = np.arange(n_phases)[:, None] / n_phases
    distance = phase - np.arange(1 - REACH, REACH + 1)
    window = np.i0(_BETA * np.sqrt(np.maximum(0.0, 1 - (distance / REACH) ** 2)))
    taps = np.where(distance == 0, 1.0, np.sinc(distance)) * window
    taps[0] = distance[0] == 0  # the old samples stay what they are
    weights: NDArray[np.float64] = taps / taps.sum(axis=1, keepdims=True)
    return weights
