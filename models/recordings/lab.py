"""A lab's own scored recordings: which hypnogram belongs to which recording, and to which subject.

What is paired is read the way the daemon reads a stream, so that whoever trains on it or scores
against it sees what a live model sees.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import numpy as np

from models.errors import ConfigError, RecordingError
from models.recordings.as_stream import condition, describe, open_for
from models.recordings.channels import Chosen, choose
from models.recordings.find import BESIDE, Found, find_copies, find_recordings, hash_file
from models.recordings.hypnogram import Hypnogram
from models.recordings.hypnograms.account import HypnogramAccount
from models.recordings.hypnograms.interpret import Legend
from models.recordings.hypnograms.read import is_scored, read_hypnograms
from models.recordings.mat import has_mat_scores
from models.recordings.open import Recording, check_match
from models.recordings.psg.excerpt import Excerpt, sleep_span
from models.scored_epochs import ScoredEpochs
from models.signal.montage import Montage, Nothing, StreamChannels, Units
from models.spec import ModelSpec
from models.stages import to_indices


@dataclass(frozen=True, kw_only=True)
class LabOptions:
    """How a lab's recordings are to be read; the same for all of them."""

    eeg: Sequence[str] = ()
    """Label of each subject's EEG; without any label the channels are guessed."""
    emg: Sequence[str] = ()
    eog: Sequence[str] = ()
    unit: Units | None = None
    """V, mV, µV or nV of all channels, or of a modality's; default: what the file says."""
    match: Mapping[str, str] = field(default_factory=dict)
    """LSL properties of the stream to read, in XDF files of several."""
    legend: Legend = field(default_factory=Legend)
    """What hypnograms do not say themselves."""
    skip_unscored: bool = False
    """Leave out recordings without a hypnogram instead of refusing them."""


def check_unused(options: LabOptions) -> None:
    """Raise ConfigError where somebody says how recordings are read, and none is."""
    if options != LabOptions():
        raise ConfigError(
            "--simulated: expected no option that says how recordings are read, such as --eeg, "
            "--unit, --match or --codes"
        )


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
    accounts: Mapping[str, HypnogramAccount] = field(default_factory=dict)
    """What was read of the hypnograms, by the subject's name in `stream`."""
    own: tuple[Path, ...] = ()
    """What hypnod wrote beside it, and was not read."""
    left_out: tuple[str, ...] = ()
    """Which of its channels are not used, and what the file lacks, a line each."""
    sha256: str | None = None
    """Of its file, where it is known already."""

    def hash(self) -> str | None:
        """Return the SHA-256 of its file: the same under any name, whatever is read of it."""
        return self.sha256 or (None if self.path is None else hash_file(self.path))


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
    found = find_recordings(paths, species=spec.species)
    check_match([f.recording for f in found], options.match)
    unscored = [f for f in found if not has_scores(f, spec.stages, legend_of(f, options.legend))]
    if unscored and (not options.skip_unscored or len(unscored) == len(found)):
        own = ", ".join(str(path) for f in unscored for path in f.own)
        layout = unscored[0].layout
        places = f"inside or beside it as {', '.join(BESIDE)}".format(
            stem=unscored[0].recording.stem
        )
        raise RecordingError(
            f"{', '.join(str(f.recording) for f in unscored)}: expected a hypnogram, "
            f"{places if layout is None else f'as {layout.name} has them, {layout.example}'}; found"
            f" {f'what hypnod wrote alone: {own}' if own else 'none that somebody scored'}"
        )
    kept = [f for f in found if f not in unscored]
    copies = find_copies([f.recording for f in kept])
    scored = [_open(f, spec, options, copies.get(f.recording)) for f in kept]
    return scored, [f.recording for f in unscored]


def has_scores(found: Found, stages: Sequence[str], legend: Legend) -> bool:
    """Whether somebody scored it: a file may be there and hold nothing but UNKNOWN."""
    if found.hypnogram is None:
        return False
    if found.hypnogram.suffix.lower() == ".mat" and not has_mat_scores(found.hypnogram):
        return False  # without scores it is a recording
    return is_scored(found.hypnogram, stages, legend)


def _open(
    found: Found, spec: ModelSpec, options: LabOptions, original: Path | None = None
) -> LabRecording:
    labels = {"eeg": options.eeg, "emg": options.emg, "eog": options.eog}
    layout = found.layout
    preferred = {} if layout is None else layout.preferred
    chosen = choose(found.recording, None, labels, (), spec, options.match, preferred)
    stream = msgspec.structs.replace(chosen.stream, unit=options.unit)
    chosen = chosen._replace(stream=stream)
    lab = pair(found, chosen, spec, legend_of(found, options.legend), options.match)
    if layout is not None and layout.wake_s is not None:
        lab = keep_wake(lab, layout.wake_s)
    if original is None:
        return lab
    copy = f"the very same file as {original}, counted once more"
    return replace(lab, left_out=(*lab.left_out, copy))


def legend_of(found: Found, given: Legend) -> Legend:
    """Return how a hypnogram is to be read: as somebody says, else as its collection's are."""
    return given if found.layout is None or given != Legend() else found.layout.legend


def keep_wake(lab: LabRecording, wake_s: float) -> LabRecording:
    """Return a recording of one person from so much before its sleep to so much after it.

    Args:
        lab: the recording.
        wake_s: what is kept of the wakefulness before and after sleep, s.
    """
    ((name, hypnogram),) = lab.hypnograms.items()
    start, end = sleep_span(hypnogram, wake_s, lab.duration_s)
    length = end - start

    def cut() -> Recording:
        whole = lab.open()
        first = round(start * whole.sfreq)
        return Excerpt(whole, first, min(round(length * whole.sfreq), whole.n_samples - first))

    return replace(
        lab,
        hypnograms={name: hypnogram.moved(-start, length)},
        duration_s=length,
        open=cut,
        left_out=(*lab.left_out, f"read from {start:g} to {end:g} s, {wake_s:g} s around sleep"),
    )


def pair(
    found: Found,
    chosen: Chosen,
    spec: ModelSpec,
    legend: Legend,
    match: Mapping[str, str] = Nothing,
) -> LabRecording:
    """Return a recording, whose channels are settled, with its hypnogram.

    Args:
        found: on the disk.
        chosen: opened.
        spec: the model whose stages are wanted.
        legend: what the hypnogram does not say itself.
        match: properties of the stream to read, in an XDF file.

    Raises:
        RecordingError: the hypnogram cannot be used, or is hypnod's.
    """
    recording, stream = chosen.recording, chosen.stream
    Montage(stream, describe(recording), spec.modalities)  # refuses before hours of reading
    names = [subject.name for subject in stream.subjects]
    several = len(names) > 1
    read = read_hypnograms(
        found.hypnogram or found.recording,
        names if several else [found.subject],
        spec.stages,
        recording,
        legend,
        made_up=several,
    )
    scorings = dict(zip(names, read.values(), strict=True))
    for scoring in scorings.values():
        if scoring.account.staged_by:
            raise RecordingError(
                f"{scoring.account.file}: expected an expert's stages, found those that hypnod "
                f"gave ({scoring.account.staged_by})"
            )
    return LabRecording(
        name=str(found.recording),
        stream=stream,
        subjects={name: f"{found.subject}/{name}" if several else found.subject for name in names},
        hypnograms={name: scoring.hypnogram for name, scoring in scorings.items()},
        accounts={name: scoring.account for name, scoring in scorings.items()},
        own=found.own,
        scored_in=str(found.hypnogram),
        duration_s=recording.duration,
        left_out=(*chosen.absent, *chosen.left_out),
        open=lambda: open_for(found.recording, stream, match, spec.min_sfreq),
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
