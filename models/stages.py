"""The closed stage sets, and the many ways the world writes them.

Stages are strings at every edge of hypnod; indices into a set exist only inside
`models/` and `engines/`. Beside the stages of its set an epoch can be `ART` (signal
there, but an artefact) or `UNKNOWN` (no usable signal).
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MOUSE = ("Wake", "NREM", "REM")
HUMAN = ("W", "N1", "N2", "N3", "REM")
STAGE_SETS = (MOUSE, HUMAN)
SPECIES = ("mouse", "human")
INITIAL = {"mouse": "m", "human": "p"}
"""By species, before the number of a subject whom nobody named."""

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

_NREM_SHORT = ("n", "nr", "nrem", "nrems", "non rem", "nonrem", "sws", "slow wave")
_ART = ("a", "art", "artefact", "artifact", "artefacts", "artifacts", "movement time")
_UNKNOWN = ("u", "unknown", "?", "unscored", "not scored", "uns", "undefined", "n/a", "na", "nan")

_NUMBERED = ("n", "s", "nrem ", "nrem", "non rem ", "non rem", "nonrem ", "nonrem")
_STAGE_NUMBERED = ("stage ", "stage", "nrem stage ", "non rem stage ")
"""What a number of a person's stage is written behind; alone it means what a code book says."""


def _numbered(*numbers: str) -> tuple[str, ...]:
    return tuple(f"{before}{n}" for before in (*_NUMBERED, *_STAGE_NUMBERED) for n in numbers)


_ALIASES: dict[tuple[str, ...], dict[str, tuple[str, ...]]] = {
    MOUSE: {
        "Wake": (
            *("w", "wk", "wake", "waking", "awake", "wakefulness", "vigilance"),
            *("active wake", "aw", "active waking", "active wakefulness"),
            *("quiet wake", "qw", "quiet waking", "quiet wakefulness"),
            *("ma", "microarousal", "micro arousal", "microarousals"),
        ),
        "NREM": (*_NREM_SHORT, *("sws1", "sws2", "sws 1", "sws 2", "light sws", "deep sws")),
        "REM": ("r", "rem", "rems", "ps", "paradoxical"),
    },
    HUMAN: {
        "W": ("w", "wk", "wake", "waking", "awake", "wakefulness", "s0", "stage 0"),
        "N1": _numbered("1"),
        "N2": _numbered("2"),
        "N3": (*_numbered("3", "4", "3/4", "3 4", "3+4"), "s3/s4", "n3/n4", "sws", "slow wave"),
        "REM": ("r", "rem", "rems"),
        ART: ("mt",),
    },
}
"""How stages are written, in lower case and with a space for `_`, `-` and `.`; docs/hypnograms.md
says where each spelling comes from. Numbers are none of them: they mean what a code book says."""

_READ = {
    stages: {
        **{alias: stage for stage, aliases in spelt.items() for alias in aliases},
        **dict.fromkeys(_ART, ART),
        **dict.fromkeys(_UNKNOWN, UNKNOWN),
    }
    for stages, spelt in _ALIASES.items()
}
_SEPARATORS = re.compile(r"[\s_.\-\u2010-\u2015]+")
_BEFORE = ("", "sleep stage ", "sleep state ", "stage ", "state ", "sleep ")
_AFTER = ("", " sleep", " state", " stage", " epoch")
_ARTEFACT = re.compile(r"(.+) (artefact|artifact|art)s?$")


def find_stage(label: str, stages: Sequence[str]) -> str | None:
    """Return the stage of `stages` (or ART, UNKNOWN) that `label` spells, if it spells one.

    None is an answer here, not a failure: annotations also carry other text.
    """
    text = _SEPARATORS.sub(" ", label.lower()).strip()
    if not text:
        return UNKNOWN
    known = _READ[tuple(stages)]
    if (artefact := _ARTEFACT.match(text)) is not None:  # "wake artefact", of any stage
        return ART if find_stage(artefact[1], stages) is not None else None
    return next(
        (
            known[bare]
            for before in _BEFORE
            for after in _AFTER
            if text.startswith(before)
            and text.endswith(after)
            and (bare := text[len(before) : len(text) - len(after)]) in known
        ),
        None,
    )


def to_indices(hypnogram: Iterable[str], stages: Sequence[str]) -> NDArray[np.int8]:
    """Return the index of each stage, `UNSCORED` for ART and UNKNOWN; shape (n_epochs,)."""
    index = {stage: i for i, stage in enumerate(stages)} | {ART: UNSCORED, UNKNOWN: UNSCORED}
    return np.array([index[stage] for stage in hypnogram], dtype=np.int8)


def from_indices(indices: Iterable[int], stages: Sequence[str]) -> list[str]:
    """Return the stage of each index, UNKNOWN for `UNSCORED`."""
    return [UNKNOWN if i == UNSCORED else stages[i] for i in indices]
