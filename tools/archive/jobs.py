"""Which recordings there are, what each is to be staged by, and what is still to be done."""

import os
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import msgspec

from engines.bundle import Bundle, open_bundle
from models.errors import ConfigError, RecordingError
from models.recordings.find import RECORDINGS, find_recordings
from models.species import SHIPPED
from tools.archive.folder import ArchiveFolder, Listed
from tools.archive.rules import ArchiveRules, RecordingRule
from tools.archive.sidecar import Follows, Problem, Sidecar, Source, source_of

_LONGEST_NAME = 220
"""Bytes; file systems allow 255, and a draft of the estimates is called by 31 more."""


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


class Jobs(NamedTuple):
    """What was found below some folders."""

    jobs: list[Job]
    no_rule: list[str]
    """Paths of the recordings that no rule is for."""
    unusable: list[Problem]
    """What cannot be a job, and why."""


def find_jobs(folders: Sequence[Path], rules: ArchiveRules, bundle: Path | None, out: Path) -> Jobs:
    """Return a job for each recording, and what is left.

    Args:
        folders: to be searched. What lies below one that was searched before is called as then.
        rules: of archive.toml.
        bundle: for species that the rules name no bundle of.
        out: folder of the archive.

    Raises:
        ConfigError: no folder, two of one name, or a species without a bundle.
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
    version, hashes = metadata.version("hypnod"), dict[tuple[Path | None, str], str]()
    searched = list(dict.fromkeys(_outermost(folder, roots.values()) for folder in folders))
    jobs, left = list[Job](), list[str]()
    unusable = [*_unreadable(folders, searched)]
    for found in find_recordings(searched, hypnograms=False):
        path = found.recording
        if not any(path.is_relative_to(folder) for folder in folders):
            continue
        name = _name_of(path, searched)
        below = name.partition("/")[2]
        rule = rules.rule_of(below)
        if rule is None:
            left.append(_legible(str(path)))
            continue
        chosen = rules.bundle_of(rule.species, bundle)
        if (chosen, rule.species) not in hashes:
            hashes[chosen, rule.species] = _open_for(chosen, rule.species).hash
        try:
            _check_name(path)
            source, subject = source_of(path), rule.find_subject(below, found.subject)
        except (ConfigError, RecordingError, OSError) as error:
            unusable.append(Problem(recording=_legible(name), state="refused", sentence=str(error)))
            continue
        jobs.append(
            Job(
                name=name,
                source=source,
                subject=subject,
                rule=rule,
                bundle=chosen,
                follows=Follows(
                    bundle=hashes[chosen, rule.species], rule=rule.hash, hypnod=version
                ),
                out=out.resolve(),
            )
        )
    return Jobs(jobs, left, unusable)


def _open_for(bundle: Path | None, species: str) -> Bundle:
    """Open the bundle of a species; raises ConfigError for one that stages another shipped one."""
    opened = open_bundle(bundle, species if bundle is None else None)
    if species != opened.spec.species and {species, opened.spec.species} <= SHIPPED.keys():
        raise ConfigError(
            f"{opened.path}: expected a bundle of the species {species}, as archive.toml says of "
            f"some recordings, found one of the species {opened.spec.species}: name that of each "
            "under [bundles]"
        )
    return opened


def _unreadable(folders: Sequence[Path], searched: Sequence[Path]) -> Iterator[Problem]:
    """Yield what the search passes over in silence: closed folders, and links to nothing."""
    closed, dead = list[OSError](), list[OSError]()
    for folder in folders:
        for place, below, files in os.walk(folder, onerror=closed.append):
            below[:] = [name for name in below if not name.startswith(".")]  # as the search does
            paths = [Path(place, name) for name in files if not name.startswith(".")]
            recordings = [path for path in paths if path.suffix.lower() in RECORDINGS]
            dead += filter(None, map(_dead_end, recordings))
    for expected, errors in (
        ("a folder that can be searched, found", closed),
        ("a recording, found a link to nothing", dead),
    ):
        for each in errors:
            name = _legible(_name_of(Path(each.filename), searched))
            sentence = f"expected {expected}: {each.strerror}"
            yield Problem(recording=name, state="failed", sentence=sentence)


def _dead_end(path: Path) -> OSError | None:
    """Return why a link leads to nothing; what nobody may see is found, and told of then."""
    try:
        path.stat()
    except PermissionError:
        return None
    except OSError as error:
        return error
    return None


def _name_of(path: Path, searched: Sequence[Path]) -> str:
    """Return what something below a folder that is searched is called in the archive."""
    root = _outermost(path, searched)
    return f"{root.name}/{path.relative_to(root).as_posix()}"


def _check_name(path: Path) -> None:
    """Raise RecordingError where what comes out of a recording could not be called by its name."""
    if _legible(str(path)) != str(path):
        raise RecordingError(
            f"{_legible(str(path))}: expected a path in UTF-8, found other bytes in it: rename it"
        )
    if (n := len(os.fsencode(path.name))) > _LONGEST_NAME:
        raise RecordingError(
            f"{path}: expected a name of at most {_LONGEST_NAME} bytes, to which the names of what "
            f"comes out add some, found {n}: rename it"
        )


def _legible(text: str) -> str:
    """Return a path that can be written down: bytes that are no UTF-8 in hexadecimal."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def _outermost(path: Path, roots: Iterable[Path]) -> Path:
    return min((r for r in roots if path.is_relative_to(r)), key=lambda r: len(r.parts))


def _check_folder(folder: Path) -> Path:
    """Return a folder; raise ConfigError where it is a file, or has no name."""
    if folder.resolve() == Path("/"):
        raise ConfigError(
            f"{folder}: expected a folder with a name, which the archive calls its recordings by, "
            "found the root of all: give the folders below it"
        )
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
