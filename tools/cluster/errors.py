"""Errors of spreading work; see models/errors.py for the root.

HypnodError
└── ClusterError        15  the workers cannot be had, or are lost
    └── WorkersLostError    one piece of work ended every worker that had it
"""

from models.errors import HypnodError


class ClusterError(HypnodError):
    """Workers cannot be had, or the scheduler is lost."""

    exit_code = 15


class WorkersLostError(ClusterError):
    """A piece of work ended every worker that had it."""
