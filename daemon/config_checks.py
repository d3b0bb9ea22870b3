"""What no field of a config can say alone: names, paths, and what contradicts another field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import permutations
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from daemon.trigger.rules import check_rules
from models.errors import ConfigError

if TYPE_CHECKING:
    from daemon.config import Config, DayConfig, StreamConfig

MAX_SUBJECTS = 1000
"""Most subjects of all streams."""
_MAX_PATH, _MAX_NAME = 3900, 200  # bytes: Linux has 4095 and 255, and a journal's companions more


def check(config: Config) -> None:
    """Raise ConfigError where the parts of a config do not fit each other, or the computer."""
    for problem in _problems(config):
        raise ConfigError(problem)
    check_rules(config.triggers, config.subjects)


def _problems(config: Config) -> Iterator[str]:
    streams = config.streams
    if not streams:
        yield "expected at least one [[streams]], found none"
    for stream in streams:
        if not stream.subjects:
            yield f"stream {stream.name!r}: expected at least one subject, found none"
    names = config.subjects
    if len(names) > MAX_SUBJECTS:
        yield f"expected at most {MAX_SUBJECTS} subjects, found {len(names)}"
    for what, each in (("stream", [s.name for s in streams]), ("subject", names)):
        if twice := _twice(each):
            yield f"expected every {what} name once, found twice: {', '.join(twice)}"
    for stream in streams:
        yield from _shared_channels(stream)
    yield from _same_streams(streams)
    yield from _bad_paths(config)
    yield from _limits(config)
    yield from _strange_outputs(config, names)
    yield from _strange_notices(config)
    yield from day_problems(config.day)
    publish = config.publish
    if publish.bind == publish.catchup_bind and not publish.bind.endswith((":*", ":0")):
        yield (
            "publish.catchup_bind: expected another address than publish.bind, found "
            f"{publish.bind} for both"
        )


def day_problems(day: DayConfig) -> Iterator[str]:
    """Yield what is wrong with the times of light and dark."""
    try:
        ZoneInfo(day.zone or "UTC")
    except (ValueError, OSError, ZoneInfoNotFoundError):
        yield f"day.zone: expected a time zone such as Europe/Berlin, found {day.zone!r}"
    if day.lights_off and not day.lights_on:
        yield "day.lights_off: expected lights_on beside it, found none"
    if day.lights_on and day.lights_off == day.lights_on:
        yield f"day.lights_off: expected another time than lights_on, found {day.lights_off}"


def _strange_outputs(config: Config, subjects: Sequence[str]) -> Iterator[str]:
    """Yield where an output follows a trigger or a subject that is not there."""
    triggers = [rule.name for rule in config.triggers]
    for output in config.pulse:
        for what, asked, known in (
            ("rules", output.rules, triggers),
            ("subjects", output.subjects, subjects),
        ):
            if unknown := [name for name in asked if name not in known]:
                yield (
                    f"pulse {output.driver!r}: expected {what} of "
                    f"{', '.join(known) or 'none'}, found {unknown[0]!r}"
                )
        rules = [rule for rule in config.triggers if rule.name in (output.rules or triggers)]
        whom = output.subjects or subjects
        if triggers and not any(rule.is_for(subject) for rule in rules for subject in whom):
            yield (
                f"pulse {output.driver!r}: expected a trigger for one of its subjects, found none "
                "that would switch it on"
            )


def _strange_notices(config: Config) -> Iterator[str]:
    """Yield where it is not one thing to whom a notice goes, or the password has no user."""
    for way in config.notify:
        given = [key for key in ("webhook", "webhook_file", "mail_to") if getattr(way, key)]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            yield f"notify: expected one of webhook, webhook_file and mail_to, found {found}"
        if bool(way.smtp_user) != bool(way.password_file):
            yield "notify: expected smtp_user and password_file together, found one of them"


def _shared_channels(stream: StreamConfig) -> Iterator[str]:
    labels = [label for subject in stream.subjects for label in subject.channels.values()]
    labels += [subject.echo for subject in stream.subjects if subject.echo]
    if twice := _twice(labels):
        yield (
            f"stream {stream.name!r}: expected every channel once, found twice: "
            f"{', '.join(twice)}; a reference that is shared is written as a difference, "
            '"EEG1-REF"'
        )


def _same_streams(streams: Iterable[StreamConfig]) -> Iterator[str]:
    """Where all that one stream must match, another must as well, both are one LSL stream."""
    for one, other in permutations(streams, 2):
        if _found_by(one) <= _found_by(other):
            yield (
                f"streams {one.name!r} and {other.name!r}: expected another LSL stream for each, "
                f"found that what matches {other.match} matches {one.match}; put the subjects of "
                "one LSL stream into one [[streams]], or match by source_id"
            )


def _found_by(stream: StreamConfig) -> set[tuple[str, str]]:
    """Return what a stream is found by; the case of a type is nothing."""
    return {(key, text.lower() if key == "type" else text) for key, text in stream.match.items()}


def _bad_paths(config: Config) -> Iterator[str]:
    paths = {
        "engine.bundle": config.engine.bundle,
        "security.clients": config.security.clients,
        "security.secret_key": config.security.secret_key,
        "journal.path": config.journal.path,
        "web.token": config.web.token,
        "web.certificate": config.web.certificate,
        "web.key": config.web.key,
    }
    for k, way in enumerate(config.notify):
        paths[f"notify[{k}].webhook_file"] = way.webhook_file
        paths[f"notify[{k}].password_file"] = way.password_file
    for stream in config.streams:
        for subject in stream.subjects:
            paths[f"baseline of {subject.name}"] = subject.baseline
    for key, path in paths.items():
        if "\0" in path:
            yield f"{key}: expected a path, found a character that no path can have: {path[:80]!r}"
        longest = max(map(_n_bytes, path.split("/")))
        if _n_bytes(path) > _MAX_PATH or longest > _MAX_NAME:
            yield (
                f"{key}: expected a path of at most {_MAX_PATH} bytes and {_MAX_NAME} in each of "
                f"its names, found {_n_bytes(path)} and {longest}: {path[:80]!r}…"
            )


def _limits(config: Config) -> Iterator[str]:
    for modality in ("eeg", "emg", "eog"):
        limits = getattr(config.quality, modality)
        if limits.min_rms_uv >= limits.max_abs_uv:
            yield (
                f"quality.{modality}: expected min_rms_uv below max_abs_uv, "
                f"found {limits.min_rms_uv:g} and {limits.max_abs_uv:g}"
            )


def _twice(names: Iterable[str]) -> list[str]:
    return sorted(name for name, n in Counter(names).items() if n > 1)


def _n_bytes(text: str) -> int:
    return len(text.encode())
