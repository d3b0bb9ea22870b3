"""A subscriber that loses nothing: what it missed it fetches from the daemon's journal."""

import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import msgspec

from daemon.errors import AddressError
from daemon.messages import Heartbeat, Message
from daemon.sockets.keys import ClientKeys
from tools.client.catchup import CatchUpClient, CatchUpError, NoAnswerError, catch_up_endpoint
from tools.client.subscriber import DEFAULT_ENDPOINT, Received, Subscriber

_RETRY_S = 1.0
_SILENT_S = 5.0
"""Who did not answer is not asked again for so long: asking holds up what comes meanwhile."""
_JUMP = 10**9
"""A daemon that lost its journal goes on from the time of day in ms: no such number was missed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where a follower begins in each topic; with neither, with the first message that comes."""

    first: int | None = None
    """With this number; below 0, as many messages back."""
    since: datetime | None = None
    """With the first message that is not before this time."""


class Follower(Subscriber):
    """Receives every message of each topic exactly once, in the order of `seq`.

    What did not come, because this subscriber came late, slept or lost its connection, it fetches
    before it goes on; such messages are marked `replayed`. The numbers that every heartbeat tells
    show it also what is missing at a topic's end.

    Args:
        endpoint: ZeroMQ endpoint of the daemon's publisher; it need not run yet.
        prefixes: topics to receive, by their beginning; default: all.
        catch_up: `publish.catchup_bind` of the daemon; default: the port after the publisher's.
        start: where to begin.
        patience_s: what cannot be had for so long is counted as missed, and the topic goes on.
        keys: for a daemon with `[security] clients`.
        high_water_mark: messages kept while nobody calls `receive`; 0: all that come.

    Attributes:
        fetched: messages that came out of the journal.
        problem: why some were missed, if any were.

    Raises:
        AddressError: an endpoint is none of ZeroMQ's.
    """

    def __init__(
        self,
        endpoint: str = DEFAULT_ENDPOINT,
        prefixes: Iterable[str] = ("",),
        *,
        catch_up: str | None = None,
        start: Start = Start(),
        patience_s: float = 60.0,
        keys: ClientKeys | None = None,
        high_water_mark: int = 0,
    ) -> None:
        self.fetched = 0
        self.problem: str | None = None
        self._prefixes = tuple(prefixes)
        self._start = start
        self._patience_s = patience_s
        self._next: dict[str, int] = {}
        self._session: dict[str, str] = {}
        self._waiting: dict[str, float] = {}
        self._retry_at = 0.0
        self._client = CatchUpClient(catch_up or catch_up_endpoint(endpoint), keys)
        try:
            super().__init__(endpoint, {*self._prefixes, "heartbeat"}, keys, high_water_mark)
        except AddressError:
            self._client.close()
            raise

    def close(self) -> None:
        """Close the sockets."""
        super().close()
        self._client.close()

    def _take(self, received: Received) -> Iterator[Received]:
        message = received.message
        if isinstance(message, Heartbeat):
            yield from self._take_heartbeat(received, message)
            return
        if not message.SERVED:
            yield from super()._take(received)
            return
        self._look_at(received.topic, message.seq, message.session)
        following = self._next[received.topic]
        if message.seq < following:
            return
        complete = yield from self._fill(received.topic, message.seq - 1)
        if complete:
            yield self._deliver(received, message)

    def _take_heartbeat(self, received: Received, beat: Heartbeat) -> Iterator[Received]:
        """Fetch what is missing at the end of topics that say nothing at present."""
        begins = self._start != Start()
        for topic, seq in beat.newest.items():
            if self._wants(topic) and (begins or topic in self._next):
                self._look_at(topic, seq, beat.session)
                yield from self._fill(topic, seq)
        last = self._last.get(received.topic)
        self._last[received.topic] = beat
        is_copy = last is not None and last.session == beat.session and beat.seq <= last.seq
        if self._wants(received.topic) and not is_copy:
            yield received

    def _wants(self, topic: str) -> bool:
        return topic.startswith(self._prefixes)

    def _look_at(self, topic: str, seq: int, session: str) -> None:
        """Set where a topic begins, or begins anew with another journal.

        Args:
            topic: that something was heard of.
            seq: the newest number heard of.
            session: in which it was heard.
        """
        following = self._next.get(topic)
        if following is None:
            first = seq if self._start.first is None else self._start.first
            if self._start.since is not None:
                first = 0
            self._next[topic] = first if first >= 0 else max(0, seq + 1 + first)
            self.missed.setdefault(topic, 0)
        elif session != self._session.get(topic, session) and self._is_renumbered(topic, seq):
            self._next[topic] = 0
            del self._session[topic]

    def _is_renumbered(self, topic: str, seq: int) -> bool:
        """Whether a restarted daemon counts from 0 again, since its journal is another one."""
        last = self._next[topic] - 1
        if seq == last:
            return False
        try:
            found = list(self._ask(topic, last, last))
        except CatchUpError:
            found = []
        return found[0].session != self._session[topic] if found else seq < last

    def _fill(self, topic: str, last: int) -> Generator[Received, None, bool]:
        """Yield a topic's messages up to `last`; return whether it can go on behind them."""
        if self._next[topic] > last:
            return True
        try:
            yield from self._fetch(topic, last)
        except CatchUpError as error:
            now = time.monotonic()
            if now - self._waiting.setdefault(topic, now) < self._patience_s:
                return False
            self.problem = str(error)
        self._waiting.pop(topic, None)
        if topic in self._session or self._start.since is None:
            self._count(topic, last + 1 - self._next[topic])
        self._next[topic] = last + 1
        return True

    def _fetch(self, topic: str, last: int) -> Iterator[Received]:
        since = None if topic in self._session else self._start.since
        if since is not None:
            self._next[topic] = 0
        for message in self._ask(topic, self._next[topic], last, since):
            if since is None:
                self._count(topic, message.seq - self._next[topic])
            since = None
            self.fetched += 1
            copy = msgspec.structs.replace(message, replayed=True)
            yield self._deliver(Received(topic, copy, time.time(), time.monotonic()), copy)

    def _ask(
        self, topic: str, first: int, last: int, since: datetime | None = None
    ) -> Iterator[Message]:
        """Fetch messages, but not at once again after that failed."""
        if time.monotonic() < self._retry_at:
            raise CatchUpError(f"expected an answer from {self._client.endpoint}, found none")
        try:
            yield from self._client.fetch(topic, first, last, since)
        except CatchUpError as error:
            pause_s = _SILENT_S if isinstance(error, NoAnswerError) else _RETRY_S
            self._retry_at = time.monotonic() + pause_s
            raise

    def _count(self, topic: str, n_missed: int) -> None:
        self.missed[topic] += n_missed if n_missed < _JUMP else 0

    def _deliver(self, received: Received, message: Message) -> Received:
        self._next[received.topic] = message.seq + 1
        self._session[received.topic] = message.session
        return received
