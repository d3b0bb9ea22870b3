"""Nothing stays on that is not said again, whatever comes and whatever the clocks do."""

import math

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.support.nights import EVENING, iso, trigger
from tools.pulse.gate import Gate, Pulse

KEY = Pulse("rem", "m1", "s", 0)


def on(seq, at, **changes):
    return trigger(seq, "on", published_utc=iso(at), **changes)


def test_on_lasts_for_its_time_to_live_from_when_it_was_decided():
    gate = Gate()
    gate.take(on(0, EVENING), EVENING + 0.5, 100.0)
    assert gate.on(101.4) == {KEY}
    assert gate.on(101.6) == set()


def test_it_lasts_longer_where_it_is_said_again_and_ends_with_anything_else():
    gate = Gate()
    gate.take(on(0, EVENING), EVENING, 100.0)
    gate.take(on(1, EVENING + 1), EVENING + 1, 101.0)
    assert gate.on(102.5) == {KEY}
    gate.take(trigger(2, "refused"), EVENING + 2.5, 102.5)
    assert gate.on(102.5) == set()


def test_what_is_old_or_replayed_or_was_heard_or_is_from_the_future_switches_nothing_on():
    for message, wall in (
        (on(0, EVENING), EVENING + 2.5),
        (on(0, EVENING, replayed=True), EVENING),
        (on(0, EVENING + 5), EVENING),
        (trigger(0, "sham", published_utc=iso(EVENING)), EVENING),
    ):
        gate = Gate()
        gate.take(message, wall, 100.0)
        assert gate.on(100.0) == set()
    gate = Gate()
    gate.take(trigger(7, "off"), EVENING, 100.0)
    gate.take(on(6, EVENING), EVENING, 100.0)
    assert gate.on(100.0) == set()


def test_it_tells_once_why_nothing_is_switched_on_and_until_something_is():
    gate = Gate()
    for seq, (at, action, word) in enumerate(
        (
            (0.0, "on", None),
            (0.3, "off", "found one from 0.3 s ahead"),
            (5.0, "on", "found one from 0.3 s ahead"),
            (0.0, "off", "found one from 0.3 s ahead"),
            (0.05, "sham", None),
            (-9.0, "off", None),
            (-2.5, "on", "found one 2.5 s old"),
            (-1.5, "on", None),
        )
    ):
        gate.take(trigger(seq, action, published_utc=iso(EVENING + at)), EVENING, 100.0)
        assert (gate.trouble is None) == (word is None)
        assert (word or "") in (gate.trouble or "")


def test_rules_and_subjects_are_apart():
    gate = Gate()
    gate.take(on(0, EVENING), EVENING, 100.0)
    gate.take(trigger(1, "off", subject="m2"), EVENING, 100.0)
    gate.take(on(2, EVENING, rule="other"), EVENING, 100.0)
    assert gate.on(100.0) == {KEY, KEY._replace(rule="other")}


def test_another_pulse_takes_the_place_of_one_that_is_on():
    gate = Gate()
    gate.take(on(0, EVENING), EVENING, 100.0)
    gate.take(on(1, EVENING + 1, pulse=1), EVENING + 1, 101.0)
    assert gate.on(101.0) == {KEY._replace(number=1)}


def test_a_sham_pulse_is_told_but_not_on():
    gate = Gate()
    sham = trigger(0, "sham", published_utc=iso(EVENING), pulse=7)
    assert gate.take(sham, EVENING, 100.0) == KEY._replace(number=7)
    assert gate.take(sham, EVENING, 100.0) is None
    assert gate.on(100.0) == set()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["on", "off", "sham", "refused"]),
            st.floats(0, 5),  # later, s
            st.floats(0, 40),  # on its way, s
            st.sampled_from([0.0, 0.0, 0.0, -30.0, 30.0]),  # by which the wall's clock was set, s
        ),
        max_size=40,
    )
)
def test_it_is_never_on_for_longer_than_two_seconds_after_the_last_on_was_heard(course):
    gate, now, set_s, heard, back_at = Gate(), 100.0, 0.0, None, -math.inf
    for seq, (action, later_s, way_s, by_s) in enumerate(course):
        now += later_s
        if gate.on(now):
            assert heard is not None
            assert now - heard < 2.0
        set_s += by_s
        back_at = now if by_s < 0 else back_at
        message = msgspec.structs.replace(
            trigger(seq, action), published_utc=iso(EVENING + now + set_s - way_s)
        )
        gate.take(message, EVENING + now + set_s, now)
        if action == "on":
            heard = now
            if gate.on(now):
                assert way_s < 2.01
            elif now - back_at > 60:  # and it has been heard since
                assert way_s > 1.99
        else:
            assert gate.on(now) == set()


@given(
    st.lists(
        st.tuples(
            st.floats(0, 3),  # made so much later than the one before, s
            st.floats(0, 8),  # on its way, s
            st.sampled_from([0.0, 0.0, -0.05, -1.5, -30.0]),  # set after it was made, s
        ),
        max_size=40,
    )
)
def test_a_clock_that_is_set_back_lets_nothing_be_on_for_longer(course):
    """Decisions are dated by the clock as it was when they were made, and heard in their order."""
    gate, made, set_s, sent, heard = Gate(), 100.0, 0.0, [], 100.0
    gate.take(on(0, EVENING + made), EVENING + made, made)
    sets = [(made, 0.0)]
    for later_s, way_s, by_s in course:
        made += later_s
        heard = max(heard, made + way_s)
        sent.append((made, EVENING + made + set_s, heard))
        set_s += by_s
        sets.append((made, set_s))
    for seq, (at, dated, now) in enumerate(sent, start=1):
        wall = EVENING + now + [by for since, by in sets if since <= now][-1]
        gate.take(on(seq, dated), wall, now)
        assert gate.on(max(now, at + 2.01)) == set()
