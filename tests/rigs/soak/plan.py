"""What goes wrong in a soak, when, and how many epochs there must be all the same."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tools.replay.fault_plan import Fault, FaultPlan, draw_storm

MARGIN_S = 30.0
"""No fault so near to the beginning or the end: the first and the last sample must be sent."""
APART_S = 45.0
"""From a kill to a fault that it would hide; more than is on its way to a reader."""
_DELIVERY = ("gap", "drop", "freeze", "duplicate", "reorder")
_TIMING = ("bunch", "jitter", "clock-jump", "drift")
_HIDEABLE = ("gap", "drop", "freeze", "clock-jump")
_CLOCK_APART_S = 15.0
_TWICE_S = 1.5  # 1.75 s of samples in a row from the past are a clock that was set back


@dataclass(frozen=True, slots=True)
class SoakPlan:
    """A whole soak, a function of its seed."""

    duration_s: float
    """Of each stream, s."""
    storms: tuple[tuple[Fault, ...], ...]
    """Of each stream, in order."""
    kills: tuple[int, ...]
    """Times from which on the daemon is killed, as soon as it `may_kill`, in order, s."""
    naps: tuple[int, ...]
    """Times at which the subscriber falls asleep, in order, s."""


def draw_plan(
    seed: int,
    hours: float,
    ch_names: Sequence[str],
    *,
    n_streams: int,
    n_kills: int,
    storm_per_h: float,
    hop_s: float = 1.0,
) -> SoakPlan:
    """Draw what goes wrong.

    Args:
        seed: of everything.
        hours: length of each stream.
        ch_names: of each stream.
        n_streams: with a storm of its own each.
        n_kills: of the daemon; the subscriber falls asleep as often.
        storm_per_h: faults of each stream in an hour, on average.
        hop_s: from one epoch to the next, s.
    """
    rng = np.random.default_rng([seed, 1])
    asked_s = 3600.0 * hours
    storms = []
    for k in range(n_streams):
        plan = FaultPlan((), storm_per_h, seed + k)
        drawn = [f for hour in range(math.ceil(hours)) for f in draw_storm(plan, hour, ch_names)]
        storms.append(_tamed(drawn, asked_s - MARGIN_S))
    return SoakPlan(
        duration_s=_mid_hop(asked_s, storms, hop_s),
        storms=tuple(storms),
        kills=_draw_moments(rng, n_kills, asked_s),
        naps=_draw_moments(rng, n_kills, asked_s),
    )


def expected_epochs(
    plan: SoakPlan, storm: Sequence[Fault], epoch_s: float = 1.0, hop_s: float = 1.0
) -> int:
    """Return how many whole epochs, one a hop, lie between a stream's first and last sample.

    Only what a clock has gained lengthens its time; one that is set back is found out.
    """
    return math.floor((plan.duration_s + _gained(storm) - epoch_s + hop_s) / hop_s)


def as_argument(fault: Fault) -> str:
    """Return the argument of `hypnod replay --fault`."""
    channel = f":{fault.channel}" if fault.channel else ""
    return f"{fault.kind}={fault.amount:g}@{fault.start:.3f}+{fault.duration:.3f}{channel}"


def _gained(storm: Sequence[Fault]) -> float:
    jumps = sum(f.amount for f in storm if f.kind == "clock-jump" and f.amount > 0)
    return jumps + sum(f.amount * 1e-6 * f.duration for f in storm if f.kind == "drift")


def _mid_hop(asked_s: float, storms: Sequence[Sequence[Fault]], hop_s: float) -> float:
    """Return about the length asked for, so that no stream ends near the end of an epoch."""
    ends = {
        more: [(asked_s + more + _gained(s)) / hop_s % 1.0 for s in storms]
        for more in (tenth / 10 * hop_s for tenth in range(10))
    }
    best = min(ends, key=lambda more: max(abs(part - 0.5) for part in ends[more]))
    return asked_s + best


def _tamed(drawn: Sequence[Fault], until: float) -> tuple[Fault, ...]:
    """Leave out what would leave open how long a stream lasted."""
    kept: list[Fault] = []
    for fault in sorted(drawn, key=lambda f: f.start):
        inside = fault.start > MARGIN_S and fault.end < until
        twice = fault.kind in ("duplicate", "reorder") and fault.duration > _TWICE_S
        clash = any(_clash(fault, other) for other in kept)
        if inside and not twice and not clash:
            kept.append(fault)
    return tuple(kept)


def _clash(a: Fault, b: Fault) -> bool:
    """Whether a jump of the clock is so near to another fault of time that one hides the other."""
    touched = {a.kind, b.kind} <= {*_DELIVERY, *_TIMING} and "clock-jump" in (a.kind, b.kind)
    near = a.start < _over(b) + _CLOCK_APART_S and b.start < _over(a) + _CLOCK_APART_S
    return touched and near


def _draw_moments(rng: np.random.Generator, n: int, length_s: float) -> tuple[int, ...]:
    return tuple(sorted(rng.integers(int(0.03 * length_s), int(0.9 * length_s), n).tolist()))


def _over(fault: Fault) -> float:
    return fault.start if fault.kind == "clock-jump" else fault.end


def may_kill(storm: Sequence[Fault], at_s: float) -> bool:
    """Whether a kill now hides nothing that lengthens the time of a stream, nor a long gap.

    Args:
        storm: of the stream.
        at_s: where its newest epoch is, s.
    """
    gained = 0.0
    for fault in storm:
        start, end = fault.start + gained, _over(fault) + gained
        if fault.kind in _HIDEABLE and start - APART_S < at_s < end + APART_S:
            return False
        gained += _gained([fault])
    return True
