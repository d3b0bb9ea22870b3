"""What to tell, and when: each trouble once when it lasts, and once more when it is over."""

from collections.abc import Iterator, Mapping

import msgspec

from daemon.state import READY
from tools.live.board import Board
from tools.live.trouble import SILENT

DAEMON = "daemon"


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """What a person is told; a webhook gets it as JSON."""

    text: str
    """One sentence."""
    what: str
    """Names the trouble: `daemon`, `journal`, `stream cage-a`, `m1 emg`, …"""
    over: bool
    """Whether this is the all-clear."""


def find(board: Board) -> dict[str, str] | None:
    """Return what is wrong now by what it is, in words; None of a daemon that tells nothing.

    Args:
        board: judged just before.
    """
    with board.lock:
        daemon = board.daemon
        if daemon.lost is not None:
            return None
        found = {f"the daemon's {what}": why for what, why in daemon.troubles.items()}
        for name, stream in board.streams.items():
            if stream.state not in READY:
                found[f"stream {name}"] = f"{stream.state.lower()}: {stream.reason}"
        for subject in board.subjects.values():
            for modality, lasting in subject.off.items():
                if lasting.is_on and f"stream {subject.stream}" not in found:
                    why = next(t.text for t in subject.troubles if t.what == modality)
                    found[f"{subject.name} {modality}"] = why
        return found | _silent(board, found)


def _silent(board: Board, found: Mapping[str, str]) -> dict[str, str]:
    """Return of which streams that are well epochs come late or not at all, and whose."""
    silent: dict[str, list[str]] = {}
    for subject in board.subjects.values():
        is_silent = any(trouble.what == SILENT for trouble in subject.troubles)
        if is_silent and f"stream {subject.stream}" not in found:
            silent.setdefault(f"epochs of stream {subject.stream}", []).append(subject.name)
    return {what: f"late, or none at all, of {', '.join(names)}" for what, names in silent.items()}


class Watch:
    """Which troubles were told.

    Args:
        after_s: so long something must be wrong before it is told, and well before that is, s.
    """

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._since: dict[str, float] = {}
        """Since when each trouble is there that was not told, or is not there that was, s."""
        self._told: dict[str, str] = {}

    def look(self, found: Mapping[str, str] | None, lost: str | None, now: float) -> list[Notice]:
        """Return what is to be told.

        Args:
            found: as of `find`; None where nothing is known: the rest stays as it was.
            lost: why the daemon is lost, if it is.
            now: monotonic clock, s.
        """
        if found is None:
            known = {DAEMON: lost or "it tells nothing"}
            kept = {what: why for what, why in self._told.items() if what != DAEMON}
            return list(self._judge({**kept, **known}, now))
        return list(self._judge(found, now))

    def _judge(self, found: Mapping[str, str], now: float) -> Iterator[Notice]:
        changed = (found.keys() - self._told.keys()) | (self._told.keys() - found.keys())
        self._since = {what: self._since.get(what, now) for what in sorted(changed)}
        for what, since in list(self._since.items()):
            if now - since < self._after_s:
                continue
            del self._since[what]
            over = what in self._told
            why = self._told.pop(what) if over else found[what]
            if not over:
                self._told[what] = why
            text = f"all clear: {what}, which was: {why}" if over else f"{what}: {why}"
            yield Notice(text=text, what=what, over=over)
