"""How the decisions of the rule that `hypnod demo --trigger` shows stand to the truth."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from daemon.messages import StageMessage, TriggerMessage
from daemon.trigger.decide import Decision
from daemon.trigger.rulebook import Told
from daemon.trigger.rules import Rule
from daemon.trigger.sight import Sight
from models.recordings.hypnogram import Hypnogram
from tools.rehearse.report import RuleReport, report_rules


def judge_triggers(
    messages: Sequence[TriggerMessage],
    live: Mapping[str, Mapping[int, StageMessage]],
    truth: Mapping[str, Hypnogram],
    stages: Sequence[str],
    rule: Mapping[str, Any],
) -> tuple[RuleReport, ...]:
    """Return what the rule did to each subject, and how many of its pulses were right.

    Args:
        messages: all that came; one whose estimate never came counts for nothing.
        live: the estimates by subject and hop.
        truth: by subject.
        stages: of the model.
        rule: as in the config.
    """
    shown = msgspec.convert(rule, Rule)
    told: dict[tuple[str, str], list[Told]] = defaultdict(list)
    for message in messages:
        estimate = live[message.subject].get(message.hop)
        if estimate is not None:
            told[shown.name, message.subject].append(_tell(shown, message, estimate))
    sights = [each.sight for decisions in told.values() for each in decisions]
    return report_rules(told, sights, truth, stages)


def _tell(rule: Rule, message: TriggerMessage, estimate: StageMessage) -> Told:
    """Return a decision with what it was made on; times count from the recording's first sample."""
    sight = Sight.of(estimate, armed=message.armed, trouble=message.trouble, leads=message.leads)
    end = estimate.hop * estimate.hop_s + estimate.epoch_s
    decision = Decision(
        action=message.action, reason=message.reason, ttl_s=message.ttl_s, pulse=message.pulse
    )
    return Told(rule, msgspec.structs.replace(sight, end=end), decision)
