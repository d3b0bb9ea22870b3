"""A subject's record out of the journal: each epoch once, over restarts of the daemon."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import chain
from typing import NamedTuple, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from daemon.errors import JournalError
from daemon.journal.reader import Entry, JournalReader, Session
from daemon.messages import Features, Kind, StreamMessage, is_read_again
from models.recordings.hypnogram import Hypnogram
from models.stages import ART, MOUSE, STAGE_SETS, UNKNOWN

_SAME_STEP = 0.1
"""Epochs whose distance is a hop to this fraction of it follow one another: clocks are steered."""
_RESTARTED = ("resumed", "started")
"""How the reason of a stream's message begins that tells what a restart was to it."""


class Epoch(msgspec.Struct, frozen=True, gc=False):
    """What a StageMessage says of an epoch, as far as it matters here: nights have many."""

    session: str
    kind: Kind
    hop: int
    epoch_s: float
    hop_s: float
    stage: str
    probabilities: dict[str, float]
    pathway: str | None
    validity: dict[str, str]
    reason: str | None
    slots_filled: int
    latency_s: float | None
    age_s: float | None
    model: str
    lost_s: dict[str, float] = {}
    drift: float | None = None
    features: Features | None = None
    """Of a live one, while it is read; `Record.features` has them."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which messages: of one run of the daemon, or of a span of time over any of them."""

    session: Session | None = None
    """The run."""
    since: float = -math.inf
    """Unix time, s."""
    until: float = math.inf
    """Unix time, s."""

    def read(self, reader: JournalReader, topic: str) -> Iterator[Entry]:
        """Yield a topic's messages in the order of `seq`."""
        if self.session is not None:
            return reader.of_session(topic, self.session.id)
        return reader.between(topic, self.since, self.until)

    def __str__(self) -> str:
        if self.session is not None:
            return f"session {self.session.id}"
        ends = [_local(t) if math.isfinite(t) else "" for t in (self.since, self.until)]
        return f"from {ends[0]}" + (f" to {ends[1]}" if ends[1] else "")


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is known of a subject: its final estimates, live ones where no final one came yet."""

    subject: str
    epochs: Sequence[Epoch]
    """One for each epoch, in the order of time; at least one."""
    times: NDArray[np.float64]
    """(n_epochs,) onsets, Unix time, s."""
    latencies: NDArray[np.float64]
    """(n,) of the live estimates, s."""
    ages: NDArray[np.float64]
    """(n,) likewise: how long their epochs had been over, s."""
    features: NDArray[np.float32]
    """(n_epochs, n_bands + 1), power of the EEG in the bands of `models.signal.features`, then of
    the EMG, dB re 1 µV²; NaN where it is not known."""
    epoch_s: float
    """Length of an epoch, and from one's onset to the next one's, s."""
    start: float
    """Unix time that onsets count from, a whole second, s."""

    @property
    def onsets(self) -> NDArray[np.float64]:
        """(n_epochs,), since `start`, s."""
        return self.times - self.start

    @cached_property
    def durations(self) -> NDArray[np.float64]:
        """(n_epochs,), as long as they are, or until the next one where it comes sooner, s."""
        steps = np.diff(self.times, append=np.inf)
        follows = np.abs(steps - self.epoch_s) < _SAME_STEP * self.epoch_s
        return np.where(follows, steps, np.minimum(steps, self.epoch_s))

    @cached_property
    def drift(self) -> NDArray[np.float64]:
        """(n_epochs,), how unlike the training animals it looked; NaN where that is not known."""
        return np.array([np.nan if m.drift is None else m.drift for m in self.epochs])

    @cached_property
    def hypnogram(self) -> Hypnogram:
        """The stage of every epoch; between two of them may be nothing."""
        return Hypnogram(self.onsets, self.durations, tuple(m.stage for m in self.epochs))

    @cached_property
    def stages(self) -> tuple[str, ...]:
        """The stage set."""
        named = {name for m in self.epochs for name in (*m.probabilities, m.stage)}
        named -= {ART, UNKNOWN}
        return next((each for each in STAGE_SETS if named <= {*each}), MOUSE)

    @property
    def modalities(self) -> list[str]:
        """What its epochs were made of."""
        return list(dict.fromkeys(name for m in self.epochs for name in m.validity))

    @property
    def sessions(self) -> list[str]:
        """The runs of the daemon that it comes from."""
        return list(dict.fromkeys(m.session for m in self.epochs))

    @property
    def n_live(self) -> int:
        """Epochs without a final estimate."""
        return sum(m.kind == "live" for m in self.epochs)

    @property
    def local_start(self) -> datetime:
        """The start, in local time."""
        return datetime.fromtimestamp(self.start, UTC).astimezone()

    @cached_property
    def grid(self) -> list[str]:
        """The stage of every epoch since the first one, UNKNOWN where there is none."""
        span_s = self.times[-1] + self.durations[-1] - self.times[0]
        onsets = self.times - self.times[0]
        steps = max(1, round(span_s / self.epoch_s))
        return Hypnogram(onsets, self.durations, self.hypnogram.stages).to_epochs(
            self.epoch_s, steps
        )

    def grid_epochs(self) -> Iterator[tuple[int, Epoch]]:
        """Yield each epoch, and where in `grid` it is."""
        at = np.round((self.times - self.times[0]) / self.epoch_s).astype(int)
        return zip(np.minimum(at, len(self.grid) - 1).tolist(), self.epochs, strict=True)

    def holes(self) -> Iterator[tuple[float, bool]]:
        """Yield each span without any message, s, and whether the daemon was restarted in it."""
        ends = self.times + self.durations
        apart = self.times[1:] - ends[:-1] > _SAME_STEP * self.epoch_s
        for i in np.flatnonzero(apart).tolist():
            restarted = self.epochs[i].session != self.epochs[i + 1].session
            yield float(self.times[i + 1] - ends[i]), restarted


def find_session(reader: JournalReader, name: str) -> Session:
    """Return a run of the daemon by its id, the beginning of it, or `last`.

    Raises:
        JournalError: there is none of that name, or several.
    """
    sessions = reader.sessions()
    if name == "last" and sessions:
        return sessions[-1]
    found = [each for each in sessions if each.id.startswith(name)]
    exact = [each for each in found if each.id == name]
    if len(found) != 1 and not exact:
        what = f"{len(found)} that begin so" if found else "none"
        raise JournalError(f"{reader.path}: expected a session {name!r}, found {what}")
    return (exact or found)[0]


def sessions_of(reader: JournalReader, selection: Selection) -> list[Session]:
    """Return the runs of the daemon that a selection may be of, oldest first; at least one."""
    if selection.session is not None:
        return [selection.session]
    sessions = reader.sessions()
    return [each for each in sessions if each.started < selection.until] or sessions[:1]


def subjects_of(reader: JournalReader) -> list[str]:
    """Return the subjects that a journal has messages of."""
    topics = (topic.split(".") for topic in reader.topics())
    return list(dict.fromkeys(parts[1] for parts in topics if parts[0] == "stage"))


def read_records(
    reader: JournalReader,
    selection: Selection,
    subjects: Sequence[str],
    watch: Callable[[Sequence[str]], Iterable[str]] = iter,
) -> list[Record]:
    """Return the records of subjects, all counting from the same start; who has none is left out.

    Args:
        reader: of the journal.
        selection: which messages of it.
        subjects: empty: all there are.
        watch: goes through the subjects, and may show how far that is.

    Raises:
        JournalError: a subject is not in the journal, or none has an epoch in the selection.
    """
    known = subjects_of(reader)
    for subject in subjects:
        if subject not in known:
            names = ", ".join(known) or "none"
            raise JournalError(f"{reader.path}: expected a subject ({names}), found {subject!r}")
    merged = {
        name: _merge(
            chain.from_iterable(
                selection.read(reader, f"stage.{name}.{kind}") for kind in get_args(Kind)
            )
        )
        for name in watch(subjects or known)
    }
    firsts = [found.times[0] for found in merged.values() if found.times]
    if not firsts:
        names = ", ".join(subjects or known) or "any subject"
        raise JournalError(f"{reader.path}: expected epochs of {names}, {selection}; found none")
    return [
        Record(
            subject=name,
            epochs=found.epochs,
            times=np.array(found.times),
            latencies=np.array(found.latencies),
            ages=np.array(found.ages),
            features=found.features,
            epoch_s=found.epochs[0].epoch_s,
            start=math.floor(min(firsts)),
        )
        for name, found in merged.items()
        if found.times
    ]


def read_restarts(reader: JournalReader, selection: Selection) -> list[StreamMessage]:
    """Return what the streams said about restarts of the daemon, in the order of time."""
    topics = [topic for topic in reader.topics() if topic.startswith("stream.")]
    said = [entry.message for topic in topics for entry in selection.read(reader, topic)]
    streams = [m for m in said if isinstance(m, StreamMessage)]
    return sorted((m for m in streams if m.reason.startswith(_RESTARTED)), key=lambda m: m.utc)


_DECODER = msgspec.json.Decoder(Epoch)


class _Merged(NamedTuple):
    """What two topics say of a subject."""

    times: list[float]
    """Onsets of its epochs, in order, Unix time, s."""
    epochs: list[Epoch]
    """Their messages, the final one where there is one."""
    latencies: list[float]
    """Of the live ones, s."""
    ages: list[float]
    """Likewise."""
    features: NDArray[np.float32]
    """As in `Record`."""


def _merge(entries: Iterable[Entry]) -> _Merged:
    """Put the live and the final messages of each epoch together.

    Args:
        entries: the live ones, then the final ones.
    """
    times: list[float] = []
    epochs: list[Epoch] = []
    latencies: list[float] = []
    ages: list[float] = []
    features: list[NDArray[np.float32] | None] = []
    at: dict[int, int] = {}
    share = _Shared()
    for entry in entries:
        message = share(entry.decode(_DECODER))
        if message.kind == "live" and message.latency_s is not None:
            latencies.append(message.latency_s)
        if message.kind == "live" and message.age_s is not None:
            ages.append(message.age_s)
        if not is_read_again(message.hop, message.epoch_s, message.hop_s):
            continue  # it overlaps with one that is
        i = at.get(message.hop)
        if i is not None and abs(times[i] - entry.utc) < message.epoch_s:
            if message.kind == "final":
                times[i], epochs[i] = entry.utc, message
            continue
        features.append(_row(message.features))
        at[message.hop] = len(times)
        times.append(entry.utc)
        epochs.append(msgspec.structs.replace(message, features=None))
    order = sorted(range(len(times)), key=times.__getitem__)
    rows = [features[i] for i in order]
    return _Merged(
        *([times[i] for i in order], [epochs[i] for i in order], latencies, ages, _stack(rows))
    )


def _row(features: Features | None) -> NDArray[np.float32] | None:
    """Return what a message says of an epoch's signal: bands, then the EMG; 32 bits a number."""
    if features is None:
        return None
    emg = np.nan if features.emg_db is None else features.emg_db
    return np.array([*features.eeg_db, emg], np.float32)


def _stack(rows: Sequence[NDArray[np.float32] | None]) -> NDArray[np.float32]:
    """Return rows as one array, NaN where there is none or it is shorter than another."""
    width = max((len(row) for row in rows if row is not None), default=1)
    stacked = np.full((len(rows), width), np.nan, np.float32)
    for i, row in enumerate(rows):
        if row is not None:
            stacked[i, : len(row) - 1], stacked[i, -1] = row[:-1], row[-1]
    return stacked


class _Shared:
    """Keeps one of equal texts and tables: every message brings its own."""

    def __init__(self) -> None:
        self._texts: dict[str | None, str | None] = {}
        self._validity: dict[tuple[str, ...], dict[str, str]] = {}

    def __call__(self, message: Epoch) -> Epoch:
        texts = {
            name: self._texts.setdefault(text, text)
            for name in ("session", "stage", "pathway", "reason", "model")
            if (text := getattr(message, name)) is not None
        }
        items = tuple(text for item in message.validity.items() for text in item)
        validity = self._validity.setdefault(items, message.validity)
        return msgspec.structs.replace(message, **texts, validity=validity)


def to_iso(seconds: float) -> str:
    """Return a Unix time in UTC, ISO 8601, to the ms."""
    return datetime.fromtimestamp(float(seconds), UTC).isoformat(timespec="milliseconds")


def _local(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).astimezone().isoformat(" ", "seconds")
