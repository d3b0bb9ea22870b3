"""Errors of bundles and engines; see models/errors.py for the whole tree."""

from models.errors import HypnodError


class EngineError(HypnodError):
    """An engine cannot be had here, or was handed arrays that do not fit its spec."""

    exit_code = 4


class BundleError(EngineError):
    """A bundle is missing a file, was altered, or is of an unknown format."""
