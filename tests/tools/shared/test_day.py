"""Light, dark and the hour, also in the night in which the clock is put forward or back."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest

from daemon.config import DayConfig, parse_config
from models.errors import ConfigError
from tools.shared.day import HOUR_S, Day

BERLIN = DayConfig(lights_on="07:00", zone="Europe/Berlin")
ORDINARY, FORWARD, BACK = "2026-01-31", "2026-03-29", "2026-10-25"


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def night(date, hours=30):
    """From noon, UTC, the day before."""
    noon = at(f"{date}T12:00") - 24 * HOUR_S
    return noon, noon + hours * HOUR_S


def said(day, moment):
    return f"{day.local(moment):%H:%M}"


@pytest.mark.parametrize(
    ("date", "offset"), [(ORDINARY, "+01:00"), (FORWARD, "+02:00"), (BACK, "+01:00")]
)
def test_lights_go_by_the_clock_on_the_wall(date, offset):
    day = Day(BERLIN)
    spans = day.lights(*night(date))
    assert said(day, spans[1][0]) == "07:00"
    assert spans[1][0] == datetime.fromisoformat(f"{date}T07:00{offset}").timestamp()
    assert said(day, spans[0][1]) == "19:00"


@pytest.mark.parametrize(("date", "last"), [(ORDINARY, 23), (FORWARD, 22), (BACK, 24)])
def test_zeitgeber_time_runs_from_lights_on_to_lights_on(date, last):
    day = Day(BERLIN)
    hours = day.hours(*night(date))
    begin = next(i for i, hour in enumerate(hours) if hour.zeitgeber == 0)
    assert [h.zeitgeber for h in hours[:begin]] == [*range(hours[0].zeitgeber, last + 1)]
    assert said(day, hours[begin].start) == "07:00"
    before = hours[begin - 1]
    assert before.end - before.start == HOUR_S
    assert day.zeitgeber(before.start) == last


@pytest.mark.parametrize(
    ("date", "shown"),
    [
        (ORDINARY, ["00", "01", "02", "03", "04"]),
        (FORWARD, ["00", "01", "03", "04", "05"]),
        (BACK, ["00", "01", "02", "02", "03"]),
    ],
)
def test_the_clock_s_hours_are_those_it_shows_an_hour_apart(date, shown):
    day = Day(BERLIN)
    since = next(t for t in day.marks(*night(date)) if said(day, t) == "00:00")
    marks = day.marks(since, since + 4 * HOUR_S)
    assert [f"{day.local(t):%H}" for t in marks] == shown
    assert {b - a for a, b in pairwise(marks)} == {HOUR_S}


def test_every_third_hour():
    day = Day(BERLIN)
    marks = day.marks(*night(BACK), minutes=180)
    assert [f"{day.local(t):%H:%M}" for t in marks][:4] == ["15:00", "18:00", "21:00", "00:00"]


def test_every_ten_minutes():
    marks = Day(BERLIN).marks(at("2026-01-31T16:41"), at("2026-01-31T17:01"), minutes=10)
    assert marks == [at("2026-01-31T16:50"), at("2026-01-31T17:00")]


def test_hours_are_light_or_dark_and_cut_to_the_span():
    day = Day(BERLIN)
    since, until = at("2026-01-31T16:40"), at("2026-01-31T19:10")  # 17:40 to 20:10 there
    found = [(h.zeitgeber, h.light, (h.end - h.start) / 60) for h in day.hours(since, until)]
    assert found == [(10, 1.0, 20), (11, 1.0, 60), (12, 0.0, 60), (13, 0.0, 10)]
    assert day.zeitgeber(since) == pytest.approx(10 + 2 / 3)


def test_lights_that_go_off_within_an_hour():
    day = Day(DayConfig(lights_on="06:30", lights_off="20:00", zone="UTC"))
    found = day.hours(at("2026-01-31T19:30"), at("2026-01-31T20:30"))
    assert [(h.zeitgeber, h.light) for h in found] == [(13, 0.5)]


def test_a_reversed_day_is_light_over_midnight():
    day = Day(DayConfig(lights_on="19:00", lights_off="07:00", zone="UTC"))
    assert day.lights(at("2026-01-31T12:00"), at("2026-02-01T12:00")) == [
        (at("2026-01-31T19:00"), at("2026-02-01T07:00"))
    ]


def test_without_lights_hours_are_the_clock_s():
    day = Day(DayConfig(zone="Asia/Kolkata"))  # half an hour beside UTC's
    since = at("2026-01-31T18:00")
    hours = day.hours(since, since + 2 * HOUR_S)
    assert [said(day, h.start) for h in hours] == ["23:30", "00:00", "01:00"]
    assert {(h.zeitgeber, h.light) for h in hours} == {(None, None)}
    assert day.lights(since, since + 1) == []
    assert not day.has_lights


def test_by_default_the_zone_is_the_computer_s(monkeypatch):
    moment = at("2026-07-01T12:00")
    assert Day(DayConfig()).local(moment) == datetime.fromtimestamp(moment).astimezone()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('zone = "Europe/Bärlin"', "expected a time zone such as Europe/Berlin, found 'Europe/Bär"),
        ('zone = "../../etc/passwd"', "expected a time zone"),
        ('lights_on = "7 am"', "day.lights_on: expected a time of day such as 07:00, found '7 am'"),
        ('lights_off = "19:00"', "day.lights_off: expected lights_on beside it, found none"),
        ('lights_on = "07:00"\nlights_off = "07:00"', "expected another time than lights_on"),
    ],
)
def test_what_is_no_day_is_one_sentence(text, sentence):
    stream = '[[streams]]\nname = "c"\nmatch = {name = "c"}\n'
    subjects = 'subjects = [{name = "m", channels = {eeg = "E", emg = "M"}}]\n'
    with pytest.raises(ConfigError, match=sentence):
        parse_config(f"{stream}{subjects}[day]\n{text}", "f")
