"""How long the engine computes, by batch size."""

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from daemon.config import StagingConfig
from engines.bundle import Bundle
from engines.parity import random_epochs
from engines.select import open_engine

Call = Callable[[], object]

N_READ = StagingConfig().final_lag + 1
"""Slots of the window that are read, as the daemon does."""
_TURN = 10


def time_step(
    bundle: Bundle, kind: str, n_rows: int, n: int, threads: int = 1, hops_per_epoch: int = 1
) -> float:
    """Return the median time of one step of so many subjects, s."""
    with open_engine(
        bundle,
        kind,
        n_rows=n_rows,
        threads=threads,
        hops_per_epoch=hops_per_epoch,
        n_read=N_READ,
    ) as engine:
        engine.warm_up()
        epochs = random_epochs(np.random.default_rng(0), engine, n_rows)
        rows, valid = np.arange(n_rows), np.ones((n_rows, bundle.spec.n_modalities), bool)
        (times,) = time_in_turns((lambda: engine.step(epochs, rows, valid),), n)
    return float(np.median(times))


def time_in_turns(calls: Sequence[Call], n: int) -> NDArray[np.float64]:
    """Return the times of each call, (n_calls, n) s: what disturbs one disturbs the others too.

    Turns are of some calls, the first of which is not timed: each runs on a warm cache.
    """
    times = np.empty((len(calls), n))
    for first in range(0, n, _TURN):
        for i, call in enumerate(calls):
            call()
            for k in range(first, min(first + _TURN, n)):
                began = time.perf_counter()
                call()
                times[i, k] = time.perf_counter() - began
    return times
