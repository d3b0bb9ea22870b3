"""What the label of a channel says of its electrodes: sites of the 10-20 system, eyes, references.

Sites: Klem et al. 1999, PMID 10590970, with the names T3 to T6 that it replaced. Derivations, eyes
and mastoids: AASM Manual for the Scoring of Sleep and Associated Events, which has M1, M2, E1 and
E2 for what older recorders call A1, A2, LOC and ROC.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

SIDES = {
    **dict.fromkeys(("f3", "f4", "f7", "f8"), "frontal"),
    **dict.fromkeys(("c3", "c4"), "central"),
    **dict.fromkeys(("p3", "p4", "p7", "p8"), "parietal"),
    **dict.fromkeys(("t3", "t4", "t5", "t6", "t7", "t8"), "temporal"),
    **dict.fromkeys(("o1", "o2"), "occipital"),
}
"""Region of each site of one side of the head; a cage or a mouse may be called C3, too."""
MIDLINE = {
    **dict.fromkeys(("fp1", "fp2", "fpz", "afz", "fz", "fcz"), "frontal"),
    **dict.fromkeys(("cz", "cpz"), "central"),
    **dict.fromkeys(("pz", "poz"), "parietal"),
    "oz": "occipital",
}
"""Region of each site of the midline or the forehead: only people have these names."""
EARS = {"a1": "m1", "a2": "m2", "m1": "m1", "m2": "m2"}
EYES = {"loc": "e1", "roc": "e2", "e1": "e1", "e2": "e2"}
CHIN = {"chin", "submental", "submentalis", "mentalis"}

_BETWEEN = {
    **dict.fromkeys(("af3", "af4", "af7", "af8", "fc1", "fc2", "fc3", "fc4", "fc5"), "frontal"),
    **dict.fromkeys(("fc6", "ft7", "ft8", "ft9", "ft10"), "frontal"),
    **dict.fromkeys(("cp1", "cp2", "cp3", "cp4", "cp5", "cp6"), "central"),
    **dict.fromkeys(("po3", "po4", "po7", "po8"), "parietal"),
    **dict.fromkeys(("tp7", "tp8", "tp9", "tp10"), "temporal"),
}
"""Region of sites that the 10-10 system has between those of the 10-20 system, as headbands do."""
_REGIONS = SIDES | MIDLINE | _BETWEEN
_WORDS = re.compile(r"[a-z]+[0-9]*")
_NUMBERED_EYE = re.compile(r"(eog) ([12])\b", re.I)
_EYE_WORD = re.compile(r"([a-z]*?)eog([a-z]*[12]?)")
_EYE_SIDES = {
    **dict.fromkeys(("l", "left", "links", "gauche", "g", "1", "loc", "e1"), "e1"),
    **dict.fromkeys(("r", "right", "rechts", "droit", "d", "2", "roc", "e2"), "e2"),
    **dict.fromkeys(("h", "horizontal", "hor"), "horizontal"),
    **dict.fromkeys(("v", "vertical", "ver"), "vertical"),
}
_EEG = re.compile(r"eeg[0-9]*")
_REFERENCES = {
    **dict.fromkeys(("ref", "avg", "av", "car", "gnd"), "common"),
    **dict.fromkeys(("le", "cle", "lm", "linked"), "linked"),
}
_NO_MEANING = {"psg", "eeg", "eog", "uv", "mv", "channel"}


class Lead(NamedTuple):
    """What a label says of its channel."""

    kind: Literal["eeg", "eog", "mastoid"]
    site: str
    """A site in small letters, an eye (e1, e2), horizontal, vertical, a mastoid (m1, m2); empty
    where the label has none, `second` of a second EEG of that kind."""
    reference: str
    """A site, a mastoid or an eye; `linked` where both mastoids are meant, `common` where the
    recorder's own is; empty: none said."""

    @property
    def region(self) -> str:
        """Where on the head an EEG was taken; empty where nobody says it."""
        return _REGIONS.get(self.site, "")


def words_of(label: str) -> list[str]:
    """Return the words of a label in small letters, each with the number at its end."""
    return _WORDS.findall(label.lower())


def read_label(label: str) -> Lead | None:
    """Return what the label of a channel of a person says; None: it is no EEG, EOG or mastoid."""
    words = words_of(_NUMBERED_EYE.sub(r"\1\2", label))
    if _is_eye(words):
        return _read_eye(words)
    is_eeg = any(_EEG.fullmatch(word) for word in words)
    if is_eeg and not {*words} & (_REGIONS.keys() | EARS.keys()):
        is_second = "sec" in words or re.search(r"2\W*$", label)
        return Lead("eeg", "second" if is_second else "", "")
    parts = [_part(word) for word in words if word not in _NO_MEANING]
    if {*parts[1:]} == {"m1", "m2"}:
        parts[1:] = ["linked"]  # `C4-A1A2`, or the mean of both
    if not parts or "" in parts or len(parts) > 2 or parts[0] in ("common", "linked"):
        return None  # what is named beside a site is another sensor, as in `O2 sat`
    site, reference = parts[0], parts[1] if len(parts) > 1 else ""
    if site in _REGIONS:
        return Lead("eeg", site, reference)
    is_one = site in EARS and reference in ("", "common", "linked")
    return Lead("mastoid", site, reference) if is_one else None


def is_eye(label: str) -> bool:
    """Whether a label is that of an EOG, told by more than the name of one electrode."""
    words = words_of(label)
    named = any(_eyes_in(word) is not None for word in words)
    return named or bool({*words} & EYES.keys() and {*words} & EARS.keys())


def _is_eye(words: Sequence[str]) -> bool:
    named = any(word in EYES or _eyes_in(word) is not None for word in words)
    return named or ("eye" in words and any(word in _EYE_SIDES for word in words))


def _eyes_in(word: str) -> list[str] | None:
    """Return which eyes a word such as `heog`, `eogl` or `reog` names; None: it is of no EOG."""
    match = _EYE_WORD.fullmatch(word)
    sides = [side for side in match.groups() if side] if match else []
    if match is None or any(side not in _EYE_SIDES for side in sides):
        return None if not word.startswith("eog") else []
    return [_EYE_SIDES[side] for side in sides]


def _read_eye(words: Iterable[str]) -> Lead:
    eyes: list[str] = []
    for word in words:
        eyes += _eyes_in(word) or filter(None, [EYES.get(word) or _EYE_SIDES.get(word)])
    ears = [EARS[word] for word in words if word in EARS]
    if {"e1", "e2"} <= {*eyes}:
        return Lead("eog", "horizontal", "")
    one = [eye for eye in eyes if eye in ("e1", "e2")] or eyes
    return Lead("eog", one[0] if one else "", ears[0] if ears else "")


def _part(word: str) -> str:
    """Return what a word of a derivation stands for; empty: nothing."""
    if word in _REGIONS:
        return word
    return _REFERENCES.get(word) or EARS.get(word, "")
