"""When it is light and what a clock on the wall shows: what `[day]` of the config says of moments.

Lights go by the clock of a zone. On the day on which that is put forward or back, two times of
lights on are 23 or 25 hours apart, and zeitgeber time runs for so long.
"""

import math
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from daemon.config import DayConfig

HOUR_S = 3600.0
_HALF_DAY = timedelta(hours=12)
_SOON_S = 1e-3


class Hour(NamedTuple):
    """An hour of the day, or what of it lies in a span."""

    start: float
    """Unix time, s."""
    end: float
    """Unix time, s."""
    zeitgeber: int | None
    """Which hour after lights on it is, from 0; None: lights are not known."""
    light: float | None
    """Share of it that is light; None: likewise."""


class Day:
    """Answers what time it is for the animals.

    Args:
        config: when lights go on, and where.
    """

    def __init__(self, config: DayConfig) -> None:
        self._zone = ZoneInfo(config.zone) if config.zone else None
        self._on = _read(config.lights_on)
        self._off = _read(config.lights_off)
        if self._on is not None and self._off is None:
            self._off = (datetime.combine(date(2000, 1, 1), self._on) + _HALF_DAY).time()

    @property
    def has_lights(self) -> bool:
        """Whether it is known when it is light."""
        return self._on is not None

    def local(self, moment: float) -> datetime:
        """Return what the clock shows at a Unix time."""
        return datetime.fromtimestamp(moment, UTC).astimezone(self._zone)

    def at(self, iso: str) -> datetime:
        """Return what the clock shows at a moment in ISO 8601 with a zone."""
        return datetime.fromisoformat(iso).astimezone(self._zone)

    def lights(self, since: float, until: float) -> list[tuple[float, float]]:
        """Return when it is light within a span: starts and ends, Unix time, s."""
        on, off = self._all(self._on, since, until), self._all(self._off, since, until)
        spans = [(start, min(end for end in off if end > start)) for start in on[:-1]]
        cut = [(max(start, since), min(end, until)) for start, end in spans]
        return [(start, end) for start, end in cut if start < end]

    def zeitgeber(self, moment: float) -> float | None:
        """Return how long ago lights went on, h; None where that is not known."""
        on = [each for each in self._all(self._on, moment, moment) if each <= moment]
        return (moment - on[-1]) / HOUR_S if on else None

    def hours(self, since: float, until: float) -> list[Hour]:
        """Return the hours that a span touches, cut to it.

        They count from lights on, so that an hour is light or dark; else they are the clock's.
        """
        edges = [since, *self._edges(since, until), until]
        lights = self.lights(since, until)
        return [self._hour(start, end, lights) for start, end in pairwise(edges) if start < end]

    def marks(self, since: float, until: float, minutes: int = 60) -> list[float]:
        """Return when the clock shows every so many minutes in a span; from 60 on whole hours."""
        step_s, every = 60.0 * min(minutes, 60), max(1, minutes // 60)
        found = []
        moment = since
        while (moment := self._next(moment, step_s)) <= until:
            if self.local(moment).hour % every == 0:
                found.append(moment)
            moment += _SOON_S
        return found

    def _edges(self, since: float, until: float) -> list[float]:
        if not self.has_lights:
            return self.marks(since, until)
        ons = self._all(self._on, since, until)
        every = [
            on + k * HOUR_S
            for on, after in pairwise(ons)
            for k in range(math.ceil((after - on) / HOUR_S))
        ]
        return [moment for moment in every if since < moment < until]

    def _hour(self, start: float, end: float, lights: list[tuple[float, float]]) -> Hour:
        since = self.zeitgeber(start)
        if since is None:
            return Hour(start, end, None, None)
        light = sum(max(0.0, min(end, off) - max(start, on)) for on, off in lights)
        return Hour(start, end, int(since + 1e-6), light / (end - start))

    def _next(self, moment: float, step_s: float) -> float:
        offset = self.local(moment).utcoffset() or timedelta()
        local = moment + offset.total_seconds()
        return math.ceil(local / step_s) * step_s - offset.total_seconds()

    def _all(self, clock: time | None, since: float, until: float) -> list[float]:
        """Return when the clock shows a time, from before a span to after it, Unix time, s."""
        return [] if clock is None else list(self._each(clock, since, until))

    def _each(self, clock: time, since: float, until: float) -> Iterator[float]:
        day = self.local(since).date() - timedelta(days=2)
        last = self.local(until).date() + timedelta(days=2)
        while day <= last:
            shown = datetime.combine(day, clock)
            yield (shown.replace(tzinfo=self._zone) if self._zone else shown).timestamp()
            day += timedelta(days=1)


def _read(text: str) -> time | None:
    return time.fromisoformat(text) if text else None
