"""What the rules would have done in a recording, and had they been told an expert's stages.

The estimates are those of `hypnod score`, which are those of `hypnod run`; the rules decide by the
daemon's own function.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from daemon.stager import Estimate
from daemon.trigger.rulebook import Rulebook, Told
from daemon.trigger.rules import Rule
from daemon.trigger.sight import Sight
from models.spec import ModelSpec
from models.stages import ART, UNKNOWN

PULSES = ("on", "sham")


@dataclass(frozen=True, slots=True)
class FoundPulse:
    """One pulse that would have been."""

    start: float
    """From the first sample, s: the end of the epoch that decided, and the age of the estimate."""
    end: float
    sham: bool
    reason: str

    def overlaps(self, span: tuple[float, float]) -> bool:
        """Whether it begins within a span of time, s."""
        return span[0] < self.start <= span[1] + 1e-6


@dataclass(frozen=True, kw_only=True)
class Timing:
    """When estimates come."""

    start: datetime | None
    """Of the recording; None: it does not say, and hours count from 0:00."""
    age_s: float
    """How old each live estimate is taken to be, s."""
    hop_s: float

    def utc(self, end: float) -> float:
        """Return the Unix time of an estimate whose epoch ended then, s."""
        start = self.start or datetime(1970, 1, 1, tzinfo=UTC)
        start = start if start.tzinfo is not None else start.replace(tzinfo=UTC)
        return start.timestamp() + end + self.age_s


def play(
    rules: Sequence[Rule], estimates: Sequence[Estimate], spec: ModelSpec, timing: Timing
) -> dict[tuple[str, str], list[Told]]:
    """Return what every rule says of every subject, hop by hop, as if armed from the beginning.

    Args:
        rules: of the config.
        estimates: live ones, of all subjects.
        spec: the model.
        timing: when they come.
    """
    by_hop: dict[int, dict[str, Sight]] = defaultdict(dict)
    for estimate in estimates:
        by_hop[estimate.hop][estimate.subject] = _see(estimate, spec, timing)
    subjects = list({estimate.subject: None for estimate in estimates})
    book = Rulebook(rules, subjects)
    told: dict[tuple[str, str], list[Told]] = defaultdict(list)
    for hop in sorted(by_hop):
        for each in book.look(by_hop[hop], lambda rule, subject: True):
            told[each.rule.name, each.sight.subject].append(each)
    return told


def as_if(
    estimates: Sequence[Estimate], truth: Mapping[str, Sequence[str]], stages: Sequence[str]
) -> list[Estimate]:
    """Return the estimates of someone who knew the true stages and was sure of them."""
    sure = {s: _one_hot(stages, s) for s in (*stages, ART, UNKNOWN)}
    known = []
    for e in estimates:
        stage = truth[e.subject][e.hop] if e.hop < len(truth[e.subject]) else UNKNOWN
        known.append(
            replace(
                e,
                stage=stage,
                probabilities=sure[stage],
                evidence=sure[stage],
                pathway=None if sure[stage] is None else "mixed",
                reason="unscored" if sure[stage] is None else None,
                drift=None,
            )
        )
    return known


def pulses(told: Sequence[Told], age_s: float) -> list[FoundPulse]:
    """Return the pulses in what a rule said of one subject."""
    found: dict[int, list[Told]] = defaultdict(list)
    for each in told:
        if each.decision.action in PULSES and each.decision.pulse is not None:
            found[each.decision.pulse].append(each)
    return [
        FoundPulse(
            start=each[0].sight.end + age_s,
            end=_end_of(each, told, age_s),
            sham=each[0].decision.action == "sham",
            reason=each[0].decision.reason,
        )
        for each in found.values()
    ]


def _end_of(pulse: Sequence[Told], told: Sequence[Told], age_s: float) -> float:
    """Return when a pulse ends: with the next decision that is another, or its time to live."""
    last = pulse[-1]
    over = last.sight.end + last.decision.ttl_s
    following = [t for t in told[-1:] if t.sight.hop > last.sight.hop]
    if following:
        over = min(over, last.sight.end + last.sight.hop_s)
    return over + age_s


def _see(estimate: Estimate, spec: ModelSpec, timing: Timing) -> Sight:
    end = estimate.onset + spec.epoch_s
    return Sight(
        subject=estimate.subject,
        hop=estimate.hop,
        hop_s=timing.hop_s,
        end=end,
        utc=timing.utc(end),
        age_s=timing.age_s,
        stage=estimate.stage,
        probabilities=_by_stage(estimate.probabilities, spec),
        evidence=_by_stage(estimate.evidence, spec),
        pathway=estimate.pathway,
        reason=estimate.reason,
        usable=estimate.slots_filled / spec.n_context,
        drift=estimate.drift,
        armed=True,
    )


def _by_stage(found: NDArray[np.float32] | None, spec: ModelSpec) -> dict[str, float]:
    return {} if found is None else dict(zip(spec.stages, found.tolist(), strict=True))


def _one_hot(stages: Sequence[str], stage: str) -> NDArray[np.float32] | None:
    if stage not in stages:
        return None
    return np.array([s == stage for s in stages], np.float32)
