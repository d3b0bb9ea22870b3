"""The expert hypnograms of 208 nights that simulated people are fitted to and measured against.

Sources: DOD-H, 25 healthy people, and DOD-O, 55 patients with sleep apnoea, each scored by five
experts (Guillot et al. 2020, doi:10.1109/TNSRE.2020.3011181; MIT licence, Dreem); BOAS, 128 nights
of 100 people, the consensus of three (OpenNeuro ds005555 v1.1.0, CC0). Epochs of 30 s.
"""

import csv
import zipfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import RecordingError
from models.stages import HUMAN, UNSCORED

SOURCE = (
    "DOD-H and DOD-O (MIT), doi:10.1109/TNSRE.2020.3011181; "
    "OpenNeuro ds005555 v1.1.0 (CC0), doi:10.18112/openneuro.ds005555.v1.1.0"
)
EPOCH_S = 30.0
EPOCHS_PER_HOUR = 120

_SCORED_BY_FIVE = ("dodh", "dodo")
_BOAS = "boas"
_TIE = 0.01  # of a vote, at most: enough to break a tie, and for nothing else


@dataclass(frozen=True)
class Night:
    """One scored night of a person."""

    person: str
    dataset: str
    stages: NDArray[np.int8]
    """(n_epochs,) of 30 s, indices into `HUMAN`, or `UNSCORED`."""
    scorers: NDArray[np.int8]
    """(n_scorers, n_epochs), what each expert said; none where only their consensus is known."""


def read_nights(folder: Path) -> list[Night]:
    """Return every night, in the order of the files.

    Raises:
        RecordingError: the folder does not hold the datasets.
    """
    try:
        by_five = [night for dataset in _SCORED_BY_FIVE for night in _read_dod(folder, dataset)]
        return by_five + _read_boas(folder)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise RecordingError(
            f"expected dodh_scorers.npz, dodo_scorers.npz, boas_stages.npz and participants.tsv "
            f"in {folder}, found: {error}"
        ) from error


def datasets_of(nights: list[Night]) -> dict[str, str]:
    """Return the dataset of each person."""
    return {night.person: night.dataset for night in nights}


def find_consensus(scorers: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return the stage that most experts gave to each epoch, (n_epochs,).

    Of stages with as many votes it is that of the experts who agree more with the others over the
    whole night.

    Args:
        scorers: (n_scorers, n_epochs); `UNSCORED` is a vote, too.
    """
    agreement = (scorers[:, None] == scorers).mean(axis=(1, 2))
    votes = np.stack([scorers == code for code in range(UNSCORED, len(HUMAN))])
    weights = 1 + _TIE * agreement
    found = np.einsum("csn,s->cn", votes, weights).argmax(axis=0) + UNSCORED
    return np.asarray(found, np.int8)


def _read_dod(folder: Path, dataset: str) -> list[Night]:
    by_person: dict[str, list[NDArray[np.int8]]] = defaultdict(list)
    with np.load(folder / f"{dataset}_scorers.npz") as arrays:
        for name in arrays:
            by_person[name.split("__")[0]].append(arrays[name])
    return [
        Night(person, dataset, find_consensus(np.array(each)), np.array(each))
        for person, each in by_person.items()
    ]


def _read_boas(folder: Path) -> list[Night]:
    """Read BOAS: some people have more than one night; a code that is no stage is unscored."""
    with (folder / "participants.tsv").open(newline="") as file:
        rows = csv.DictReader(file, delimiter="\t")
        person = {row["participant_id"]: f"{_BOAS}-{row['pid']}" for row in rows}
    nights = []
    with np.load(folder / "boas_stages.npz") as arrays:
        for name in arrays:
            night, _, scorer = name.partition("_")
            if scorer == "hum":
                codes = arrays[name]
                stages = np.where(codes < len(HUMAN), codes, UNSCORED).astype(np.int8)
                nights.append(
                    Night(person[night], _BOAS, stages, np.empty((0, len(stages)), np.int8))
                )
    return nights
