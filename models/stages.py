"""The closed stage sets, and the many ways the world writes them.

Stages are strings at every edge of hypnod; indices into a set exist only inside
`models/` and `engines/`. Beside the stages of its set an epoch can be `ART` (signal
there, but an artefact) or `UNKNOWN` (no usable signal).
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.errors import RecordingError

MOUSE = ("Wake", "NREM", "REM")
HUMAN = ("W", "N1", "N2", "N3", "REM")
STAGE_SETS = (MOUSE, HUMAN)
SPECIES = ("mouse", "human")

ART = "ART"
UNKNOWN = "UNKNOWN"
UNSCORED = -1  # the index of ART and UNKNOWN


class Colour(NamedTuple):
    """How a stage is drawn."""

    picture: str
    """In pictures, #RRGGBB; told apart with any colour vision."""
    terminal: str
    """In terminals, by a name of rich's, so that it follows the terminal's own theme."""


COLOURS = {
    **dict.fromkeys(("Wake", "W"), Colour("#E69F00", "bright_yellow")),
    "NREM": Colour("#2F6DB5", "bright_blue"),
    "N1": Colour("#9CC3E6", "bright_cyan"),
    "N2": Colour("#4F8FCB", "bright_blue"),
    "N3": Colour("#1D4A86", "blue"),
    "REM": Colour("#C2407E", "bright_magenta"),
    ART: Colour("#8A8A8A", "bright_black"),
    UNKNOWN: Colour("#A8A8A8", "bright_black"),
}
"""Of every stage, ART and UNKNOWN, wherever one is drawn."""

_WAKE = ("w", "wake", "awake", "wakefulness", "sleep stage w", "stage_w")
_REM = ("r", "rem", "sleep stage r", "stage_r", "paradoxical sleep", "ps")
_NREM = ("n", "nrem", "nr", "sws", "non-rem", "sleep stage n")
_ART = ("a", "art", "artefact", "artifact", "movement time", "sleep stage a")
_UNKNOWN = ("u", "unknown", "?", "sleep stage ?", "unscored", "-1", "n/a", "undefined", "")

_ALIASES = {
    MOUSE: {
        **dict.fromkeys(_WAKE, "Wake"),
        **dict.fromkeys(_NREM, "NREM"),
        **dict.fromkeys(_REM, "REM"),
    },
    HUMAN: {
        **dict.fromkeys(_WAKE, "W"),
        **dict.fromkeys(("n1", "1", "s1", "sleep stage 1", "sleep stage n1"), "N1"),
        **dict.fromkeys(("n2", "2", "s2", "sleep stage 2", "sleep stage n2"), "N2"),
        **dict.fromkeys(("n3", "3", "4", "s3", "s4", "n4"), "N3"),
        **dict.fromkeys(("sleep stage 3", "sleep stage 4", "sleep stage n3"), "N3"),
        **dict.fromkeys((*_REM, "5"), "REM"),
    },
}
_ALIASES[HUMAN]["0"] = "W"


def find_stage(label: str, stages: Sequence[str]) -> str | None:
    """Return the stage of `stages` (or ART, UNKNOWN) that `label` spells, if it spells one.

    None is an answer here, not a failure: annotations also carry other text.
    """
    text = label.strip().lower()
    if text in _ART:
        return ART
    if text in _UNKNOWN:
        return UNKNOWN
    return _ALIASES[tuple(stages)].get(text)


def read_stage(label: str, stages: Sequence[str]) -> str:
    """Return the stage that `label` spells.

    Raises:
        RecordingError: `label` spells no stage of the set.
    """
    stage = find_stage(label, stages)
    if stage is None:
        raise RecordingError(f"expected one of {', '.join(stages)}, found the stage {label!r}")
    return stage


def to_indices(hypnogram: Iterable[str], stages: Sequence[str]) -> NDArray[np.int8]:
    """Return the index of each stage, `UNSCORED` for ART and UNKNOWN; shape (n_epochs,)."""
    index = {stage: i for i, stage in enumerate(stages)} | {ART: UNSCORED, UNKNOWN: UNSCORED}
    return np.array([index[stage] for stage in hypnogram], dtype=np.int8)


def from_indices(indices: Iterable[int], stages: Sequence[str]) -> list[str]:
    """Return the stage of each index, UNKNOWN for `UNSCORED`."""
    return [UNKNOWN if i == UNSCORED else stages[i] for i in indices]
