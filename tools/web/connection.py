"""A browser's connection, which is cut where nobody asks or takes anything: they are few."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

CHECK_S = 15.0
"""So long a connection may do nothing, at most twice, s."""


class Connection(H11Protocol):
    """Ends when no request of it is at work, or nothing of an answer was taken, for so long.

    uvicorn itself waits for ever for a first request, for the end of one, and for whoever reads
    nothing: as many as there may be at a time would keep everyone else out, token or not.
    """

    check_s = CHECK_S
    _check: asyncio.TimerHandle
    _seen: tuple[object, int] = (None, 0)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, and look after it."""
        super().connection_made(transport)
        self._check = self.loop.call_later(self.check_s, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._check.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        """Cut the connection where it is as it was at the last look."""
        waiting = self.transport.get_write_buffer_size()
        is_asked = self.cycle is not None and not self.cycle.response_complete
        seen = (self.cycle, waiting)
        if seen == self._seen and (waiting or not is_asked):
            self.transport.abort()
            return
        self._seen = seen
        self._check = self.loop.call_later(self.check_s, self._look)
