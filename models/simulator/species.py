"""Who can be simulated: one simulator a species, called alike."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from models.simulator.human import simulate as human
from models.simulator.mouse import simulate as mouse
from models.simulator.recording import SimulatedRecording, SimulatedSubject
from models.stages import HUMAN, MOUSE


@dataclass(frozen=True)
class Simulator:
    """The simulated subjects of one species."""

    stages: tuple[str, ...]
    modalities: tuple[str, ...]
    """Of a subject's channels, in order."""
    sfreqs: tuple[float, ...]
    """Sampling rates that its labs use, the usual ones several times, Hz."""
    prefix: str
    """Before a subject's number in its name."""
    plural: str
    """What several of them are called."""
    every_stage_from_h: float
    """Recordings from so long on mostly show every stage, h."""
    record: Callable[..., SimulatedRecording]
    """`simulate_recording` of the species."""
    iterate: Callable[..., Iterator[SimulatedSubject]]
    """`iterate_subjects` of the species."""


SIMULATORS = {
    "mouse": Simulator(
        stages=MOUSE,
        modalities=mouse.MODALITIES,
        sfreqs=(128.0, 200.0, 250.0, 256.0, 400.0, 500.0, *(512.0,) * 3, 1000.0, 1024.0, 2000.0),
        prefix="m",
        plural="mice",
        every_stage_from_h=0.5,
        record=mouse.simulate_recording,
        iterate=mouse.iterate_subjects,
    ),
    "human": Simulator(
        stages=HUMAN,
        modalities=human.MODALITIES,
        sfreqs=(100.0, 100.0, 125.0, 128.0, 128.0, 200.0, 200.0, 250.0, 256.0, 256.0, 500.0, 512.0),
        prefix="p",
        plural="people",
        every_stage_from_h=1.5,
        record=human.simulate_recording,
        iterate=human.iterate_subjects,
    ),
}
"""By species, one of `models.stages.SPECIES`."""
