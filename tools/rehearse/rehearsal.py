"""What the rules would have done in a recording, and had they been told an expert's stages.

The estimates are those of `hypnod score`, which are those of `hypnod run`; the rules decide by the
daemon's own function.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from daemon.stager import Estimate
from daemon.trigger.rulebook import Rulebook, Told
from daemon.trigger.rules import Rule
from daemon.trigger.sight import Sight
from models.recordings.hypnogram import Hypnogram
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


def see(estimates: Sequence[Estimate], spec: ModelSpec, timing: Timing) -> list[Sight]:
    """Return what rules see of live estimates, of all subjects."""
    return [_see(estimate, spec, timing) for estimate in estimates]


def play(rules: Sequence[Rule], sights: Sequence[Sight]) -> dict[tuple[str, str], list[Told]]:
    """Return what every rule says of every subject, hop by hop, as if armed from the beginning."""
    by_hop: dict[int, dict[str, Sight]] = defaultdict(dict)
    for sight in sights:
        by_hop[sight.hop][sight.subject] = sight
    subjects = list({sight.subject: None for sight in sights})
    book = Rulebook(rules, subjects)
    told: dict[tuple[str, str], list[Told]] = defaultdict(list)
    for hop in sorted(by_hop):
        for each in book.look(by_hop[hop], lambda rule, subject: True):
            told[each.rule.name, each.sight.subject].append(each)
    return told


def as_if(
    sights: Sequence[Sight], truth: Mapping[str, Hypnogram], stages: Sequence[str]
) -> list[Sight]:
    """Return what rules would see, were the true stages known and sure.

    Args:
        sights: of the estimates; their ends count from the first sample.
        truth: by subject; of others nothing is known.
        stages: of the model.
    """
    hop_s = sights[0].hop_s
    age_s = min(sight.age_s or 0.0 for sight in sights)  # of those that were seen to their end
    n_hops = 1 + max(_newest(sight) for sight in sights)
    known = {name: each.to_epochs(hop_s, n_hops) for name, each in truth.items()}
    of_stage = {s: _sure(s, stages) for s in (*stages, ART, UNKNOWN)}
    return [
        msgspec.structs.replace(
            sight,
            drift=None,
            lead_off=None,
            age_s=age_s,
            **of_stage[known[sight.subject][_newest(sight)] if sight.subject in known else UNKNOWN],
        )
        for sight in sights
    ]


def pulses(told: Sequence[Told]) -> list[FoundPulse]:
    """Return the pulses in what a rule said of one subject."""
    found: dict[int, list[Told]] = defaultdict(list)
    for each in told:
        if each.decision.action in PULSES and each.decision.pulse is not None:
            found[each.decision.pulse].append(each)
    return [
        FoundPulse(
            start=_moment(each[0]),
            end=_end_of(each, told),
            sham=each[0].decision.action == "sham",
            reason=each[0].decision.reason,
        )
        for each in found.values()
    ]


def _end_of(pulse: Sequence[Told], told: Sequence[Told]) -> float:
    """Return when a pulse ends: with the next decision that is another, or its time to live."""
    last, newest = pulse[-1], told[-1]
    over = last.decision.ttl_s
    if newest.sight.hop > last.sight.hop:
        over = min(over, last.sight.hop_s)
    return _moment(last) + over


def _moment(told: Told) -> float:
    """Return when it was decided, s."""
    return told.sight.end + (told.sight.age_s or 0.0)


def _newest(sight: Sight) -> int:
    """Return which hop of the recording the newest one of an estimate's epoch is."""
    return round(sight.end / sight.hop_s) - 1


def _see(estimate: Estimate, spec: ModelSpec, timing: Timing) -> Sight:
    end = estimate.onset + spec.epoch_s
    return Sight(
        subject=estimate.subject,
        hop=estimate.hop,
        hop_s=timing.hop_s,
        end=end,
        utc=timing.utc(end),
        age_s=timing.age_s + estimate.unseen_s,
        stage=estimate.stage,
        probabilities=_by_stage(estimate.probabilities, spec),
        evidence=_by_stage(estimate.evidence, spec),
        pathway=estimate.pathway,
        reason=estimate.reason,
        usable=estimate.slots_filled / spec.n_context,
        drift=estimate.drift,
        lead_off=estimate.lead_off,
        armed=True,
    )


def _by_stage(found: NDArray[np.float32] | None, spec: ModelSpec) -> dict[str, float]:
    return {} if found is None else dict(zip(spec.stages, found.tolist(), strict=True))


def _sure(stage: str, stages: Sequence[str]) -> dict[str, Any]:
    """Return what is seen of a stage that is known."""
    if stage not in stages:
        unknown: dict[str, Any] = {
            "probabilities": {},
            "evidence": {},
            "pathway": None,
            "reason": "unscored",
        }
        return {"stage": stage, **unknown}
    sure = {s: float(s == stage) for s in stages}
    known = {"probabilities": sure, "evidence": sure, "pathway": "mixed", "reason": None}
    return {"stage": stage, **known}
