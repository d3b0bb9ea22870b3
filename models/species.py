"""What the labels of channels say of who was recorded, against the species that a bundle stages.

Electrodes on a person's head have the names of the 10-20 system (Klem et al. 1999, PMID 10590970),
eyes are recorded, the EMG is under the chin. A cage or a mouse may be called C3, so one such name
alone says nothing: a name of the midline or of the forehead does, as does a derivation (C3-A2), an
EOG, or electrodes over three regions (F3, C3, O1).
"""

import re
from collections.abc import Iterable

from models.spec import ModelSpec

_SIDES = {
    **dict.fromkeys(("f3", "f4", "f7", "f8"), "frontal"),
    **dict.fromkeys(("c3", "c4"), "central"),
    **dict.fromkeys(("p3", "p4", "p7", "p8"), "parietal"),
    **dict.fromkeys(("t3", "t4", "t5", "t6", "t7", "t8"), "temporal"),
    **dict.fromkeys(("o1", "o2"), "occipital"),
}
_MIDLINE = {"fp1", "fp2", "fpz", "afz", "fz", "fcz", "cz", "cpz", "pz", "poz", "oz"}
_EARS = {"a1", "a2", "m1", "m2"}
_EYES = {"loc", "roc", "e1", "e2"}
_CHIN = {"chin", "submental", "submentalis", "mentalis"}
_WORDS = re.compile(r"[a-z]+[0-9]*")


def find_human_labels(labels: Iterable[str]) -> list[str]:
    """Return the labels that only a recording of a person has, in their order."""
    words = {label: _words_of(label) for label in labels}
    regions = {_SIDES[word] for found in words.values() for word in found & _SIDES.keys()}
    return [
        label
        for label, found in words.items()
        if _tells(found) or (len(regions) >= 3 and found & _SIDES.keys())
    ]


def contradict(labels: Iterable[str], spec: ModelSpec) -> str | None:
    """Say which labels contradict the species that a model stages, None where none does.

    Args:
        labels: of all channels, those that are not read too.
        spec: the model; one that reads an EOG is not contradicted by one.
    """
    if spec.species == "human":
        return None
    found = find_human_labels(labels)
    if "eog" in spec.modalities:
        found = [label for label in found if not _is_eog(_words_of(label))]
    if not found:
        return None
    return f"expected channels of a {spec.species}, found {', '.join(found)}: labels of a person"


def _words_of(label: str) -> set[str]:
    return set(_WORDS.findall(label.lower()))


def _tells(words: set[str]) -> bool:
    """Whether the words of one label tell by themselves."""
    head = words & (_SIDES.keys() | _MIDLINE)
    is_derivation = bool(head) and len(head | words & _EARS) >= 2
    return is_derivation or bool(words & (_MIDLINE | _CHIN)) or _is_eog(words)


def _is_eog(words: set[str]) -> bool:
    named = any(word.startswith(("eog", "heog", "veog")) for word in words)
    return named or bool(words & _EYES and words & _EARS)
