"""What a sleeping or waking brain does from second to second, given its stages.

Stages are a scorer's summary of 30 s; within one the brain goes to and fro. These tracks say how:
how far one stage has gone over into the next, how deep the slow waves are, whether the eyes are
closed, where sleep is disturbed by an arousal. Sleep pressure is Process S (Borbély 1982, Hum
Neurobiol 1:195).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.simulator.human.person import Person
from models.simulator.noise import Track, wander
from models.simulator.recording import Event
from models.stages import HUMAN

W, N1, N2, N3, REM = range(len(HUMAN))

_BLEND_S = 2.0  # SD of a change from one state to the next
_DEPTH_S = 25.0  # SD over which slow waves grow and fade between N2 and N3
_DEPTH = (0.02, 0.08, 0.0, 0.9, 0.03)  # of slow waves by stage; N2's is the person's own
_TIRED_S = 9000.0  # of NREM, in which sleep pressure falls to 1/e (Borbély 1982)
_CLOSED_BEFORE_S = 90  # so long before N1 the eyes are closed
_AROUSALS = np.array([0.0, 1.5, 1.0, 0.35, 0.8])  # a stage's over N2's
_AROUSAL_S = (3.0, 15.0)  # AASM: at least 3 s; above 15 s a stage of its own
_STIR_S = 12  # for which who just woke moves about


@dataclass(frozen=True)
class Tracks:
    """What the signals follow, second by second; each (n_seconds,) unless said otherwise."""

    stages: NDArray[np.float64]
    """(n_seconds, 5) share of each stage, as the brain has it: N1 goes to and fro."""
    scored: NDArray[np.int64]
    """The stage of the hypnogram, an index into `HUMAN`."""
    depth: Track
    """Slow waves, of those of typical N3."""
    closed: Track
    """1 where the eyes are closed, 0 where open; W only."""
    moving: Track
    """0 to 1, gross movement."""
    arousal: Track
    """0 to 1, within arousals from sleep."""
    phasic: Track
    """0 to 1, phasic REM."""
    arousals: tuple[Event, ...]


def draw_tracks(rng: np.random.Generator, hypnogram: tuple[str, ...], person: Person) -> Tracks:
    """Draw one night's tracks.

    Args:
        rng: the source of randomness.
        hypnogram: one stage per second.
        person: whose night it is.
    """
    scored = np.array([HUMAN.index(stage) for stage in hypnogram])
    n = len(scored)
    arousals = _draw_arousals(rng, scored, person)
    arousal = np.zeros(n)
    for event in arousals:
        arousal[round(event.onset_s) : round(event.onset_s + event.duration_s)] = 1.0
    arousal = _smooth(arousal, 0.7)
    stages = _shares(_wavering(rng, scored))
    closed = _closed_eyes(rng, scored, person)
    moving = _movement(rng, scored, arousal, person)
    phasic = (wander(rng, n, 12.0) < person.phasic) & (scored == REM)
    return Tracks(
        stages=stages,
        scored=scored,
        depth=_depth(rng, scored, person) * (1 - 0.8 * arousal),
        closed=closed * stages[:, W],
        moving=moving,
        arousal=arousal,
        phasic=_smooth(phasic.astype(float), 0.7),
        arousals=arousals,
    )


def bouts(index: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (start, end) of each run of equal values, (n_bouts, 2)."""
    starts = np.append(0, np.flatnonzero(np.diff(index)) + 1)
    return np.stack([starts, np.append(starts[1:], len(index))], axis=1)


def _smooth(x: Track, sd_s: float) -> Track:
    return np.asarray(ndimage.gaussian_filter1d(x, sd_s, axis=0, mode="nearest"))


def _shares(index: NDArray[np.int64]) -> NDArray[np.float64]:
    exact = (index[:, None] == np.arange(len(HUMAN))).astype(float)
    return _smooth(exact, _BLEND_S)


def _wavering(rng: np.random.Generator, scored: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the state of each second: within an epoch it is not always that of the stage.

    N1 has W's alpha or N2's background for seconds; drowsy W has N1 for seconds.
    """
    index = scored.copy()
    z = wander(rng, len(scored), 5.0)
    index[(scored == N1) & (z > 1.2)] = W
    index[(scored == N1) & (z < -1.5)] = N2
    index[(scored == W) & (z < -1.8)] = N1
    index[(scored == N2) & (z > 2.0)] = N1
    return index


def _depth(rng: np.random.Generator, scored: NDArray[np.int64], person: Person) -> Track:
    """Return the depth of slow waves: falling over the night, growing towards N3 and fading."""
    n = len(scored)
    nrem = np.isin(scored, (N2, N3))
    target = np.array(_DEPTH)
    target[N2] = person.light
    pressure = 0.85 + 0.35 * np.exp(np.cumsum(nrem) / -_TIRED_S)
    depth = _smooth(target[scored], _DEPTH_S)
    depth *= np.exp(0.25 * wander(rng, n, 60.0) + 0.12 * wander(rng, n, 8.0)) * pressure
    held = np.where(scored == N3, np.maximum(depth, 0.55), depth)
    held = np.where(scored == N2, np.minimum(held, 0.55), held)
    awake = _smooth(np.isin(scored, (W, N1, REM)).astype(float), 1.5)
    return np.asarray(held + awake * (target[scored] - held))


def _closed_eyes(rng: np.random.Generator, scored: NDArray[np.int64], person: Person) -> Track:
    """Return 1 where the eyes of who is awake are closed: in spells, and before falling asleep."""
    closed = wander(rng, len(scored), 90.0) < person.closed
    for start, end in bouts(scored):
        if scored[start] == W and end < len(scored) and scored[end] == N1:
            closed[max(start, end - _CLOSED_BEFORE_S) : end] = True
    return _smooth(closed.astype(float), 0.7)


def _movement(
    rng: np.random.Generator, scored: NDArray[np.int64], arousal: Track, person: Person
) -> Track:
    """Return gross movement: in spells awake, on waking, and with a third of arousals."""
    n = len(scored)
    moving = (wander(rng, n, 7.0) < person.restless) & (scored == W)
    for start, end in bouts(scored):
        if scored[start] == W and start > 0:
            moving[start : min(end, start + int(rng.integers(3, _STIR_S)))] = True
    stirred = (arousal > 0.5) & (wander(rng, n, 20.0) > 0.4)
    return _smooth((moving | stirred).astype(float), 0.8) * rng.uniform(0.4, 1.0)


def _draw_arousals(
    rng: np.random.Generator, scored: NDArray[np.int64], person: Person
) -> tuple[Event, ...]:
    """Draw arousals: at random, and in some people every half minute for a while."""
    rate = person.arousals * _AROUSALS[scored] / 3600
    onsets = np.flatnonzero(rng.random(len(scored)) < rate).tolist()
    if person.apnoea > -5:
        spells = wander(rng, len(scored), 600.0) < person.apnoea
        at = np.cumsum(rng.normal(person.apnoea_s, 5.0, len(scored) // 15).clip(15.0)).astype(int)
        at = at[at < len(scored)]
        onsets += at[spells[at] & np.isin(scored[at], (N1, N2, REM))].tolist()
    events: list[Event] = []
    free_from = 0.0
    for onset in sorted(onsets):
        length = float(np.clip(6.0 * np.exp(rng.normal(0.0, 0.45)), *_AROUSAL_S))
        stop = min(round(onset + length), len(scored))
        if onset >= free_from and (scored[onset:stop] != W).all():
            events.append(Event(float(onset), length, "arousal"))
            free_from = onset + length + 10.0
    return tuple(events)
