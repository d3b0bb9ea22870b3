"""How the pulses of a rule agree with an expert's hypnogram, or the simulated truth."""

from collections.abc import Sequence

import msgspec
import numpy as np

from daemon.trigger.rules import Rule
from models.recordings.hypnogram import Hypnogram
from models.stages import UNKNOWN
from tools.rehearse.rehearsal import FoundPulse

Span = tuple[float, float]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A rule against the truth. Pulses outside of what was scored do not count."""

    wanted: int
    """Stays in the stages, or after them, in which the rule would have begun a pulse if it had been
    told the truth; not those whose onset is not known, since what was before was not scored."""
    hit: int
    """Those in which it began one."""
    right: int
    """Pulses that began in the stages, or where the truth would have asked for one."""
    false: int
    """The others."""
    scored_h: float
    """Of the recording, h."""
    delays_s: tuple[float, ...]
    """From the true onset to the first pulse of each that was hit, the dwell included, s."""

    @property
    def sensitivity(self) -> float | None:
        """Share of what was wanted; None where nothing was."""
        return self.hit / self.wanted if self.wanted else None

    @property
    def precision(self) -> float | None:
        """Share of the pulses that were right; None without pulses."""
        n = self.right + self.false
        return self.right / n if n else None

    @property
    def false_per_hour(self) -> float | None:
        """False pulses an hour; None where nothing was scored."""
        return self.false / self.scored_h if self.scored_h else None

    @property
    def median_delay_s(self) -> float | None:
        """Median of the delays, s; None where nothing was hit."""
        return float(np.median(self.delays_s)) if self.delays_s else None


def judge(
    rule: Rule, found: Sequence[FoundPulse], ideal: Sequence[FoundPulse], truth: Hypnogram
) -> Verdict:
    """Compare a rule's pulses with those that the truth would have had.

    Args:
        rule: whose they are.
        found: from hypnod's estimates.
        ideal: from the true stages.
        truth: of the same subject.
    """
    scored = [(a, b) for a, b, stage in _bouts(truth) if stage != UNKNOWN]
    counted = [p for p in found if any(p.overlaps(span) for span in scored)]
    if rule.wait_s is not None or rule.yoked_to is not None:
        allowed = wanted = [(p.start - 1e-6, p.end) for p in ideal]
    else:
        allowed = _stays(rule, truth)
        known = {end for _, end in scored}
        wanted = [s for s in allowed if s[0] in known and any(p.overlaps(s) for p in ideal)]
    right = [p for p in counted if any(p.overlaps(span) for span in allowed)]
    firsts = [[p.start for p in counted if p.overlaps(span)][:1] for span in wanted]
    return Verdict(
        wanted=len(wanted),
        hit=sum(map(len, firsts)),
        right=len(right),
        false=len(counted) - len(right),
        scored_h=sum(b - a for a, b in scored) / 3600,
        delays_s=tuple(
            round(first - span[0], 3)
            for span, starts in zip(wanted, firsts, strict=True)
            for first in starts
        ),
    )


def _bouts(truth: Hypnogram) -> list[tuple[float, float, str]]:
    bouts = truth.merged()
    ends = bouts.onsets + bouts.durations
    return list(zip(bouts.onsets.tolist(), ends.tolist(), bouts.stages, strict=True))


def _stays(rule: Rule, truth: Hypnogram) -> list[Span]:
    """Return the stays in a rule's stages, those joined that its gap allows."""
    joined: list[Span] = []
    for start, end, stage in _bouts(truth):
        if stage not in rule.stages:
            continue
        if joined and start - joined[-1][1] <= rule.gap_s + 1e-6:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined
