"""Errors of the running service; see models/errors.py for the root.

HypnodError
├── ConfigError     3   the config file, or a value in it
│   └── KeyFileError 3  a file of keys
├── StreamError     5   a stream that is missing, ambiguous or not as configured
│   └── UnitError   5   its amplitudes contradict the declared unit
├── AddressError    7   a socket cannot be bound
└── JournalError    8   the journal is in use, or of another format
"""

from models.errors import HypnodError


class ConfigError(HypnodError):
    """The config file, or one value in it, cannot be used."""

    exit_code = 3


class KeyFileError(ConfigError):
    """A file of keys cannot be read, written or trusted."""


class StreamError(HypnodError):
    """An LSL stream is missing, ambiguous, or not what the config says."""

    exit_code = 5


class UnitError(StreamError):
    """A stream's amplitudes contradict its declared unit."""


class AddressError(HypnodError):
    """A socket cannot be bound to its configured address."""

    exit_code = 7


class JournalError(HypnodError):
    """The journal is another daemon's, or not one that this version can read or write."""

    exit_code = 8
