"""One LSL stream in: found by its properties, read without blocking, found again when lost.

liblsl's own recovery is off, since it hides what happened: a source that returns with another
rate or another number of channels would resume without a word, and one without a source_id would
never return. A lost stream raises there instead, and is looked for here, anew.
"""

import platform
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from daemon.config import StreamConfig
from daemon.lsl.library import (
    check_stream,
    identify,
    in_words,
    is_readable,
    load_pylsl,
    match_predicate,
    tell_apart,
)
from daemon.lsl.progress import KEY, ProgressSender, is_live
from models.errors import HypnodError, StreamError
from models.signal.chunk import Chunk, StreamDescription

BUFFER_S = 360
"""Samples kept for a late poll, s at the nominal rate. LSL drops the oldest beyond."""
FORGET_S = 2.0
"""A stream that answered no query for this long is no longer visible."""
OPEN_S = 5.0
"""A visible stream that cannot be opened for this long is looked for anew."""
OPEN_ATTEMPTS = 3
SILENT_S = 1.0
"""Without a sample for this long, see whether the source is still the visible one."""
OFFSET_EVERY_S = 5.0
CLOCK_RESET_S = 0.1
"""A clock offset that changes by more than this across a reconnection is another clock."""
PULL_SAMPLES, PULLS = 2048, 16


@dataclass(frozen=True, slots=True)
class Clocks:
    """How a stream's clock relates to this machine's, at one moment."""

    offset: float
    """To add to the stream's clock for this machine's LSL clock, s."""
    utc_offset: float
    """To add to the stream's clock for Unix time, s."""


@dataclass
class _Source:
    """An open connection."""

    inlet: Any
    info: Any
    offset: float
    progress: ProgressSender | None


@dataclass
class _Opening:
    """A connection being opened in a thread of its own, as that blocks for most of a second."""

    info: Any
    stop: threading.Event = field(default_factory=threading.Event)
    source: _Source | None = None
    timed_out: bool = False
    error: Exception | None = None
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run, name="inlet-open", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        lsl = load_pylsl()
        try:
            inlet = lsl.StreamInlet(self.info, max_buflen=BUFFER_S, recover=False)
        except Exception as error:
            self.error = error
            return
        try:
            self._insist(inlet.open_stream)
            info = self._insist(inlet.info)
            offset = self._insist(inlet.time_correction)
            self.source = _Source(inlet, info, offset, _progress_of(info))
        except lsl.util.LostError:
            inlet.close_stream()
        except lsl.util.TimeoutError:
            inlet.close_stream()
            self.timed_out = True
        except Exception as error:
            inlet.close_stream()
            self.error = error

    def _insist(self, call: Callable[[float], Any]) -> Any:
        """Wait in short steps, so that closing is prompt."""
        lsl = load_pylsl()
        deadline = lsl.local_clock() + OPEN_S
        while True:
            try:
                return call(0.5)
            except lsl.util.TimeoutError:
                if self.stop.is_set() or lsl.local_clock() > deadline:
                    raise


def _progress_of(info: Any) -> ProgressSender | None:
    """Open the way back to a replay on this machine; no other stream has one."""
    port = info.desc().child("replay").child_value(KEY)
    if not port.isdecimal() or info.hostname() != platform.node():
        return None
    return ProgressSender(int(port))


class Inlet:
    """The one stream that matches a config.

    Args:
        config: Which stream, and what it must be like.
        taken: Of the inlets that share it, which source (uid) is read by which stream: by one.

    Attributes:
        description: Of the connected, or the last connected, stream; None before the first.
        connection: 0 before the first connection, one more at each.
        connected: Whether samples can come.
        clock_offset: The local LSL clock minus the timestamps in chunks, s; latest estimate.
        is_live: Whether samples come as time passes: a replay may play them faster.

    Raises:
        ConfigError: `config.match` cannot be used.
        StreamError: liblsl is missing.
    """

    def __init__(self, config: StreamConfig, taken: dict[str, str] | None = None) -> None:
        self._taken = {} if taken is None else taken
        self._predicate = match_predicate(config.match)
        self._lsl = load_pylsl()
        self._config = config
        self._resolver: Any = None
        self._opening: _Opening | None = None
        self._source: _Source | None = None
        self._failures = 0
        self._refused: tuple[str, HypnodError] | None = None  # the uid of what did not fit, and why
        self._resolving_since = self._ambiguous_since = self._heard = 0.0
        self._shift = 0.0  # added to timestamps since the source's clock was reset
        self._offset_read = 0.0
        self.description: StreamDescription | None = None
        self.connection = 0
        self.clock_offset = 0.0
        self.is_live = True
        self._resolve()

    @property
    def clocks(self) -> Clocks:
        """How the timestamps in chunks relate to this machine's clocks now."""
        offset = self.clock_offset
        return Clocks(offset, time.time() - self._lsl.local_clock() + offset)

    @property
    def connected(self) -> bool:
        """Whether samples can come."""
        return self._source is not None

    def poll(self) -> Chunk | None:
        """Return the samples there are, or None; never blocks.

        Timestamps are the source's own, bit for bit, unless its clock was reset while it was
        away (its machine restarted, or another took over): then the change is added to all that
        follow, so that time goes on.

        Raises:
            StreamError: the stream is ambiguous or not as configured. The next poll looks again.
            HypnodError: what `refuse` was told, while the refused stream is the visible one.
        """
        if self._opening is not None:
            self._finish_opening()
        elif self._source is None:
            self._look()
        if self._source is None:
            return None
        chunk = self._pull(self._source)
        if chunk is None:
            self._look_behind_silence()
        return chunk

    def refuse(self, reason: HypnodError) -> None:
        """Leave the connected stream, if any, as it does not fit, and wait for another."""
        if self._source is not None:
            self._refused = (self._source.info.uid(), reason)
            self._disconnect()
            self._resolve()

    def close(self) -> None:
        """Disconnect."""
        if self._opening is not None:
            self._opening.stop.set()
            self._opening.thread.join()
            self._source = self._source or self._opening.source
            self._opening = None
        self._disconnect()
        self._resolver = None

    def _resolve(self) -> None:
        """Look anew: a fresh resolver lists only streams that answer it, so no dead ones."""
        self._resolver = self._lsl.ContinuousResolver(pred=self._predicate, forget_after=FORGET_S)
        self._resolving_since = self._lsl.local_clock()
        self._ambiguous_since = 0.0

    def _look(self) -> None:
        found = self._resolver.results()
        if len(found) > 1:
            self._refuse_ambiguity(found)
            return
        self._ambiguous_since = 0.0
        if found and self._refused is not None and found[0].uid() == self._refused[0]:
            raise self._refused[1]
        if found and not is_readable(found[0]):
            raise StreamError(
                f"stream {self._config.name!r}: expected a source whose description can be read, "
                f"found {identify(found[0])}: is the rate that it declares a number?"
            )
        if found:
            self._opening = _Opening(found[0])

    def _refuse_ambiguity(self, found: list[Any]) -> None:
        """Raise if both are there to stay: one that just ended is still listed for a while."""
        now = self._lsl.local_clock()
        self._ambiguous_since = self._ambiguous_since or now
        if now - self._ambiguous_since > 1.5 * FORGET_S:
            wanted = in_words(self._config.match)
            names = sorted(identify(info) for info in found)
            raise StreamError(
                f"stream {self._config.name!r}: expected exactly one visible stream with {wanted},"
                f" found {len(found)}: {' and '.join(names)}; {tell_apart(found)}"
            )

    def _finish_opening(self) -> None:
        opening = self._opening
        if opening is None or opening.thread.is_alive():
            return
        self._opening = None
        if opening.error is not None:
            self._resolve()
            raise self._unreadable(opening.error) from opening.error
        if opening.source is None:
            self._resolve()
            self._count_failure(opening)
        elif len(self._resolver.results()) > 1:
            _drop(opening.source)  # which one is meant is decided before anything is read
        else:
            self._connect(opening.source)

    def _count_failure(self, opening: _Opening) -> None:
        """Let a source that went away again be, but not one that can never be reached."""
        self._failures += opening.timed_out
        if self._failures >= OPEN_ATTEMPTS:
            self._failures = 0
            raise StreamError(
                f"stream {self._config.name!r}: expected {identify(opening.info)} to answer within"
                f" {OPEN_S:g} s, found it visible but not reachable {OPEN_ATTEMPTS} times: is a"
                " firewall closing its TCP and UDP ports 16572-16604?"
            )

    def _connect(self, source: _Source) -> None:
        uid, own = source.info.uid(), self._config.name
        try:
            if (other := self._taken.setdefault(uid, own)) != own:
                raise StreamError(
                    f"stream {own!r}: expected a source of its own, found the one that stream "
                    f"{other!r} reads, {identify(source.info)}: match what differs, or give all "
                    "its subjects to one [[streams]]"
                )
            found = check_stream(self._config, source.info)
        except Exception as error:
            reason = error if isinstance(error, StreamError) else self._unreadable(error)
            self._source = source
            self.refuse(reason)
            raise reason from error
        if self.connection and abs(source.offset - self._shift - self.clock_offset) > CLOCK_RESET_S:
            self._shift = source.offset - self.clock_offset
        self.description = found
        self.connection += 1
        self._failures = 0
        self._source = source
        self._resolver = None
        self._heard = self._offset_read = self._lsl.local_clock()
        self.clock_offset = source.offset - self._shift
        self.is_live = is_live(source.info)

    def _unreadable(self, error: Exception) -> StreamError:
        """Say that a source's description is none, such as one that is not in UTF-8."""
        return StreamError(
            f"stream {self._config.name!r}: expected a source whose description can be read, found "
            f"one where that raises {type(error).__name__}: {error}"
        )

    def _pull(self, source: _Source) -> Chunk | None:
        data, timestamps = [], []
        try:
            for _ in range(PULLS):
                values, times = source.inlet.pull_chunk(0.0, PULL_SAMPLES, as_numpy=True)
                if not len(times):
                    break
                data.append(values)
                timestamps.append(times)
            self._read_offset(source)
        except self._lsl.util.LostError:
            self._disconnect()
            self._resolve()
        if not data:
            return None
        if self.connected:
            self._resolver = None
        times = np.concatenate(timestamps)
        self._heard = self._lsl.local_clock()
        if source.progress is not None and self.connected:
            source.progress.send(float(times[-1]))
        if self._shift:
            times += self._shift
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and no sample
            samples = np.concatenate(data).astype(np.float32, copy=False)
        return Chunk(samples, times, self._heard)

    def _read_offset(self, source: _Source) -> None:
        """Take over liblsl's own estimate, which it refreshes in the background."""
        now = self._lsl.local_clock()
        if now - self._offset_read > OFFSET_EVERY_S:
            self._offset_read = now
            source.offset = source.inlet.time_correction(0.0)
            self.clock_offset = source.offset - self._shift

    def _look_behind_silence(self) -> None:
        """Leave a source that froze, or lost its power, when another has taken its place.

        Neither ends the connection; only its missing answer to a query tells.
        """
        now = self._lsl.local_clock()
        if self._source is None or now - self._heard < SILENT_S:
            return
        if self._resolver is None:
            self._resolve()
        uids = {info.uid() for info in self._resolver.results()}
        if uids and self._source.info.uid() not in uids and now - self._resolving_since > SILENT_S:
            self._disconnect()

    def _disconnect(self) -> None:
        if self._source is not None:
            if self._taken.get(uid := self._source.info.uid()) == self._config.name:
                del self._taken[uid]
            _drop(self._source)
            self._source = None


def _drop(source: _Source) -> None:
    source.inlet.close_stream()
    if source.progress is not None:
        source.progress.close()
