"""The figures of a person's night in the words of the AASM's manual (Berry et al., v2.6, IV).

Its lights out and lights on are the first and the last of what was counted: a daemon does not know
when somebody went to bed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from models.stages import HUMAN
from tools.night.counting import Course

_WAKE, _REM = HUMAN[0], HUMAN[-1]


class SleepFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What a sleep lab reports of a night."""

    recording_s: float
    """Total recording time: from the first epoch to the end of the last one, s."""
    sleep_s: float
    """Total sleep time: N1, N2, N3 and REM together, s."""
    efficiency: float
    """Sleep efficiency: total sleep time over total recording time, 0 to 1."""
    latency_s: float | None
    """Sleep latency: from the start to the first epoch of sleep, s; null without sleep."""
    rem_latency_s: float | None
    """REM latency: from the first epoch of sleep to the first one of REM, s; null without REM."""
    wake_after_onset_s: float
    """Wake after sleep onset: W after the first epoch of sleep, that after the last one of sleep
    included, s."""
    sleep_shares: dict[str, float]
    """Time in each stage of sleep over total sleep time, 0 to 1; empty without sleep."""


class Line(NamedTuple):
    """A figure for a reader."""

    name: str
    said: str


def sleep_figures_of(course: Course) -> SleepFigures | None:
    """Return the figures of a person's night; None of a mouse's, which nobody counts so."""
    if course.names != HUMAN:
        return None
    stages, epoch_s = np.array(course.stages), course.epoch_s
    asleep = np.flatnonzero(np.isin(stages, HUMAN[1:]))
    onset = int(asleep[0]) if len(asleep) else None
    rem = np.flatnonzero(stages == _REM)
    awake = 0 if onset is None else int(np.sum(stages[onset:] == _WAKE))
    shares = {s: round(float(np.mean(stages[asleep] == s)), 4) for s in HUMAN[1:] if len(asleep)}
    return SleepFigures(
        recording_s=len(stages) * epoch_s,
        sleep_s=len(asleep) * epoch_s,
        efficiency=round(len(asleep) / len(stages), 4),
        latency_s=None if onset is None else onset * epoch_s,
        rem_latency_s=None if onset is None or not len(rem) else (int(rem[0]) - onset) * epoch_s,
        wake_after_onset_s=awake * epoch_s,
        sleep_shares=shares,
    )


def sleep_lines(figures: SleepFigures) -> Sequence[Line]:
    """Return the figures for a reader, in the manual's order."""
    shares = ", ".join(f"{stage} {share:.0%}" for stage, share in figures.sleep_shares.items())
    return [
        Line("total recording time", _minutes(figures.recording_s)),
        Line("total sleep time", _minutes(figures.sleep_s)),
        Line("sleep latency", _minutes(figures.latency_s)),
        Line("REM latency", _minutes(figures.rem_latency_s)),
        Line("wake after sleep onset", _minutes(figures.wake_after_onset_s)),
        Line("sleep efficiency", f"{figures.efficiency:.1%}"),
        Line("share of total sleep time", shares or "no sleep"),
    ]


def _minutes(seconds: float | None) -> str:
    return "none" if seconds is None else f"{seconds / 60:.1f} min"
