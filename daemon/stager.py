"""From ready epochs to estimates: which stage, how sure, read from what, and if not, why not."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, product

import numpy as np
from numpy.typing import NDArray

from daemon.config import StagingConfig
from daemon.messages import Kind
from engines.base import Engine
from engines.errors import EngineError
from models.errors import ConfigError
from models.signal.pipeline import EpochBatch
from models.signal.quality import NO_SIGNAL, OK
from models.spec import MIXED, ModelSpec
from models.stages import ART, UNKNOWN


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is known of one epoch of one subject; a `final` one is the last word."""

    subject: str
    stream: str
    kind: Kind
    hop: int
    """Counts the points of the stream's time grid."""
    onset: float
    """On the source's clock, s."""
    stage: str
    """A stage, ART or UNKNOWN."""
    probabilities: NDArray[np.float32] | None
    """(n_stages,); None where the stage is ART or UNKNOWN."""
    pathway: str | None
    """What was read; None where the stage is ART or UNKNOWN."""
    validity: Mapping[str, str]
    """`ok`, or why not, of each modality."""
    reason: str | None
    """Why the stage is ART or UNKNOWN."""
    slots_filled: int
    """Usable epochs in the context window at the time of reading."""
    arrived: float | None
    """When the epoch's last sample arrived, local clock, s; None where it never did."""
    drift: float | None = None
    """How unlike the training animals the subject looks; None where that is not known."""


@dataclass(slots=True)
class _Row:
    """What the stager remembers of one subject."""

    number: int
    subject: str
    pending: deque[Estimate]
    """Live estimates whose final reading is still due, oldest first."""
    readings: deque[NDArray[np.float32]]
    """The engine's answers of the last epoch length, one a hop, newest last."""


class Stager:
    """Stages the epochs of all subjects of all streams with one engine.

    Args:
        engine: with as many rows as there are subjects.
        subjects: names of the subjects by stream, in the streams' order of channels.
        staging: hop and lag of the final reading.

    Raises:
        ConfigError: the final lag does not fit the context window.
    """

    def __init__(
        self, engine: Engine, subjects: Mapping[str, Sequence[str]], staging: StagingConfig
    ) -> None:
        self._engine = engine
        self._spec = engine.spec
        if staging.final_lag >= self._spec.n_context:
            raise ConfigError(
                f"staging.final_lag: expected less than the context window of "
                f"{self._spec.n_context} epochs, found {staging.final_lag}"
            )
        self.hops_per_epoch = engine.hops_per_epoch
        self._lag = staging.final_lag * self.hops_per_epoch
        self.n_slots = self._spec.ring_length(self.hops_per_epoch)
        """Epochs that the context window spans, its first and last included."""
        self._rows: dict[str, list[_Row]] = {}
        for stream, names in subjects.items():
            n = sum(map(len, self._rows.values()))
            self._rows[stream] = [
                _Row(n + i, name, deque(), deque(maxlen=self.hops_per_epoch))
                for i, name in enumerate(names)
            ]

    def stage(self, batches: Sequence[EpochBatch]) -> list[Estimate]:
        """Stage ready epochs; return the live estimates and the final ones now due.

        The first ready epoch of every stream goes to the engine in one call, then the second
        of those that have one, and so on.

        Args:
            batches: any number a stream, each stream's in order.
        """
        estimates: list[Estimate] = []
        for ready in _rounds(batches):
            estimates += self._stage_round(ready)
        return estimates

    def flush(self) -> list[Estimate]:
        """Return the final estimates still due, read with what context there is."""
        estimates = []
        for row in (row for rows in self._rows.values() for row in rows):
            while row.pending:
                age = len(row.pending) - 1
                reading = row.readings[-1 - age % self.hops_per_epoch]
                estimates.append(self._read(row.pending.popleft(), "final", reading, age))
        return estimates

    def slots_filled(self, stream: str) -> list[int]:
        """Count the usable epochs in the context window of each subject of a stream."""
        rows = np.array([row.number for row in self._rows[stream]], dtype=np.intp)
        return [int(n) for n in self._engine.slots_filled(rows)]

    def newest(self, stream: str) -> dict[str, NDArray[np.generic]]:
        """Return what the last epoch of a stream left here; see `recall`.

        Returns:
            What the engine calls its `newest`, of the stream's rows, and `reading`
            (n_subjects, n_pathways, final_lag + 1, n_stages): what the estimates due are read from.
        """
        rows = self._rows[stream]
        newest = self._engine.newest(np.array([row.number for row in rows], dtype=np.intp))
        n_read = self._lag // self.hops_per_epoch + 1
        readings = np.full(
            (len(rows), len(self._spec.pathways), n_read, len(self._spec.stages)),
            np.nan,
            np.float32,
        )
        for reading, row in zip(readings, rows, strict=True):
            last = row.readings[-1][:, -n_read:]
            reading[: len(last)] = last
        return {**newest, "reading": readings}

    def recall(
        self,
        stream: str,
        slots: Mapping[int, Mapping[str, NDArray[np.generic]]],
        due: Sequence[Estimate],
    ) -> None:
        """Put back what `newest` gave after each of a stream's last epochs.

        Args:
            stream: as named in the config.
            slots: by how many epochs ago it was, 1 to `n_slots`; the missing ones are masked.
            due: live estimates whose final reading is still due, oldest first.

        Raises:
            EngineError: the arrays do not fit.
        """
        for i, row in enumerate(self._rows[stream]):
            empty = self._engine.save_context(row.number).items()
            context = {name: np.zeros_like(array) for name, array in empty}
            for ago, (name, array) in product(slots, context.items()):
                array[-ago] = slots[ago][name][i]
            self._engine.load_context(row.number, context)
            row.pending = deque(e for e in due if e.subject == row.subject)
            agos = [ago for ago in range(self.hops_per_epoch, 0, -1) if ago in slots]
            readings = (np.asarray(slots[ago]["reading"][i], np.float32) for ago in agos)
            row.readings = deque(readings, maxlen=self.hops_per_epoch)

    def _stage_round(self, batches: Sequence[EpochBatch]) -> list[Estimate]:
        """One engine call: at most one epoch of each stream."""
        rows = [row for batch in batches for row in self._rows[batch.stream]]
        numbers = np.array([row.number for row in rows], dtype=np.intp)
        usable = np.concatenate([batch.usable for batch in batches])
        for row, estimate in zip(rows, self._unread(batches), strict=True):
            row.pending.append(estimate)
        probabilities = self._engine.step(
            np.concatenate([batch.epochs for batch in batches]),
            numbers,
            usable,
            unimodal=any(e.pathway not in (None, MIXED) for row in rows for e in row.pending),
        )
        filled = self._engine.slots_filled(numbers)
        estimates = []
        for row, reading, n in zip(rows, probabilities, filled, strict=True):
            row.readings.append(reading)
            row.pending[-1] = replace(row.pending[-1], slots_filled=int(n))
            estimates.append(self._read(row.pending[-1], "live", reading, age=0))
            if len(row.pending) > self._lag:
                due = replace(row.pending.popleft(), slots_filled=int(n))
                estimates.append(self._read(due, "final", reading, age=self._lag))
        return estimates

    def _unread(self, batches: Sequence[EpochBatch]) -> Iterator[Estimate]:
        """Yield what is known of each subject's epoch before the engine reads it."""
        for batch in batches:
            pathways = self._spec.pathway_for(batch.usable).tolist()
            rows = zip(self._rows[batch.stream], batch.reasons, pathways, batch.drift, strict=True)
            for row, reasons, pathway, drift in rows:
                validity = dict(zip(self._spec.modalities, map(str, reasons), strict=True))
                bad = [f"{m} {why}" for m, why in validity.items() if why != OK]
                lost = len(bad) == len(validity)
                dead = NO_SIGNAL.intersection(validity.values())
                yield Estimate(
                    subject=row.subject,
                    stream=batch.stream,
                    kind="live",
                    hop=batch.hop,
                    onset=batch.onset,
                    stage=UNKNOWN if dead else ART,
                    probabilities=None,
                    pathway=None if lost else self._spec.pathways[pathway],
                    validity=validity,
                    reason=", ".join(bad) if lost else None,
                    slots_filled=0,
                    arrived=batch.arrived,
                    drift=_most(drift),
                )

    def _read(
        self, estimate: Estimate, kind: Kind, reading: NDArray[np.float32], age: int
    ) -> Estimate:
        """Complete an estimate from the slot that its epoch has now, `age` hops after it."""
        if estimate.pathway is None:
            return replace(estimate, kind=kind)
        pathway = self._spec.pathways.index(estimate.pathway)
        probabilities = reading[pathway, -1 - age // self.hops_per_epoch]
        if not np.isfinite(probabilities).all():
            raise EngineError(
                f"{estimate.subject}, hop {estimate.hop}: expected a probability of each stage "
                f"from {self._engine.description}, found {probabilities.tolist()}"
            )
        stage = self._spec.stages[int(np.argmax(probabilities))]
        return replace(estimate, kind=kind, stage=stage, probabilities=probabilities)


def hops_per_epoch(hop_s: float | None, spec: ModelSpec) -> int:
    """Return how many hops an epoch has.

    Raises:
        ConfigError: not a whole number of them.
    """
    hops = round(spec.epoch_s / hop_s) if hop_s else 1
    if hop_s and (hops < 1 or abs(hops * hop_s - spec.epoch_s) > 1e-9):
        raise ConfigError(
            f"staging.hop_s: expected a whole fraction of the epoch of {spec.epoch_s:g} s, "
            f"found {hop_s:g} s"
        )
    return hops


def _rounds(batches: Sequence[EpochBatch]) -> Iterator[list[EpochBatch]]:
    """Group the batches: the first one of every stream, then the second ones, and so on."""
    seen: dict[str, int] = {}
    numbered = []
    for batch in batches:
        seen[batch.stream] = seen.get(batch.stream, -1) + 1
        numbered.append((seen[batch.stream], batch))
    numbered.sort(key=lambda pair: pair[0])
    for _, group in groupby(numbered, key=lambda pair: pair[0]):
        yield [batch for _, batch in group]


def _most(drift: NDArray[np.float64]) -> float | None:
    """Return the drift of the most unlike modality of a subject, None where none is known."""
    known = drift[np.isfinite(drift)]
    return float(known.max()) if len(known) else None
