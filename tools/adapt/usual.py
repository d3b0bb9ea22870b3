"""What `hypnod adapt` takes of each species, where nobody says it."""

from typing import NamedTuple

from models.recordings.lab import LabRecording, read_one
from models.scored_epochs import ScoredEpochs
from models.spec import ModelSpec
from models.teacher import condition_and_teach, teacher_of
from models.training.simulated import Read


def read_as_taught(lab: LabRecording, spec: ModelSpec) -> ScoredEpochs:
    """Condition a recording of one subject, with the stages that the teacher finds in it."""
    weights = teacher_of(spec.species)
    (epochs, usable, _), (taught,) = condition_and_teach(lab.open(), lab.stream, spec, weights)
    (name,) = lab.subjects.values()
    return ScoredEpochs(name=name, epochs=epochs[0], stages=taught.stages, usable=usable[0])


class Usual(NamedTuple):
    """Of one species."""

    simulated: int
    """Subjects to learn from beside the recordings."""
    hours: float
    """Of each."""
    read: Read
    """Whose stages they have. What the simulator means is not what people's signals show."""
    block_s: float
    """That are drawn together for the interval, s: epochs near each other are alike."""


USUAL = {
    "mouse": Usual(24, 0.5, read_one, 120.0),
    "human": Usual(8, 7.0, read_as_taught, 600.0),
}
