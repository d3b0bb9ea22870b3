"""What docs/accuracy.json holds: what `make accuracy` measured."""

import msgspec

from tests.rigs.accuracy.people import People
from tests.rigs.accuracy.real_mice import RealMice
from tests.rigs.accuracy.real_mouse import RealMouse
from tools.evaluate.report import Evaluation
from tools.shared.measure import Machine


class Awake(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Widened simulated mice that are awake from the first sample on, for half an hour."""

    bundle: str
    """Name and first 12 digits of the hash."""
    date: str
    machine: Machine
    asleep: tuple[float, ...]
    """Share of each mouse's staged epochs that `live` called sleep, after the first 20 s; most
    first."""


class Accuracy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What docs/accuracy.json holds."""

    people: People | None = None
    """Every real labelled epoch of people at hand."""
    real_mice: RealMice | None = None
    """Every real recording at hand."""
    semireal: Evaluation | None = None
    """The semi-real night against the expert."""
    widened: Evaluation | None = None
    """Unseen widened simulated mice."""
    awake: Awake | None = None
    """Widened mice that do not sleep."""
    simulated: Evaluation | None = None
    """Unseen simulated mice."""
    real: RealMouse | None = None
    """The raw mouse."""
