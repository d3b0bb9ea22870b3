"""How far an archive is: what is done, what is not and why, and what has changed since."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
from rich.console import Console

from tools.archive.folder import ArchiveFolder, Listed
from tools.archive.sidecar import Problem, Sidecar, Source, source_of


class ArchiveStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What `hypnod archive status --json` prints."""

    out: str
    running: str | None
    """Which run writes here now."""
    recordings: int
    """That were found."""
    done: int
    waiting: int
    """Not begun, or begun and interrupted."""
    hours: float
    """Recorded in those that are done, h."""
    changed: tuple[str, ...]
    """Done, but the recording is another one now: the next run does them again."""
    gone: tuple[str, ...]
    """Recordings that are no longer there, or out of reach; what came out of them stays."""
    left_over: tuple[str, ...]
    """Staged before, but no recording is called so any more: it was renamed, moved or linked, is
    gone, or no entry of archive.toml is for it. Who opens the folder as one dataset counts them."""
    copies: dict[str, str]
    """Done, but of the same content as another recording, by whose name: both are counted."""
    odd: int
    """Done, with something in the file that is not as it should be."""
    problems: tuple[Problem, ...]
    """What was refused or failed, with the sentence why."""


def problem_of(sidecar: Sidecar | None) -> Problem | None:
    """Return why a recording is not done, where that was found out."""
    if sidecar is None or sidecar.state == "done":
        return None
    return Problem(
        recording=sidecar.recording, state=sidecar.state, sentence=sidecar.sentence or ""
    )


def read_status(folder: ArchiveFolder) -> ArchiveStatus:
    """Return how far an archive is.

    Raises:
        ArchiveError: this is no folder of an archive.
    """
    index = folder.index()
    recordings = index.recordings
    found = {each.name: folder.read(each.name) for each in recordings}
    done = {n: s for n, s in found.items() if s is not None and s.summary is not None}
    there = {each.name: _source_now(each) for each in recordings}
    return ArchiveStatus(
        out=str(folder.path),
        running=folder.running(),
        recordings=len(recordings),
        done=len(done),
        waiting=sum(sidecar is None for sidecar in found.values()),
        hours=sum(s.summary.duration_s for s in done.values() if s.summary) / 3600,
        changed=tuple(
            name
            for name, sidecar in done.items()
            if (now := there[name]) is not None and not now.is_same(sidecar.source)
        ),
        gone=tuple(name for name, source in there.items() if source is None),
        left_over=tuple(folder.left_over(found)),
        copies=_copies(done),
        odd=sum(bool(s.summary.flaws) for s in done.values() if s.summary),
        problems=(*index.unusable, *filter(None, map(problem_of, found.values()))),
    )


def print_status(console: Console, status: ArchiveStatus) -> None:
    """Print it for a person."""
    console.print(
        f"{status.out}: {status.done} of {status.recordings} recordings done "
        f"({status.hours:.1f} h), {status.waiting} waiting, {len(status.problems)} not staged"
    )
    if status.running is not None:
        console.print(f"a run is at it: {status.running}")
    if status.odd:
        console.print(f"{status.odd} done though something is odd in the file; see summary --csv")
    for problem in status.problems:
        console.print(f"{problem.state}: {problem.recording}: {problem.sentence}")
    for name in status.changed:
        console.print(f"changed since, the next run does it again: {name}")
    for name, other in status.copies.items():
        console.print(f"of the same content as {other}, and both are counted: {name}")
    for name in status.gone:
        console.print(f"no longer there, or out of reach: {name}")
    for name in status.left_over:
        console.print(f"no recording is called so any more, its estimates are still there: {name}")


def _copies(done: Mapping[str, Sidecar]) -> dict[str, str]:
    """Return which recordings have the content of one before them, and of which one."""
    first: dict[str | None, str] = {}
    named = {name: first.setdefault(s.source.sha256, name) for name, s in done.items()}
    return {name: other for name, other in named.items() if name != other}


def _source_now(listed: Listed) -> Source | None:
    """Return what a recording's file is now; None: it is gone, or out of reach."""
    try:
        return source_of(Path(listed.source.path))
    except OSError:  # its disk is not there, its folder is closed: as good as gone
        return None
