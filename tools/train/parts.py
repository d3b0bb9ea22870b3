"""Trainings that need the same and nothing of each other, done at once by many workers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import msgspec
import torch
from rich.console import Console
from rich.progress import Progress

from tools.cluster.open import open_cluster, watched_at
from tools.cluster.options import ClusterOptions
from tools.cluster.work import work


class Threaded(Protocol):
    """Options of a command that trains."""

    @property
    def threads(self) -> int:
        """Of each process."""


Options = TypeVar("Options", bound=Threaded)
Given = TypeVar("Given")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Trainings(Generic[Options, Given, Result]):
    """Trainings of one run; the functions can be imported by name."""

    options: Options
    read: Callable[[Options, Progress], Given]
    """Reads what all of them need, once for all that a worker gets."""
    do: Callable[[Options, Given, Progress, int], Result]
    """Does one, by its number."""


def do_parts(
    parts: Trainings[Options, Given, Result],
    names: Sequence[str],
    cluster: ClusterOptions,
    shared: Path,
    say: Callable[[str], None],
) -> list[Result]:
    """Let workers do them all; return what came of each, in order.

    Args:
        parts: what is done.
        names: of each, for people.
        cluster: where.
        shared: see `open_cluster`.
        say: prints a line.

    Raises:
        HypnodError: one of them cannot be done, or no workers be had.
    """
    tasks = {name: _Part(parts, number) for number, name in enumerate(names)}
    found: dict[str, Result] = {}
    with open_cluster(cluster, shared) as client:
        say(f"{len(names)} trainings; the workers: {watched_at(client, cluster)}")
        for name, result in work(client, do_part, tasks):
            if isinstance(result, Exception):
                raise result
            found[name] = result
            say(f"{name}: done, {len(found)} of {len(names)}")
    return [found[name] for name in names]


@dataclass(frozen=True)
class _Part(Generic[Options, Given, Result]):
    of: Trainings[Options, Given, Result]
    number: int


def do_part(part: _Part[Options, Given, Result]) -> Result:
    """Do one of them, in a worker.

    Raises:
        HypnodError: it cannot be done.
    """
    torch.set_num_threads(part.of.options.threads)
    with Progress(console=Console(quiet=True)) as progress:
        given = _read_once(_Same(part.of))
        return part.of.do(part.of.options, given, progress, part.number)


class _Same:
    """Trainings whose options say the same."""

    def __init__(self, parts: Trainings[Options, Given, Result]) -> None:
        self.parts = parts

    def __hash__(self) -> int:
        return hash(repr(self.parts))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and repr(other.parts) == repr(self.parts)


@lru_cache(1)
def _read_once(same: _Same) -> Any:
    options: Any = same.parts.options
    alone = msgspec.structs.replace(options, threads=1)  # workers may start no processes
    with Progress(console=Console(quiet=True)) as progress:
        return same.parts.read(alone, progress)
