"""The file beside the journal that one daemon holds, and that says which numbers are not free.

A message that the journal does not hold had a number all the same, and somebody may have heard it.
So before it is published this file says that the journal is behind; a daemon that finds it so
begins above all numbers that were used, and no topic goes back below.
"""

import fcntl
import os
from pathlib import Path

import structlog

from daemon.errors import JournalError

log = structlog.get_logger()

_BEHIND = b"behind\n"
_WHOLE = b"whole \n"  # of the same length: written over in place, which needs no room on the disk
_DIGITS = 20


class JournalLock:
    """Held until it is closed.

    Args:
        journal: the file that it belongs to.
        syncs_each: whether what is written is on the disk before anybody goes on.

    Attributes:
        first_seq: no topic goes on below this number.
        behind: the journal lacks something that was published.

    Raises:
        JournalError: another daemon holds it.
        OSError: it cannot be made.
    """

    def __init__(self, journal: Path, *, syncs_each: bool = False) -> None:
        self._path = journal.with_name(journal.name + ".lock")
        sync = os.O_DSYNC if syncs_each else 0
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | sync, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.first_seq, self.behind = self._read()
            self._write()  # while there is room on the disk
        except BlockingIOError:
            os.close(self._file)
            raise JournalError(
                f"{journal}: expected a journal of its own, found that another daemon writes it"
            ) from None
        except OSError:
            os.close(self._file)
            raise

    def raise_to(self, first_seq: int) -> None:
        """Let no topic go on below this number, now or after a restart; what lacks is below it."""
        if first_seq > self.first_seq:
            self.first_seq, self.behind = first_seq, False
            self._write()

    def set_behind(self, behind: bool) -> None:
        """Say, before it is published, that the journal lacks something, or no longer does."""
        if behind is not self.behind:
            self.behind = behind
            self._write()

    def close(self) -> None:
        """Let another daemon have it."""
        os.close(self._file)

    def _read(self) -> tuple[int, bool]:
        content = os.pread(self._file, 2 * _DIGITS, 0)
        first_seq, _, state = content.partition(b" ")
        if not content:
            return 0, False
        if first_seq.isdigit() and state in (_BEHIND, _WHOLE):
            return int(first_seq), state == _BEHIND
        return 0, True

    def _write(self) -> None:
        """Write both over what was there; the end of the process loses nothing of it."""
        state = _BEHIND if self.behind else _WHOLE
        try:
            os.pwrite(self._file, b"%0*d %b" % (_DIGITS, self.first_seq, state), 0)
        except OSError as error:
            log.error(
                "numbers may come twice after a restart",
                path=str(self._path),
                reason=str(error),
            )
