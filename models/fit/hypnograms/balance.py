"""Give simulated mice together the rates and lengths of bouts of the mice that were fitted.

Each part of the model is fitted with the rest held as it was in real mice. Played together they
drift: mice that wake for long more often do so for less long, and who is asleep more has less
pressure to sleep. A few rounds of simulating, scoring and comparing take the drift away (the
method of simulated moments: McFadden, Econometrica 57:995, 1989, doi:10.2307/1913621).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.fit.hypnograms.scored_bouts import N_KINDS, Bouts, cut_bouts
from models.fit.hypnograms.scored_mice import MouseRecord, score_epochs
from models.fit.hypnograms.variation import normal_scores
from models.simulator.mouse.hypnogram import KINDS, Statistics, draw_stages

_N_COHORTS = 3  # a round, each of as many mice and hours as were fitted
_SEED = 0


@dataclass(frozen=True)
class _Moments:
    log_counts: NDArray[np.float64]
    means: NDArray[np.float64]
    """(kinds,) of the normal score of the lengths."""
    deviations: NDArray[np.float64]
    """(kinds,) of the same."""


def balance(
    statistics: Statistics,
    records: Sequence[MouseRecord],
    starts: Sequence[float],
    bouts: Sequence[Bouts],
    n_rounds: int,
) -> Statistics:
    """Return the statistics with `centre` and `spread` set.

    Args:
        statistics: as fitted.
        records: the records of the fit; simulated ones have their lengths.
        starts: hour of the day at which each starts.
        bouts: theirs.
        n_rounds: rounds of simulating.
    """
    wanted = _moments(bouts, statistics)
    for n in range(n_rounds):
        step = 2 / (2 + n)  # ever smaller: later rounds average the chance of earlier ones away
        rng = np.random.default_rng([_SEED, n])
        simulated: list[Bouts] = []
        for _ in range(_N_COHORTS):
            cohort = [
                simulate_like(rng, record, start, statistics)
                for record, start in zip(records, starts, strict=True)
            ]
            simulated += cut_all(cohort, starts, statistics.wake_by_hour)
        found = _moments(simulated, statistics)
        statistics = _move(statistics, wanted, found, step)
    return statistics


def _move(statistics: Statistics, wanted: _Moments, found: _Moments, step: float) -> Statistics:
    more = wanted.log_counts - found.log_counts + np.log(_N_COHORTS)
    longer = wanted.means - found.means
    centre = np.array(statistics.centre) + step * np.concatenate([more, longer])
    spread = np.array(statistics.spread) * (wanted.deviations / found.deviations) ** step
    return msgspec.structs.replace(
        statistics,
        centre=tuple(centre.round(4).tolist()),
        spread=tuple(spread.round(4).tolist()),
    )


def simulate_like(
    rng: np.random.Generator, record: MouseRecord, start: float, statistics: Statistics
) -> MouseRecord:
    """Return a simulated mouse's record as long as a real one that starts at the same hour."""
    n_seconds = round(len(record.codes) * statistics.epoch_s)
    stages = draw_stages(rng, n_seconds, statistics=statistics, start_hour=start)
    return MouseRecord(record.mouse, record.lab, score_epochs(stages))


def cut_all(
    records: Sequence[MouseRecord], starts: Sequence[float], wake_by_hour: Sequence[float]
) -> list[Bouts]:
    """Return the whole bouts of each record."""
    return [
        cut_bouts(record, start, wake_by_hour[int(start) % 24])
        for record, start in zip(records, starts, strict=True)
    ]


def _moments(bouts: Sequence[Bouts], statistics: Statistics) -> _Moments:
    kinds, epochs, parts = (
        np.concatenate([getattr(record, name) for record in bouts])
        for name in ("kinds", "epochs", "parts")
    )
    log_epochs = np.array([statistics.log_epochs[kind.name] for kind in KINDS])
    scores = normal_scores(epochs, log_epochs[kinds, parts], np.array(statistics.levels))
    of_kind = [scores[kinds == kind] for kind in range(N_KINDS)]
    return _Moments(
        log_counts=np.log([len(found) for found in of_kind]),
        means=np.array([found.mean() for found in of_kind]),
        deviations=np.array([found.std() for found in of_kind]),
    )
