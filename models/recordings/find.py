"""Which recordings there are below some folders, whose they are, and where their hypnograms lie."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from os.path import commonpath
from pathlib import Path
from typing import NamedTuple

from models.errors import RecordingError
from models.recordings.hypnograms.read import is_own
from models.recordings.psg.layout import Layout
from models.recordings.psg.layouts import find_collection
from models.recordings.wfdb import samples_of

RECORDINGS = (".edf", ".bdf", ".rec", ".mat", ".xdf", ".hea")
"""Extensions of what is taken for a recording."""
BESIDE = (
    *("{stem}.csv", "{stem}.tsv", "{stem}.txt", "{stem}_events.tsv"),
    *(f"{{stem}}_hypnogram.{e}" for e in ("csv", "tsv", "txt", "edf", "bdf", "mat")),
)
"""Where the hypnogram of `stem` is looked for, in the recording's folder."""

_HYPNOGRAM = re.compile(r"[_-](hypnogram|events|sleepscoring)$", re.IGNORECASE)
_BIDS_SUBJECT = re.compile(r"(?:^|[/\\_])sub-([A-Za-z0-9]+)")
_BIDS_SUFFIX = re.compile(r"_(eeg|ieeg|emg)$")
_INSIDE = (".edf", ".bdf", ".rec", ".mat")


class Found(NamedTuple):
    """A recording on the disk."""

    subject: str
    """`sub-<label>` of its path, else the folder below the one searched, else its stem."""
    recording: Path
    hypnogram: Path | None
    """The recording's own path where its hypnogram can only be inside; None: nowhere."""
    own: tuple[Path, ...] = ()
    """What hypnod wrote beside it: no expert's."""
    layout: Layout | None = None
    """Of the public collection that it is from; None: a lab's own."""


def find_recordings(
    paths: Iterable[Path], *, hypnograms: bool = True, species: str = ""
) -> list[Found]:
    """Find recordings and their hypnograms, in the order of their paths.

    A folder is searched with all below it, hidden files apart. The hypnogram of `night.edf` is
    the only one there is of `night.csv`, `.tsv`, `.txt`, `night_events.tsv` and
    `night_hypnogram.csv`, `.tsv`, `.txt`, `.edf`, `.bdf` or `.mat`; a BIDS suffix such as `_eeg`
    does not count as part of the stem. What hypnod wrote is none. Without one it is in the
    recording itself: EDF+ annotations, or `sleep_scores` of a .mat.

    Files of one name in several folders are recordings of several subjects, as if the folder that
    holds them all had been given.

    Of people a folder may be a public collection (`models.recordings.psg.layouts`), whose layout
    says where hypnograms are and whose recordings these are.

    Args:
        paths: folders to search, or recordings.
        hypnograms: whether to look for them, too.
        species: whose; only people are in collections.

    Raises:
        RecordingError: a path does not exist, holds no recording, or a recording has several
            hypnograms beside it.
    """
    found: dict[Path, Found] = {}
    for path in paths:
        if species == "human" and (collected := _of_collection(path)):
            found |= {f.recording.resolve(): f for f in collected}
            continue
        recordings = [path] if path.is_file() else _search(path)
        if not recordings:
            found_there = "a folder without any" if path.is_dir() else "no file or folder there"
            raise RecordingError(
                f"{path}: expected recordings ({', '.join(RECORDINGS)}), found {found_there}"
            )
        for recording in recordings:
            pair, own = _hypnogram_of(recording) if hypnograms else (None, ())
            subject = _subject_of(recording, path)
            found.setdefault(recording.resolve(), Found(subject, recording, pair, own))
    return sorted(_told_apart([*found.values()]), key=lambda f: f.recording)


def _of_collection(path: Path) -> list[Found]:
    """Return the recordings of a collection, or the one that is meant; empty: it is in none."""
    collection = find_collection(path.parent if path.is_file() else path)
    if collection is None:
        return []
    return [
        Found(subject, recording, hypnogram, (), collection.layout)
        for recording, (subject, hypnogram) in collection.recordings.items()
        if path in (recording, *recording.parents)
    ]


def _told_apart(found: Sequence[Found]) -> Iterator[Found]:
    """Name subjects by their folders where one file name in several folders named them all."""
    named = [f for f in found if f.subject == f.recording.stem]
    for each in found:
        alike = {f.recording.resolve().parent for f in named if f.subject == each.subject}
        if each in named and len(alike) > 1:
            above = Path(commonpath(alike))
            below = each.recording.resolve().relative_to(above).parts
            yield each._replace(subject=below[0] if len(below) > 1 else each.subject)
        else:
            yield each


def _search(folder: Path) -> list[Path]:
    """Return the recordings below a folder."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in RECORDINGS
        and _is_file(path, otherwise=True)  # who opens it says why it cannot be seen
        and not _HYPNOGRAM.search(path.stem)
        and not (
            path.suffix == ".mat" and _is_file(path.with_suffix(".hea"), otherwise=False)
        )  # its samples
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def _is_file(path: Path, *, otherwise: bool) -> bool:
    """Whether a path is a file; `otherwise` where its folder does not let anybody see."""
    try:
        return path.is_file()
    except PermissionError:
        return otherwise


def _subject_of(recording: Path, searched: Path) -> str:
    if labels := _BIDS_SUBJECT.findall(recording.as_posix()):
        return f"sub-{labels[-1]}"
    if recording == searched:
        return recording.stem
    below = recording.relative_to(searched).parts
    return below[0] if len(below) > 1 else recording.stem


def expert_places(recording: Path) -> set[str]:
    """Return the names under which an expert's hypnogram is looked for, in lower case."""
    stems = dict.fromkeys((recording.stem, _BIDS_SUFFIX.sub("", recording.stem)))
    return {name.format(stem=stem).lower() for name in BESIDE for stem in stems}


def _hypnogram_of(recording: Path) -> tuple[Path | None, tuple[Path, ...]]:
    """Return where its hypnogram is, and what hypnod wrote in such places."""
    names = expert_places(recording)
    beside = [
        path
        for path in sorted(recording.parent.iterdir())
        if path.name.lower() in names and path != recording
    ]
    own = tuple(path for path in beside if is_own(path))
    beside = [path for path in beside if path not in own]
    if len(beside) > 1:
        raise RecordingError(
            f"{recording}: expected one hypnogram beside it, found "
            f"{' and '.join(path.name for path in beside)}"
        )
    if beside:
        return beside[0], own
    return (recording if recording.suffix.lower() in _INSIDE else None), own


def files_of(recording: Path) -> tuple[Path, ...]:
    """Return the files that a recording's samples are in: of a WFDB record two, else itself."""
    if recording.suffix.lower() != ".hea":
        return (recording,)
    try:
        samples = samples_of(recording)
    except RecordingError:  # who opens it says why
        return (recording,)
    return (recording, samples) if samples.is_file() else (recording,)


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a recording's files, by which bundles know what they learnt from."""
    found = hashlib.sha256()
    for each in files_of(path):
        with each.open("rb") as file:
            hashlib.file_digest(file, lambda: found)
    return found.hexdigest()


def find_copies(recordings: Iterable[Path]) -> dict[Path, Path]:
    """Return which recordings are the very same file as one before, and as which."""
    by_size: dict[int, list[Path]] = {}
    for path in recordings:
        by_size.setdefault(path.stat().st_size, []).append(path)
    copies = {}
    for alike in by_size.values():
        first: dict[str, Path] = {}
        for path in alike if len(alike) > 1 else []:
            original = first.setdefault(hash_file(path), path)
            if original != path:
                copies[path] = original
    return copies
