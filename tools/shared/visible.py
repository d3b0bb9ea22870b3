"""The LSL streams that are visible, and what each says of itself."""

from typing import Any

import msgspec

from daemon.lsl.library import describe, is_readable, load_pylsl
from models.errors import StreamError

INFO_S = 3.0
"""Longest wait for the full description of a visible stream."""


class VisibleStream(msgspec.Struct, frozen=True, kw_only=True):
    """An LSL stream that answered."""

    name: str
    """Its name."""
    type: str
    """Its content type."""
    source_id: str
    """Identifies its source over restarts; empty where it has none."""
    hostname: str
    """The machine it comes from."""
    sfreq: float
    """Nominal sampling rate, Hz; 0 where irregular."""
    ch_names: tuple[str, ...]
    """Label of each channel."""
    units: tuple[str, ...]
    """Unit of each channel."""


def find_streams(timeout_s: float) -> list[Any]:
    """Return the streams that answer within this time, by name.

    Raises:
        StreamError: there is no liblsl.
    """
    found = load_pylsl().resolve_streams(timeout_s)
    return sorted(found, key=lambda info: (info.name(), info.uid()))


def full_info(info: Any) -> Any:
    """Return a visible stream's full description; what is known already where none comes."""
    lsl = load_pylsl()
    if not is_readable(info):
        return info
    try:
        return lsl.StreamInlet(info, recover=False).info(INFO_S)
    except (lsl.util.TimeoutError, lsl.util.LostError):
        return info


def inspect(info: Any) -> VisibleStream:
    """Return what a visible stream says of itself."""
    full = full_info(info)
    try:
        found = describe(full)
    except StreamError:  # its description contradicts itself; what was broadcast has none
        found = describe(info)
    return VisibleStream(
        name=full.name(),
        type=full.type(),
        source_id=full.source_id(),
        hostname=full.hostname(),
        sfreq=found.sfreq,
        ch_names=found.ch_names,
        units=found.units,
    )
