"""What no night may bring about, whatever comes: estimates, gaps, restarts, clocks that are set."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.trigger.decide import Decision, RuleState, decide, interrupted
from daemon.trigger.rules import Leader, Rule, limits_of
from daemon.trigger.sight import Sight, whole
from models.stages import ART, UNKNOWN
from tests.support.sights import play, runs, sight, stays

RULE = Rule(name="rem", stages=("REM",), on_s=3.0, dwell_s=2.0)


@dataclass(frozen=True)
class Step:
    """One estimate; what else happens to reach it."""

    stage: str
    lost: int
    """Hops that no estimate came for before."""
    source_set_s: float
    """By which the source's clock was set before it, s."""
    wall_set_s: float
    """Likewise the wall's."""
    age_s: float | None
    armed: bool
    leads: bool
    restart: bool
    changes: dict[str, object]


FINE: dict[str, object] = {}
BAD = (
    {"pathway": "eeg"},
    {"usable": 0.2},
    {"drift": 1.5},
    {"lead_off": 0.1},
    {"trouble": "the journal cannot be written"},
    {"probabilities": {}},
    {"evidence": {"REM": float("nan")}},
)
OLD = (None, 5.0, -5.0, float("nan"))
SET_S = st.one_of(st.just(0.0), st.sampled_from([-4e6, -3600.0, -2.0, 2.0, 3600.0, 4e6]))


@st.composite
def steps(draw: st.DrawFn) -> Step:
    """Return an estimate that at most one thing speaks against: two would hide each other."""
    what = draw(st.sampled_from(["nothing"] * 16 + ["lost", "set", "age", "disarmed", "restart"]))
    if draw(st.integers(0, 7)) == 7:
        what = "doubt"
    one_clock = draw(st.booleans())
    set_s = draw(SET_S) if what == "set" else 0.0
    return Step(
        stage=draw(st.sampled_from(["REM"] * 8 + ["NREM", "Wake", ART, UNKNOWN])),
        lost=draw(st.sampled_from([1, 3, 1000])) if what == "lost" else 0,
        source_set_s=set_s if one_clock else 0.0,
        wall_set_s=0.0 if one_clock else set_s,
        age_s=draw(st.sampled_from(OLD)) if what == "age" else 0.02,
        armed=what != "disarmed",
        leads=draw(st.integers(0, 3)) > 0,
        restart=what == "restart",
        changes=draw(st.sampled_from(BAD)) if what == "doubt" else FINE,
    )


SECONDS = st.floats(0, 20)
DRAWN = st.one_of(SECONDS, st.tuples(SECONDS, SECONDS).map(lambda p: (min(p), max(p))))
NOON_ON = st.sampled_from([None, (0.0, 0.5), (0.3, 60.0)])


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    kind = draw(st.sampled_from(["stay"] * 4 + ["wait", "yoked"]))
    hold = "time" if kind == "wait" else draw(st.sampled_from(["stage", "time"]))
    of_kind: dict[str, object] = {"yoked_to": Leader(rule="other", subject="m2")}
    if kind != "yoked":
        of_kind = {"stages": ("REM",), "dwell_s": draw(st.floats(2, 6))}
        of_kind |= {"gap_s": draw(st.floats(0, 1.9)), "dwell_anew": draw(st.booleans())}
        if kind == "wait":
            of_kind |= {"wait_s": draw(st.floats(2, 6))}
        elif hold == "stage":
            of_kind |= {"exit_s": draw(st.sampled_from([0.0, 0.0, 2.5]))}
    return Rule(
        name="rem",
        on_s=draw(st.floats(0.5, 9)),
        hold=hold,
        refractory_s=draw(DRAWN),
        per_hour=draw(st.one_of(st.none(), st.integers(1, 3))),
        per_night=draw(st.one_of(st.none(), st.integers(3, 4))),
        leave_out_s=draw(st.sampled_from([0.0, 0.0, 5.0])),
        hours=draw(st.sampled_from([None, None, (11.0, 12.01), (12.005, 11.0)])),
        minutes=draw(NOON_ON),
        sham=draw(st.sampled_from([0.0, 0.5])),
        seed=draw(st.integers(0, 3)),
        **of_kind,
    )


@dataclass(frozen=True)
class Told:
    """A decision, and the time that no clock of the rule's can show wrong, s."""

    at: float
    sight: Sight
    decision: Decision
    fresh: bool
    """Right after a restart or not the first of its pulse."""


def live_through(rule: Rule, course: Sequence[Step], hop_s: float) -> list[Told]:
    """Return what a rule says in a course of events."""
    state, told = RuleState(), []
    true = source_set = wall_set = 0.0
    hop = -1
    for step in course:
        hop += 1 + step.lost
        true += hop_s * (1 + step.lost)
        source_set += step.source_set_s
        wall_set += step.wall_set_s
        if step.restart:
            state = interrupted(state)
        told_of = {"age_s": step.age_s, "armed": step.armed, "leads": step.leads} | step.changes
        plain = sight(step.stage, hop, hop_s, **told_of)
        seen = msgspec.structs.replace(plain, end=plain.end + source_set, utc=plain.utc + wall_set)
        state, decision = decide(rule, state, seen)
        told.append(Told(true, seen, decision, step.restart))
    return told


def acts(each: Told) -> bool:
    return each.decision.action in ("on", "sham")


def is_trusted(rule: Rule, each: Told) -> bool:
    """Whether an estimate is neither old nor masked nor otherwise in doubt."""
    seen = each.sight
    fresh = seen.age_s is not None and abs(seen.age_s) <= rule.max_age_s
    sound = not any(getattr(seen, k) == v for bad in BAD for k, v in bad.items())
    return fresh and sound and seen.stage not in (ART, UNKNOWN)


def stays_in(rule: Rule, each: Told) -> bool:
    return is_trusted(rule, each) and each.sight.stage == "REM"


def stayed_s(rule: Rule, told: Sequence[Told], i: int) -> float:
    """Return for how long the subject had been in the stage when something was decided, s."""
    hop_s, last = told[i].sight.hop_s, told[i].at
    first = last - hop_s
    for j in range(i, -1, -1):
        if stays_in(rule, told[j]):
            if last - told[j].at - 1.5 * hop_s > rule.gap_s:
                break
            first, last = told[j].at - hop_s, told[j].at
        if told[j].fresh or (rule.dwell_anew and j < i and acts(told[j])):
            break
    return told[i].at - first


def out_s(rule: Rule, told: Sequence[Told], i: int) -> float:
    """Return for how long the subject had been out of the stage, s."""
    return told[i].at - max((t.at for t in told[: i + 1] if stays_in(rule, t)), default=-math.inf)


def armed_s(told: Sequence[Told], i: int) -> float:
    first = i
    while first > 0 and told[first - 1].sight.armed:
        first -= 1
    return told[i].at - told[first].at


def is_open(rule: Rule, utc: float) -> bool:
    """Whether a time of the day is within a rule's hours and minutes."""

    def lies_in(value: float, first: float, last: float) -> bool:
        return first <= value < last if first < last else not last <= value < first

    hour, minute = utc / 3600 % 24, utc / 60 % 60
    return all(
        lies_in(value, *window)
        for value, window in ((hour, rule.hours), (minute, rule.minutes))
        if window is not None
    )


def check_acting(rule: Rule, told: Sequence[Told], i: int) -> None:
    """See that a decision to be on rests on what it may rest on."""
    each = told[i]
    assert each.sight.armed
    assert is_trusted(rule, each)
    assert is_open(rule, each.sight.utc)
    if rule.yoked_to is not None:
        assert each.sight.leads
    elif rule.hold == "stage":
        assert out_s(rule, told, i) <= max(0.0, rule.exit_s - 1e-9)
    # never for longer than two hops without being said again
    assert 0 < each.decision.ttl_s <= 2 * each.sight.hop_s


def check_beginning(rule: Rule, told: Sequence[Told], i: int) -> None:
    """See that a pulse begins where the stages ask for it."""
    if rule.wait_s is not None:
        assert out_s(rule, told, i) >= rule.wait_s - 1e-6
    elif rule.yoked_to is None:
        assert stayed_s(rule, told, i) >= rule.dwell_s - 1e-6
    assert armed_s(told, i) >= rule.leave_out_s - 1e-6


@settings(max_examples=250)
@given(rules(), st.lists(steps(), min_size=30, max_size=80), st.sampled_from([0.25, 1.0]))
def test_nothing_is_done_that_a_rule_does_not_allow(rule, course, hop_s):
    told = live_through(rule, course, hop_s)
    pulses: dict[int, list[int]] = {}
    for i in (i for i, each in enumerate(told) if acts(each)):
        check_acting(rule, told, i)
        pulses.setdefault(told[i].decision.pulse, []).append(i)
    assert list(pulses) == list(range(len(pulses)))
    ended = None
    for pulse in pulses.values():
        begins, last = told[pulse[0]], told[pulse[-1]]
        assert len({told[i].decision.action for i in pulse}) == 1
        assert last.at + last.decision.ttl_s - begins.at <= rule.on_s + 1e-6
        assert not any(told[i].fresh for i in range(pulse[0] + 1, pulse[-1] + 1))  # a restart
        check_beginning(rule, told, pulse[0])
        if ended is not None:
            assert begins.at - ended >= limits_of(rule.refractory_s)[0] - 1e-6
        after = told[pulse[-1] + 1].at if pulse[-1] + 1 < len(told) else math.inf
        ended = min(after, last.at + last.decision.ttl_s)
    starts = [told[pulse[0]].at for pulse in pulses.values()]
    for cap, within_s in ((rule.per_hour, 3600), (rule.per_night, 12 * 3600)):
        for first in starts:
            assert cap is None or sum(first <= at < first + within_s for at in starts) <= cap


@pytest.mark.parametrize(
    "changes",
    [
        *({"age_s": age_s} for age_s in OLD),
        *BAD,
        {"stage": ART},
        {"stage": UNKNOWN},
        {"armed": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("hold", ["stage", "time"])
def test_what_cannot_be_trusted_neither_begins_a_pulse_nor_lets_one_go_on(changes, hold):
    rule = msgspec.structs.replace(RULE, hold=hold)
    seen = [sight("REM", hop) for hop in range(4)]
    for hop in (1, 2):  # the first to be on, and one that would go on
        course = [msgspec.structs.replace(s, **changes) if s.hop == hop else s for s in seen]
        actions = [d.action for d in play(rule, course)]
        assert actions[1] == ("on" if hop == 2 else "refused" if "armed" in changes else "off")
        assert hop == 1 or actions[2] == "off"


@given(st.lists(steps(), min_size=20, max_size=60))
def test_the_same_night_decides_the_same(course):
    rule = msgspec.structs.replace(RULE, refractory_s=(1.0, 4.0), sham=0.5)
    once, again = (
        [msgspec.json.encode(each.decision) for each in live_through(rule, course, 1.0)]
        for _ in range(2)
    )
    assert once == again


@given(st.lists(steps(), min_size=20, max_size=60), st.integers(0, 60))
def test_a_state_that_was_written_and_read_again_goes_on_the_same(course, at):
    state = RuleState()
    told = live_through(RULE, course, 1.0)
    for i, each in enumerate(told):
        if each.fresh:
            state = interrupted(state)
        if i == at:
            state = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=RuleState)
        state, decision = decide(RULE, state, each.sight)
        assert decision == each.decision


def test_a_dwell_is_counted_by_the_clock_that_says_less():
    seen = [sight("REM", hop) for hop in range(2)]
    late = msgspec.structs.replace(seen[1], end=seen[1].end + 3600)
    slow = msgspec.structs.replace(RULE, dwell_s=5.0)
    assert [d.action for d in play(slow, [seen[0], late])] == ["off", "off"]


@pytest.mark.parametrize("clock", ["end", "utc"])
def test_what_must_have_passed_goes_by_the_slower_clock_and_what_must_not_by_the_faster(clock):
    """Either clock is set by an hour within a pulse: that ends, and the refractory does not."""
    rule = msgspec.structs.replace(RULE, on_s=60.0, refractory_s=30.0)
    seen = [sight("REM", hop) for hop in range(40)]
    late = {hop: {clock: getattr(seen[hop], clock) + 3600} for hop in range(5, 40)}
    told = list(play(rule, [msgspec.structs.replace(s, **late.get(s.hop, {})) for s in seen]))
    assert runs(told) == [(1, 4, "on"), (35, 5, "on")]
    assert told[5].reason == "on for 60 s, the longest"
    assert "refractory for another" in told[34].reason


@given(
    st.lists(st.floats(0, 0.9), min_size=12, max_size=12),
    st.sampled_from([0.25, 1.0]),
    st.integers(0, 12),
    st.sampled_from([0.0, -0.1, -0.9, -30.0]),
)
def test_a_pulse_is_over_in_time_however_late_its_estimates_come(ages, hop_s, at, set_s):
    """What a driver held back for a while is trusted, and does not make the pulse longer.

    Neither does a clock that is set back within it.
    """
    rule = msgspec.structs.replace(RULE, on_s=2.0)
    seen, true = [], []
    for hop, age_s in enumerate(ages):
        plain = sight("REM", hop, hop_s, age_s=age_s)
        true.append(plain.utc + age_s)
        wall = true[-1] + (set_s if hop >= at else 0.0)
        seen.append(msgspec.structs.replace(plain, utc=wall))
    began: dict[int, float] = {}
    for now, decision in zip(true, play(rule, seen), strict=True):
        if decision.action == "on":
            first = began.setdefault(decision.pulse, now)
            assert now + decision.ttl_s - first <= rule.on_s + 1e-6


@given(st.lists(st.floats(0, 4.9), min_size=30, max_size=30), st.sampled_from([0.25, 1.0]))
def test_no_pulse_begins_within_the_refractory_however_late_the_estimates_before_came(ages, hop_s):
    """One that was held back for a while may be followed by the next ones at once."""
    rule = msgspec.structs.replace(RULE, on_s=0.7, dwell_s=0.0, refractory_s=2.0, max_age_s=5.0)
    seen: list[Sight] = []
    for hop, age_s in enumerate(ages):
        plain = sight("REM", hop, hop_s, age_s=age_s)
        utc = max(plain.utc + age_s, seen[-1].utc if seen else 0.0)
        seen.append(msgspec.structs.replace(plain, utc=utc))
    last, over = None, -math.inf
    for each, decision in zip(seen, play(rule, seen), strict=True):
        over = min(over, each.utc) if last is not None else over
        if decision.action == "on":
            assert decision.pulse == last or each.utc - over >= 2.0 - 1e-5
            over = each.utc + decision.ttl_s
        last = decision.pulse


@pytest.mark.parametrize("clock", ["end", "utc"])
def test_a_clock_that_is_set_back_makes_a_refractory_longer_by_a_hop_and_no_more(clock):
    rule = msgspec.structs.replace(RULE, refractory_s=30.0)
    seen = [sight("REM", hop) for hop in range(40)]
    back = {hop: {clock: getattr(seen[hop], clock) - 3600} for hop in range(6, 40)}
    told = play(rule, [msgspec.structs.replace(s, **back.get(s.hop, {})) for s in seen])
    assert runs(told) == [(1, 3, "on"), (35, 3, "on")]


def test_a_restart_ends_a_pulse_and_the_refractory_begins():
    rule = msgspec.structs.replace(RULE, refractory_s=10.0)
    state = RuleState()
    for hop in range(2):
        state, decision = decide(rule, state, sight("REM", hop))
    assert decision.action == "on"
    state = interrupted(state)
    actions = []
    for hop in range(2, 20):
        state, decision = decide(rule, state, sight("REM", hop))
        actions.append(decision.action)
    assert actions.index("on") == 10  # nobody said "off" before hop 2
    assert set(actions[1:10]) == {"refused"}


@pytest.mark.parametrize(("cap", "n"), [("per_hour", 60), ("per_night", 720)])
def test_a_cap_is_of_any_hour_and_any_night_and_then_it_acts_again(cap, n):
    """An estimate a minute, a pulse every other one, of three that may begin."""
    rule = Rule(name="rem", stages=("REM",), on_s=60.0, dwell_s=60.0, **{cap: 3})
    told = list(play(rule, [sight("REM", hop, 60.0) for hop in range(n + 10)]))
    assert [first for first, *_ in runs(told)] == [0, 2, 4, n, n + 2, n + 4]
    assert {told[k].action for k in range(6, n)} == {"refused"}
    assert f"3 pulses within {n // 60} h, the most" in told[6].reason


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_as_many_pulses_are_sham_as_a_rule_says(share):
    rule = Rule(name="rem", stages=("REM",), on_s=1.0, sham=share)
    found = runs(play(rule, [sight("REM", hop) for hop in range(1200)]))
    assert len(found) == 600
    n_sham = sum(action == "sham" for *_, action in found)
    assert n_sham == pytest.approx(600 * share, abs=40 * share * (1 - share) * 4)


def test_a_refractory_is_drawn_anew_for_each_pulse():
    rule = Rule(name="rem", stages=("REM",), on_s=1.0, refractory_s=(1.0, 100.0))
    begins = [first for first, *_ in runs(play(rule, [sight("REM", hop) for hop in range(900)]))]
    apart = {after - before for before, after in itertools.pairwise(begins)}
    assert len(apart) > len(begins) / 2 > 4


def test_a_rule_s_own_number_of_hops_is_how_long_an_on_lives():
    rule = Rule(name="rem", stages=("REM",), on_s=60.0, ttl_hops=5)
    assert {d.ttl_s for d in play(rule, [sight("REM", hop, 0.25) for hop in range(9)])} == {1.25}


WAITS = Rule(name="rem", stages=("REM",), on_s=3.0, dwell_s=2.0, wait_s=4.0, hold="time", gap_s=1.0)


def test_a_pulse_that_follows_a_stay_begins_as_long_after_it_as_the_rule_says():
    course = stays(("REM", 3), ("NREM", 9))
    assert runs(play(WAITS, [sight(stage, hop) for hop, stage in enumerate(course)])) == [
        (6, 3, "on")
    ]


def test_it_does_not_follow_where_more_than_a_gap_of_what_came_after_was_not_seen():
    """What was not seen may have been the stage again."""
    for n_unseen, found in ((1, [(6, 3, "on")]), (2, [])):
        course = stays(("REM", 3), (ART, n_unseen), ("NREM", 9 - n_unseen))
        seen = [sight(stage, hop) for hop, stage in enumerate(course)]
        assert runs(play(WAITS, seen)) == found


def test_it_does_not_wait_for_being_armed():
    course = stays(("REM", 3), ("NREM", 9))
    seen = [sight(stage, hop, armed=hop > 7) for hop, stage in enumerate(course)]
    told = list(play(WAITS, seen))
    assert runs(told) == []
    assert (told[6].action, told[6].reason) == ("refused", "not armed")


def test_an_estimate_that_was_decided_on_decides_nothing_again():
    first, second = sight("REM", 0), sight("REM", 1)
    assert [d.action for d in play(RULE, [first, second, second])] == ["off", "on", "off"]


def test_a_yoked_subject_follows_the_other_whatever_its_own_stage_is():
    rule = Rule(name="y", on_s=3.0, yoked_to=Leader(rule="rem", subject="m2"))
    leads = [False, True, True, False, True, True]
    seen = [sight("Wake", hop, leads=lead) for hop, lead in enumerate(leads)]
    seen[4] = msgspec.structs.replace(seen[4], stage=ART, reason="eeg clipped")
    assert runs(play(rule, seen)) == [(1, 2, "on"), (5, 1, "on")]


@pytest.mark.parametrize(("on_s", "found"), [(2.0, [(1, 2, "on"), (7, 2, "on")]), (4.0, None)])
def test_a_yoked_subject_gets_one_pulse_for_one_of_the_other_s_however_long_that_is(on_s, found):
    rule = Rule(name="y", on_s=on_s, yoked_to=Leader(rule="rem", subject="m2"))
    leads = [False, True, True, True, True, True, False, True, True, True, True]
    leads = [*leads[:5], *leads[6:]] if found is None else leads
    told = list(play(rule, [sight("Wake", hop, leads=lead) for hop, lead in enumerate(leads)]))
    assert runs(told) == (found or [(1, 4, "on"), (6, 4, "on")])
    assert found is None or told[4].reason == "this pulse of m2 was followed for 2 s"


def test_a_yoked_pulse_ends_with_what_cannot_be_trusted_even_if_it_is_held_for_a_time():
    rule = Rule(name="y", on_s=9.0, hold="time", yoked_to=Leader(rule="rem", subject="m2"))
    seen = [sight(ART if hop == 2 else "Wake", hop, leads=True) for hop in range(6)]
    told = list(play(rule, seen))
    assert [(d.action, d.pulse) for d in told] == [
        ("on", 0),
        ("on", 0),
        ("off", None),
        ("on", 1),
        ("on", 1),
        ("on", 1),
    ]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"hours": (0, 12)}, "12:00 is not within the hours"),
        ({"minutes": (30, 60)}, "12:00 is not within the minutes"),
        ({"hours": (20, 8), "time_zone": "Asia/Tokyo"}, None),
        ({"hours": (20, 8), "time_zone": "Pacific/Auckland"}, None),
        ({"hours": (20, 8)}, "12:00 is not within the hours"),
        ({"leave_out_s": 5.0}, "the first 5 s are left out"),
        ({"probability": 0.95}, "REM, 90 %"),
        ({"evidence": 0.95}, "REM, 90 %"),
    ],
)
def test_a_rule_says_why_it_does_nothing(changes, reason):
    rule = msgspec.structs.replace(RULE, **changes)
    *_, decision = play(rule, [sight(stage, hop) for hop, stage in enumerate(stays(("REM", 2)))])
    assert (decision.action == "on") == (reason is None)
    assert (reason or "") in decision.reason


@pytest.mark.parametrize(
    ("log_odds", "reason"),
    [
        (None, None),
        (-20.0, None),
        (0.0, None),
        (0.1, "noise in the place of EEG, as of a lead that has just come off"),
        (float("nan"), "noise in the place of EEG, as of a lead that has just come off"),
    ],
)
def test_a_lead_that_has_just_come_off_switches_off_and_says_why(log_odds, reason):
    rem = [sight("REM", hop) for hop in range(3)]
    *_, decision = play(RULE, [*rem, sight("REM", 3, lead_off=log_odds)])
    assert (decision.action, decision.reason) == (
        ("on", "goes on") if reason is None else ("off", reason)
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.25, "0.25"), (12.34, "12.3"), (999.4, "999"), (1231.4, "1231")]
)
def test_a_length_of_time_is_told_without_exponents(seconds, text):
    assert whole(seconds) == text
