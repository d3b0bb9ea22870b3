"""Errors of archives; see models/errors.py for the root.

HypnodError
└── ArchiveError        14  the folder of an archive is in use, is none, or cannot be written to
"""

from models.errors import HypnodError


class ArchiveError(HypnodError):
    """The folder of an archive is another run's, is none, or cannot be written to."""

    exit_code = 14
