"""A lab's own scored recordings: which hypnogram belongs to which recording, and to which subject.

What is paired is read the way the daemon reads a stream, so that whoever trains on it or scores
against it sees what a live model sees.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from models.errors import RecordingError
from models.recordings.as_stream import condition, describe, open_for
from models.recordings.channels import choose
from models.recordings.edf import read_edf_annotations
from models.recordings.hypnogram import Hypnogram, read_hypnograms
from models.recordings.mat import has_mat_scores
from models.recordings.open import Recording
from models.scored_epochs import ScoredEpochs
from models.signal.montage import Montage, StreamChannels, Unit
from models.spec import ModelSpec
from models.stages import find_stage, to_indices

RECORDINGS = (".edf", ".bdf", ".rec", ".mat", ".xdf")
"""Extensions of what is taken for a recording."""
BESIDE = (
    *("{stem}.csv", "{stem}.tsv", "{stem}.txt", "{stem}_events.tsv"),
    *(f"{{stem}}_hypnogram.{e}" for e in ("csv", "tsv", "txt", "edf", "bdf", "mat")),
)
"""Where the hypnogram of `stem` is looked for, in the recording's folder."""

_HYPNOGRAM = re.compile(r"[_-](hypnogram|events)$", re.IGNORECASE)
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


@dataclass(frozen=True, kw_only=True)
class LabOptions:
    """How a lab's recordings are to be read; the same for all of them."""

    eeg: Sequence[str] = ()
    """Label of each subject's EEG; without any label the channels are guessed."""
    emg: Sequence[str] = ()
    eog: Sequence[str] = ()
    unit: Unit | None = None
    """V, mV or µV of all channels; default: what the file says."""
    hypnogram_epoch: float | None = None
    """Length of an epoch in hypnograms of one stage a line, s."""
    skip_unscored: bool = False
    """Leave out recordings without a hypnogram instead of refusing them."""


@dataclass(frozen=True, kw_only=True)
class LabRecording:
    """A scored recording, not yet read."""

    name: str
    """For people: its path."""
    stream: StreamChannels
    """Whose channels are which."""
    subjects: Mapping[str, str]
    """The subject's name everywhere, by its name in `stream`."""
    hypnograms: Mapping[str, Hypnogram]
    """What the expert says, by the subject's name in `stream`."""
    scored_in: str
    """Where the hypnograms were found, for people."""
    duration_s: float
    """Interruptions included, s."""
    open: Callable[[], Recording] = field(repr=False)
    """Opens it; it may be large, so nobody keeps it open."""
    path: Path | None = None
    """Its file; None: there is none, it is simulated."""

    def hash(self) -> str | None:
        """Return the SHA-256 of its file: the same under any name, whatever is read of it."""
        return None if self.path is None else hash_file(self.path)


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a recording's file, by which bundles know what they learnt from."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_recordings(paths: Iterable[Path]) -> list[Found]:
    """Find recordings and their hypnograms, in the order of their paths.

    A folder is searched with all below it, hidden files apart. The hypnogram of `night.edf` is
    the only one there is of `night.csv`, `.tsv`, `.txt`, `night_events.tsv` and
    `night_hypnogram.csv`, `.tsv`, `.txt`, `.edf`, `.bdf` or `.mat`; a BIDS suffix such as `_eeg`
    does not count as part of the stem. Without one it is in the recording itself: EDF+
    annotations, or `sleep_scores` of a .mat.

    Raises:
        RecordingError: a path does not exist, holds no recording, or a recording has several
            hypnograms beside it.
    """
    found: dict[Path, Found] = {}
    for path in paths:
        recordings = [path] if path.is_file() else _search(path)
        if not recordings:
            what = "an empty folder" if path.is_dir() else "nothing"
            raise RecordingError(
                f"{path}: expected recordings ({', '.join(RECORDINGS)}), found {what} of the kind"
            )
        for recording in recordings:
            subject = _subject_of(recording, path)
            found.setdefault(
                recording.resolve(), Found(subject, recording, _hypnogram_of(recording))
            )
    return sorted(found.values(), key=lambda f: f.recording)


def _search(folder: Path) -> list[Path]:
    """Return the recordings below a folder."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in RECORDINGS
        and path.is_file()
        and not _HYPNOGRAM.search(path.stem)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def _subject_of(recording: Path, searched: Path) -> str:
    if labels := _BIDS_SUBJECT.findall(recording.as_posix()):
        return f"sub-{labels[-1]}"
    if recording == searched:
        return recording.stem
    below = recording.relative_to(searched).parts
    return below[0] if len(below) > 1 else recording.stem


def _hypnogram_of(recording: Path) -> Path | None:
    stems = dict.fromkeys((recording.stem, _BIDS_SUFFIX.sub("", recording.stem)))
    names = {name.format(stem=stem).lower() for name in BESIDE for stem in stems}
    beside = [
        path
        for path in sorted(recording.parent.iterdir())
        if path.name.lower() in names and path != recording
    ]
    if len(beside) > 1:
        raise RecordingError(
            f"{recording}: expected one hypnogram beside it, found "
            f"{' and '.join(path.name for path in beside)}"
        )
    if beside:
        return beside[0]
    return recording if recording.suffix.lower() in _INSIDE else None


def open_lab(
    paths: Iterable[Path], spec: ModelSpec, options: LabOptions | None = None
) -> tuple[list[LabRecording], list[Path]]:
    """Pair recordings with subjects and hypnograms, without reading their samples.

    Args:
        paths: folders to search, or recordings.
        spec: the model whose stages and modalities are wanted.
        options: channels, unit, and what to do without a hypnogram.

    Returns:
        The scored recordings, and those left out because nobody scored them.

    Raises:
        HypnodError: a recording or its hypnogram cannot be used, or a recording has none; all
            those that have none are named at once.
    """
    options = options or LabOptions()
    found = find_recordings(paths)
    unscored = [f.recording for f in found if not _is_scored(f, spec.stages)]
    if unscored and (not options.skip_unscored or len(unscored) == len(found)):
        raise RecordingError(
            f"{', '.join(map(str, unscored))}: expected a hypnogram, inside or beside it as "
            f"{', '.join(BESIDE).format(stem=unscored[0].stem)}; found none"
        )
    scored = [_open(f, spec, options) for f in found if f.recording not in unscored]
    return scored, unscored


def _is_scored(found: Found, stages: Sequence[str]) -> bool:
    """Whether there is a hypnogram; one inside has to be looked for."""
    if found.hypnogram != found.recording:
        return found.hypnogram is not None
    if found.recording.suffix.lower() == ".mat":
        return has_mat_scores(found.recording)
    texts = [a.text for a in read_edf_annotations(found.recording)]
    last_words = [text.rpartition(" ")[2] for text in texts]  # "m1 NREM"
    return any(find_stage(text, stages) in stages for text in (*texts, *last_words))


def _open(found: Found, spec: ModelSpec, options: LabOptions) -> LabRecording:
    labels = {"eeg": options.eeg, "emg": options.emg, "eog": options.eog}
    recording, stream, _ = choose(found.recording, None, labels, (), spec.modalities)
    stream = msgspec.structs.replace(stream, unit=options.unit)
    Montage(stream, describe(recording), spec.modalities)  # refuses before hours of reading
    names = [subject.name for subject in stream.subjects]
    several = len(names) > 1
    return LabRecording(
        name=str(found.recording),
        stream=stream,
        subjects={name: f"{found.subject}/{name}" if several else found.subject for name in names},
        hypnograms=read_hypnograms(
            found.hypnogram or found.recording,
            names,
            spec.stages,
            recording,
            options.hypnogram_epoch,
        ),
        scored_in=str(found.hypnogram),
        duration_s=recording.duration,
        open=lambda: open_for(found.recording, stream),
        path=found.recording,
    )


def read_one(lab: LabRecording, spec: ModelSpec) -> ScoredEpochs:
    """Condition a recording of one subject; see `read_subjects`."""
    (scored,) = read_subjects([lab], spec)
    return scored


def read_subjects(recordings: Iterable[LabRecording], spec: ModelSpec) -> Iterator[ScoredEpochs]:
    """Condition recordings as the live daemon does, each epoch with the expert's stage.

    An expert's longer epoch counts for all epochs that it covers; ART and UNKNOWN are UNSCORED.
    A subject with several recordings comes several times, under one name.

    Args:
        recordings: taken one after the other, so a progress bar may wrap them.
        spec: the model the epochs are for.

    Raises:
        HypnodError: a recording does not fit its channels or unit, or has no whole epoch.
    """
    for lab in recordings:
        epochs, usable, looks = condition(lab.open(), lab.stream, spec)
        for i, (name, subject) in enumerate(lab.subjects.items()):
            hypnogram = lab.hypnograms[name]
            stages = hypnogram.to_epochs(spec.epoch_s, epochs.shape[1])
            yield ScoredEpochs(
                name=subject,
                epochs=epochs[i],
                stages=to_indices(stages, spec.stages).astype(np.int64),
                usable=usable[i],
                looks=looks[i],
                scored_in=max(1.0, (hypnogram.epoch_s or 0.0) / spec.epoch_s),
            )
