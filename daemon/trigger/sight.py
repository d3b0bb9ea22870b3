"""What a rule sees of a subject at one hop, and whether that is to be trusted."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Self

import msgspec

from daemon.messages import StageMessage
from daemon.trigger.rules import Rule
from models.signal import lead_off
from models.signal.drift import LIMIT
from models.stages import ART, UNKNOWN


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """All that a rule sees of a subject at one hop."""

    subject: str
    hop: int
    """Point of the stream's time grid."""
    hop_s: float
    end: float
    """Of the epoch, on the source's clock, s."""
    utc: float
    """When the estimate was made, Unix time, s."""
    age_s: float | None
    """From the newest sample that was read to then, s; None: not known."""
    stage: str
    probabilities: Mapping[str, float]
    evidence: Mapping[str, float]
    pathway: str | None
    reason: str | None
    """Why the stage is ART or UNKNOWN."""
    usable: float
    """Share of the context window that holds usable epochs."""
    drift: float | None
    lead_off: float | None
    """Log odds that the EEG's lead has just come off; None: not known."""
    armed: bool
    """Whether the rule is armed for this subject, by a person or always."""
    trouble: str | None = None
    """What else speaks against switching on, if anything."""
    leads: bool = False
    """Whether the subject that a yoked rule follows is stimulated."""

    @classmethod
    def of(
        cls, live: StageMessage, *, armed: bool, trouble: str | None = None, leads: bool = False
    ) -> Self:
        """Return what a live estimate shows."""
        return cls(
            subject=live.subject,
            hop=live.hop,
            hop_s=live.hop_s,
            end=live.onset + live.epoch_s,
            utc=datetime.fromisoformat(live.published_utc).timestamp(),
            age_s=live.age_s,
            stage=live.stage,
            probabilities=live.probabilities,
            evidence=live.evidence,
            pathway=live.pathway,
            reason=live.reason,
            usable=live.slots_filled / live.n_context,
            drift=live.drift,
            lead_off=live.lead_off,
            armed=armed,
            trouble=trouble,
            leads=leads,
        )


def is_within(rule: Rule, sight: Sight) -> bool:
    """Whether the subject is in the stages of a rule, as surely as it asks."""
    probability, evidence = (
        sum(of.get(stage, 0.0) for stage in rule.stages)
        for of in (sight.probabilities, sight.evidence)
    )
    return (
        sight.stage in rule.stages and probability >= rule.probability and evidence >= rule.evidence
    )


def doubt(rule: Rule, sight: Sight) -> str | None:
    """Return why an estimate cannot be trusted, None where it can."""
    if sight.trouble is not None:
        return sight.trouble
    if sight.age_s is None:
        return "its age is not known"
    if not abs(sight.age_s) <= rule.max_age_s:
        return f"{whole(sight.age_s)} s old, expected at most {rule.max_age_s:g} s"
    if sight.stage in (ART, UNKNOWN):
        return f"{sight.stage}: {sight.reason}"
    if sight.pathway not in rule.pathways:
        return f"read from {sight.pathway} alone"
    if not sight.usable >= rule.usable:
        return f"{100 * sight.usable:.0f} % of the context usable, expected {100 * rule.usable:g} %"
    if sight.drift is not None and not sight.drift <= LIMIT:
        return f"drift {sight.drift:.3g}, expected at most {LIMIT:g}"
    if sight.lead_off is not None and not sight.lead_off <= lead_off.LIMIT:
        return "noise in the place of EEG, as of a lead that has just come off"
    numbers = (*sight.probabilities.values(), *sight.evidence.values())
    if not sight.probabilities or not all(map(math.isfinite, numbers)):
        return "its probabilities are not known"
    return None


def whole(seconds: float) -> str:
    """Return a length of time for people: three digits, or all before the point."""
    return f"{seconds:.3g}" if abs(seconds) < 1000 else f"{seconds:.0f}"
