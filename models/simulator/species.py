"""Who can be simulated: one simulator a species, called alike."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from models.simulator.human import simulate as human
from models.simulator.mouse import simulate as mouse
from models.simulator.recording import SimulatedRecording, SimulatedSubject


@dataclass(frozen=True)
class Simulator:
    """The simulated subjects of one species."""

    subject: type[SimulatedSubject]
    """What is true of all of them."""
    sfreqs: tuple[float, ...]
    """Sampling rates that its labs use, the usual ones several times, Hz."""
    default_sfreq: float
    """Of a recording that is asked for without one, Hz."""
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
        subject=mouse.SimulatedMouse,
        sfreqs=(128.0, 200.0, 250.0, 256.0, 400.0, 500.0, *(512.0,) * 3, 1000.0, 1024.0, 2000.0),
        default_sfreq=512.0,
        plural="mice",
        every_stage_from_h=0.5,
        record=mouse.simulate_recording,
        iterate=mouse.iterate_subjects,
    ),
    "human": Simulator(
        subject=human.SimulatedPerson,
        sfreqs=(100.0, 100.0, 125.0, 128.0, 128.0, 200.0, 200.0, 250.0, 256.0, 256.0, 500.0, 512.0),
        default_sfreq=128.0,
        plural="people",
        every_stage_from_h=1.5,
        record=human.simulate_recording,
        iterate=human.iterate_subjects,
    ),
}
"""By species, one of `models.stages.SPECIES`."""
