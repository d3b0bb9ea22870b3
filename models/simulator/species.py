"""Who can be simulated."""

from typing import Any

from models.simulator.human.simulate import SimulatedPeople
from models.simulator.mouse.simulate import SimulatedMice
from models.simulator.simulation import Simulation

SIMULATORS: dict[str, type[Simulation[Any]]] = {"mouse": SimulatedMice, "human": SimulatedPeople}
"""By species, one of `models.stages.SPECIES`."""
