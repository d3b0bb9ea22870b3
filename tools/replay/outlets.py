"""The outlets of a played stream: what they are like, and that one takes another's place."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daemon.lsl.library import load_pylsl
from tools.replay.fault_plan import Fault

BOOTED_S = 10.0
"""From the begin of a rebooted computer's clock to its stream, s."""


class Channel(NamedTuple):
    """One channel."""

    label: str
    unit: str
    column: int
    """Where its samples are found."""


@dataclass(frozen=True, slots=True)
class Outlet:
    """What an outlet is like, and so in what another one in its place may differ."""

    channels: tuple[Channel, ...]
    sfreq: float
    """Hz."""
    source_id: str
    """Empty: none."""
    booted: float | None = None
    """When its clock began anew, s since the start of playing; None: never."""

    def zero(self, t0: float) -> float:
        """Return its clock at the start of playing, where that of the first one showed t0, s."""
        return t0 if self.booted is None else -self.booted


def first_outlet(
    ch_names: Sequence[str], units: Sequence[str], sfreq: float, source_id: str
) -> Outlet:
    """Return an outlet for samples as they are."""
    channels = map(Channel, ch_names, units, range(len(ch_names)))
    return Outlet(tuple(channels), sfreq, source_id)


CHANGES: Mapping[str, Callable[[Outlet, Fault], Outlet]] = {
    "drop": lambda outlet, _: outlet,
    "no-id": lambda outlet, _: replace(outlet, source_id=""),
    "new-rate": lambda outlet, fault: replace(outlet, sfreq=fault.amount),
    "new-order": lambda outlet, _: replace(outlet, channels=outlet.channels[::-1]),
    "more-channels": lambda outlet, _: replace(
        outlet, channels=(Channel("extra", "microvolts", -1), *outlet.channels)
    ),
    "reboot": lambda outlet, fault: replace(outlet, booted=fault.end - BOOTED_S),
}
"""For each fault that closes an outlet: what the next one is like."""


def outlets_at(time: float, first: Outlet, faults: Sequence[Fault]) -> tuple[Outlet, ...]:
    """Return the outlets that are open at a time, all of which send the same; may be none.

    Args:
        time: s since the start of playing.
        first: the one at the start.
        faults: all that may have begun, whatever their kinds.
    """
    begun = sorted((f for f in faults if f.start <= time), key=lambda f: f.start)
    outlet = first
    for fault in begun:
        if fault.kind in CHANGES:
            if time < fault.end:
                return ()
            outlet = CHANGES[fault.kind](outlet, fault)
    twin = replace(outlet, source_id=f"{outlet.source_id}-twin")
    lasts = any(f.kind == "twin" and time < f.end for f in begun)
    return (outlet, twin) if lasts else (outlet,)


def take_rows(
    times: NDArray[np.float64], sfreq: float, new_sfreq: float
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return which samples to send at another rate, and their times: each until the next one.

    Args:
        times: (n_samples,), s.
        sfreq: their rate, Hz.
        new_sfreq: Hz.
    """
    # Rounded, so that the end of one sample is the beginning of the next in any chunk.
    first, end = (
        np.ceil(np.round(edges * new_sfreq, 3)).astype(np.int64)
        for edges in (times, times + 1 / sfreq)
    )
    n = np.maximum(end - first, 0)
    within = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
    return np.repeat(np.arange(len(times)), n), (np.repeat(first, n) + within) / new_sfreq


class OpenOutlets:
    """The LSL outlets that are open.

    Args:
        name: of the stream.
        describe: adds to an outlet's description.
    """

    def __init__(self, name: str, describe: Callable[[Any], None] = lambda _: None) -> None:
        self._name = name
        self._describe = describe
        self._open: dict[Outlet, Any] = {}

    @property
    def first(self) -> Outlet | None:
        """The one that has been open for longest."""
        return next(iter(self._open), None)

    def become(self, outlets: Sequence[Outlet]) -> None:
        """Close those that are not among these, then open those that are missing."""
        self._open = {outlet: lsl for outlet, lsl in self._open.items() if outlet in outlets}
        for outlet in outlets:
            if outlet not in self._open:
                self._open[outlet] = self._opened(outlet)

    def push(self, data: NDArray[np.float32], times: NDArray[np.float64], t0: float) -> None:
        """Send samples (n_samples, n_channels) of these times, s since the start of playing."""
        for outlet, lsl in self._open.items():
            lsl.push_chunk(data, (outlet.zero(t0) + times).tolist())

    def wait_for_reader(self, seconds: float) -> bool:
        """Tell whether somebody reads the first of them, after so long a wait for it."""
        return any(lsl.wait_for_consumers(seconds) for lsl in [*self._open.values()][:1])

    def have_readers(self) -> bool:
        """Tell whether somebody reads one of them."""
        return any(lsl.have_consumers() for lsl in self._open.values())

    def _opened(self, outlet: Outlet) -> Any:
        lsl = load_pylsl()
        info = lsl.StreamInfo(
            self._name, "EEG", len(outlet.channels), outlet.sfreq, "float32", outlet.source_id
        )
        info.set_channel_labels([channel.label for channel in outlet.channels])
        info.set_channel_units([channel.unit for channel in outlet.channels])
        info.set_channel_types([_kind(channel.label) for channel in outlet.channels])
        self._describe(info.desc())
        return lsl.StreamOutlet(info)


def _kind(label: str) -> str:
    """Return the type of a channel by its label, as XDF's metadata names it."""
    return next((kind for kind in ("EEG", "EMG", "EOG", "ECG") if kind in label.upper()), "Misc")
