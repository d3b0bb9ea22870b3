"""How fast the journal grows, and when it will fill its disk."""

import math
import shutil
from pathlib import Path
from typing import NamedTuple

from daemon.config import Config
from daemon.journal.file import companions

_DAY_S = 86400.0
_STAGE_BYTES = 380.0  # of an estimate, its share of the indices included: `make journal-size`
_DECISION_BYTES = 230.0  # likewise of what a rule says


class Room(NamedTuple):
    """What a journal takes, and what its disk has left."""

    size: int
    """Of the journal with its log, bytes."""
    free: int
    """Of the disk, bytes."""

    def full_in_days(self, bytes_a_day: float, keep_days: float | None) -> float:
        """Return when the disk will be full of the journal, days; inf where it never will be.

        Args:
            bytes_a_day: what is written to it.
            keep_days: after so many messages are forgotten; None: never.
        """
        if keep_days is not None and keep_days * bytes_a_day <= self.size + self.free:
            return math.inf
        return self.free / bytes_a_day


def measure_room(path: Path) -> Room:
    """Return the room of the journal in a file, which need not be there yet.

    Raises:
        OSError: its disk does not say.
    """
    size = sum(file.stat().st_size for file in companions(path) if file.exists())
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    return Room(size, shutil.disk_usage(folder).free)


def bytes_a_day(config: Config, epoch_s: float) -> float:
    """Return what is written to the journal in a day of staging every subject, bytes.

    Args:
        config: says who is staged how often, and which rules decide on it.
        epoch_s: length of an epoch, s.
    """
    decisions = sum(rule.is_for(subject) for rule in config.triggers for subject in config.subjects)
    estimates = len(config.subjects) * _STAGE_BYTES
    a_hop = (estimates + decisions * _DECISION_BYTES) / (config.staging.hop_s or epoch_s)
    return (a_hop + estimates / epoch_s) * _DAY_S
