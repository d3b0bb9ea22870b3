"""Code books: which number stands for which stage. Nothing else tells.

Sources: docs/hypnograms.md.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.errors import ConfigError
from models.stages import ART, MOUSE, UNKNOWN, find_stage

_NUMBER = re.compile(r"([+-]?)0*([0-9]{1,9})(?:[.,]0*)?$")

BOOKS: Mapping[str, Mapping[str, str]] = {
    "sdreamer": {"0": "Wake", "1": "NREM", "2": "REM", "3": "Wake", "-1": UNKNOWN},
    "accusleep": {"1": "REM", "2": "Wake", "3": "NREM", "0": UNKNOWN, "4": UNKNOWN, "-1": UNKNOWN},
    "yasa": {"0": "W", "1": "N1", "2": "N2", "3": "N3", "4": "REM", "-1": ART, "-2": UNKNOWN},
    "rk": {
        "0": "W",
        "1": "N1",
        "2": "N2",
        "3": "N3",
        "4": "N3",
        "5": "REM",
        "6": ART,
        "9": UNKNOWN,
        "-1": UNKNOWN,
    },
    "buzcode": {"1": "Wake", "3": "NREM", "5": "REM", "0": UNKNOWN},
}
"""Stage by code, of the programs that have their own."""

_AS_MOUSE = {"W": "Wake", "N1": "NREM", "N2": "NREM", "N3": "NREM"}
_AS_HUMAN = {"Wake": "W"}


@dataclass(frozen=True)
class CodeBook:
    """Which label stands for which stage; it counts for more than any spelling."""

    name: str
    """As it was asked for."""
    stages: Mapping[str, str]
    """Stage, ART or UNKNOWN, by label in lower case."""

    def read(self, label: str) -> str | None:
        """Return what a label stands for; None: it is not in the book."""
        return self.stages.get(as_code(label) or label.lower())


def as_code(label: str) -> str | None:
    """Return a whole number as books have it (`1` for `01` and `1.0`); None: it is none."""
    match = _NUMBER.match(label.strip())
    if match is None:
        return None
    return match[2] if match[1] != "-" or match[2] == "0" else f"-{match[2]}"


def open_book(asked: str, stages: Sequence[str]) -> CodeBook:
    """Return the code book that was asked for.

    Args:
        asked: a name, `accusleep`, or written out, `1=Wake,2=NREM,3=REM`, or both,
            `sdreamer,255=unscored`.
        stages: the stage set; a book of people serves mice where N1 to N3 are NREM.

    Raises:
        ConfigError: there is no such book, or it has other stages than the set.
    """
    found: dict[str, str] = {}
    for part in asked.split(","):
        found |= [_entry(part, asked, stages)] if "=" in part else _named(part.strip(), stages)
    return CodeBook(asked, found)


def _named(name: str, stages: Sequence[str]) -> dict[str, str]:
    if name.lower() not in BOOKS:
        raise ConfigError(
            f"--codes: expected one of {', '.join(BOOKS)}, or one written out as "
            f"1={stages[0]},2={stages[1]}, found {name!r}"
        )
    translate = _AS_MOUSE if tuple(stages) == MOUSE else _AS_HUMAN
    book = {code: translate.get(s, s) for code, s in BOOKS[name.lower()].items()}
    if not {*book.values()} <= {*stages, ART, UNKNOWN}:
        raise ConfigError(
            f"--codes: expected a book with {', '.join(stages)}, found {name!r} with "
            f"{', '.join(dict.fromkeys(book.values()))}"
        )
    return book


def _entry(part: str, asked: str, stages: Sequence[str]) -> tuple[str, str]:
    label, _, spelt = part.rpartition("=")
    stage = find_stage(spelt, stages) if spelt.strip() else None
    if not label.strip() or stage is None:
        known = ", ".join((*stages, ART, UNKNOWN))
        raise ConfigError(
            f"--codes: expected LABEL=STAGE with a stage of {known}, found {part!r} in {asked!r}"
        )
    return as_code(label) or label.strip().lower(), stage


def written_out(stages: Sequence[str]) -> str:
    """Return what to type for numbers, for people."""
    fitting = [name for name in BOOKS if _fits(name, stages)]
    example = ",".join(f"{i}={stage}" for i, stage in enumerate(stages, start=1))
    return f"--codes {'|'.join(fitting)}, or --codes {example} with your own numbers"


def _fits(name: str, stages: Sequence[str]) -> bool:
    try:
        open_book(name, stages)
    except ConfigError:
        return False
    return True


def in_words(name: str, stages: Sequence[str]) -> str:
    """Return what a book says, for people: `0 Wake, 1 NREM, …`."""
    return ", ".join(f"{code} {stage}" for code, stage in open_book(name, stages).stages.items())
