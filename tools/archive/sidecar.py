"""What an archive keeps of each recording: a JSON of what came out and of what it follows from.

A `night.edf.json` is written after the estimates that it vouches for, in one piece, and is what
counts: estimates without it, or other ones than it states, are as good as none.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from models.recordings.bouts import Bouts
from models.recordings.find import files_of
from models.recordings.writers import replacing
from tools.archive.errors import ArchiveError
from tools.score.summary import Summary

State = Literal["done", "refused", "failed"]
"""`refused`: the recording cannot be staged as it is; `failed`: that may be no fault of its own,
and it is tried again."""
_FORMAT = 1


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The recording's file; of a WFDB record its header, and the samples with it."""

    path: str
    size: int
    """Bytes."""
    mtime_ns: int
    """When it was last changed, as the file system says, ns."""
    sha256: str | None = None
    """Of its content; null where it was not read to its end."""

    def is_same(self, other: "Source") -> bool:
        """Whether nothing speaks for another content."""
        return (self.size, self.mtime_ns) == (other.size, other.mtime_ns)


class Follows(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the estimates follow from, beside the recording."""

    bundle: str
    """SHA-256 of the bundle."""
    rule: str
    """SHA-256 of what archive.toml says of the recording."""
    hypnod: str
    """Its version."""


class Estimates(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file of estimates."""

    sha256: str
    size: int
    """Bytes."""
    rows: int


class Sidecar(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What became of a recording."""

    format: int = _FORMAT
    recording: str
    """Its name in the archive: the folder searched, and the path below."""
    subject: str
    """Whose it is; with several animals the first part of their names."""
    state: State
    sentence: str | None = None
    """Why it is not done."""
    source: Source
    follows: Follows
    estimates: Estimates | None = None
    """Null where it is not done, as is all below."""
    summary: Summary | None = None
    """As `hypnod score --json` gives it, by the subjects' names in the archive."""
    bouts: dict[str, Bouts] = {}
    """How each subject's stages follow each other."""
    remarks: tuple[str, ...] = ()
    """What was guessed, what is not used, what the file lacks."""
    start: str | None = None
    """When the first sample was taken, on the recorder's clock, as ISO 8601."""
    seconds: float | None = None
    """That it took, s."""
    host: str | None = None
    """Where."""
    scored: str
    """When, UTC."""


def source_of(path: Path) -> Source:
    """Return what a recording's files are now; raises OSError where that cannot be seen."""
    states = [each.stat() for each in files_of(path)]
    return Source(
        path=str(path),
        size=sum(state.st_size for state in states),
        mtime_ns=max(state.st_mtime_ns for state in states),
    )


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A recording that is not done, or a folder that could not be searched."""

    recording: str
    """Its name in the archive."""
    state: State
    sentence: str


def now() -> str:
    """Return this time, as a sidecar has it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_sidecar(path: Path) -> Sidecar | None:
    """Return what a sidecar says; None where there is none, or none that this version can read."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Sidecar)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError:
        return None  # another version's, or cut short: it is made anew
    return found if found.format == _FORMAT else None


def write_json(path: Path, content: msgspec.Struct) -> None:
    """Write a JSON file for people and machines, whole or not at all.

    Raises:
        ArchiveError: the place cannot be written to.
    """
    make_folder(path.parent)
    with replacing(path, ArchiveError) as draft:
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(content)))


def make_folder(path: Path) -> None:
    """Make a folder if it is not there; raises ArchiveError where it cannot be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArchiveError(f"{path}: expected a place for a folder, found: {error}") from error
