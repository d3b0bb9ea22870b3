"""What a soak ends with."""

import msgspec

from tests.rigs.soak.lives import Memory
from tests.rigs.soak.record import Account, Silence
from tools.shared.measure import Machine


class SoakReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a soak ends with."""

    ok: bool
    """Nothing was lost, doubled or told otherwise, and every restart was warm."""
    hours: float
    subjects: int
    seed: int
    epochs_expected: int
    """Of all subjects: grid points between a stream's first and its last sample."""
    estimates: Account
    """Live and final ones, and what became of them."""
    late_joiner: Account
    """The same for a subscriber that came when all was over."""
    lost: int
    kills: int
    restarts: dict[str, int]
    """Streams that went on warm or cold."""
    faults: dict[str, int]
    """That were injected, by kind."""
    longest_silence: Silence
    memory: list[Memory]
    """Of each process of the daemon."""
    naps: int
    asleep_s: float
    fetched: int
    """Messages that the subscriber had missed and fetched."""
    wall_s: float
    speed: float
    """Recording time per time, everything included."""
    machine: Machine
