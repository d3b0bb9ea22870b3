"""Keeps a board up to date: one thread follows the daemon, one fetches what was before."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from daemon.sockets.keys import ClientKeys
from tools.client.catchup import CatchUpClient, CatchUpError
from tools.client.follower import Follower, Start
from tools.live.board import Board

PREFIXES = ("stage.", "stream.", "trigger.", "pulse.", "heartbeat")
_LOOK_S = 0.25
_PATIENCE_S = 1.0
_RETRY_S = 2.0


class Follow:
    """Follows a daemon, which need not run yet, until it is closed.

    Args:
        board: kept up to date.
        endpoint: of the daemon's publisher.
        catch_up: where it answers who missed messages.
        hours: so much of the past is fetched.
        keys: for a daemon with keys.
        failed: called where the thread ends by a fault of hypnod.

    Raises:
        AddressError: an endpoint is none.
    """

    def __init__(
        self,
        board: Board,
        endpoint: str,
        catch_up: str,
        hours: float,
        keys: ClientKeys | None,
        failed: Callable[[], None],
    ) -> None:
        self._board, self._hours, self._failed = board, hours, failed
        self._follower = Follower(
            endpoint,
            PREFIXES,
            catch_up=catch_up,
            start=Start(first=-1),
            patience_s=_PATIENCE_S,
            keys=keys,
        )
        self._past = CatchUpClient(catch_up, keys)
        self._stop = threading.Event()
        self.error: Exception | None = None
        """What ended it, if anything did."""
        self._threads = [
            threading.Thread(target=self._run, args=(work,), name=name, daemon=True)
            for name, work in (("follow", self._follow), ("past", self._fetch))
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End both threads."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._follower.close()
        self._past.close()

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self.error = error
            self._failed()

    def _follow(self) -> None:
        while not self._stop.is_set():
            for received in self._follower.receive(_LOOK_S):
                self._board.take(received)
            self._board.look(time.monotonic(), connected=self._follower.connected)

    def _fetch(self) -> None:
        """Fill every subject's history, once, the stages first; what is newer comes by itself."""
        known: set[str] = set()
        while not self._stop.wait(_LOOK_S):
            with self._board.lock:
                names = list(self._board.subjects)
            topics = [f"stage.{name}.{kind}" for kind in ("final", "live") for name in names]
            missing = [topic for topic in topics if topic not in known]
            for topic in missing:
                if self._stop.is_set():
                    return
                with suppress(CatchUpError):
                    self._fetch_one(topic)
                    known.add(topic)
            if not known.issuperset(missing) and self._stop.wait(_RETRY_S):
                return

    def _fetch_one(self, topic: str) -> None:
        since = datetime.now(UTC) - timedelta(hours=self._hours)
        for message in self._past.fetch(topic, since=since):
            if self._stop.is_set():
                return
            self._board.remember(message)
