"""Which channels of a person's recording are staged, by the names of their electrodes.

EEG: central sites first, then frontal, occipital, those whose label names none, parietal and
temporal; at a site against the mastoid of the other side (M1, M2, or A1, A2) first, then against
the same side's, both, two scalp electrodes, and the recorder's own reference; of C4-M1 and C3-M2
the first is taken, as the AASM recommends. EOG: an eye against a mastoid, the left one first, then
both eyes against each other, then an eye alone. Where a recording has C4 and M1 apart their
difference is taken. Of two that are alike it is the first in the file.

AASM Manual for the Scoring of Sleep and Associated Events, rules for adults: recommended EEG
derivations F4-M1, C4-M1, O2-M1, back-ups F3-M2, C3-M2, O1-M2; EOG E1-M2 and E2-M2.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from models.electrodes import Lead, read_label
from models.errors import ConfigError
from models.signal.montage import Nothing

_REGIONS = ("central", "frontal", "occipital", "", "parietal", "temporal")
_REFERENCES = (
    "against the other side's mastoid",
    "against the same side's mastoid",
    "against both mastoids",
    "against another scalp electrode",
    "against the recorder's own reference",
)
_OWN = len(_REFERENCES) - 1
_OF_RECORDER = ("", "common", "linked")
"""What a channel and a mastoid may have been held against alike."""
_EYES = (
    ("e1", True, "left eye against a mastoid"),
    ("e2", True, "right eye against a mastoid"),
    ("horizontal", False, "both eyes against each other"),
    ("e1", False, "left eye"),
    ("e2", False, "right eye"),
    ("", False, "an EOG that does not say of which eye"),
    ("vertical", False, "vertical EOG"),
)
_RIGHT_FIRST = {"c4", "f4", "o2", "p4"}  # of the recommended derivations


class Pick(NamedTuple):
    """A channel that is taken."""

    label: str
    """As it stands in the recording, or a difference `A-B` of two."""
    why: str
    """What it is, for people."""


class _Candidate(NamedTuple):
    rank: tuple[int, ...]
    pick: Pick


def pick_channels(
    labels: Sequence[str],
    modalities: Sequence[str],
    preferred: Mapping[str, Sequence[str]] | None = None,
    others: Mapping[str, str] = Nothing,
) -> dict[str, Pick]:
    """Return the channel of each modality of a person; those that there is none for are left out.

    Args:
        labels: of the channels that can be read together.
        modalities: what the model reads; the EEG has to be there.
        preferred: derivations that come first, by modality, such as C4-M1 in any spelling.
        others: why the other channels cannot, by label.

    Raises:
        ConfigError: no label is that of an EEG.
    """
    found = likely_channels(labels, modalities, preferred)
    if "eeg" not in found:
        raise ConfigError(_no_eeg(labels, {n: w for n, w in others.items() if n not in labels}))
    return found


def likely_channels(
    labels: Sequence[str],
    modalities: Sequence[str],
    preferred: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Pick]:
    """Return the channel of each modality that a label names, of a person: maybe no EEG."""
    leads = {label: lead for label in labels if (lead := read_label(label)) is not None}
    mastoids = {label: lead for label, lead in leads.items() if _is_mastoid(lead)}
    found: dict[str, Pick] = {}
    for modality in modalities:
        of_modality = {label: lead for label, lead in leads.items() if lead.kind == modality}
        first = [read_label(label) for label in (preferred or {}).get(modality, ())]
        candidates = [*_candidates(of_modality, mastoids, first)]
        if candidates:
            found[modality] = min(candidates, key=lambda c: c.rank).pick  # of equals the first
    return found


def why_left(label: str, found: Mapping[str, Pick]) -> str:
    """Say why a channel is not among those that were picked."""
    lead = read_label(label)
    if lead is None:
        return f"no {' or '.join(m.upper() for m in found)} by its label"
    if lead.kind in found:
        return f"{found[lead.kind].label} comes before it"
    return "a mastoid that nothing is held against" if _is_mastoid(lead) else "not read"


def _no_eeg(labels: Sequence[str], unread: Mapping[str, str]) -> str:
    """Say that there is no EEG: none that can be read, or none by its label, that may be named."""
    eegs = [n for n in unread if (lead := read_label(n)) is not None and lead.kind == "eeg"]
    if eegs:
        return f"expected an EEG that can be read, found {_listed(unread, eegs)}"
    return (
        "expected an EEG by its label, such as C4-M1, EEG Fpz-Cz or EEG, found "
        f"{', '.join(labels) or 'no channel that can be read'}"
        f"{'; not read: ' * bool(unread)}{_listed(unread, unread)}: name it, as in --eeg LABEL"
    )


def _listed(unread: Mapping[str, str], labels: Iterable[str]) -> str:
    return ", ".join(f"{label} ({unread[label]})" for label in labels)


def _is_mastoid(lead: Lead) -> bool:
    return lead.kind == "mastoid"


def _candidates(
    leads: Mapping[str, Lead], mastoids: Mapping[str, Lead], preferred: Sequence[Lead | None]
) -> Iterator[_Candidate]:
    """Yield what can be taken of the channels of one modality, with its place in the order."""
    for label, lead in leads.items():
        for spelt, derived in _derivations(label, lead, mastoids):
            is_eye = derived.kind == "eog"
            rank, why = (_rank_eog if is_eye else _rank_eeg)(derived)
            place = preferred.index(derived) if derived in preferred else len(preferred)
            yield _Candidate((place, *rank), Pick(spelt, why))


def _derivations(
    label: str, lead: Lead, mastoids: Mapping[str, Lead]
) -> Iterator[tuple[str, Lead]]:
    """Yield a channel, and its differences from mastoids that were held against the same."""
    if lead.reference in _OF_RECORDER and lead.site not in ("", "second"):
        for other, mastoid in mastoids.items():
            if (lead.reference == "linked") == (mastoid.reference == "linked"):
                yield f"{label}-{other}", lead._replace(reference=mastoid.site)
    yield label, lead


def _rank_eeg(lead: Lead) -> tuple[tuple[int, ...], str]:
    side = _side_of(lead.site)
    if lead.reference in ("m1", "m2"):
        kind = 1 if side and _side_of(lead.reference) == side else 0
    elif lead.reference == "linked":
        kind = 2
    else:
        kind = _OWN if lead.reference in ("", "common") else 3
    where = lead.region or "EEG, its site unknown"
    against = "" if not lead.region and kind == _OWN else f", {_REFERENCES[kind]}"
    is_second, is_left = lead.site == "second", lead.site not in _RIGHT_FIRST
    order = (_REGIONS.index(lead.region), int(is_second), kind, int(is_left))
    return order, f"{where}{against}"


def _rank_eog(lead: Lead) -> tuple[tuple[int, ...], str]:
    has_mastoid = lead.site in ("e1", "e2") and bool(lead.reference)
    place = next(i for i, each in enumerate(_EYES) if each[:2] == (lead.site, has_mastoid))
    return (place, int(lead.reference == "m1")), _EYES[place][2]


def _side_of(name: str) -> str:
    """Return left or right of a site or a mastoid, by its number; empty on the midline."""
    number = name.lstrip("abcdefghijklmnopqrstuvwxyz")
    return ("right", "left")[int(number) % 2] if number else ""
