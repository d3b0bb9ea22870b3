"""What drives hardware: the class for all outputs, and how one is found by its name.

An output of your own is a subclass of `Output` that a package of yours names as an entry point of
the group `hypnod.pulse`, such as `my-laser = "my_package:Laser"`; the config then says
`driver = "my-laser"`, and every other key of `options` is an argument of its `__init__`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points

from models.errors import ConfigError

_GROUP = "hypnod.pulse"
_OWN = {
    "serial": "tools.pulse.serial_ttl:SerialOutput",
    "lsl": "tools.pulse.lsl_markers:LslOutput",
    "osc": "tools.pulse.osc:OscOutput",
    "open-ephys": "tools.pulse.open_ephys:OpenEphysOutput",
}

Value = str | int | float | bool


class Output(ABC):
    """One output, open from its `__init__` on, which leaves it off.

    Every method returns once the hardware did it, within 0.2 s, or raises OutputError; a raised
    error ends `hypnod pulse` after every other output was switched off.
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
        ConfigError: there is no such driver, or it knows no such option.
        OutputError: it cannot be opened.
    """
    found = {point.name: point.value for point in entry_points(group=_GROUP)} | _OWN
    if driver not in found:
        raise ConfigError(f"pulse: expected a driver of {', '.join(found)}, found {driver!r}")
    module, _, name = found[driver].partition(":")
    try:
        kind = getattr(import_module(module), name)
    except ImportError as error:
        raise ConfigError(
            f"pulse: expected what the driver {driver!r} needs, found: {error}; "
            "install it with: pip install 'hypnod[pulse]'"
        ) from error
    try:
        output: Output = kind(**options)
    except TypeError as error:
        raise ConfigError(
            f"pulse: expected options of the driver {driver!r}, found: {error}"
        ) from error
    return output
