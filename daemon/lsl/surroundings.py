"""What is visible beside a stream that is not found: its name may be another than configured."""

from typing import Any

from daemon.lsl.library import list_visible, load_pylsl
from daemon.lsl.outlet import CONTENT_TYPES

WAIT_S = 5.0
"""A stream that is not found for this long may never be."""
SEARCH_S = 2.0


class Surroundings:
    """Looks once, in the background, for all streams there are."""

    def __init__(self) -> None:
        self._missed_since: float | None = None
        self._resolver: Any = None
        self._done = False

    def look(self, now: float) -> str | None:
        """Say which other streams are visible, the one time that it is known; else None.

        Args:
            now: this machine's LSL clock, s. Called only while the stream is not found.
        """
        if self._missed_since is None:
            self._missed_since = now
        if self._done or now - self._missed_since < WAIT_S:
            return None
        if self._resolver is None:
            self._resolver = load_pylsl().ContinuousResolver()
        if now - self._missed_since < WAIT_S + SEARCH_S:
            return None
        found = [info for info in self._resolver.results() if info.type() not in CONTENT_TYPES]
        self._resolver, self._done = None, True
        return list_visible(found)
