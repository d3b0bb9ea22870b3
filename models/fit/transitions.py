"""Count how often the stages of scored subjects go over into each other: `models.grammar` reads it.

    python -m models.fit.transitions mouse ../shared/data/mouse_hypnograms
    python -m models.fit.transitions human ../shared/data/human_hypnograms

Counts the same subjects that the simulator is fitted to: 70 of 92 mice, 137 of 180 people.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.fit.hypnograms import scored_mice, scored_people
from models.fit.hypnograms.splits import split_subjects
from models.fit.tables import write_table
from models.grammar import TRANSITION_FILES, Transitions
from models.stages import HUMAN, MOUSE, UNSCORED

Scored = tuple[str, NDArray[np.integer]]
"""A subject, and the index of the stage of each epoch of one of its recordings, or `UNSCORED`."""


def count(
    scored: Iterable[Scored], stages: tuple[str, ...], epoch_s: float, source: str
) -> Transitions:
    """Count pairs of epochs that follow one another; those beside an unscored one are none."""
    pairs = np.zeros((len(stages) + 1,) * 2, np.int64)  # the last is UNSCORED, -1
    subjects = set()
    for subject, indices in scored:
        subjects.add(subject)
        np.add.at(pairs, (indices[:-1], indices[1:]), 1)
    pairs = pairs[: len(stages), : len(stages)]
    between = pairs - np.diag(np.diag(pairs))
    return Transitions(
        source=source,
        n_subjects=len(subjects),
        epoch_s=epoch_s,
        stages=stages,
        n_epochs=tuple(pairs.sum(axis=1).tolist()),
        n_transitions=tuple(map(tuple, between.tolist())),
    )


def count_mice(folder: Path) -> Transitions:
    """Count the transitions of 70 of the dataset's 92 mice."""
    fitted, _ = split_subjects(scored_mice.read_labs(folder))
    scored = [
        (r.mouse, np.where(r.codes == scored_mice.ARTEFACT, UNSCORED, r.codes.astype(np.intp) - 1))
        for r in scored_mice.read_scored(folder)
        if r.mouse in fitted
    ]
    return count(scored, MOUSE, scored_mice.EPOCH_S, scored_mice.SOURCE)


def count_people(folder: Path) -> Transitions:
    """Count the transitions of 137 of the 180 people."""
    nights = scored_people.read_nights(folder)
    fitted, _ = split_subjects(scored_people.datasets_of(nights))
    scored = [(night.person, night.stages) for night in nights if night.person in fitted]
    return count(scored, HUMAN, scored_people.EPOCH_S, scored_people.SOURCE)


COUNTS = {"mouse": count_mice, "human": count_people}
"""By species."""


def main() -> None:
    """Count the transitions of those of a species that the simulator is fitted to."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("species", choices=COUNTS)
    parser.add_argument("folder", type=Path, help="holds the scored hypnograms")
    parser.add_argument("--out", type=Path, help="the counts' file; default: the packaged one")
    arguments = parser.parse_args()
    counted = COUNTS[arguments.species](arguments.folder)
    write_table(arguments.out or TRANSITION_FILES[arguments.species], counted)


if __name__ == "__main__":
    main()
