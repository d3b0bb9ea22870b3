"""A recording as a live LSL stream: what `hypnod replay` plays."""

import math
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.lsl.library import load_pylsl
from daemon.lsl.progress import KEY, SPEED, ProgressReceiver
from models.errors import RecordingError
from models.recordings.open import Recording
from tools.replay.fault_plan import Fault, FaultPlan
from tools.replay.faults import Injector, Outlets, Samples
from tools.replay.outlets import OpenOutlets, Outlet, first_outlet

AHEAD_S = 60.0
"""Recording time that may be on its way to the slowest reader; an inlet keeps six times that."""
HELLO_S = 5.0
"""So long the replay waits, once, for a first reader to report how far it has read."""
STUCK_S = 30.0
"""The replay goes on where its slowest reader reports nothing for so long while it is waited for,
be it stuck or ended."""
UNTOLD_SPEED = 100.0
"""Greatest speed where no reader reports how far it has read: it has to keep up by itself."""
LINGER_S = 1.5
"""From the last sample to the stream's end: what a reader has not pulled by then is lost."""
CHUNK_S = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Playback:
    """How recordings are played."""

    speed: float
    """Recording time per time; inf: as fast as the readers read."""
    start_s: float
    """Where in the recording to start, s."""
    duration_s: float
    """How much to play, s; inf: all there is."""
    loop: bool
    """Start over at the end, for ever."""
    ahead_s: float
    """Above real time: what may be on its way to the slowest reader, s of recording time."""
    markers: bool
    """Send annotations as a marker stream."""
    chunk: int | None
    """Samples sent at once; default: some 30 ms, up to 1 s of recording at high speeds."""
    plan: FaultPlan
    """What shall go wrong."""

    def chunk_of(self, sfreq: float) -> int:
        """Return how many samples are sent at once."""
        span = min(1.0, CHUNK_S * self.speed)
        return self.chunk or max(1, round(max(CHUNK_S, span) * sfreq))


class Player:
    """One recording as one LSL stream, and its annotations as another.

    Args:
        recording: What to play.
        name: The stream's name.
        playback: How.

    Raises:
        RecordingError: it ends before the start asked for.
        FaultError: a fault is for a channel that it does not have.
        StreamError: liblsl is missing.
    """

    def __init__(self, recording: Recording, name: str, playback: Playback) -> None:
        self.name = name
        self.sent = 0
        self.markers_sent = 0
        self._recording = recording
        self._playback = playback
        self._first = _find(recording, playback.start_s)
        self._origin = float(recording.timestamps(self._first, self._first + 1)[0])
        self._progress = ProgressReceiver()
        first = first_outlet(
            recording.ch_names, recording.units, recording.sfreq, f"hypnod-replay-{name}"
        )
        self._injector = Injector(playback.plan, first)
        self._outlets = OpenOutlets(name, self._describe)
        self._outlets.become([first])
        self._markers = _open_markers(name) if playback.markers and recording.annotations else None
        self._chunks = self._iterate()
        self._next: tuple[NDArray[np.float32], NDArray[np.float64]] | None = next(self._chunks)
        self._sent_at = 0.0  # recording time that is over, s since the first sample
        self._stamp = 0.0  # timestamp of the newest sample sent, s since the first one
        self._hello_waited = False
        self._patience_s = HELLO_S
        played = [a for a in recording.annotations if a.onset >= self._origin]
        self._onsets = np.array([a.onset for a in played]) - self._origin
        self._texts = [a.text for a in played]
        self._annotated = 0.0

    @property
    def duration(self) -> float:
        """Length of one pass, s."""
        return self._recording.duration - self._origin

    @property
    def total(self) -> float:
        """What will be played, s; inf without an end."""
        return min(self._playback.duration_s, math.inf if self._playback.loop else self.duration)

    @property
    def position(self) -> float:
        """Recording time sent, s."""
        return self._sent_at

    @property
    def due(self) -> float:
        """When the next chunk is complete, s of recording time since the start; inf: at the end."""
        if self._next is None:
            return math.inf
        return float(self._next[1][-1]) + 1 / self._recording.sfreq

    @property
    def injected(self) -> list[Fault]:
        """What has gone wrong so far."""
        return self._injector.injected

    def wait_for_reader(self, stop: threading.Event) -> None:
        """Wait until somebody reads the stream."""
        while not stop.is_set() and not self._outlets.wait_for_reader(0.2):
            pass

    def push(self, t0: float, stop: threading.Event) -> None:
        """Send the next chunk, stamped t0 + time since the start, with what goes wrong in it."""
        if self._next is None:
            return
        data, times = self._next
        self._deliver(self._injector.push(data, times), t0, stop)
        self._push_markers(t0, self.due)
        self._sent_at = float(times[-1])
        self._next = next(self._chunks, None)

    def hold_back(self, t0: float, stop: threading.Event) -> None:
        """Above real time, wait until the readers have come near enough to what was sent."""
        newest = self._newest(t0)
        self._progress.update(newest)
        waited = 0.0
        while not stop.is_set() and self._is_ahead(t0):
            if self._progress.readers:  # one that ends may be started again
                self._hello_waited, self._patience_s = False, STUCK_S
            waited = 0.0 if self._progress.update(newest, 0.1) else waited + 0.1
            if waited > self._patience_s:
                self._progress.forget()
                self._hello_waited = True
        if self._hello_waited and not self._progress.readers:
            excess = 1 / UNTOLD_SPEED - 1 / self._playback.speed
            stop.wait(max(0.0, excess) * (self.due - self._sent_at))

    def finish(self, t0: float, stop: threading.Event) -> None:
        """Wait until what was sent has been read."""
        self._deliver(self._injector.finish(), t0, stop)
        if self._playback.speed > 1 and not self._hello_waited and self._outlets.first:
            # A short one may be over before its reader has begun.
            self._wait_told(self._zero(t0), stop)
        self._wait_read(t0, stop)
        if self._outlets.have_readers():
            stop.wait(LINGER_S)

    def close(self) -> None:
        """End the streams."""
        self._outlets.become([])
        self._markers = None
        self._progress.close()

    def _is_ahead(self, t0: float) -> bool:
        if self._next is None or self._outlets.first is None or self._playback.speed <= 1:
            return False  # a real source waits for nobody
        if self._progress.readers:
            return self._newest(t0) - self._progress.slowest() > self._playback.ahead_s
        return not self._hello_waited and self.due > self._playback.ahead_s

    def _deliver(self, what: Iterable[Samples | Outlets], t0: float, stop: threading.Event) -> None:
        for each in what:
            if isinstance(each, Outlets):
                self._become(each.outlets, t0, stop)
            else:
                self._outlets.push(each.data, each.stamps, t0)
                self.sent += len(each.stamps)
                self._stamp = float(each.stamps[-1])

    def _become(self, outlets: tuple[Outlet, ...], t0: float, stop: threading.Event) -> None:
        fast, before = self._playback.speed > 1, self._outlets.first
        if before in outlets:  # its readers stay
            self._outlets.become(outlets)
            return
        if fast and before is not None:
            # What is on its way would be lost, and above real time it is much.
            self._wait_told(self._zero(t0), stop)
            self._wait_read(t0, stop)
        self._progress.forget()
        self._outlets.become(outlets)
        if fast and outlets:
            self._wait_told(self._newest(t0), stop)

    def _zero(self, t0: float) -> float:
        """Return the timestamp of the first sample by the clock of the present outlet, s."""
        outlet = self._outlets.first
        return t0 if outlet is None else outlet.zero(t0)

    def _newest(self, t0: float) -> float:
        """Return the timestamp of the newest sample sent by that clock, s."""
        return self._zero(t0) + self._stamp

    def _describe(self, desc: Any) -> None:
        source = desc.append_child("recording")
        start = self._recording.start
        source.append_child_value("file", self._recording.path.name)
        source.append_child_value("start", start.isoformat() if start else "")
        replay = desc.append_child("replay")
        replay.append_child_value(KEY, str(self._progress.port))
        replay.append_child_value(SPEED, f"{self._playback.speed:g}")

    def _wait_read(self, t0: float, stop: threading.Event) -> None:
        """Wait until the readers that report how far they have read have read what was sent."""
        newest = self._newest(t0)
        waited = 0.0
        self._progress.update(newest)
        while self._progress.slowest() < newest and waited < STUCK_S and not stop.is_set():
            waited = 0.0 if self._progress.update(newest, 0.1) else waited + 0.1

    def _wait_told(self, begun: float, stop: threading.Event) -> None:
        """Wait until a reader reports how far it has read; before its first sample: `begun`."""
        waited = 0.0
        while not stop.is_set() and waited < HELLO_S and not self._progress.readers:
            waited += 0.0 if self._progress.update(begun, 0.1) else 0.1

    def _iterate(self) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float64]]]:
        """Go through the recording: samples, and their times since the start."""
        n = self._playback.chunk_of(self._recording.sfreq)
        passed = -self._origin
        while True:
            for at in range(self._first, self._recording.n_samples, n):
                stop = min(at + n, self._recording.n_samples)
                times = passed + self._recording.timestamps(at, stop)
                kept = int(np.searchsorted(times, self._playback.duration_s))
                if kept:
                    yield self._recording.read(at, at + kept), times[:kept]
                if at + kept < stop:
                    return
            if not self._playback.loop:
                return
            passed += self.duration

    def _push_markers(self, t0: float, until: float) -> None:
        """Send the annotations whose onsets lie before `until` and were not sent yet."""
        if self._markers is None:
            return
        since, self._annotated = self._annotated, until
        passes = range(int(since // self.duration), int(until // self.duration) + 1)
        for k in passes if self._playback.loop else range(1):
            moved = k * self.duration
            for at in range(*np.searchsorted(self._onsets, [since - moved, until - moved])):
                self._markers.push_sample([self._texts[at]], t0 + moved + self._onsets[at])
                self.markers_sent += 1


def _find(recording: Recording, start_s: float) -> int:
    """Return the first sample at or after a time, by bisection: a night's times are many."""
    low, high = 0, recording.n_samples
    while low < high:
        middle = (low + high) // 2
        if recording.timestamps(middle, middle + 1)[0] < start_s:
            low = middle + 1
        else:
            high = middle
    if low == recording.n_samples:
        raise RecordingError(
            f"{recording.path}: expected samples from {start_s:g} s on, found "
            f"{recording.duration:g} s in all"
        )
    return low


def _open_markers(name: str) -> Any:
    lsl = load_pylsl()
    info = lsl.StreamInfo(
        f"{name}-markers",
        "Markers",
        1,
        lsl.IRREGULAR_RATE,
        "string",
        f"hypnod-replay-{name}-markers",
    )
    return lsl.StreamOutlet(info)
