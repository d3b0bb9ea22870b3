"""Who is asked first, what of another subject is followed, and what a restart leaves."""

from datetime import datetime

import msgspec
import pytest

from daemon.messages import StageMessage
from daemon.trigger.decide import RuleState
from daemon.trigger.rulebook import Rulebook
from daemon.trigger.rules import Leader, Rule
from daemon.trigger.sight import Sight
from tests.support.nights import stage
from tests.support.sights import NOON, sight

LEADER = Rule(name="rem", stages=("REM",), on_s=30.0, subjects=("m1",))
YOKED = Rule(name="y", on_s=30.0, subjects=("m2",), yoked_to=Leader(rule="rem", subject="m1"))
BOTH = pytest.mark.parametrize("rules", [(LEADER, YOKED), (YOKED, LEADER)], ids=["1st", "last"])


def everyone(rule: str, subject: str) -> bool:
    return True


def see(hop: int, own: str = "REM", other: str = "Wake") -> dict[str, Sight]:
    """Return what is seen of both subjects at a hop."""
    seen = {"m1": sight(own, hop), "m2": sight(other, hop)}
    return {name: msgspec.structs.replace(each, subject=name) for name, each in seen.items()}


def actions(book: Rulebook, seen: dict[str, Sight]) -> dict[str, str]:
    told = book.look(seen, everyone)
    return {each.sight.subject: each.decision.action for each in told}


@BOTH
def test_who_follows_another_follows_at_the_same_hop(rules):
    book = Rulebook(rules, ["m2", "m1"])
    assert actions(book, see(0, "NREM")) == {"m1": "off", "m2": "off"}
    assert actions(book, see(1)) == {"m1": "on", "m2": "on"}
    assert actions(book, see(2, "NREM")) == {"m1": "off", "m2": "off"}


@BOTH
def test_a_sham_of_another_is_not_followed(rules):
    rules = [msgspec.structs.replace(r, sham=1.0) if r.name == "rem" else r for r in rules]
    assert actions(Rulebook(rules, ["m1", "m2"]), see(0)) == {"m1": "sham", "m2": "off"}


def test_a_pulse_of_another_is_followed_for_no_longer_than_it_lives():
    book = Rulebook([LEADER, YOKED], ["m1", "m2"])
    assert actions(book, see(0)) == {"m1": "on", "m2": "on"}
    for hop, action in ((1, "on"), (2, "off")):  # the leader's stream says nothing more
        assert actions(book, {"m2": see(hop)["m2"]}) == {"m2": action}


def test_a_clock_that_is_set_back_makes_no_pulse_of_another_live_longer():
    book = Rulebook([LEADER, YOKED], ["m1", "m2"])
    assert actions(book, see(0)) == {"m1": "on", "m2": "on"}
    alone = see(1)["m2"]  # the leader's stream says nothing more
    back = msgspec.structs.replace(alone, utc=alone.utc - 1.5)
    assert actions(book, {"m2": back}) == {"m2": "off"}
    later = see(2)["m2"]
    assert actions(book, {"m2": msgspec.structs.replace(later, utc=later.utc - 1.5)}) == {
        "m2": "off"
    }
    anew = {name: msgspec.structs.replace(s, utc=s.utc - 1.5) for name, s in see(3).items()}
    assert actions(book, anew) == {"m1": "on", "m2": "on"}


def test_a_rule_that_follows_nobody_has_no_leader():
    (told,) = Rulebook([LEADER], ["m1"]).look({"m1": see(0)["m1"]}, everyone)
    assert not told.sight.leads


def test_each_rule_is_armed_for_each_subject_by_itself():
    rules = [Rule(name=name, stages=("REM",), on_s=3.0) for name in ("a", "b")]
    told = Rulebook(rules, ["m1", "m2"]).look(
        see(0, other="REM"), lambda rule, subject: (rule, subject) == ("b", "m1")
    )
    found = {(t.rule.name, t.sight.subject): t.decision for t in told}
    assert [key for key, decision in found.items() if decision.action == "on"] == [("b", "m1")]
    assert {d.reason for key, d in found.items() if key != ("b", "m1")} == {"not armed"}


def test_a_restart_ends_a_pulse_and_forgets_neither_its_number_nor_the_refractory():
    rule = msgspec.structs.replace(LEADER, refractory_s=10.0)
    book = Rulebook([rule], ["m1"])
    assert actions(book, see(0)) == {"m1": "on"}
    heir = Rulebook([rule], ["m1"], book.states(["m1"]))
    (told,) = heir.look({"m1": see(1)["m1"]}, everyone)
    assert told.decision.action == "refused"
    assert "refractory for another 10 s" in told.decision.reason
    (told,) = heir.look({"m1": see(11)["m1"]}, everyone)
    assert (told.decision.action, told.decision.pulse) == ("on", 1)


def test_states_are_of_the_subjects_that_are_asked_for():
    book = Rulebook([LEADER, YOKED], ["m1", "m2"])
    assert book.states(["m2"]) == {"m2": {"y": RuleState()}}


def test_a_rule_sees_all_of_a_live_estimate():
    as_it_is = {
        "hop": 29,
        "hop_s": 0.25,
        "age_s": 0.3,
        "stage": "REM",
        "probabilities": {"Wake": 0.1, "NREM": 0.2, "REM": 0.7},
        "evidence": {"Wake": 0.2, "NREM": 0.3, "REM": 0.5},
        "pathway": "eeg",
        "reason": "emg missing",
        "drift": 0.9,
        "lead_off": -3.2,
    }
    live = stage(
        7,
        epoch_s=1.0,
        onset=1006.25,
        published_utc=datetime.fromtimestamp(NOON).astimezone().isoformat(),
        slots_filled=16,
        n_context=64,
        **as_it_is,
    )
    assert isinstance(live, StageMessage)
    assert Sight.of(live, armed=True, trouble="t", leads=True) == Sight(
        subject="m1",
        end=1007.25,
        utc=NOON,
        usable=0.25,
        armed=True,
        trouble="t",
        leads=True,
        **as_it_is,
    )
