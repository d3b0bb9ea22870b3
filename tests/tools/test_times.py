from datetime import UTC, datetime, timedelta

import pytest
import typer

from tools.times import parse_time

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


@pytest.mark.parametrize("text", ["", "soon", "25:00", "8 parsecs", "99999999999999h"])
def test_what_is_no_time_is_told(text):
    with pytest.raises(typer.BadParameter, match="expected a time such as"):
        parse_time(text, NOW)
