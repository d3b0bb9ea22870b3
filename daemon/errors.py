"""Errors of the running service; see models/errors.py for the root.

HypnodError
├── ConfigError (models/errors.py)
│   └── KeyFileError 3  a file of keys
├── AddressError    7   a socket cannot be bound
├── ArmedError      11  which triggers are armed cannot be read, written or is not heeded
├── JournalError    8   the journal is in use, or of another format
└── UnforeseenError 1   a stream failed by a fault in hypnod
"""

from models.errors import ConfigError, HypnodError


class KeyFileError(ConfigError):
    """A file of keys cannot be read, written or trusted."""


class AddressError(HypnodError):
    """A socket cannot be bound to its configured address."""

    exit_code = 7


class JournalError(HypnodError):
    """The journal is another daemon's, or not one that this version can read or write."""

    exit_code = 8


class ArmedError(HypnodError):
    """It cannot be read or written which triggers are armed, or the daemon does not heed it."""

    exit_code = 11


class UnforeseenError(HypnodError):
    """Something in a stream's way raised what nobody expected: a fault in hypnod."""
