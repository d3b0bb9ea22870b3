"""The LSL library, and what a stream says of itself."""

import math
import os
import platform
import string
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from daemon.config import StreamConfig
from models.errors import ConfigError, StreamError
from models.signal.chunk import MAX_SFREQ, StreamDescription
from models.spec import SLOWEST_HZ

LSL_CONFIG = """\
[log]
level = -3
[tuning]
ContinuousResolveInterval = 0.2
"""
"""Used where no file configures liblsl. Losses, which it logs as errors, are reported by hypnod;
and a query every 0.7 s, not every 1.0 s, brings a source back well within 2 s."""
LIBLSL_NEEDED = 118
"""1.18; older ones find only one of several streams on this machine."""
_LISTED = 8
"""Streams that a sentence names."""
_TO_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


@cache
def load_pylsl() -> ModuleType:
    """Return the pylsl module.

    Raises:
        StreamError: there is no liblsl that it could load; says how to get one.
    """
    try:
        import pylsl  # noqa: PLC0415 - fails where liblsl is missing, which doctor must survive
    except (ImportError, RuntimeError, OSError) as error:
        raise StreamError(
            "expected the liblsl library, found none that loads: pylsl's wheel carries it only for"
            " x86_64 with glibc 2.35 or newer (here: "
            f"{platform.machine()}, {' '.join(platform.libc_ver())}); elsewhere get liblsl 1.18 or"
            " newer from https://github.com/sccn/liblsl/releases and set PYLSL_LIB=/path/to/"
            "liblsl.so"
        ) from error
    if pylsl.library_version() >= LIBLSL_NEEDED and not _has_config_file():
        pylsl.set_config_content(LSL_CONFIG)
    module: ModuleType = pylsl
    return module


def _has_config_file() -> bool:
    """Tell whether liblsl would find a config file, which content set here would replace."""
    home = Path(os.environ.get("HOME", "/")) / "lsl_api/lsl_api.cfg"
    files = ("lsl_api.cfg", home, "/etc/lsl_api/lsl_api.cfg")
    return "LSLAPICFG" in os.environ or any(os.access(file, os.R_OK) for file in files)


def match_predicate(match: Mapping[str, str]) -> str:
    """Return the XPath 1.0 predicate of the streams that `matches` these properties.

    Raises:
        ConfigError: a value has a character that cannot be searched for.
    """
    return " and ".join(
        f"translate(type, '{string.ascii_uppercase}', '{string.ascii_lowercase}')"
        f"={_quote(value.translate(_TO_LOWER))}"
        if key == "type"
        else f"{key}={_quote(value)}"
        for key, value in match.items()
    )


def matches(info: Any, match: Mapping[str, str]) -> bool:
    """Whether a visible stream has these properties; a type is one in capitals or small letters."""
    found = {key: str(getattr(info, key)()) for key in match}
    return all(
        found[key].translate(_TO_LOWER) == value.translate(_TO_LOWER)
        if key == "type"
        else found[key] == value
        for key, value in match.items()
    )


def in_words(match: Mapping[str, str]) -> str:
    """Return the properties of a stream for people."""
    return ", ".join(f"{key}={value!r}" for key, value in match.items())


def _quote(value: str) -> str:
    """Quote for XPath 1.0, which has no escapes: a value with both quotes is put together."""
    if not value.isprintable():
        raise ConfigError(f"match: expected printable text, found {value!r}")
    if "'" not in value:
        return f"'{value}'"
    if '"' not in value:
        return f'"{value}"'
    parts = ', "\'", '.join(f"'{part}'" for part in value.split("'"))
    return f"concat({parts})"


def identify(info: Any) -> str:
    """Name a visible stream for people."""
    return (
        f"{info.name()!r} (type {info.type()!r}, source_id {info.source_id()!r}, "
        f"host {info.hostname()!r}, uid {info.uid()})"
    )


def is_readable(info: Any) -> bool:
    """Whether liblsl could read what a source answered: a rate of NaN, say, it cannot."""
    found: bool = info.channel_format() != load_pylsl().cf_undefined
    return found


def list_visible(infos: Sequence[Any]) -> str:
    """Say which streams are visible, for who finds that theirs is not."""
    if not infos:
        return "no stream is visible"
    several = sorted(f"{info.name()!r} (type {info.type()!r})" for info in infos)
    more = len(several) - _LISTED
    listed = ", ".join(several[:_LISTED]) + (f" and {more} more" if more > 0 else "")
    return f"visible are {listed}"


def tell_apart(infos: Sequence[Any]) -> str:
    """Say by what `match` could choose among visible streams that all match."""
    for key in ("type", "source_id", "hostname", "name"):
        values = [str(getattr(info, key)()) for info in infos]
        if len({*values}) == len(values):
            choices = [f'{key} = "{value}"' for value in sorted(values)]
            return f"add {' or '.join(choices)} to match"
    return "stop one, or give each a source_id of its own to match by"


def describe(info: Any) -> StreamDescription:
    """Return what a stream's full info says of it; channels without a label are numbered.

    Raises:
        StreamError: the description lists more channels than the stream has.
    """
    n_channels: int = info.channel_count()
    labels: list[str] = []
    units: list[str] = []
    channel = info.desc().child("channels").child("channel")
    while not channel.empty():
        labels.append(channel.child_value("label"))
        units.append(channel.child_value("unit"))
        channel = channel.next_sibling("channel")
    if len(labels) > n_channels:
        raise StreamError(
            f"stream {identify(info)}: expected a description of its {n_channels} channels, "
            f"found one of {len(labels)}"
        )
    labels += [""] * (n_channels - len(labels))
    units += [""] * (n_channels - len(units))
    return StreamDescription(info.name(), tuple(labels), tuple(units), info.nominal_srate())


def check_stream(config: StreamConfig, info: Any) -> StreamDescription:
    """Return the description of a stream that is as configured.

    Raises:
        StreamError: it is not; one sentence with what was expected and what was found.
    """
    lsl = load_pylsl()
    found = describe(info)
    n_channels = len(found.ch_names)
    where = f"stream {config.name!r}: "
    if info.channel_format() == lsl.cf_string:
        raise StreamError(
            f"{where}expected numbers, found a stream of strings; "
            "is it that of the markers? choose the one of the samples with match"
        )
    if config.n_channels not in (None, n_channels):
        raise StreamError(f"{where}expected {config.n_channels} channels, found {n_channels}")
    slowest = min(SLOWEST_HZ.values())  # of any model; the pipeline knows that of its own
    if not slowest <= found.sfreq <= MAX_SFREQ:
        rate = f"{found.sfreq:g} Hz" if found.sfreq else "an irregular rate (0 Hz)"
        raise StreamError(
            f"{where}expected a sampling rate from {slowest:g} to {MAX_SFREQ:g} Hz, found {rate}"
        )
    if config.sfreq and not math.isclose(found.sfreq, config.sfreq, rel_tol=0.01):
        raise StreamError(f"{where}expected {config.sfreq:g} Hz, found {found.sfreq:g} Hz")
    return found
