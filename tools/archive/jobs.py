"""Which recordings there are, what each is to be staged by, and what is still to be done."""

from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

import msgspec

from engines.bundle import open_bundle
from models.errors import ConfigError
from models.recordings.lab import find_recordings
from tools.archive.folder import ArchiveFolder, Listed
from tools.archive.rules import ArchiveRules, RecordingRule
from tools.archive.sidecar import Follows, Sidecar, Source


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A recording to be staged; all that a worker needs to know."""

    name: str
    """In the archive."""
    source: Source
    subject: str
    rule: RecordingRule
    bundle: Path | None
    """Its folder; None: the shipped one."""
    follows: Follows
    out: Path
    """Folder of the archive."""


def find_jobs(
    folders: Sequence[Path], rules: ArchiveRules, bundle: Path | None, out: Path
) -> tuple[list[Job], list[Path]]:
    """Return a job for each recording, and the recordings that no rule is for.

    Args:
        folders: to be searched. What lies below one that was searched before is called as then.
        rules: of archive.toml.
        bundle: for species that the rules name no bundle of.
        out: folder of the archive.

    Raises:
        ConfigError: no folder, two of one name, or a path without a subject.
        HypnodError: a folder without recordings, or a bundle that cannot be opened.
    """
    folders = [_check_folder(folder).resolve() for folder in folders]
    roots: dict[str, Path] = {}
    for root in [*map(Path, ArchiveFolder(out).roots()), *folders]:
        if roots.setdefault(root.name, root) != root:
            raise ConfigError(
                f"expected folders of different names, which the archive calls recordings by, "
                f"found {roots[root.name]} and {root}: give the folder that holds both"
            )
    version, hashes = metadata.version("hypnod"), dict[Path | None, str]()
    jobs, left = [], []
    searched = list(dict.fromkeys(_outermost(folder, roots.values()) for folder in folders))
    for found in find_recordings(searched, hypnograms=False):
        path = found.recording
        if not any(path.is_relative_to(folder) for folder in folders):
            continue
        root = _outermost(path, searched)
        below = path.relative_to(root).as_posix()
        rule = rules.rule_of(below)
        if rule is None:
            left.append(path)
            continue
        chosen = rules.bundle_of(rule.species, bundle)
        if chosen not in hashes:
            hashes[chosen] = open_bundle(chosen).hash
        state = path.stat()
        jobs.append(
            Job(
                name=f"{root.name}/{below}",
                source=Source(path=str(path), size=state.st_size, mtime_ns=state.st_mtime_ns),
                subject=rule.find_subject(below, found.subject),
                rule=rule,
                bundle=chosen,
                follows=Follows(bundle=hashes[chosen], rule=rule.hash, hypnod=version),
                out=out.resolve(),
            )
        )
    return jobs, left


def _outermost(path: Path, roots: Iterable[Path]) -> Path:
    return min((r for r in roots if path.is_relative_to(r)), key=lambda r: len(r.parts))


def _check_folder(folder: Path) -> Path:
    """Return a folder; raise ConfigError where it is a file."""
    if folder.is_file():
        raise ConfigError(
            f"{folder}: expected a folder of recordings, found a file: `hypnod score` stages one"
        )
    return folder


def to_do(folder: ArchiveFolder, jobs: Iterable[Job], *, again: bool) -> list[Job]:
    """Return the jobs that are not done, or whose recording, rule or bundle has changed.

    The largest files come first, so that no worker is left with one in the end.

    Args:
        folder: the archive.
        jobs: all.
        again: also those whose recording was refused.
    """
    left = [job for job in jobs if not is_settled(job, folder.read(job.name), again=again)]
    return sorted(left, key=lambda job: -job.source.size)


def is_settled(job: Job, found: Sidecar | None, *, again: bool = False) -> bool:
    """Whether a job need not be done, by what became of it before."""
    return (
        found is not None
        and (found.state == "done" or (found.state == "refused" and not again))
        and (found.follows, found.subject) == (job.follows, job.subject)
        and found.source.is_same(job.source)
    )


def listed(job: Job) -> Listed:
    """Return a job as the archive lists it."""
    below = Path(*Path(job.name).parts[1:])
    root = Path(job.source.path).parents[len(below.parts) - 1]
    return Listed(name=job.name, root=str(root), source=job.source)
