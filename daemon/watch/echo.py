"""Finds where a line changes into which a subject's stimulus is copied back.

Sample by sample, so any chunking finds the same. A line is high from its `echo_above` on and low
below half of it: in between it stays as it was.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from daemon.config import StreamConfig, SubjectConfig
from models.signal.chunk import Chunk, StreamDescription, are_times
from models.signal.montage import misfit, no_channel

MOST = 40
"""Changes of a line that are told within one second of the source's clock."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A change of a line."""

    subject: str
    time: float
    """Of the first sample after it, on the time grid's clock, s."""
    high: bool
    untold: int
    """Changes before it that were too many within a second."""


@dataclass(slots=True)
class _Line:
    """What is known of one."""

    subject: SubjectConfig
    column: int | None = None
    high: bool = False
    second: float = math.nan
    n: int = 0
    untold: int = 0
    found: list[Edge] = field(default_factory=list)


class EchoLines:
    """The echo lines of one stream's subjects, low to begin with.

    Args:
        stream: names them.
    """

    def __init__(self, stream: StreamConfig) -> None:
        self._lines = [_Line(subject) for subject in stream.subjects if subject.echo]

    def find(self, description: StreamDescription) -> None:
        """Find the lines among a source's channels; those that are there are followed in any case.

        Raises:
            StreamError: there is one that the source does not have.
        """
        names = description.ch_names
        for line in self._lines:
            label = line.subject.echo
            line.column = names.index(label) if label in names else None
        for line in self._lines:
            if line.column is None:
                raise misfit(
                    description,
                    f"echo of {line.subject.name}: {no_channel(line.subject.echo, names)}",
                )

    def look(self, chunk: Chunk, shift: float) -> None:
        """Look at the next samples.

        Args:
            chunk: as it came.
            shift: what its timestamps lack to be times of the grid, s.
        """
        for line in self._lines:
            if line.column is not None:
                _follow(line, chunk.data[:, line.column], chunk.timestamps, shift)

    def take(self) -> list[Edge]:
        """Return the changes found since the last call."""
        edges = [edge for line in self._lines for edge in line.found]
        for line in self._lines:
            line.found.clear()
        return edges


def _follow(
    line: _Line, values: NDArray[np.float32], timestamps: NDArray[np.float64], shift: float
) -> None:
    above = line.subject.echo_above
    known = are_times(timestamps) & ((values >= above) | (values < above / 2))
    high, times = values[known] >= above, timestamps[known]
    for i in np.flatnonzero(np.diff(high, prepend=line.high)).tolist():
        second = math.floor(times[i])
        if second != line.second:
            line.second, line.n = second, 0
        line.n += 1
        if line.n > MOST:
            line.untold += 1
            continue
        time = float(times[i]) + shift
        line.found.append(Edge(line.subject.name, time, bool(high[i]), line.untold))
        line.untold = 0
    if len(high):
        line.high = bool(high[-1])
