"""What drives hardware: the class for all outputs, and how one is found by its name.

An output of your own is a subclass of `Output` that a package of yours names as an entry point of
the group `hypnod.pulse`, such as `my-laser = "my_package:Laser"`; the config then says
`driver = "my-laser"`, and every other key of `options` is an argument of its `__init__`.
"""

import inspect
import socket
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, get_type_hints

import msgspec

from models.errors import ConfigError, HypnodError
from tools.pulse.errors import OutputError

_GROUP = "hypnod.pulse"
_OWN = {
    "serial": "tools.pulse.serial_ttl:SerialOutput",
    "lsl": "tools.pulse.lsl_markers:LslOutput",
    "osc": "tools.pulse.osc:OscOutput",
    "open-ephys": "tools.pulse.open_ephys:OpenEphysOutput",
}

Value = str | int | float | bool
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class Output(ABC):
    """One output, open from its `__init__` on, which leaves it off.

    Every method returns once the hardware did it, within 0.2 s, or raises OutputError; a raised
    error ends `hypnod pulse` after every other output was switched off.
    """

    @classmethod  # noqa: B027  where another's hardware is, nobody knows here
    def look(cls, options: Mapping[str, Value]) -> None:
        """See whether it could be opened, without touching it: it may be driven meanwhile.

        Raises:
            OutputError: it cannot be.
        """

    @abstractmethod
    def set(self, *, on: bool) -> None:
        """Switch on or off."""

    def mark_sham(self) -> None:  # noqa: B027  hardware has no use for it
        """Note that a sham pulse begins: nothing is switched on."""

    def keep_alive(self) -> None:  # noqa: B027  many need none
        """Say that it still is as it was set; called at least every 0.1 s."""

    def close(self) -> None:  # noqa: B027  likewise
        """Let go of the hardware; it was switched off before."""


def open_output(driver: str, options: Mapping[str, Value]) -> Output:
    """Open an output.

    Raises:
        ConfigError: there is no such driver, it cannot be loaded, or it knows no such option.
        OutputError: it cannot be opened.
    """
    kind = _find(driver, options)
    with reporting(driver):
        return kind(**options)


def look_at_output(driver: str, options: Mapping[str, Value]) -> None:
    """See whether an output could be opened, without touching it.

    Raises:
        ConfigError: there is no such driver, it cannot be loaded, or it knows no such option.
        OutputError: it cannot be opened, as far as that can be seen.
    """
    kind = _find(driver, options)
    with reporting(driver):
        kind.look(options)


def find_host(host: str, port: int) -> None:
    """See whether a host's address is known.

    Raises:
        OutputError: it is not.
    """
    try:
        socket.getaddrinfo(host, port)
    except (OSError, UnicodeError) as error:
        raise OutputError(f"{host}:{port}: expected a host, found: {error}") from error


def _find(driver: str, options: Mapping[str, Value]) -> type[Output]:
    own = [EntryPoint(name, value, _GROUP) for name, value in _OWN.items()]
    found = {point.name: point for point in (*entry_points(group=_GROUP), *own)}
    if driver not in found:
        raise ConfigError(f"pulse: expected a driver of {', '.join(found)}, found {driver!r}")
    kind = _load(found[driver])
    try:
        inspect.signature(kind).bind(**options)
        if driver in _OWN:  # of another's options nobody knows here what they may be
            _check_types(kind, options)
    except (TypeError, msgspec.ValidationError) as error:
        raise ConfigError(
            f"pulse: expected options of the driver {driver!r}, found: {error}"
        ) from error
    return kind


@contextmanager
def reporting(driver: str) -> Iterator[None]:
    """Whatever a driver raises is an OutputError: it may be another's code."""
    try:
        yield
    except HypnodError:
        raise
    except Exception as error:
        raise OutputError(
            f"the driver {driver!r}: expected OutputError at most, found "
            f"{type(error).__name__}: {error}"
        ) from error


def _load(point: EntryPoint) -> type[Output]:
    try:
        kind = point.load()
    except Exception as error:  # another's module may raise anything
        own = point.name in _OWN
        do = (
            "install it with: pip install 'hypnod[pulse]'"
            if own
            else f"see that {point.value} is there"
        )
        raise ConfigError(
            f"pulse: expected what the driver {point.name!r} needs, found: {error}; {do}"
        ) from error
    if not (isinstance(kind, type) and issubclass(kind, Output)):
        raise ConfigError(
            f"pulse: expected a subclass of tools.pulse.output.Output as {point.value!r}, "
            f"found {kind!r}"
        )
    return kind


def _check_types(kind: type[Output], options: Mapping[str, Value]) -> None:
    hints = get_type_hints(kind.__init__, include_extras=True)
    for name, value in options.items():
        try:
            msgspec.convert(value, hints[name])
        except msgspec.ValidationError as error:
            raise msgspec.ValidationError(f"{name}: {error}, found {value!r}") from error
