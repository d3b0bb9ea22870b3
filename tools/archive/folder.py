"""The folder of an archive: what was looked for, what became of each recording, who writes it."""

import fcntl
import os
import socket
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import msgspec

from models.recordings.find import hash_file
from tools.archive.errors import ArchiveError
from tools.archive.sidecar import (
    Problem,
    Sidecar,
    Source,
    make_folder,
    now,
    read_sidecar,
    write_json,
)

INDEX = "archive.json"
_LOCK = ".lock"
_FORMAT = 1


class Listed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A recording that was found."""

    name: str
    """In the archive: the folder searched, and the path below."""
    root: str
    """The folder searched."""
    source: Source


class Index(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which recordings the archive is of."""

    format: int = _FORMAT
    hypnod: str
    """Version of who found them."""
    config: str | None
    """The archive.toml."""
    searched: str
    """When, UTC."""
    recordings: tuple[Listed, ...]
    unusable: tuple[Problem, ...] = ()
    """What the last search found and could not take for a recording of the archive."""


class ArchiveFolder:
    """What lies in the folder of an archive.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def sidecar_path(self, name: str) -> Path:
        """Return where the sidecar of a recording lies."""
        return self.path / f"{name}.json"

    def estimates_path(self, name: str) -> Path:
        """Return where its estimates lie."""
        return self.path / f"{name}.parquet"

    def read(self, name: str) -> Sidecar | None:
        """Return what became of a recording; None: nothing yet."""
        found = read_sidecar(self.sidecar_path(name))
        if found is None or found.estimates is None:
            return found
        estimates = self.estimates_path(name)
        whole = estimates.is_file() and estimates.stat().st_size == found.estimates.size
        return found if whole else None

    def vouched_estimates(self, sidecar: Sidecar) -> Path:
        """Return the estimates that a sidecar vouches for; raises ArchiveError for other ones."""
        path = self.estimates_path(sidecar.recording)
        expected = "" if sidecar.estimates is None else sidecar.estimates.sha256
        if hash_file(path) != expected:
            raise ArchiveError(
                f"{path}: expected SHA-256 {expected[:12]}… as its sidecar says, found another: "
                "it was altered"
            )
        return path

    def write(self, sidecar: Sidecar) -> None:
        """Keep what became of a recording, and no estimates that it does not vouch for.

        Raises:
            ArchiveError: it cannot be written.
        """
        if sidecar.estimates is None:  # who opens the folder as one dataset would count them
            estimates = self.estimates_path(sidecar.recording)
            try:
                estimates.unlink(missing_ok=True)
            except OSError as error:
                raise ArchiveError(
                    f"{estimates}: expected a place to write to, found: {error}"
                ) from error
        write_json(self.sidecar_path(sidecar.recording), sidecar)

    def left_over(self, names: Collection[str]) -> Iterator[str]:
        """Yield what was staged and is none of the archive's recordings any more, by its name."""
        for estimates in sorted(self.path.rglob("*.parquet")):
            name = estimates.relative_to(self.path).with_suffix("").as_posix()
            if name not in names and self.read(name) is not None:
                yield name

    def index(self) -> Index:
        """Return which recordings the archive is of.

        Raises:
            ArchiveError: this is no folder of an archive.
        """
        file = self.path / INDEX
        try:
            found = msgspec.json.decode(file.read_bytes(), type=Index)
        except (OSError, msgspec.DecodeError) as error:
            raise ArchiveError(
                f"{self.path}: expected the folder that `hypnod archive score … --out` wrote, with "
                f"its {INDEX}, found: {error}"
            ) from error
        if found.format != _FORMAT:
            raise ArchiveError(f"{file}: expected format {_FORMAT}, found {found.format}")
        return found

    def roots(self) -> list[str]:
        """Return the folders that were searched before; none where there is no archive yet."""
        if not (self.path / INDEX).exists():
            return []
        return list(dict.fromkeys(each.root for each in self.index().recordings))

    def list(
        self,
        recordings: Sequence[Listed],
        folders: Sequence[Path],
        config: Path | None,
        unusable: Sequence[Problem] = (),
    ) -> Index:
        """Keep which recordings were found below some folders; others stay as they were.

        Raises:
            ArchiveError: what is there is of another format, or cannot be written.
        """
        before = self.index().recordings if (self.path / INDEX).exists() else ()
        searched = [folder.resolve() for folder in folders]
        kept = [
            each
            for each in before
            if not any(Path(each.source.path).is_relative_to(folder) for folder in searched)
        ]
        index = Index(
            hypnod=metadata.version("hypnod"),
            config=None if config is None else str(config.resolve()),
            searched=now(),
            recordings=tuple(sorted([*kept, *recordings], key=lambda each: each.name)),
            unusable=tuple(unusable),
        )
        write_json(self.path / INDEX, index)
        return index

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other runs out.

        Raises:
            ArchiveError: another run writes here, or nobody can.
        """
        make_folder(self.path)
        try:
            lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise ArchiveError(
                f"{self.path}: expected a folder to write to, found: {error}"
            ) from error
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ArchiveError(
                    f"{self.path}: expected to be the only run on this folder, found another: "
                    f"{os.pread(lock, 200, 0).decode(errors='replace').strip()}"
                ) from None
            self._clear()
            try:
                os.ftruncate(lock, 0)
                os.pwrite(lock, f"{socket.gethostname()}, process {os.getpid()}\n".encode(), 0)
            except OSError as error:
                raise ArchiveError(
                    f"{self.path}: expected a folder to write to, found: {error}"
                ) from error
            yield
            self._clear()
        finally:
            os.close(lock)

    def _clear(self) -> None:
        """Remove the drafts of workers that died, or whose work another one did for them."""
        for written in (".parquet", ".json"):  # recordings may lie here, and be drafts of others
            for draft in self.path.rglob(f".*{written}.*.part"):
                draft.unlink(missing_ok=True)

    def running(self) -> str | None:
        """Return which run writes here; None: none does."""
        try:
            lock = os.open(self.path / _LOCK, os.O_RDONLY)
        except OSError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return os.pread(lock, 200, 0).decode(errors="replace").strip()
        finally:
            os.close(lock)
        return None
