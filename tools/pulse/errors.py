"""Errors of `hypnod pulse`; see models/errors.py for the root."""

from models.errors import HypnodError


class OutputError(HypnodError):
    """An output cannot be opened, or did not do what it was told."""

    exit_code = 12
