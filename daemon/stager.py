"""From ready epochs to estimates: which stage, how sure, read from what, and if not, why not."""

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, product
from typing import get_args

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from daemon.config import StagingConfig
from daemon.messages import Features, Kind
from engines.base import Engine
from engines.errors import EngineError
from models.errors import ConfigError
from models.grammar import Filter
from models.signal.pipeline import EpochBatch
from models.signal.quality import ABSENT, NO_SIGNAL, OK
from models.spec import Grammar, ModelSpec
from models.stages import ART, UNKNOWN

_KINDS = get_args(Kind)
_NONE = -1
"""In the place of a pathway: nothing is read."""


class Estimate(msgspec.Struct, frozen=True):
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
    """(n_stages,), of the evidence and the grammar; None where the stage is ART or UNKNOWN."""
    evidence: NDArray[np.float32] | None
    """(n_stages,), the net's own probabilities; None where the stage is ART or UNKNOWN."""
    pathway: str | None
    """What was read; None where the stage is ART or UNKNOWN."""
    validity: Mapping[str, str]
    """`ok`, or why not, of each modality that the subject has a channel of."""
    reason: str | None
    """Why the stage is ART or UNKNOWN."""
    slots_filled: int
    """Usable epochs in the context window at the time of reading."""
    arrived: float | None
    """When the epoch's last sample arrived, local clock, s; None where it never did."""
    drift: float | None = None
    """How unlike the training animals the subject looks; None where that is not known."""
    features: Features | None = None
    """What its signal looks like; None where nothing of it is usable, or that was told before."""
    lead_off: float | None = None
    """Log odds that the EEG's lead has just come off; None where that is not known."""
    unseen_s: float = 0.0
    """How long before the end of the epoch the newest sample lies that was read, s."""
    lost_s: Mapping[str, float] = {}
    """How much of the epoch is not there of each modality that is `ok`, s; whole ones are left
    out."""


@dataclass(slots=True)
class _Row:
    """What the stager remembers of one subject."""

    number: int
    subject: str
    pending: deque[Estimate]
    """Live estimates from the oldest one on that is to be read again."""


class Stager:
    """Stages the epochs of all subjects of all streams with one engine.

    Args:
        engine: with as many rows as there are subjects.
        subjects: names of the subjects by stream, in the streams' order of channels.
        staging: hop and lag of the final reading.
        grammar: of the bundle; None: the evidence is taken as it is.

    Raises:
        ConfigError: the final lag does not fit the context window.
    """

    def __init__(
        self,
        engine: Engine,
        subjects: Mapping[str, Sequence[str]],
        staging: StagingConfig,
        grammar: Grammar | None = None,
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
        self._names = subjects
        self._rows: dict[str, list[_Row]] = {}
        for stream, names in subjects.items():
            n = sum(map(len, self._rows.values()))
            self._rows[stream] = [_Row(n + i, name, deque()) for i, name in enumerate(names)]
        self._filter = None if grammar is None else Filter(grammar, self._spec.epoch_s)
        n_pathways, n_stages = len(self._spec.pathways), len(self._spec.stages)
        self._n_read = staging.final_lag + 1
        self._n_staged = np.zeros(engine.n_rows, np.intp)
        # rings of an epoch length: what is read of the engine's answers
        # (n_rows, hops_per_epoch, n_pathways, n_read, n_stages), and after the last epochs of each
        # kind the beliefs (n_rows, hops_per_epoch, n_kinds, n_stages)
        ring = engine.n_rows, self.hops_per_epoch
        self._readings = np.zeros((*ring, n_pathways, self._n_read, n_stages), np.float32)
        self._beliefs = np.zeros((*ring, len(_KINDS), n_stages))
        # (n_rows, lag + 1), the pathways that the last epochs are read by, newest last
        self._pathways = np.full((engine.n_rows, self._lag + 1), _NONE)
        self._believe_nothing(np.arange(engine.n_rows))

    def check(self, batch: EpochBatch) -> None:
        """See that an epoch can be staged, before it goes to the engine with those of others.

        Raises:
            EngineError: its arrays do not fit, or it is not finite where it is usable.
        """
        rows = self._rows[batch.stream]
        self._engine.check_inputs(batch.epochs, _numbers(rows), batch.usable)
        for name in ("reasons", "drift", "features", "lead_off", "unseen_s", "lost_s"):
            if (n := len(getattr(batch, name))) != len(rows):
                raise EngineError(f"expected {name} of {len(rows)} subjects, found of {n}")

    def stage(self, batches: Sequence[EpochBatch]) -> list[Estimate]:
        """Stage ready epochs; return the live estimates and the final ones now due.

        Live ones come at every hop, final ones of the epochs that do not overlap: of those that
        begin at the first hop of an epoch length.

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
        return [e for rows in self._rows.values() for row in rows for e in self._flush(row)]

    def last_words(
        self,
        stream: str,
        slots: Mapping[int, Mapping[str, NDArray[np.generic]]],
        due: Sequence[Estimate],
    ) -> list[Estimate]:
        """Return the final estimates still due of a former run whose stream does not go on.

        Args:
            stream: as named in the config; nothing of it was staged yet.
            slots: as for `recall`.
            due: likewise.

        Raises:
            EngineError: they were read from no probabilities.
        """
        self._remember(stream, slots, due)
        rows = self._rows[stream]
        finals = [e for row in rows for e in self._flush(row)]
        self._believe_nothing(_numbers(rows))
        return finals

    def slots_filled(self, stream: str) -> list[int]:
        """Count the usable epochs in the context window of each subject of a stream."""
        return [int(n) for n in self._engine.slots_filled(_numbers(self._rows[stream]))]

    def newest(self, stream: str) -> dict[str, NDArray[np.generic]]:
        """Return what the last epoch of a stream left here; see `recall`.

        Returns:
            What the engine calls its `newest`, of the stream's rows; `reading`
            (n_subjects, n_pathways, final_lag + 1, n_stages), what the estimates due are read
            from; and with a grammar `belief` (n_subjects, n_kinds, n_stages), where it stands.
        """
        rows = self._rows[stream]
        numbers = _numbers(rows)
        newest = self._engine.newest(numbers)
        where = numbers, self._phase(numbers, 0)
        belief = {} if self._filter is None else {"belief": self._beliefs[where]}
        return {**newest, **belief, "reading": self._readings[where]}

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
            due: live estimates from the oldest one on that is to be read again.

        Raises:
            EngineError: the arrays do not fit, or are not finite.
        """
        for ago, name in product(slots, (*self._engine.save_context(0), "belief")):
            array = slots[ago].get(name, np.zeros(0))
            if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
                raise EngineError(f"{name} of {stream!r}: expected numbers, found NaN or infinity")
        self._remember(stream, slots, due)
        for i, row in enumerate(self._rows[stream]):
            empty = self._engine.save_context(row.number).items()
            context = {name: np.zeros_like(array) for name, array in empty}
            for ago, (name, array) in product(slots, context.items()):
                array[-ago] = slots[ago][name][i]
            self._engine.load_context(row.number, context)

    def _remember(
        self,
        stream: str,
        slots: Mapping[int, Mapping[str, NDArray[np.generic]]],
        due: Sequence[Estimate],
    ) -> None:
        """Put back all but the engine's part."""
        rows = self._rows[stream]
        numbers = _numbers(rows)
        index = {pathway: p for p, pathway in enumerate(self._spec.pathways)} | {None: _NONE}
        for row in rows:
            row.pending = deque(e for e in due if e.subject == row.subject)
            for ago, estimate in enumerate(reversed(row.pending)):
                self._pathways[row.number, -1 - ago] = index[estimate.pathway]
        for ago in filter(slots.__contains__, range(self.hops_per_epoch, 0, -1)):
            where = numbers, self._phase(numbers, ago - 1)
            self._readings[where] = slots[ago]["reading"]
            if self._filter is not None:
                self._beliefs[where] = slots[ago]["belief"]

    def _stage_round(self, batches: Sequence[EpochBatch]) -> list[Estimate]:
        """One engine call: at most one epoch of each stream."""
        rows = [row for batch in batches for row in self._rows[batch.stream]]
        numbers = _numbers(rows)
        usable = np.concatenate([batch.usable for batch in batches])
        pathways = np.column_stack([self._pathways[numbers, 1:], _pathways(usable, self._spec)])
        readings = self._engine.step(
            np.concatenate([batch.epochs for batch in batches]),
            numbers,
            usable,
            unimodal=np.logical_or.reduce(pathways > 0, axis=1),  # the first one is mixed
        )
        self._n_staged[numbers] += 1
        self._pathways[numbers] = pathways
        self._readings[numbers, self._phase(numbers, 0)] = readings[:, :, -self._n_read :]
        filled = self._engine.slots_filled(numbers).tolist()
        fresh = (e for b in batches for e in unread(b, self._names[b.stream], self._spec))
        for row, estimate, n in zip(rows, fresh, filled, strict=True):
            row.pending.append(replace(estimate, slots_filled=n))
        estimates = self._read("live", rows, filled, ago=0)
        self._pass_over(rows)
        due = [i for i, row in enumerate(rows) if len(row.pending) > self._lag]
        if due:
            late = [rows[i] for i in due]
            estimates += self._read("final", late, [filled[i] for i in due], self._lag)
            for row in late:
                row.pending.popleft()
            self._pass_over(late)
        return estimates

    def _flush(self, row: _Row) -> Iterator[Estimate]:
        """Yield a subject's final estimates still due."""
        while row.pending:
            filled = row.pending[0].slots_filled
            yield from self._read("final", [row], [filled], len(row.pending) - 1)
            row.pending.popleft()
            self._pass_over([row])
        self._pathways[row.number] = _NONE

    def _pass_over(self, rows: Sequence[_Row]) -> None:
        """Let go of the oldest epochs that are not read again: they overlap with one that is."""
        for row in rows:
            while row.pending and row.pending[0].hop % self.hops_per_epoch:
                row.pending.popleft()
            self._pathways[row.number, : self._lag + 1 - len(row.pending)] = _NONE

    def _read(
        self, kind: Kind, rows: Sequence[_Row], filled: Sequence[int], ago: int
    ) -> list[Estimate]:
        """Return the estimates of an epoch of each row.

        Args:
            kind: of the estimates.
            rows: of which the epoch is pending.
            filled: slots of the context window of each.
            ago: how many hops before the row's newest the epoch is.
        """
        numbers = _numbers(rows)
        evidence = self._evidence(rows, numbers, ago)
        probabilities = evidence[:, 0]
        if self._filter is not None:
            where = (numbers, self._phase(numbers, ago), _KINDS.index(kind))
            before = self._beliefs[where]
            if kind == "live":
                self._beliefs[where], found = self._filter.live(before, evidence[:, 0])
            else:
                self._beliefs[where], found = self._filter.final(before, evidence)
            probabilities = found.astype(np.float32)
        stages = [self._spec.stages[k] for k in probabilities.argmax(axis=-1).tolist()]
        return [
            replace(pending, kind=kind, slots_filled=n)
            if (pending := row.pending[-1 - ago]).pathway is None
            else replace(
                pending,
                kind=kind,
                slots_filled=n,
                stage=stage,
                probabilities=of_stages,
                evidence=of_net,
            )
            for row, n, stage, of_stages, of_net in zip(
                rows, filled, stages, probabilities, evidence[:, 0], strict=True
            )
        ]

    def _evidence(
        self, rows: Sequence[_Row], numbers: NDArray[np.intp], ago: int
    ) -> NDArray[np.float32]:
        """Return what the net says of an epoch of each row, and of those that follow it.

        Returns:
            (n, n_slots, n_stages), an epoch length apart; NaN where it reads nothing.
        """
        hops = self.hops_per_epoch
        readings = self._readings[numbers, self._phase(numbers, ago % hops)]
        pathways = self._pathways[numbers, -1 - ago :: hops]
        which, slots = np.indices(pathways.shape)
        evidence = np.asarray(readings[which, pathways, slots - pathways.shape[1]])
        known = pathways != _NONE
        evidence[~known] = np.nan
        bad = np.argwhere(known & ~np.isfinite(evidence).all(axis=-1))
        if len(bad):
            row, slot = bad[0].tolist()
            epoch, found = rows[row].pending[slot * hops - ago - 1], evidence[row, slot].tolist()
            raise EngineError(
                f"{epoch.subject}, hop {epoch.hop}: expected a probability of each stage "
                f"from {self._engine.description}, found {found}"
            )
        return evidence

    def _phase(self, numbers: NDArray[np.intp], ago: int) -> NDArray[np.intp]:
        """Return which of the chains of each row the epoch so many hops before its newest is of."""
        return (self._n_staged[numbers] - 1 - ago) % self.hops_per_epoch

    def _believe_nothing(self, numbers: NDArray[np.intp]) -> None:
        """Let the grammar begin anew in some rows."""
        if self._filter is not None:
            self._beliefs[numbers] = self._filter.start


def hops_per_epoch(hop_s: float | None, spec: ModelSpec, asked_by: str = "staging.hop_s") -> int:
    """Return how many hops an epoch has.

    Args:
        hop_s: how far apart they are, s; None: one an epoch.
        spec: of what stages them.
        asked_by: the key or option that says so, for people.

    Raises:
        ConfigError: not a whole number of them.
    """
    hops = round(spec.epoch_s / hop_s) if hop_s else 1
    if hop_s and (hops < 1 or abs(hops * hop_s - spec.epoch_s) > 1e-9):
        raise ConfigError(
            f"{asked_by}: expected a whole fraction of the epoch of {spec.epoch_s:g} s, "
            f"found {hop_s:.9g} s"
        )
    return hops


def unread(batch: EpochBatch, subjects: Sequence[str], spec: ModelSpec) -> Iterator[Estimate]:
    """Yield what is known of each subject's epoch before anything reads it, without a stage.

    Args:
        batch: the epoch.
        subjects: their names, in order.
        spec: of what is to read it.
    """
    pathways = [(*spec.pathways, None)[p] for p in _pathways(batch.usable, spec).tolist()]
    drift, reasons = _most(batch.drift), batch.reasons.tolist()
    features, leads_off = _features(batch.features), batch.lead_off.tolist()
    unseen, lost = batch.unseen_s.tolist(), batch.lost_s.tolist()
    for subject, why, pathway, unlike, seen, off, unseen_s, lost_s in zip(
        subjects, reasons, pathways, drift, features, leads_off, unseen, lost, strict=True
    ):
        stage, validity, reason = _verdict(tuple(why), spec.modalities)
        yield Estimate(
            subject=subject,
            stream=batch.stream,
            kind="live",
            hop=batch.hop,
            onset=batch.onset,
            stage=stage,
            probabilities=None,
            evidence=None,
            pathway=pathway,
            validity=validity,
            reason=None if pathway else reason,
            slots_filled=0,
            arrived=batch.arrived,
            drift=unlike,
            features=seen,
            lead_off=None if math.isnan(off) else off,
            unseen_s=unseen_s,
            lost_s=_of_what_is_read(lost_s, why, spec.modalities),
        )


def _of_what_is_read(
    lost_s: Sequence[float], reasons: Sequence[str], modalities: Sequence[str]
) -> Mapping[str, float]:
    """Return what is not there of the modalities that are read, to the ms; no whole ones."""
    if not any(lost_s):  # nearly always
        return {}
    every = zip(modalities, lost_s, reasons, strict=True)
    return {m: round(s, 3) for m, s, why in every if s and why == OK}


@lru_cache
def _verdict(
    reasons: tuple[str, ...], modalities: tuple[str, ...]
) -> tuple[str, Mapping[str, str], str]:
    """Return an epoch's validity, and its stage and reason where nothing of it is read."""
    found = zip(modalities, map(str, reasons), strict=True)
    validity = {m: why for m, why in found if why != ABSENT}
    why = ", ".join(f"{m} {w}" for m, w in validity.items() if w != OK)
    return ART if NO_SIGNAL.isdisjoint(reasons) else UNKNOWN, validity, why


def _pathways(usable: NDArray[np.bool_], spec: ModelSpec) -> NDArray[np.intp]:
    """Return the pathways that epochs are read by, (n,): an index into the spec's, or `_NONE`."""
    return np.where(usable.any(axis=1), spec.pathway_for(usable), _NONE)


def _numbers(rows: Sequence[_Row]) -> NDArray[np.intp]:
    return np.array([row.number for row in rows], dtype=np.intp)


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


def _features(db: NDArray[np.float64]) -> list[Features | None]:
    """Return what is told of each subject's levels: the EEG's bands, and last the EMG."""
    whole = np.asarray(np.isfinite(db).all(axis=1))
    return [
        Features(eeg_db=tuple(levels[:-1]), emg_db=levels[-1]) if known else _some(levels)
        for levels, known in zip(db.tolist(), whole.tolist(), strict=True)
    ]


def _some(levels: list[float]) -> Features | None:
    """Return what is told of levels some of which are NaN: unusable."""
    *eeg, emg = (None if math.isnan(db) else db for db in levels)
    known = tuple(db for db in eeg if db is not None)
    return None if not known and emg is None else Features(eeg_db=known, emg_db=emg)


def _most(drift: NDArray[np.float64]) -> list[float | None]:
    """Return the drift of each subject's most unlike modality, None where none is known."""
    most = np.where(np.isfinite(drift), drift, -np.inf).max(axis=1).tolist()
    return [each if each > -math.inf else None for each in most]
