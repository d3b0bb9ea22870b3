"""Which channels of a recording belong to which subject, where no config says it.

Of animals by labels that differ in the modality alone, EEG1 and EMG1; of people by the names of
electrodes (`models.recordings.psg.montage`).
"""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from models.electrodes import read_label
from models.errors import ConfigError, SpeciesError
from models.recordings.as_stream import needed_jitter, open_for
from models.recordings.open import Recording, open_recording
from models.recordings.psg.montage import Pick, pick_channels, why_left
from models.signal.montage import Nothing, StreamChannels, SubjectChannels, parts_of
from models.spec import ModelSpec
from models.species import contradict
from models.stages import INITIAL

_NAME = "recording"
_ANIMAL = re.compile(
    r"(?:^|[^a-z])(?:m|mouse|rat|animal|subj?|subject|id|cage|box)[ _.:-]*\d", re.I
)
_NUMBER = re.compile(r"\d{3}")
"""What tells an animal's name from the place of an electrode."""
_MANY = 3
"""So many pairs are of several animals: none has as many EMGs."""


class Chosen(NamedTuple):
    """A recording, and whose its channels are."""

    recording: Recording
    stream: StreamChannels
    guessed: bool
    """Whether the labels told, and nobody else."""
    unused: dict[str, str]
    """The channels that are nobody's, and why."""
    reasons: Mapping[str, str] = Nothing
    """Why each channel of a person was chosen, by modality; empty: an animal's, or somebody did."""
    needed_jitter: float | None = None
    """The `jitter_s` that its timestamps need, s; None: the stream's does."""

    @property
    def guess(self) -> list[str]:
        """What was guessed, a line a subject."""
        subjects = self.stream.subjects if self.guessed else ()
        said = [
            f"guessed from the labels: {s.name}: {_in_words(s, self.reasons)}" for s in subjects
        ]
        return [*said, *self.absent]

    @property
    def absent(self) -> list[str]:
        """What of a person is not there, a line."""
        if (found := self.stream.by_eog_alone) is not None:
            return [found]
        if not self.reasons or "eog" in self.reasons:
            return []
        unread = [f"{n} ({why})" for n, why in self.unused.items() if _is_eye(n)]
        found = f"no EOG that can be read, {', '.join(unread)}" if unread else "no EOG by its label"
        return [f"{found}: staged by the EEG alone"]

    @property
    def table(self) -> list[tuple[str, str, str]]:
        """Each channel of a person, what it is read as (empty: nothing), and why."""
        chosen = {m: c for s in self.stream.subjects for m, c in s.channels.items()}
        taken = [(label, m, self.reasons[m]) for m, label in chosen.items() if m in self.reasons]
        return taken + [(label, "", why) for label, why in self.unused.items() if taken]

    @property
    def left_out(self) -> list[str]:
        """What is not used, and what the file lacks, a line each."""
        unused = [f"{label} ({why})" for label, why in self.unused.items()]
        return ([f"not used: {', '.join(unused)}"] if unused else []) + self.flaws

    @property
    def flaws(self) -> list[str]:
        """What the file lacks, a line each."""
        flaws = [*self.recording.flaws]
        if self.needed_jitter is not None:
            flaws.append(
                f"its samples come in bunches wider than jitter_s = {self.stream.jitter_s:g} s and "
                f"are masked; jitter_s = {self.needed_jitter:g} for the stream in a config would do"
                " (hypnod score --config)"
            )
        return [f"{self.recording.path.name}: {flaw}" for flaw in flaws]


def choose(
    path: Path,
    stream: StreamChannels | None,
    channels: Mapping[str, Sequence[str]],
    names: Sequence[str],
    spec: ModelSpec,
    match: Mapping[str, str] = Nothing,
    preferred: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Chosen:
    """Open a recording and settle which channels are whose.

    Args:
        path: the recording.
        stream: from a config; takes precedence.
        channels: labels by modality, one a subject; empty: they are guessed.
        names: of the subjects; default: m1, m2, …, of people p1.
        spec: the model.
        match: properties of the stream to read, in an XDF file.
        preferred: derivations of a person to take before all others, by modality.

    Raises:
        ConfigError: the options contradict each other, or the labels do not tell.
        SpeciesError: they do not, and are those of another species.
        RecordingError: the file cannot be used.
    """
    named = any(channels.values())
    if stream is not None and (named or names):
        raise ConfigError(
            "expected channels and subjects from the config or one by one, found both"
        )
    if stream is None and named:
        stream = StreamChannels(name=_NAME, subjects=named_subjects(channels, names, spec.species))
    guessed = stream is None
    picked: Mapping[str, Pick] = {}
    if stream is None:
        unread = open_recording(path, match=match, min_sfreq=spec.min_sfreq)
        try:
            if spec.species == "human":
                picked = pick_channels(unread.readable, spec.modalities, preferred, unread.skipped)
            subjects = _subjects_of(unread, names, spec, picked)
        except ConfigError as error:
            labels = (*unread.ch_names, *unread.skipped)
            if (strange := contradict(labels, spec)) is not None:
                advice = "to stage it all the same, name its channels"
                raise SpeciesError(f"{path}: {strange}; {advice}") from error
            raise ConfigError(f"{path}: {error}") from error
        stream = StreamChannels(name=_NAME, subjects=subjects)
    recording = open_for(path, stream, match, spec.min_sfreq)
    unused = _unused(recording, stream, guessed, spec.modalities)
    unused |= {n: why_left(n, picked) for n in unused if picked and n in recording.readable}
    jitter_s = needed_jitter(recording, stream.jitter_s)
    reasons = {modality: pick.why for modality, pick in picked.items()}
    return Chosen(recording, stream, guessed, unused, reasons, jitter_s)


def _is_eye(label: str) -> bool:
    lead = read_label(label)
    return lead is not None and lead.kind == "eog"


def _subjects_of(
    recording: Recording,
    names: Sequence[str],
    spec: ModelSpec,
    picked: Mapping[str, Pick],
) -> tuple[SubjectChannels, ...]:
    """Return the subjects of a recording: the person whose channels were picked, or animals."""
    modalities = spec.modalities
    if picked:
        return named_subjects({m: [p.label] for m, p in picked.items()}, names, spec.species)
    others = {n: why for n, why in recording.skipped.items() if n not in recording.readable}
    subjects = guess_subjects(recording.readable, modalities, others, len(names))
    if not names:
        return subjects
    found = {m: [s.channels[m] for s in subjects if m in s.channels] for m in modalities}
    return named_subjects(found, names, spec.species)


def _unused(
    recording: Recording, stream: StreamChannels, guessed: bool, modalities: Sequence[str]
) -> dict[str, str]:
    labels = [label for s in stream.subjects for label in s.channels.values()]
    used = {part for label in labels for part in parts_of(label, recording.ch_names)}
    left = [label for label in recording.ch_names if label not in used]
    why = f"no {_listed(modalities, 'or')} by its label" if guessed else "not named"
    return dict.fromkeys(left, why) | {n: w or why for n, w in recording.skipped.items()}


def guess_subjects(
    labels: Sequence[str],
    modalities: Sequence[str],
    others: Mapping[str, str] = Nothing,
    n_subjects: int = 0,
) -> tuple[SubjectChannels, ...]:
    """Pair the channels whose labels differ in the modality alone, such as EEG1 and EMG1.

    Subjects are called m1, m2, … in the order of their first channels. Nothing is guessed where
    another guess is as good: two pairs may be one animal's, a modality may be in a channel whose
    label does not say so.

    Args:
        labels: of the channels that can be read together.
        modalities: what the model reads.
        others: why the other channels cannot, by label.
        n_subjects: how many there are; 0: nobody said.

    Raises:
        ConfigError: the labels do not tell; what to type instead is in the sentence.
    """
    found = [(label, m) for label in labels if (m := _modality_of(label, modalities))]
    groups: dict[str, list[tuple[str, str]]] = {}
    for label, modality in found:
        rest = re.sub(modality, "", label, count=1, flags=re.IGNORECASE).strip(" _-.:")
        groups.setdefault(rest, []).append((modality, label))
    pairs = [dict(group) for group in groups.values()]
    whole = all(len(dict(g)) == len(g) == len(modalities) for g in groups.values())
    if whole and len(pairs) > 1 and (n_subjects == len(pairs) or _are_animals(groups)):
        return _numbered(pairs)
    one = {modality: label for label, modality in found}
    is_complete = len(one) == len(modalities) or (len(found) == len(labels) and not others)
    if found and len(one) == len(found) and is_complete:
        return _numbered([one])
    names = [f"{m.upper()}1" for m in modalities]
    unread = ", ".join(f"{label} ({why})" for label, why in others.items())
    raise ConfigError(
        "expected labels that tell the subjects' channels apart, such as "
        f"{_listed(names, 'and')}, found {', '.join(labels) or 'none that can be read'}"
        f"{'; not read: ' * bool(unread)}{unread}: name them, as in "
        f"{_options(labels, found, pairs if whole else [], modalities)}"
    )


def _modality_of(label: str, modalities: Sequence[str]) -> str | None:
    """Return the modality that a label says, the first of several."""
    places = {m: place for m in modalities if (place := label.lower().find(m)) >= 0}
    return min(places, key=places.__getitem__) if places else None


def _are_animals(names: Iterable[str]) -> bool:
    """Whether what labels have beside the modality are animals, not places of electrodes."""
    names = [*names]
    named = all(_ANIMAL.search(name) or _NUMBER.search(name) for name in names)
    return named or len(names) >= _MANY


def _numbered(found: Iterable[dict[str, str]]) -> tuple[SubjectChannels, ...]:
    return tuple(SubjectChannels(name=f"m{i}", channels=c) for i, c in enumerate(found, start=1))


def _options(
    labels: Sequence[str],
    found: Sequence[tuple[str, str]],
    pairs: Sequence[Mapping[str, str]],
    modalities: Sequence[str],
) -> str:
    """Return what can be typed, with labels that are there: for one subject, and for several."""
    free = [label for label in labels if label not in dict(found)]
    one: dict[str, str] = {}
    for m in modalities:
        candidates = [label for label, modality in found if modality == m] or free
        if candidates:
            one[m] = candidates[0]
            free = [label for label in free if label != one[m]]
    known = {m: label for m, label in one.items() if label in dict(found)}
    ways = [_typed([one or dict.fromkeys(modalities, "LABEL")])]
    if known and known != one:
        ways.append(f"{_typed([known])} for {_listed([m.upper() for m in known], 'and')} alone")
    if len(pairs) > 1:
        ways = [f"{ways[0]} for one subject", f"{_typed(pairs)} for {len(pairs)}"]
    elif len(known) < len(modalities) and known == one:
        ways = [f"{ways[0]} for {_listed([m.upper() for m in known], 'and')} alone"]
    return ", or ".join(ways)


def _typed(subjects: Iterable[Mapping[str, str]]) -> str:
    return " ".join(f"--{m} {shlex.quote(label)}" for s in subjects for m, label in s.items())


def _listed(words: Sequence[str], last: str) -> str:
    return f" {last} ".join(words)


def _in_words(subject: SubjectChannels, reasons: Mapping[str, str]) -> str:
    why = {m: f" ({reason})" for m, reason in reasons.items()}
    return ", ".join(f"{m} = {label}{why.get(m, '')}" for m, label in subject.channels.items())


def named_subjects(
    channels: Mapping[str, Sequence[str]], names: Sequence[str], species: str
) -> tuple[SubjectChannels, ...]:
    """Return the subjects whose channels were named one by one.

    Args:
        channels: labels by modality, one a subject; a modality may have none.
        names: of the subjects; default: m1, m2, …, of people p1.
        species: of the subjects.

    Raises:
        ConfigError: the numbers do not match.
    """
    given = {modality: labels for modality, labels in channels.items() if labels}
    n = max(map(len, given.values()))
    names = names or [f"{INITIAL[species]}{i}" for i in range(1, n + 1)]
    if {len(names), *map(len, given.values())} != {n}:
        counts = ", ".join(f"{len(labels)} × --{m}" for m, labels in given.items())
        raise ConfigError(
            f"expected as many channels of each modality as subjects, "
            f"found {counts} for {len(names)} subjects"
        )
    return tuple(
        SubjectChannels(name=name, channels={m: labels[i] for m, labels in given.items()})
        for i, name in enumerate(names)
    )
