"""The decision that is to be explained: staged as by `hypnod score`, with its window.

N: slots of the context window, M: modalities, S: stages.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daemon.messages import Kind
from daemon.stager import Estimate
from models.errors import RecordingError
from models.signal.pipeline import EpochBatch
from models.spec import ModelSpec

_TOLERANCE_S = 1e-6


@dataclass(frozen=True, kw_only=True)
class Decision:
    """An estimate of one epoch, and the context window that it was read of."""

    estimate: Estimate
    slot: int
    """Of the epoch in its window, from 0, the oldest."""
    epochs: NDArray[np.float32]
    """(N, M, n_inputs), what the net was given; zeros where the mask is False."""
    mask: NDArray[np.bool_]
    """(N, M), False where nobody attends."""
    microvolts: NDArray[np.float32]
    """(N, M, n_times), filtered, µV; NaN before the recording and of what the subject lacks."""
    onsets: NDArray[np.float64]
    """(N,), of the slots since the first sample, s."""
    stages: tuple[str, ...]
    """(N,), of the slots' epochs by the same kind of estimate; empty before the recording."""


class Window:
    """Keeps what may be in the window of a decision while a recording is staged.

    Args:
        spec: the model.
        at_s: a moment within the epoch, since the first sample, s.
        kind: of the estimate.
        hops_per_epoch: points of the time grid an epoch length.
        final_lag: epoch lengths after which a final estimate is read.
    """

    def __init__(
        self, spec: ModelSpec, at_s: float, kind: Kind, hops_per_epoch: int, final_lag: int
    ) -> None:
        self._spec = spec
        self._at_s, self._kind = at_s, kind
        self._every = hops_per_epoch
        self._lag = final_lag if kind == "final" else 0
        self._batches: dict[int, EpochBatch] = {}

    def look(self, batch: EpochBatch) -> None:
        """Keep an epoch if the window may hold it."""
        before_s = (self._spec.n_context + 1) * self._spec.epoch_s
        after_s = (self._lag + 1) * self._spec.epoch_s
        if self._at_s - before_s <= batch.onset <= self._at_s + after_s:
            self._batches[batch.hop] = batch

    def decide(
        self, staged: Iterable[tuple[int, Sequence[Estimate]]], subject: int, name: str
    ) -> Decision:
        """Stage until the decision and its window are known.

        Args:
            staged: what `tools.score.offline.stage_configured` yields, with `look` called.
            subject: whose decision, by number.
            name: the same by name.

        Raises:
            RecordingError: no epoch holds the moment, or the one that does has no stage.
        """
        known: dict[int, Estimate] = {}
        found: Estimate | None = None
        last_s = self._at_s + self._lag * self._spec.epoch_s
        for _, new in staged:
            mine = [e for e in new if (e.subject, e.kind) == (name, self._kind)]
            known |= {e.hop: e for e in mine}
            up_to = [e for e in mine if e.onset <= self._at_s + _TOLERANCE_S]
            found = up_to[-1] if up_to else found
            if mine and mine[-1].onset > last_s:
                break
        if found is None or found.onset + self._spec.epoch_s <= self._at_s - _TOLERANCE_S:
            end = f"the last begins at {found.onset:g} s" if found else "no epoch"
            raise RecordingError(
                f"--at: expected a moment within an epoch of {name}, found {self._at_s:g} s "
                f"after the first sample: {end}"
            )
        if found.evidence is None:
            raise RecordingError(
                f"--at: expected an epoch of {name} that has a stage, found {found.stage} at "
                f"{found.onset:g} s after the first sample ({found.reason}): nothing was decided"
            )
        return gather(
            found,
            known,
            self._batches,
            self._spec,
            subject=subject,
            hops_per_epoch=self._every,
            most_after=self._lag,
        )


def gather(
    found: Estimate,
    known: Mapping[int, Estimate],
    batches: Mapping[int, EpochBatch],
    spec: ModelSpec,
    *,
    subject: int,
    hops_per_epoch: int = 1,
    most_after: int,
) -> Decision:
    """Put together the window that an estimate was read of.

    Args:
        found: the estimate.
        known: estimates of the same kind and subject, by hop.
        batches: the epochs, by hop.
        spec: the model.
        subject: whose it is, by number.
        hops_per_epoch: points of the time grid an epoch length.
        most_after: epoch lengths after which such an estimate is read, where there are so many.
    """
    N = spec.n_context
    after = max(k for k in range(most_after + 1) if found.hop + k * hops_per_epoch in batches)
    slot = N - 1 - after
    hops = [found.hop + (i - slot) * hops_per_epoch for i in range(N)]
    epochs = np.zeros((N, spec.n_modalities, spec.n_inputs), np.float32)
    mask = np.zeros((N, spec.n_modalities), bool)
    microvolts = np.full((N, spec.n_modalities, spec.n_times), np.nan, np.float32)
    for i, hop in enumerate(hops):
        if hop in batches:
            batch = batches[hop]
            mask[i] = batch.usable[subject]
            epochs[i, mask[i]] = batch.epochs[subject, mask[i]]
            microvolts[i] = batch.microvolts[subject]
    return Decision(
        estimate=found,
        slot=slot,
        epochs=epochs,
        mask=mask,
        microvolts=microvolts,
        onsets=np.asarray(found.onset + (np.arange(N) - slot) * spec.epoch_s, np.float64),
        stages=tuple(known[hop].stage if hop in known else "" for hop in hops),
    )
