"""Hypnograms of simulated people: which stage the next 30 s have follows from the night so far.

A multinomial logit of the next stage, staying in the present one included: a discrete-time model
of competing risks (Singer & Willett 1993, doi:10.3102/10769986018002155). Its terms are curves of
what `History` counts: the time since sleep onset (N3 early, REM late), in the bout, since REM
(the cycle of 90 min) and what the cycle had of N3 and REM, how much Wake there was lately, and
the stage before the bout. Each night has factors of its own on how often a stage is entered and
left. Before sleep onset and after the last awakening there is Wake, as long as in the fitted
nights. `models.fit.hypnograms.people` fitted it; docs/simulator.md says how near it comes.

S: stages.
"""

from functools import cache
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.errors import RecordingError
from models.simulator.bouts import place_ends
from models.simulator.human.history import KNOTS, WAKE, History, tabulate
from models.simulator.human.odd_nights import Oddity, draw_oddity
from models.stages import HUMAN

NIGHTS_FILE = Path(__file__).with_name("hypnograms.json")

_MIN_SHARE = 0.02  # of the recording, for a stage to count as shown: many nights have 3 % of N1
_MAX_DRAWS = 300
_AS_FITTED = Oddity()

Array = NDArray[np.float64]


class Nights(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the nights of people go on; see the module."""

    source: str
    """The scored nights that this was fitted to."""
    n_subjects: int
    """People used."""
    n_nights: int
    """Nights used."""
    epoch_s: float
    """Length of an epoch, s."""
    curves: dict[str, tuple[tuple[tuple[float, ...], ...], ...]]
    """(knots, S, S) by name of `KNOTS`: its share in the logit of the next stage (last), by the
    present one."""
    factors: tuple[tuple[float, ...], ...]
    """(2 S, 2 S): root of the covariance between nights of what is added to the logit of entering
    each stage, then of staying in it."""
    first: tuple[float, ...]
    """(S,) share of nights whose sleep begins with each stage."""
    latency_min: tuple[float, ...]
    """Quantiles, evenly spaced, of the time from the start to sleep onset, min."""
    sleep_min: tuple[float, ...]
    """The same from sleep onset to the last epoch of sleep."""
    awake_min: tuple[float, ...]
    """The same from there to the end."""


@cache
def human_nights() -> Nights:
    """Return the packaged fit, written by `models.fit.hypnograms.people`."""
    return msgspec.json.decode(NIGHTS_FILE.read_bytes(), type=Nights)


def draw_hypnogram(
    rng: np.random.Generator,
    duration_s: int,
    *,
    time_scale: float = 1.0,
    every_stage: bool = False,
    wide: bool = False,
    nights: Nights | None = None,
    start_s: float | None = None,
) -> tuple[str, ...]:
    """Draw a hypnogram of a person's night, one stage per second.

    A recording that is shorter than the night begins anywhere in it; a longer one has Wake before
    and after it. Ends of bouts are moved by up to 15 s, so that scoring the hypnogram by majority
    in the night's epochs of 30 s gives the epochs as drawn, and yet the stage changes at any
    second.

    Args:
        rng: the source of randomness.
        duration_s: seconds to draw.
        time_scale: divides every bout length and the night; above 1 all is faster than people's.
        every_stage: choose a night, and where in it to begin, so that each stage fills at least
            2 % of the hypnogram.
        wide: let nights differ as `models.simulator.human.odd_nights` says; those that have a
            stage missing on purpose lack it, whatever `every_stage` says.
        nights: default: the packaged ones.
        start_s: of the night at the first second, from the start of the recording that was fitted:
            0 is the evening. Default: any, drawn from `rng`.

    Raises:
        RecordingError: `every_stage` was not reached, since `duration_s` is too short.
    """
    oddity = draw_oddity(rng) if wide else _AS_FITTED
    n = round(duration_s * time_scale)
    for _ in range(_MAX_DRAWS):
        night = draw_night(rng, nights, oddity)
        night = _surround(rng, night, n, start_s)
        begins = np.arange(len(night) - n + 1) if start_s is None else np.array([round(start_s)])
        if every_stage and not oddity.lacks_stages:
            begins = begins[_shows_all(night, n, begins)]
        if len(begins):
            begin = int(rng.choice(begins))
            kept = np.floor(begin + np.arange(duration_s) * time_scale).astype(int)
            return tuple(np.array(HUMAN, dtype=object)[night[kept]])
    raise RecordingError(
        f"expected {duration_s} s to have room for every stage, "
        f"found none such in {_MAX_DRAWS} nights"
    )


def draw_night(
    rng: np.random.Generator, nights: Nights | None = None, oddity: Oddity = _AS_FITTED
) -> NDArray[np.intp]:
    """Draw a whole recorded night, from the evening to the morning.

    Args:
        rng: the source of randomness.
        nights: default: the packaged ones.
        oddity: how this night is unlike them.

    Returns:
        (n_seconds,) index of each second's stage.
    """
    tables = _packaged_tables() if nights is None else _tabulate(nights)
    nights = nights or human_nights()
    latency, asleep, awake = (
        round(60 / nights.epoch_s * np.interp(rng.random(), np.linspace(0, 1, len(table)), table))
        for table in (nights.latency_min, nights.sleep_min, nights.awake_min)
    )
    if oddity.nap_min is not None:
        asleep = round(60 / nights.epoch_s * oddity.nap_min)
    sleep = _draw_sleep(rng, nights, tables, oddity, max(1, asleep))
    epochs = np.pad(np.array(sleep), (round(oddity.latency * latency), awake))
    onsets = np.flatnonzero(np.diff(epochs, prepend=-1))
    lengths = np.diff(onsets, append=len(epochs))
    seconds = np.rint(place_ends(rng, lengths, nights.epoch_s)).astype(int)
    night = np.repeat(epochs[onsets], seconds)
    if oddity.only_wake:
        night[:] = WAKE
    return night[round(oddity.begun_late * len(night)) :]


@cache
def _packaged_tables() -> dict[str, Array]:
    return _tabulate(human_nights())


def _tabulate(nights: Nights) -> dict[str, Array]:
    """Return each curve at each value up to its last knot, (values, S, S)."""
    return {name: np.tensordot(tabulate(name), nights.curves[name], 1) for name in KNOTS}


def _draw_sleep(
    rng: np.random.Generator,
    nights: Nights,
    tables: dict[str, Array],
    oddity: Oddity,
    n_epochs: int,
) -> list[int]:
    """Return the stage of each epoch from sleep onset to the last epoch of sleep."""
    own = oddity.spread * (np.array(nights.factors) @ rng.standard_normal(2 * len(HUMAN)))
    by_stage = add_factors(own + oddity.shift)
    history = History(_choose(rng, np.array(nights.first)))
    stages = [history.stage]
    while len(stages) < n_epochs:
        logits = by_stage[history.stage].copy()
        for name, table in tables.items():
            logits += table[min(getattr(history, name), len(table) - 1), history.stage]
        history.step(_choose(rng, np.exp(logits - logits.max())))
        stages.append(history.stage)
    return stages


def add_factors(own: Array) -> Array:
    """Return what a night's own factors add to the logits, (S, S) by present and next stage.

    Args:
        own: (2 S,) of entering each stage, then of staying in it.
    """
    enter, stay = np.split(own, 2)
    return np.where(np.eye(len(enter), dtype=bool), stay, enter)


def _surround(
    rng: np.random.Generator, night: NDArray[np.intp], n: int, start_s: float | None
) -> NDArray[np.intp]:
    """Return the night with as much Wake around it as the recording has room for."""
    missing = max(0, n + round(start_s or 0) - len(night))
    ahead = int(rng.integers(missing + 1)) if start_s is None else 0
    return np.pad(night, (ahead, missing - ahead), constant_values=WAKE)


def _shows_all(night: NDArray[np.intp], n: int, begins: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return from which seconds on a recording of `n` s has enough of each stage."""
    sums = np.cumsum(np.eye(len(HUMAN), dtype=np.int64)[night], axis=0)
    sums = np.concatenate([np.zeros_like(sums[:1]), sums])
    return np.asarray((sums[begins + n] - sums[begins]).min(axis=1) >= _MIN_SHARE * n)


def _choose(rng: np.random.Generator, weights: Array) -> int:
    """Return an index drawn with these weights."""
    edges = np.cumsum(weights)
    return int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))
