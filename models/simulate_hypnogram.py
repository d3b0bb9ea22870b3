"""Semi-Markov hypnograms of mice: bout lengths and transitions as experts scored them."""

from functools import cache
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.errors import RecordingError

STATISTICS_FILE = Path(__file__).with_name("mouse_statistics.json")

_MIN_SHARE = 0.05  # of the recording, for a stage to count as shown
_MAX_DRAWS = 5000


class Statistics(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long mice stay in a stage, and where they go from there."""

    source: str
    """The scored recordings that this was fitted to."""
    n_records: int
    """Recordings used."""
    hours: float
    """Their total length, h."""
    time_fraction: dict[str, float]
    """Fraction of the time in each stage."""
    transitions: dict[str, dict[str, float]]
    """Probability of the next stage, by stage and next stage."""
    levels: tuple[float, ...]
    """Probabilities of the quantiles in `log_bout_s`, 0 to 1."""
    log_bout_s: dict[str, dict[str, tuple[float, ...]]]
    """Quantiles of the natural log of the bout length in s, by stage and next stage."""


@cache
def mouse_statistics() -> Statistics:
    """Return the packaged statistics, written by `models.fit_hypnograms`."""
    return msgspec.json.decode(STATISTICS_FILE.read_bytes(), type=Statistics)


def draw_hypnogram(
    rng: np.random.Generator,
    duration_s: int,
    *,
    time_scale: float = 1.0,
    every_stage: bool = False,
    statistics: Statistics | None = None,
) -> tuple[str, ...]:
    """Draw one mouse's hypnogram, one stage per second.

    The bout length is drawn given the stage and the one after it, so that, say, the NREM
    bouts that lead to REM are the longer ones. The recording starts inside a bout.

    Args:
        rng: the source of randomness.
        duration_s: seconds to draw.
        time_scale: divides every bout length; above 1 the sleep is faster than a mouse's.
        every_stage: draw again until each stage fills at least 5 % of the hypnogram.
        statistics: default: the packaged ones.

    Raises:
        RecordingError: `every_stage` was not reached, since `duration_s` is too short.
    """
    statistics = statistics or mouse_statistics()
    if not every_stage:
        return _draw(rng, duration_s, time_scale, statistics)
    for _ in range(_MAX_DRAWS):
        hypnogram = _draw(rng, duration_s, time_scale, statistics)
        shares = [hypnogram.count(stage) / duration_s for stage in statistics.transitions]
        if min(shares) >= _MIN_SHARE:
            return hypnogram
    raise RecordingError(
        f"expected {duration_s} s to have room for every stage, "
        f"found none such in {_MAX_DRAWS} hypnograms"
    )


def _draw(
    rng: np.random.Generator, duration_s: int, time_scale: float, statistics: Statistics
) -> tuple[str, ...]:
    stage = _choose(rng, statistics.time_fraction)
    seconds: list[str] = []
    while len(seconds) < duration_s:
        following = _choose(rng, statistics.transitions[stage])
        quantiles = statistics.log_bout_s[stage][following]
        bout_s = np.exp(np.interp(rng.random(), statistics.levels, quantiles)) / time_scale
        if not seconds:
            bout_s *= rng.random()
        n_seconds = max(1, round(bout_s))
        seconds += [stage] * min(n_seconds, duration_s - len(seconds))
        stage = following
    return tuple(seconds)


def _choose(rng: np.random.Generator, probabilities: dict[str, float]) -> str:
    edges = np.cumsum(list(probabilities.values()))
    i = int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))
    return list(probabilities)[i]


def find_bouts(hypnogram: tuple[str, ...]) -> list[tuple[int, int, str]]:
    """Return (onset, length, stage) of each bout, in epochs of the hypnogram."""
    names: NDArray[np.str_] = np.array(hypnogram)
    onsets = [0, *(np.flatnonzero(names[1:] != names[:-1]) + 1).tolist()]
    ends = [*onsets[1:], len(hypnogram)]
    return [(on, end - on, hypnogram[on]) for on, end in zip(onsets, ends, strict=True)]
