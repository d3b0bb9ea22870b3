"""From estimates to those of longer epochs, as experts score, each with its reason or pathway."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from daemon.stager import Estimate
from models.errors import ConfigError
from models.longer_epochs import average
from models.signal.quality import OK
from models.stages import ART, UNKNOWN

_TOLERANCE_S = 1e-6
_T = TypeVar("_T")

Shares = Sequence[tuple[Estimate, float]]
"""Estimates, and for how long each one lies in the longer epoch, s."""


def check_epoch(epoch_s: float, hop_s: float) -> None:
    """Raise ConfigError where `epoch_s` is not a time, or shorter than that between estimates."""
    if not hop_s - _TOLERANCE_S <= epoch_s < math.inf:
        raise ConfigError(
            f"--epoch-s: expected at least the {hop_s:g} s between two stages, found {epoch_s:g} s"
        )


def aggregate(
    estimates: Sequence[Estimate], hop_s: float, epoch_s: float, stages: Sequence[str]
) -> list[Estimate]:
    """Return the estimates of longer epochs; only whole ones.

    Epoch k spans k × epoch_s to (k + 1) × epoch_s. Its probabilities are the mean of those of the
    epochs it covers, weighted by how much of them it covers; likewise its evidence. If less than
    half of it has any, it is ART or UNKNOWN, whichever fills more of it, and the reason says for
    how long.

    Args:
        estimates: of one subject and one kind: consecutive epochs from 0 on.
        hop_s: from one of their onsets to the next, s.
        epoch_s: length of the epochs wanted, s; need not be a multiple of `hop_s`.
        stages: in the order of the probabilities.
    """
    if abs(epoch_s - hop_s) < _TOLERANCE_S:
        return list(estimates)
    longer = []
    means = average(hypnodensity(estimates, stages), epoch_s / hop_s)
    evidence = average(_stack([e.evidence for e in estimates], stages), epoch_s / hop_s)
    for k, (mean, said) in enumerate(zip(means, evidence, strict=True)):
        shares = _shares(estimates, hop_s, k * epoch_s, (k + 1) * epoch_s)
        united = _unite(shares, mean, said, stages)
        longer.append(replace(united, hop=k, onset=estimates[0].onset + k * epoch_s))
    return longer


def hypnodensity(estimates: Sequence[Estimate], stages: Sequence[str]) -> NDArray[np.float32]:
    """Return the probabilities of estimates, (n, n_stages), NaN where there are none."""
    return _stack([e.probabilities for e in estimates], stages)


def _stack(
    rows: Sequence[NDArray[np.float32] | None], stages: Sequence[str]
) -> NDArray[np.float32]:
    nothing = np.full(len(stages), np.nan, np.float32)
    found = [nothing if row is None else row for row in rows]
    return np.array(found, np.float32).reshape(-1, len(stages))


def _shares(
    estimates: Sequence[Estimate], hop_s: float, start: float, stop: float
) -> list[tuple[Estimate, float]]:
    first = math.floor((start + _TOLERANCE_S) / hop_s)
    last = min(math.ceil((stop - _TOLERANCE_S) / hop_s), len(estimates))
    return [
        (estimates[i], min((i + 1) * hop_s, stop) - max(i * hop_s, start))
        for i in range(first, last)
    ]


def _unite(
    shares: Shares,
    mean: NDArray[np.float32],
    evidence: NDArray[np.float32],
    stages: Sequence[str],
) -> Estimate:
    """Return the estimate of one longer epoch by its mean probabilities, but for its time."""
    newest = shares[-1][0]
    validity = {m: _validity([(e.validity[m], s) for e, s in shares]) for m in newest.validity}
    united = replace(newest, validity=validity)
    if not np.isfinite(mean).all():
        return _unread(united, [share for share in shares if share[0].probabilities is None])
    return replace(
        united,
        stage=stages[int(np.argmax(mean))],
        probabilities=mean,
        evidence=evidence,
        pathway=_most((e.pathway, s) for e, s in shares if e.probabilities is not None),
        reason=None,
    )


def _unread(united: Estimate, lost: Shares) -> Estimate:
    """Return the longer epoch without a stage, and why it has none."""
    lost_s = sum(s for _, s in lost)
    by_stage = {stage: sum(s for e, s in lost if e.stage == stage) for stage in (UNKNOWN, ART)}
    reason = _most((e.reason, s) for e, s in lost)
    return replace(
        united,
        stage=max(by_stage, key=lambda stage: by_stage[stage]),
        probabilities=None,
        evidence=None,
        pathway=None,
        reason=f"{reason} (no stage for {lost_s:g} s of it)",
    )


def _validity(shares: Sequence[tuple[str, float]]) -> str:
    """Return `ok` if at least half of the time is, else the longest reason why not."""
    bad = [(why, s) for why, s in shares if why != OK]
    whole_s = sum(s for _, s in shares)
    if sum(s for _, s in bad) <= whole_s / 2 + _TOLERANCE_S:
        return OK
    return _most(bad)


def _most(shares: Iterable[tuple[_T, float]]) -> _T:
    """Return what takes most of the time, the first of equals."""
    total: dict[_T, float] = defaultdict(float)
    for what, s in shares:
        total[what] += s
    return max(total, key=lambda what: total[what])
