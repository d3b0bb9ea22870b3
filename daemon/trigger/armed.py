"""Which rules a person has armed for whom: a file beside the journal, so that a restart keeps it.

Who may write the file may arm: it has the permissions of the journal.
"""

from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog

from daemon.errors import ArmedError

log = structlog.get_logger()

Armed = Mapping[str, tuple[str, ...]]
"""Subjects by rule."""
_DECODER = msgspec.json.Decoder(dict[str, tuple[str, ...]])


def armed_path(journal: Path) -> Path:
    """Return where it is noted what is armed."""
    return journal.with_name(journal.name + ".armed")


def read_armed(path: Path) -> Armed:
    """Return what is armed.

    Raises:
        ArmedError: the file cannot be read, or is another.
    """
    try:
        return _DECODER.decode(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        raise ArmedError(
            f"{path}: expected what hypnod arm wrote, found: {error}; nothing is armed until "
            "hypnod arm or hypnod disarm wrote it anew"
        ) from error


def write_armed(path: Path, armed: Armed) -> None:
    """Write it, all or nothing; where nothing is armed there is no file, which needs no room.

    Raises:
        ArmedError: the file cannot be written.
    """
    draft = path.with_name(path.name + ".draft")
    try:
        if armed:
            draft.write_bytes(msgspec.json.encode(armed, order="deterministic"))
            draft.replace(path)
        else:
            draft.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
    except OSError as error:
        raise ArmedError(
            f"{path}: expected to be let write there, found: {error}; run this as the user that "
            "runs the daemon, and see that there is room: to disarm everything needs none"
        ) from error


class ArmedFile:
    """Follows the file; nothing is armed while it cannot be read.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mark: tuple[int, ...] | None = None
        self._armed: Armed = {}

    def forget(self, remembered: Collection[tuple[str, str]]) -> None:
        """Disarm where it is lost how often a rule acted, and when: no cap would hold.

        Args:
            remembered: rules and subjects of which it is known.
        """
        with suppress(ArmedError):  # of what cannot be read nothing is armed
            armed = read_armed(self._path)
            lost = {r: [s for s in whom if (r, s) not in remembered] for r, whom in armed.items()}
            if not any(lost.values()):
                return
            log.warning(
                "no longer armed",
                rules={rule: whom for rule, whom in lost.items() if whom},
                reason="the journal does not tell what they did; arm them again",
            )
            kept = {r: tuple(s for s in whom if s not in lost[r]) for r, whom in armed.items()}
            try:
                write_armed(self._path, {rule: whom for rule, whom in kept.items() if whom})
            except ArmedError:
                write_armed(self._path, {})  # needs no room

    def look(self) -> None:
        """Read it again if it was written."""
        try:
            found = self._path.stat()
            mark: tuple[int, ...] = (found.st_mtime_ns, found.st_size, found.st_ino)
        except OSError:
            mark = ()
        if mark == self._mark:
            return
        self._mark = mark
        try:
            self._armed = read_armed(self._path)
        except ArmedError as error:
            self._armed = {}
            log.error("nothing is armed", reason=str(error))
        else:
            log.info("armed", rules={rule: list(whom) for rule, whom in self._armed.items()})

    def __call__(self, rule: str, subject: str) -> bool:
        """Whether a rule is armed for a subject."""
        return subject in self._armed.get(rule, ())
