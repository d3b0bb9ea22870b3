"""Times as people write them on a command line."""

import re
from datetime import datetime, time, timedelta
from typing import Annotated

import typer

_UNITS = {"d": "days", "h": "hours", "min": "minutes", "s": "seconds"}
_DAY_S = 86400.0


def parse_time(text: str, now: datetime | None = None) -> datetime:
    """Return the moment that a text names, with a time zone.

    Args:
        text: ISO 8601, in local time where it has no time zone; `18:30`, the last such time; or
            `8h`, so long ago (d, h, min, s).
        now: a moment with a time zone; default: now.

    Raises:
        typer.BadParameter: it names none.
    """
    try:
        return _parse(text, now or datetime.now().astimezone())
    except (ValueError, OverflowError, OSError) as error:
        raise typer.BadParameter(
            f"expected a time such as 2026-01-31T18:00, 18:00 or 8h, found {text!r}"
        ) from error


def _parse(text: str, now: datetime) -> datetime:
    if ago := re.fullmatch(r"(\d+(?:\.\d+)?) ?(d|h|min|s)", text):
        return now - timedelta(**{_UNITS[ago[2]]: float(ago[1])})
    if re.fullmatch(r"\d\d:\d\d", text):
        return _last(time.fromisoformat(text), now)
    return datetime.fromisoformat(text).astimezone()


def _last(clock: time, now: datetime) -> datetime:
    """Return when the clock on the wall last showed a time: on some days it does so twice."""
    today = now.astimezone().date()
    days = (today, today - timedelta(days=1))
    shown = [datetime.combine(d, clock.replace(fold=fold)) for d in days for fold in (0, 1)]
    return max(then for each in shown if (then := each.astimezone()) <= now)


Since = Annotated[
    str,
    typer.Option(
        help="Begin at this time: 2026-01-31T18:00, 18:00, or 8h for so long ago.", metavar="TIME"
    ),
]
"""The option of every command that begins at a time."""


def parse_moment(text: str, start: datetime | None) -> float:
    """Return the moment of a recording that a text names, since its first sample, s.

    Args:
        text: `03:12:30` or `2026-01-31T03:12:30`, on the recorder's clock, or, where the recording
            hides that, since its first sample; `+03:12:30`, since its first sample in any case;
            or a number of seconds since then.
        start: when its first sample was taken, on the recorder's clock; None: not known.

    Raises:
        typer.BadParameter: it names none.
    """
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    since = re.fullmatch(r"(\+?)(\d+):(\d\d)(?::(\d\d(?:\.\d+)?))?", text)
    try:
        if since is None and start is not None:
            return (datetime.fromisoformat(text) - start).total_seconds()
    except (ValueError, TypeError):
        since = None
    if since is None:
        raise typer.BadParameter(
            f"expected a moment such as 03:12:30, +01:30:00 since the first sample, or seconds, "
            f"found {text!r}"
        )
    moment_s = 3600.0 * int(since[2]) + 60.0 * int(since[3]) + float(since[4] or 0)
    if since[1] or start is None:
        return moment_s
    begun = start - datetime.combine(start.date(), time(), start.tzinfo)
    return (moment_s - begun.total_seconds()) % _DAY_S
