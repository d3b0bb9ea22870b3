"""Faults put into a played stream: samples in, what is sent out, and when it is cut off.

Everything is a function of the samples' times and of the plan's seed: however a stream is cut into
chunks, the same samples are sent in the same order.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.signal.montage import to_microvolts
from tools.replay.fault_plan import (
    DELIVERY,
    HELD,
    OUTLETS,
    SIGNAL,
    Fault,
    FaultError,
    FaultPlan,
    draw_storm,
)
from tools.replay.outlets import Outlet, outlets_at, take_rows

Samples32 = NDArray[np.float32]
Times = NDArray[np.float64]

_MAINS_HZ = 50.0


class Samples(NamedTuple):
    """To be sent."""

    data: Samples32
    """(n_samples, n_channels)."""
    stamps: Times
    """(n_samples,), s since the start."""


class Outlets(NamedTuple):
    """Other outlets from now on."""

    outlets: tuple[Outlet, ...]
    """All that shall be open; each is sent what comes next."""


class Injector:
    """Does to one stream's samples what a plan says.

    Args:
        plan: what.
        first: the stream's outlet at the start.

    Raises:
        FaultError: a fault is for a channel that the stream does not have.
    """

    def __init__(self, plan: FaultPlan, first: Outlet) -> None:
        self._plan = plan
        self._first = first
        self._outlets: tuple[Outlet, ...] = (first,)
        self._ch_names = tuple(channel.label for channel in first.channels)
        self._microvolt = np.array([_microvolt(channel.unit) for channel in first.channels])
        self._faults = list(plan.faults)
        self._hours = 0
        self._held: tuple[Fault, list[Samples]] | None = None
        self._now = 0.0
        for fault in self._faults:
            self._columns(fault)

    @property
    def injected(self) -> list[Fault]:
        """The faults that have begun, in the order of their beginning."""
        return sorted((f for f in self._faults if f.start <= self._now), key=lambda f: f.start)

    def push(self, data: Samples32, times: Times) -> Iterator[Samples | Outlets]:
        """Take samples of these recording times; yield what becomes of them.

        Args:
            data: (n_samples, n_channels), as the first outlet has them.
            times: (n_samples,), s since the start.
        """
        if len(times) == 0:
            return
        self._now = float(times[-1])
        self._raise_storm()
        faults = [f for f in self._faults if f.start <= self._now]
        data = self._spoil(data, times, [f for f in faults if f.kind in SIGNAL])
        stamps = _stamp(times, faults, self._plan.seed)
        delivery = [f for f in faults if f.kind in DELIVERY]
        outlets = [f for f in faults if f.kind in OUTLETS]
        edges = [e for f in (*delivery, *outlets) for e in (f.start, f.end)]
        bounds = sorted({0, len(times), *np.searchsorted(times, edges).tolist()})
        for first, last in pairwise(bounds):
            time, part = times[first], slice(first, last)
            active = next((f for f in delivery if f.start <= time < f.end), None)
            yield from self._become(outlets_at(time, self._first, outlets), active)
            if self._outlets:
                samples = self._fit(Samples(data[part], stamps[part]), times[part])
                yield from self._deliver(samples, active)

    def finish(self) -> Iterator[Samples]:
        """Yield what is still to come at the end."""
        yield from self._release(None)

    def _raise_storm(self) -> None:
        while self._plan.storm_per_h and self._hours * 3600.0 <= self._now:
            self._faults += draw_storm(self._plan, self._hours, self._ch_names)
            self._hours += 1

    def _spoil(self, data: Samples32, times: Times, faults: Sequence[Fault]) -> Samples32:
        for fault in faults:
            rows = np.flatnonzero(fault.covers(times))
            if len(rows):
                data = data.copy()
                columns = np.array(self._columns(fault))
                unit, at = self._microvolt[columns], np.ix_(rows, columns)
                data[at] = _spoilt(fault, data[at] / unit, times[rows], self._plan.seed) * unit
        return data

    def _become(
        self, outlets: tuple[Outlet, ...], active: Fault | None
    ) -> Iterator[Samples | Outlets]:
        """Yield what was kept back and is not any longer, and these outlets if they are others."""
        replaced = outlets[:1] != self._outlets[:1]
        yield from self._release(None if replaced else active)
        if outlets != self._outlets:
            self._outlets = outlets
            yield Outlets(outlets)

    def _fit(self, samples: Samples, times: Times) -> Samples:
        """Return samples as the present outlets have them."""
        outlet = self._outlets[0]
        if outlet.channels != self._first.channels:
            extra = 20.0 * _noise(times, self._plan.seed)[:, None]
            columns = [channel.column for channel in outlet.channels]
            data = np.hstack([samples.data, extra.astype(np.float32)])[:, columns]
            samples = Samples(data, samples.stamps)
        if outlet.sfreq != self._first.sfreq:
            rows, moved = take_rows(times, self._first.sfreq, outlet.sfreq)
            samples = Samples(samples.data[rows], samples.stamps[rows] + moved - times[rows])
        return samples

    def _deliver(self, samples: Samples, active: Fault | None) -> Iterator[Samples]:
        kind = "" if active is None else active.kind
        if active is not None and kind in HELD:
            self._held = self._held or (active, [])
            self._held[1].append(samples)
        if kind in ("", "duplicate") and len(samples.stamps):
            yield samples

    def _release(self, active: Fault | None) -> Iterator[Samples]:
        """Yield what was kept back by a fault that is over."""
        if self._held is not None and self._held[0] != active:
            fault, parts = self._held
            self._held = None
            data, stamps = (np.concatenate(column) for column in zip(*parts, strict=True))
            half = len(stamps) // 2 if fault.kind == "reorder" else 0
            if len(stamps):
                yield Samples(data[half:], stamps[half:])
            if half:
                yield Samples(data[:half], stamps[:half])

    def _columns(self, fault: Fault) -> list[int]:
        found = [i for i, name in enumerate(self._ch_names) if fault.channel in name]
        exact = [i for i in found if self._ch_names[i] == fault.channel]
        if not found:
            raise FaultError(
                f"--fault: expected a channel of {', '.join(self._ch_names)}, "
                f"found {fault.channel!r}"
            )
        return exact or found


def _spoilt(fault: Fault, x: NDArray[np.float64], times: Times, seed: int) -> NDArray[np.float64]:
    """Return what becomes of samples in µV, (n_samples, n_channels)."""
    hum: NDArray[np.float64] = fault.amount * np.sqrt(2.0) * _sine(times)[:, None]
    if fault.kind in ("nan", "inf"):
        return np.full_like(x, float(fault.kind))
    if fault.kind == "flat":
        return np.zeros_like(x)
    if fault.kind == "clip":
        return np.clip(x, -fault.amount, fault.amount)
    if fault.kind == "mains":
        return x + hum
    return np.broadcast_to(hum + 5.0 * _noise(times, seed)[:, None], x.shape)


def _sine(times: Times) -> NDArray[np.float64]:
    return np.asarray(np.sin(2 * np.pi * _MAINS_HZ * times), np.float64)


def _stamp(times: Times, faults: Sequence[Fault], seed: int) -> Times:
    """Return the timestamps that samples of these times get."""
    stamps = times.copy()
    for fault in faults:
        rows = fault.covers(times)
        if fault.kind == "bunch":
            stamps[rows] += np.ceil(times[rows] / fault.amount) * fault.amount - times[rows]
        elif fault.kind == "jitter":
            stamps[rows] += fault.amount * _noise(times[rows], seed)
        elif fault.kind == "clock-jump":
            stamps[times >= fault.start] += fault.amount
        elif fault.kind == "drift":
            stamps += fault.amount * 1e-6 * np.clip(times - fault.start, 0.0, fault.duration)
    return stamps


def _noise(times: Times, seed: int) -> NDArray[np.float64]:
    """Return even noise of SD 1 that depends on time and seed alone (splitmix64)."""
    x = np.round(times * 1e6).astype(np.int64).astype(np.uint64)
    x = (x ^ np.uint64(seed)) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    uniform: NDArray[np.float64] = (x >> np.uint64(11)).astype(np.float64) / 2.0**53
    return (uniform - 0.5) * math.sqrt(12.0)


def _microvolt(unit: str) -> float:
    """Return one µV in a unit; an unknown unit is taken for µV."""
    return 1.0 / (to_microvolts(unit) or 1.0)
