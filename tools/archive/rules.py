"""`archive.toml`: how the recordings of an archive are to be read, by patterns of their paths."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import msgspec

from models.errors import ConfigError
from models.recordings.channels import Chosen, choose
from models.recordings.open import open_recording
from models.signal.montage import StreamChannels, SubjectChannels, Units, parts_of
from models.spec import ModelSpec
from models.species import SHIPPED
from models.toml import parse_toml, read_toml

_SPECIES = "mouse"


class RecordingRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How some recordings are to be read."""

    files: str = "*"
    """Which: a pattern of the path below the folder searched, such as "rats/*.edf"; `*` stands for
    any characters, a slash too. The first entry that fits a recording holds for it."""
    species: str = _SPECIES
    """Whose bundle stages them."""
    subject: str = ""
    """A regular expression, searched for in that path; its first group is the subject's name.
    Default: as `hypnod evaluate` finds it, from `sub-<label>`, the folder or the file's name."""
    subjects: tuple[SubjectChannels, ...] = ()
    """The channels of each animal in a recording, by label, such as `[{ name = "m1", channels =
    { eeg = "EEG*", emg = "EMG*" } }]`; a label with `*` or `?` is a pattern that one channel fits.
    Default: they are guessed from the labels where one guess alone is possible."""
    unit: Units | None = None
    """Unit of all channels, or of a modality's; default: what the file says."""
    match: dict[str, str] = {}
    """Which of several streams of an XDF file, as in a hypnod.toml."""
    jitter_s: Annotated[float, msgspec.Meta(gt=0, le=60)] = 0.02
    """As of a stream in a hypnod.toml, s."""
    anyway: bool = False
    """Stage also what contradicts the bundle's species."""

    def __post_init__(self) -> None:
        try:
            groups = re.compile(self.subject).groups if self.subject else 1
        except re.error as error:
            raise ValueError(
                f"expected a regular expression as subject, found {self.subject!r}: {error}"
            ) from error
        names = [subject.name for subject in self.subjects]
        if len({*names}) != len(names):
            raise ValueError(f"expected subjects of different names, found {', '.join(names)}")
        if groups != 1:
            raise ValueError(
                f"expected one group in the regular expression of the subject, found {groups}"
            )

    def find_subject(self, path: str, otherwise: str) -> str:
        """Return the name of the subject that a path has, or `otherwise` where no rule is given.

        Raises:
            ConfigError: the expression does not fit the path.
        """
        if not self.subject:
            return otherwise
        found = re.search(self.subject, path)
        if found is None or not found[1]:
            raise ConfigError(
                f"{path}: expected a subject by the regular expression {self.subject!r}, found none"
            )
        return found[1]

    @property
    def hash(self) -> str:
        """SHA-256 of all that decides what comes out of a recording."""
        effective = msgspec.structs.replace(self, files="*", subject="")
        return hashlib.sha256(msgspec.json.encode(effective, order="deterministic")).hexdigest()


class ArchiveRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file."""

    bundles: dict[str, str] = {}
    """Folder of the bundle by species, from the file's own folder on; default: the one shipped
    with hypnod."""
    recordings: tuple[RecordingRule, ...] = (RecordingRule(),)
    """How recordings are read; the first entry that fits holds."""

    def rule_of(self, path: str) -> RecordingRule | None:
        """Return what holds for a path below the folder searched; None: nothing."""
        return next((r for r in self.recordings if fnmatchcase(path, r.files)), None)

    def bundle_of(self, species: str, bundle: Path | None) -> Path | None:
        """Return the folder of a species' bundle; None: the one that is shipped for it.

        Args:
            species: whose.
            bundle: for those that the file names none of.

        Raises:
            ConfigError: there is none.
        """
        if species in self.bundles:
            return Path(self.bundles[species])
        if bundle is None and species not in SHIPPED:
            raise ConfigError(
                f"species {species!r}: expected its bundle under [bundles], found none"
            )
        return bundle


def load_rules(path: Path | None) -> ArchiveRules:
    """Read an archive.toml; None: everything is guessed.

    Raises:
        ConfigError: the file cannot be read, or a key or value is not known.
    """
    if path is None:
        return ArchiveRules()
    rules = parse_toml(read_toml(path), str(path), ArchiveRules)
    bundles = {s: str(path.parent.resolve() / b) for s, b in rules.bundles.items()}
    return msgspec.structs.replace(rules, bundles=bundles)


def settle(path: Path, rule: RecordingRule, spec: ModelSpec) -> Chosen:
    """Open a recording and settle which channels are whose, by a rule.

    Raises:
        HypnodError: the file cannot be used, or its labels do not tell.
    """
    match = rule.match if path.suffix.lower() == ".xdf" else {}
    if not rule.subjects:
        try:
            guessed = choose(path, None, {}, (), spec, match)
        except ConfigError as error:  # which names options of commands that read one file
            raise ConfigError(f"{error}; in an archive by its entry in archive.toml") from error
        if (rule.unit, rule.jitter_s) == (None, guessed.stream.jitter_s):
            return guessed
        subjects = guessed.stream.subjects
    else:
        labels = open_recording(path, match=match, min_sfreq=spec.min_sfreq).readable
        subjects = tuple(_fill_in(subject, labels, path) for subject in rule.subjects)
    stream = StreamChannels(
        name="recording", subjects=subjects, unit=rule.unit, jitter_s=rule.jitter_s
    )
    chosen = choose(path, stream, {}, (), spec, match)
    return chosen if rule.subjects else chosen._replace(guessed=True, reasons=guessed.reasons)


def _fill_in(subject: SubjectChannels, labels: Sequence[str], path: Path) -> SubjectChannels:
    channels: Mapping[str, str] = {
        modality: _find(pattern, labels, f"{path}: {modality} of {subject.name}")
        for modality, pattern in subject.channels.items()
    }
    return msgspec.structs.replace(subject, channels=channels)


def _find(pattern: str, labels: Sequence[str], whose: str) -> str:
    """Return the label, or the difference of two, that a pattern stands for."""
    if parts_of(pattern, labels) or not re.search(r"[*?]", pattern):
        return pattern
    fitting = [label for label in labels if fnmatchcase(label, pattern)]
    if not fitting and "-" in pattern:
        return "-".join(_find(part.strip(), labels, whose) for part in pattern.split("-", 1))
    if len(fitting) != 1:
        raise ConfigError(
            f"{whose}: expected one channel like {pattern!r}, found "
            f"{', '.join(fitting or labels) or 'none'}"
        )
    return fitting[0]
