"""The samples of one pull, and the description of the stream or recording they come from."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.spec import SLOWEST_HZ

MIN_SFREQ, MAX_SFREQ = SLOWEST_HZ["mouse"], 4000.0
"""Sampling rates of mice that can be staged, Hz; see `ModelSpec.min_sfreq`."""

EARLIEST_S, LATEST_S = -1e9, 1e11
"""Timestamps that can be a time, s: from 30 years before a clock's zero to 3000 after it. Unix time
in ms is beyond, and so is whatever has no date."""


def are_times(timestamps: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which timestamps, s, can be a time; the others are dropped with their samples."""
    times: NDArray[np.bool_] = (timestamps >= EARLIEST_S) & (timestamps <= LATEST_S)
    return times


def printable(text: str) -> str:
    """Return what a source says of itself with a blank for each character that has no picture."""
    return "".join(character if character.isprintable() else " " for character in text)


def number_duplicates(labels: Sequence[str]) -> tuple[str, ...]:
    """Return labels that are all different, the same for a stream and its recording.

    Where several channels have one label they are `EEG#1`, `EEG#2`; a channel without any is called
    by its number, from 1. What a terminal obeys, such as an escape or a line's end, is a blank.
    """
    names = [
        printable(label).strip() or str(number) for number, label in enumerate(labels, start=1)
    ]
    count, seen = Counter(names), Counter[str]()
    told = []
    for name in names:
        seen[name] += 1
        told.append(f"{name}#{seen[name]}" if count[name] > 1 else name)
    return tuple(told) if len({*told}) == len(told) else number_duplicates(told)


@dataclass(frozen=True, slots=True)
class StreamDescription:
    """Names, units and rate of the channels of a stream or a recording."""

    name: str
    """Its own name, for messages to people."""
    ch_names: tuple[str, ...]
    """Label of each channel, told apart; see `number_duplicates`."""
    units: tuple[str, ...]
    """Unit of each channel as the source writes it; empty where it says none."""
    sfreq: float
    """Nominal sampling rate, Hz."""
    is_file: bool = False
    """Whether it is a recording: what is wrong with it is mended by options, not by the config."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ch_names", number_duplicates(self.ch_names))


@dataclass(frozen=True, slots=True)
class Chunk:
    """The samples of one pull."""

    data: NDArray[np.float32]
    """(n_samples, n_channels), in the stream's units."""
    timestamps: NDArray[np.float64]
    """(n_samples,), on the source's clock, s. Never corrected for the clock offset: the time grid
    lives on the source's clock, so the same samples always give the same epochs."""
    arrived: float
    """When the chunk was pulled, on this machine's LSL clock, s."""
