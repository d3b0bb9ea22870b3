"""All rules and all subjects, hop by hop: who is asked in which order, and what each remembers."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from daemon.trigger.decide import Decision, RuleState, decide, interrupted
from daemon.trigger.rules import Rule
from daemon.trigger.sight import Sight

States = Mapping[str, Mapping[str, RuleState]]
"""By subject and rule."""


class Told(NamedTuple):
    """What a rule said of a subject at one hop, and on what."""

    rule: Rule
    sight: Sight
    decision: Decision


class Rulebook:
    """Applies rules to live estimates; those that follow another subject come last.

    Args:
        rules: of the config.
        subjects: all there are.
        before: states of a former run; its pulses have ended.
    """

    def __init__(
        self, rules: Sequence[Rule], subjects: Sequence[str], before: States | None = None
    ) -> None:
        ordered = sorted(rules, key=lambda rule: rule.yoked_to is not None)
        self._whom = {rule: frozenset(filter(rule.is_for, subjects)) for rule in ordered}
        self._states: dict[str, dict[str, RuleState]] = {subject: {} for subject in subjects}
        for rule, whom in self._whom.items():
            for subject in whom:
                state = (before or {}).get(subject, {}).get(rule.name, RuleState())
                self._states[subject][rule.name] = interrupted(state)
        self._last: dict[tuple[str, str], Told] = {}
        self._utc = -math.inf

    def look(self, sights: Mapping[str, Sight], is_armed: Callable[[str, str], bool]) -> list[Told]:
        """Return what every rule says of the subjects that there is a live estimate of.

        Args:
            sights: by subject.
            is_armed: tells of a rule and a subject whether a person armed it.
        """
        told = []
        utc = max((sight.utc for sight in sights.values()), default=self._utc)
        if utc < self._utc:  # the clock was set back: nobody knows how old what was said is
            self._last.clear()
        self._utc = utc
        for rule, whom in self._whom.items():
            for subject in filter(whom.__contains__, sights):
                key = rule.name, subject
                sight = msgspec.structs.replace(
                    sights[subject],
                    armed=is_armed(*key) or rule.armed == "always",
                    leads=self._leads(rule, sights[subject].utc),
                )
                states = self._states[subject]
                states[rule.name], decision = decide(rule, states[rule.name], sight)
                self._last[key] = Told(rule, sight, decision)
                told.append(self._last[key])
        return told

    def states(self, subjects: Sequence[str]) -> dict[str, dict[str, RuleState]]:
        """Return what the rules remember of some subjects."""
        return {subject: dict(self._states[subject]) for subject in subjects}

    def _leads(self, rule: Rule, utc: float) -> bool:
        """Whether the subject that a rule follows is stimulated now."""
        if rule.yoked_to is None:
            return False
        last = self._last.get((rule.yoked_to.rule, rule.yoked_to.subject))
        return (
            last is not None
            and last.decision.action == "on"
            and 0 <= utc - last.sight.utc < last.decision.ttl_s
        )
