"""Hypnograms of simulated mice: a second-order semi-Markov chain that follows the day.

A bout is of one of seven kinds: a stage and how long it lasts. Its kind depends on the two kinds
before it (a mouse that just woke for long seldom goes to REM at once; short NREM between long
Wake leads back to Wake) and on the hour of the mouse's day; its length on its kind and the hour.
Every mouse has its own factors on both. All of it is fitted to real mice by
`models.fit.hypnograms.statistics`; docs/simulator.md says how near it comes.
"""

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from models.errors import RecordingError
from models.simulator.bouts import place_ends
from models.stages import MOUSE

STATISTICS_FILE = Path(__file__).with_name("statistics.json")


class BoutKind(msgspec.Struct, frozen=True):
    """A stage, and how many scored epochs a bout of it lasts."""

    stage: str
    name: str
    least: int
    most: int


KINDS = (
    BoutKind("Wake", "micro-arousal", 1, 4),  # to 16 s
    BoutKind("Wake", "short Wake", 5, 30),
    BoutKind("Wake", "long Wake", 31, 10**6),  # above 2 min
    BoutKind("NREM", "short NREM", 1, 10),
    BoutKind("NREM", "middling NREM", 11, 30),
    BoutKind("NREM", "long NREM", 31, 10**6),
    BoutKind("REM", "REM", 1, 10**6),
)

MEMORY_HOURS = 2.0
"""Over which wakefulness fades from a mouse's memory, h."""

_STAGE_OF_KIND = np.array([MOUSE.index(kind.stage) for kind in KINDS])
_MIN_SHARE = 0.05  # of the recording, for a stage to count as shown
_MAX_DRAWS = 5000
_N_MET = 64  # lengths among which the first bout's is chosen


class Statistics(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long mice stay in a stage, and where they go from there."""

    source: str
    """The scored recordings that this was fitted to."""
    n_mice: int
    """Mice used."""
    n_records: int
    """Recordings used."""
    hours: float
    """Their total length, h."""
    epoch_s: float
    """Length of the scored epochs, s: the unit of `KINDS` and of `log_epochs`."""
    time_fraction: dict[str, float]
    """Fraction of the time in each stage."""
    wake_by_hour: tuple[float, ...]
    """(24,) fraction of Wake in each hour of the day; rest is 0 to 12, activity 12 to 24."""
    occupancy: dict[str, dict[str, tuple[float, ...]]]
    """Fraction of the time in a kind after a kind, by previous, kind and part of the day."""
    transitions: dict[str, dict[str, dict[str, tuple[float, ...]]]]
    """Probability of the next kind, by previous kind, kind, next kind and part of the day."""
    levels: tuple[float, ...]
    """Probabilities of the quantiles in `log_epochs`, 0 to 1."""
    log_epochs: dict[str, tuple[tuple[float, ...], ...]]
    """Quantiles of the natural log of the bout length in epochs, by kind and part of the day."""
    mouse_factors: tuple[tuple[float, ...], ...]
    """(2 × kinds)²: root of the covariance between mice of the log rate of each kind and of the
    mean normal score of its lengths."""
    pressure: tuple[float, ...]
    """(2 × kinds,) how the same depend on the share of Wake lately above `wake_lately`."""
    memory_hours: float
    """Time over which "lately" fades, h."""
    wake_lately: tuple[float, ...]
    """Usual share of Wake lately, by part of the day."""
    centre: tuple[float, ...]
    """(2 × kinds,) that keeps all mice together at the rates and lengths as fitted."""
    spread: tuple[float, ...]
    """(kinds,) deviation of the normal score of the lengths within a mouse."""


@dataclass(frozen=True)
class _Tables:
    """The statistics as arrays, by part of the day first."""

    occupancy: NDArray[np.float64]
    """(parts, kinds before, kinds)."""
    transitions: NDArray[np.float64]
    """(parts, kinds before, kinds, next kinds)."""
    levels: NDArray[np.float64]
    log_epochs: NDArray[np.float64]
    """(parts, kinds, levels)."""
    wake_lately: NDArray[np.float64]
    """(parts,)."""
    pressure: NDArray[np.float64]
    centre: NDArray[np.float64]
    spread: NDArray[np.float64]
    mouse_factors: NDArray[np.float64]
    epoch_s: float
    memory_epochs: float


@cache
def mouse_statistics() -> Statistics:
    """Return the packaged statistics, written by `models.fit.hypnograms.statistics`."""
    return msgspec.json.decode(STATISTICS_FILE.read_bytes(), type=Statistics)


def draw_hypnogram(
    rng: np.random.Generator,
    duration_s: int,
    *,
    time_scale: float = 1.0,
    every_stage: bool = False,
) -> tuple[str, ...]:
    """Draw one mouse's hypnogram, one stage per second.

    The recording starts inside a bout. Real bouts are scored in epochs: each of their ends is
    moved by up to 2 s, so that scoring the hypnogram by majority in the same epochs gives the
    bouts as drawn, and yet the stage changes at any second.

    Args:
        rng: the source of randomness.
        duration_s: seconds to draw.
        time_scale: divides every bout length and the day; above 1 all is faster than a mouse's.
        every_stage: draw again until each stage fills at least 5 % of the hypnogram.

    Raises:
        RecordingError: `every_stage` was not reached, since `duration_s` is too short.
    """
    for _ in range(_MAX_DRAWS if every_stage else 1):
        stages = draw_stages(rng, duration_s, time_scale=time_scale)
        shares = np.bincount(stages, minlength=len(MOUSE)) / duration_s
        if not every_stage or shares.min() >= _MIN_SHARE:
            return tuple(np.array(MOUSE, dtype=object)[stages])
    raise RecordingError(
        f"expected {duration_s} s to have room for every stage, "
        f"found none such in {_MAX_DRAWS} hypnograms"
    )


def draw_stages(
    rng: np.random.Generator,
    duration_s: int,
    *,
    time_scale: float = 1.0,
    statistics: Statistics | None = None,
    start_hour: float | None = None,
) -> NDArray[np.intp]:
    """Return what `draw_hypnogram` does, as indices into `MOUSE`, (duration_s,).

    Args:
        rng: the source of randomness.
        duration_s: seconds to draw.
        time_scale: divides every bout length and the day.
        statistics: default: the packaged ones.
        start_hour: of the mouse's day at the first second: 0 to 12 is its half of rest, 12 to 24
            of activity. Default: any, drawn from `rng`.
    """
    tables = _packaged_tables() if statistics is None else _tabulate(statistics)
    hour = rng.uniform(0, 24) if start_hour is None else start_hour
    n_epochs = duration_s * time_scale / tables.epoch_s + 2  # 2: an end moves by half of one
    kinds, lengths = _draw_bouts(rng, n_epochs, tables, hour)
    seconds = place_ends(rng, lengths, tables.epoch_s) / time_scale
    n_seconds = np.maximum(1, np.rint(seconds)).astype(int)
    return np.repeat(_STAGE_OF_KIND[kinds], n_seconds)[:duration_s]


@cache
def _packaged_tables() -> _Tables:
    return _tabulate(mouse_statistics())


def _tabulate(statistics: Statistics) -> _Tables:
    index = {kind.name: i for i, kind in enumerate(KINDS)}
    log_epochs = np.array([statistics.log_epochs[kind.name] for kind in KINDS]).swapaxes(0, 1)
    shape = (len(log_epochs), len(KINDS), len(KINDS), len(KINDS))
    occupancy, transitions = np.zeros(shape[:3]), np.zeros(shape)
    for before, by_kind in statistics.occupancy.items():
        for kind, share in by_kind.items():
            occupancy[:, index[before], index[kind]] = share
            for following, chance in statistics.transitions[before][kind].items():
                transitions[:, index[before], index[kind], index[following]] = chance
    return _Tables(
        occupancy=occupancy,
        transitions=transitions,
        levels=np.array(statistics.levels),
        log_epochs=log_epochs,
        wake_lately=np.array(statistics.wake_lately),
        pressure=np.array(statistics.pressure),
        centre=np.array(statistics.centre),
        spread=np.array(statistics.spread),
        mouse_factors=np.array(statistics.mouse_factors),
        epoch_s=statistics.epoch_s,
        memory_epochs=statistics.memory_hours * 3600 / statistics.epoch_s,
    )


def _draw_bouts(
    rng: np.random.Generator, n_epochs: float, tables: _Tables, start_hour: float
) -> tuple[list[int], NDArray[np.int64]]:
    """Return the kind and the length in epochs of a mouse's bouts, `n_epochs` or more together."""
    n_parts = len(tables.occupancy)
    parts_per_epoch = n_parts * tables.epoch_s / (24 * 3600)
    start = start_hour / 24 * n_parts
    part = int(start) % n_parts
    mouse = tables.centre + tables.mouse_factors @ rng.standard_normal(len(tables.centre))
    awake = tables.wake_lately[part]
    before, kind = divmod(_choose(rng, tables.occupancy[part].ravel()), len(KINDS))
    kinds, lengths = [kind], [_draw_rest(rng, tables, mouse, part, kind)]
    total = lengths[0]
    while total < n_epochs:
        awake = _remember(awake, kind, lengths[-1], tables)
        part = int(start + total * parts_per_epoch) % n_parts
        effects = mouse + tables.pressure * (awake - tables.wake_lately[part])
        chances = tables.transitions[part, before, kind] * np.exp(effects[: len(KINDS)])
        before, kind = kind, _choose(rng, chances)
        length = int(_draw_lengths(rng, tables, effects, part, kind, 1)[0])
        kinds.append(kind)
        lengths.append(length)
        total += length
    return kinds, np.array(lengths)


def _remember(awake: float, kind: int, n_epochs: int, tables: _Tables) -> float:
    """Return the share of Wake lately after a bout: a mean that fades."""
    wake = float(KINDS[kind].stage == "Wake")
    return wake + (awake - wake) * math.exp(-n_epochs / tables.memory_epochs)


def _draw_lengths(
    rng: np.random.Generator,
    tables: _Tables,
    effects: NDArray[np.float64],
    part: int,
    kind: int,
    n: int,
) -> NDArray[np.float64]:
    scores = effects[len(KINDS) + kind] + tables.spread[kind] * rng.standard_normal(n)
    epochs = np.exp(np.interp(ndtr(scores), tables.levels, tables.log_epochs[part, kind]))
    return np.asarray(np.clip(np.rint(epochs), KINDS[kind].least, KINDS[kind].most))


def _draw_rest(
    rng: np.random.Generator, tables: _Tables, mouse: NDArray[np.float64], part: int, kind: int
) -> int:
    """Return what is left of a bout met at a random time: a long one is met more often."""
    lengths = _draw_lengths(rng, tables, mouse, part, kind, _N_MET)
    return int(rng.integers(1, lengths[_choose(rng, lengths)] + 1))


def _choose(rng: np.random.Generator, weights: NDArray[np.float64]) -> int:
    """Return an index drawn with these weights."""
    edges = np.cumsum(weights)
    return int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))
