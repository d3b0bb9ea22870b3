"""The bouts of scored records: their kind, length, part of the day and the wakefulness before."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.fit.hypnograms.scored_mice import EPOCHS_PER_HOUR, WAKE, MouseRecord, hours_of_day
from models.recordings.bouts import find_runs
from models.simulator.mouse.hypnogram import KINDS, MEMORY_HOURS
from models.stages import MOUSE

N_PARTS = 12  # of the day, 2 h each
N_KINDS = len(KINDS)

_WAKE, _REM = MOUSE.index("Wake"), MOUSE.index("REM")
_STAGES = np.array([MOUSE.index(kind.stage) for kind in KINDS])


@dataclass(frozen=True)
class Bouts:
    """The bouts of one record that neither end of it cuts."""

    mouse: str
    kinds: NDArray[np.intp]
    """(n_bouts,) indices into `KINDS`."""
    epochs: NDArray[np.int64]
    """(n_bouts,) lengths in epochs."""
    parts: NDArray[np.intp]
    """(n_bouts,) part of the day of the onset, below `N_PARTS`."""
    awake: NDArray[np.float64]
    """(n_bouts,) share of Wake lately, at the onset, fading over `MEMORY_HOURS`."""

    def transitions(self) -> tuple[NDArray[np.intp], ...]:
        """Return part of the day, kind before, kind, next kind and index of each next bout."""
        before, kind, following = self.kinds[:-2], self.kinds[1:-1], self.kinds[2:]
        kept = is_possible(before, kind) & is_possible(kind, following)
        where = np.arange(2, len(self.kinds))
        return tuple(x[kept] for x in (self.parts[2:], before, kind, following, where))


def is_possible(before: NDArray[np.intp], after: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return whether a kind may follow another.

    Wake to REM, 1 of 500 ends of Wake, is taken for a scorer's slip.
    """
    before, after = _STAGES[before], _STAGES[after]
    return np.asarray((before != after) & ~((before == _WAKE) & (after == _REM)))


def cut_bouts(record: MouseRecord, start: float, wake_at_start: float) -> Bouts:
    """Return the whole bouts of a record.

    Args:
        record: the record.
        start: hour of the day at which it starts.
        wake_at_start: share of Wake lately at its start, which is not known and soon forgotten.
    """
    onsets, lengths = find_runs(record.codes)
    stages = record.codes[onsets].astype(int) - 1
    kinds = np.zeros(len(onsets), np.intp)
    for k, kind in enumerate(KINDS):
        kinds[(stages == _STAGES[k]) & (lengths >= kind.least)] = k  # the longer come later
    parts = (hours_of_day(record.codes, start)[onsets] * N_PARTS / 24).astype(np.intp)
    awake = _wake_lately(record.codes[onsets] == WAKE, lengths, wake_at_start)
    whole = slice(1, -1)
    return Bouts(record.mouse, kinds[whole], lengths[whole], parts[whole], awake[whole])


def _wake_lately(
    is_wake: NDArray[np.bool_], lengths: NDArray[np.int64], at_start: float
) -> NDArray[np.float64]:
    """Return the fading mean of wakefulness at each bout's onset, (n_bouts,)."""
    kept = np.exp(-lengths / (MEMORY_HOURS * EPOCHS_PER_HOUR)).tolist()
    awake = [at_start]
    for wake, share in zip(is_wake.tolist(), kept, strict=True):
        awake.append(wake + (awake[-1] - wake) * share)
    return np.array(awake[:-1])
