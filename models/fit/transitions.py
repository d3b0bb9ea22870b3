"""Count how often the stages of scored mice go over into each other: `models.grammar` reads it.

    python -m models.fit.transitions ../shared/data/mouse_hypnograms

Counts the same 70 of the dataset's 92 mice that the simulator is fitted to.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.fit.hypnograms.scored_mice import (
    ARTEFACT,
    EPOCH_S,
    SOURCE,
    MouseRecord,
    read_labs,
    read_scored,
    split_mice,
)
from models.fit.tables import write_table
from models.grammar import MOUSE_FILE, Transitions
from models.stages import MOUSE


def count(records: Sequence[MouseRecord]) -> Transitions:
    """Count pairs of epochs that follow one another; those beside an artefact are none."""
    pairs = np.zeros((ARTEFACT, ARTEFACT), np.int64)
    for record in records:
        codes = record.codes.astype(np.intp) - 1
        np.add.at(pairs, (codes[:-1], codes[1:]), 1)
    pairs = pairs[: len(MOUSE), : len(MOUSE)]
    between = pairs - np.diag(np.diag(pairs))
    return Transitions(
        source=SOURCE,
        n_mice=len({record.mouse for record in records}),
        epoch_s=EPOCH_S,
        stages=MOUSE,
        n_epochs=tuple(pairs.sum(axis=1).tolist()),
        n_transitions=tuple(map(tuple, between.tolist())),
    )


def main() -> None:
    """Count the transitions of 70 of the dataset's 92 mice."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path, help="holds mssv_stages.npz, participants.tsv, …")
    parser.add_argument("--out", type=Path, default=MOUSE_FILE, help="the counts' file")
    arguments = parser.parse_args()
    fitted, _ = split_mice(read_labs(arguments.folder))
    records = read_scored(arguments.folder)
    write_table(arguments.out, count([r for r in records if r.mouse in fitted]))


if __name__ == "__main__":
    main()
