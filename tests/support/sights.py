"""Made-up nights as a rule sees them."""

from collections.abc import Iterable, Iterator

import msgspec

from daemon.trigger.decide import Decision, RuleState, decide
from daemon.trigger.rules import Rule
from daemon.trigger.sight import Sight
from models.stages import ART, HUMAN, MOUSE, UNKNOWN

NOON = 1_800_014_400.0  # 2027-01-15 12:00 UTC


def sight(stage: str, hop: int, hop_s: float = 1.0, **changes: object) -> Sight:
    """Return a faultless estimate of a stage, whose epoch ended `(hop + 1) * hop_s` after noon."""
    read = stage not in (ART, UNKNOWN)
    sure = (
        {s: 0.9 if s == stage else 0.05 for s in (HUMAN if stage in HUMAN[:-1] else MOUSE)}
        if read
        else {}
    )
    seen = Sight(
        subject="m1",
        hop=hop,
        hop_s=hop_s,
        end=(hop + 1) * hop_s,
        utc=NOON + (hop + 1) * hop_s,
        age_s=0.02,
        stage=stage,
        probabilities=sure,
        evidence=sure,
        pathway="mixed" if read else None,
        reason=None if read else "eeg missing, emg missing",
        usable=1.0,
        drift=0.4,
        lead_off=-5.0,
        armed=True,
    )
    return msgspec.structs.replace(seen, **changes)


def stays(*parts: tuple[str, int]) -> list[str]:
    """Return the stage of each hop, of how many there are of each in turn."""
    return [stage for stage, n in parts for _ in range(n)]


def play(rule: Rule, sights: Iterable[Sight]) -> Iterator[Decision]:
    """Yield what a rule says of each, from its beginning."""
    state = RuleState()
    for each in sights:
        state, decision = decide(rule, state, each)
        yield decision


def runs(decisions: Iterable[Decision]) -> list[tuple[int, int, str]]:
    """Return first hop, hops and action of every run of `on` or `sham`, by its pulse."""
    found: list[tuple[int, int, str]] = []
    last = None
    for hop, decision in enumerate(decisions):
        if decision.action in ("on", "sham"):
            if decision.pulse == last and sum(found[-1][:2]) == hop:
                first, n, action = found.pop()
                found.append((first, n + 1, action))
            else:
                found.append((hop, 1, decision.action))
            last = decision.pulse
    return found
