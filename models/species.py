"""What the labels of channels say of who was recorded, against the species that a bundle stages.

Electrodes on a person's head have the names of the 10-20 system (Klem et al. 1999, PMID 10590970),
eyes are recorded, the EMG is under the chin. A cage or a mouse may be called C3, so one such name
alone says nothing: a name of the midline or of the forehead does, as does a derivation (C3-A2), an
EOG, or electrodes over three regions (F3, C3, O1). Of an animal there is less to see: an EMG beside
the EEG, and nothing that only a person has.
"""

from collections.abc import Iterable

from models.electrodes import CHIN, EARS, MIDLINE, SIDES, is_eye, words_of
from models.spec import ModelSpec

SHIPPED = {"mouse": "sdreamer-mouse", "human": "sleepdifformer-human"}
"""The bundle of each species that is shipped with hypnod: its folder in `models/bundles`."""

_BRAIN = ("eeg", "ecog", "lfp")
_LEG = {"leg", "legs", "tib", "tibialis", "plm"}
_WHO = {"mouse": "a mouse, which", "human": "a person, whom"}


def find_human_labels(labels: Iterable[str]) -> list[str]:
    """Return the labels that only a recording of a person has, in their order."""
    words = {label: {*words_of(label)} for label in labels}
    regions = {SIDES[word] for found in words.values() for word in found & SIDES.keys()}
    return [
        label
        for label, found in words.items()
        if _tells(label, found) or (len(regions) >= 3 and found & SIDES.keys())
    ]


def find_mouse_labels(labels: Iterable[str]) -> list[str]:
    """Return the EMGs of an animal, such as EMG1 beside EEG1, where no label is of a person.

    A person's EMG is of a chin or a leg, and an EOG or a site of the 10-20 system is beside it.
    """
    labels = [*labels]
    if find_human_labels(labels):
        return []
    words = {label: words_of(label) for label in labels}
    if not any(word.startswith(_BRAIN) for found in words.values() for word in found):
        return []
    return [
        label
        for label, found in words.items()
        if any(word.startswith("emg") for word in found) and not {*found} & _LEG
    ]


def contradict(labels: Iterable[str], spec: ModelSpec) -> str | None:
    """Say which labels contradict the species that a model stages, and which bundle is for them.

    None where none does.

    Args:
        labels: of all channels, those that are not read too.
        spec: the model; one that reads an EOG is not contradicted by one.
    """
    other = "mouse" if spec.species == "human" else "human"
    found = find_mouse_labels(labels) if other == "mouse" else find_human_labels(labels)
    if "eog" in spec.modalities:
        found = [label for label in found if not is_eye(label)]
    if not found:
        return None
    return (
        f"expected channels of a {spec.species}, found {', '.join(found)}: labels of "
        f"{_WHO[other]} the bundle {SHIPPED[other]} stages "
        f"(--species {other}, or species under [engine])"
    )


def _tells(label: str, words: set[str]) -> bool:
    """Whether the words of one label tell by themselves."""
    head = words & (SIDES.keys() | MIDLINE.keys())
    is_derivation = bool(head) and len(head | words & EARS.keys()) >= 2
    return is_derivation or bool(words & (MIDLINE.keys() | CHIN)) or is_eye(label)
