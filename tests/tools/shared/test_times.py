import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from tools.shared.times import parse_moment, parse_time

NOW = datetime(2026, 2, 1, 8, 0, tzinfo=UTC).astimezone()


def test_a_time_is_said_in_full_or_short():
    assert parse_time("2026-01-31T18:00:00+00:00", NOW) == datetime(2026, 1, 31, 18, tzinfo=UTC)
    assert parse_time("2026-01-31T18:00", NOW) == datetime(2026, 1, 31, 18).astimezone()
    assert parse_time("8h", NOW) == NOW - timedelta(hours=8)
    assert parse_time("1.5 d", NOW) == NOW - timedelta(hours=36)


def test_a_time_of_day_is_the_last_such_time():
    for minutes, days in ((-5, 0), (0, 0), (5, 1)):
        wanted = NOW + timedelta(minutes=minutes)
        assert parse_time(f"{wanted:%H:%M}", NOW) == wanted - timedelta(days=days)


@pytest.fixture
def berlin(monkeypatch):
    """The clock on the wall is that of Berlin: on two days a year it is set."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield ZoneInfo("Europe/Berlin")
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("now", "text", "then"),
    [
        ("2026-10-25T08:00", "18:00", "2026-10-24T18:00:00+02:00"),
        ("2026-03-29T08:00", "18:00", "2026-03-28T18:00:00+01:00"),
        ("2026-07-01T08:00", "18:00", "2026-06-30T18:00:00+02:00"),
        ("2026-10-25T08:00", "02:30", "2026-10-25T02:30:00+01:00"),  # it was so twice
        ("2026-10-25T02:10", "02:05", "2026-10-25T02:05:00+02:00"),
        ("2026-03-29T08:00", "02:30", "2026-03-29T03:30:00+02:00"),  # it never was
        ("2026-03-30T01:00", "02:00", "2026-03-29T03:00:00+02:00"),
    ],
)
def test_a_time_of_day_is_that_of_the_clock_on_the_wall(berlin, now, text, then):
    found = parse_time(text, datetime.fromisoformat(now).replace(tzinfo=berlin))
    assert found == datetime.fromisoformat(then)


@given(
    now=st.datetimes(datetime(2000, 1, 1), datetime(2037, 1, 1)),
    clock=st.times().map("{:%H:%M}".format),
)
def test_a_time_of_day_is_within_the_last_day_and_two_hours(now, clock):
    now = now.astimezone()
    found = parse_time(clock, now)
    assert timedelta(0) <= now - found < timedelta(hours=26)


@pytest.mark.parametrize("text", ["", "soon", "25:00", "8 parsecs", "99999999999999h"])
def test_what_is_no_time_is_told(text):
    with pytest.raises(typer.BadParameter, match="expected a time such as"):
        parse_time(text, NOW)


@given(at_s=st.integers(0, 86_399), start=st.datetimes(max_value=datetime(2100, 1, 1)))
def test_a_moment_of_a_recording_is_told_by_its_clock_or_since_its_first_sample(at_s, start):
    start = start.replace(microsecond=0)
    moment = start + timedelta(seconds=at_s)
    assert parse_moment(f"{moment:%H:%M:%S}", start) == at_s
    assert parse_moment(moment.isoformat(), start) == at_s
    since = f"{at_s // 3600:02}:{at_s // 60 % 60:02}:{at_s % 60:02}"
    assert parse_moment(f"+{since}", start) == at_s
    assert parse_moment(since, None) == at_s
    assert parse_moment(str(at_s), start) == at_s


@pytest.mark.parametrize("text", ["", "noon", "3h", "-00:10:00", "2026-02-30T00:00", "1:2"])
def test_what_is_no_moment_is_refused(text):
    for start in (None, datetime(2026, 1, 31, 22)):
        with pytest.raises(typer.BadParameter, match="expected a moment such as 03:12:30"):
            parse_moment(text, start)
