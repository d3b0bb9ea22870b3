"""Stage scored recordings as live, and count how the stages fit the expert's."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from daemon.config import StagingConfig
from daemon.messages import Kind
from daemon.stager import Estimate, hops_per_epoch
from engines.base import Engine
from engines.bundle import Bundle
from engines.select import open_engine
from models.errors import ConfigError, RecordingError
from models.recordings.bouts import CourseTally, find_delays, tally_both
from models.recordings.hypnogram import Hypnogram
from models.recordings.hypnograms.account import HypnogramAccount
from models.recordings.lab import LabRecording
from models.recordings.open import Recording
from models.recordings.scores import Tally, tally
from models.signal.montage import StreamChannels, SubjectChannels
from models.spec import BundleManifest, LearntAs, ModelSpec
from models.species import contradict
from models.stages import UNSCORED, to_indices
from tools.evaluate.learnt import learnt_as
from tools.score.aggregate import aggregate, check_epoch, hypnodensity
from tools.score.drift import DriftLog, DriftSeen
from tools.score.offline import stage_recording

FIRST_MINUTE_S = 60.0
ALL, FIRST_MINUTE = "all", "first_minute"

Advance = Callable[[float], None]
"""Called with the seconds of recording that were staged since the last call."""


class Case(NamedTuple):
    """What a figure is of."""

    without: tuple[str, ...]
    """Modalities withheld: the daemon sees no such channel."""
    kind: Kind
    part: str
    """`all` epochs, or those of the `first_minute` after the start."""


@dataclass
class Count:
    """What was found in one case."""

    stages: Sequence[str]
    tallies: dict[str, Tally] = field(default_factory=dict)
    """By subject, of all its recordings together."""
    pathways: Counter[str] = field(default_factory=Counter)
    """Epochs with an expert's stage, by what was read."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Epochs with an expert's stage but none of hypnod's, by the reason."""

    courses: dict[str, CourseTally] = field(default_factory=dict)
    """By subject; none of the first minute, which has no course worth the name."""

    def add_course(self, subject: str, course: CourseTally) -> None:
        """Take in how the stages of a recording of one subject follow each other."""
        before = self.courses.get(subject)
        self.courses[subject] = course if before is None else before + course

    def add(self, subject: str, epochs: Sequence[Estimate], truth: NDArray[np.int8]) -> None:
        """Take in epochs of one subject, and the index of the expert's stage of each."""
        found = tally(truth, hypnodensity(epochs, self.stages))
        before = self.tallies.get(subject)
        self.tallies[subject] = found if before is None else before + found
        for epoch in (epochs[i] for i in np.flatnonzero(truth != UNSCORED).tolist()):
            if epoch.probabilities is None:
                self.reasons[epoch.reason or epoch.stage] += 1
            else:
                self.pathways[str(epoch.pathway)] += 1


class SubjectSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One subject in one recording."""

    recording: str
    subject: str
    channels: dict[str, str]
    """Label by modality."""
    hypnogram: str
    """Where the expert's stages were found."""
    read: HypnogramAccount | None = None
    """What was read of it, and what was not; null: there is no file, the animal is simulated."""
    own: tuple[str, ...] = ()
    """What hypnod wrote beside the recording, and was not read."""
    left_out: tuple[str, ...] = ()
    """Which of the recording's channels are not used, and what its file lacks."""
    epoch_s: float
    """Length of the epochs compared, s."""
    learnt: LearntAs | None = None
    """What the bundle used this very recording for; null: it never saw it."""


@dataclass
class Evaluated:
    """All counts, and what they are of."""

    hop_s: float
    """From one estimate to the next, s."""
    counts: dict[Case, Count] = field(default_factory=dict)
    recordings: int = 0
    seconds: float = 0.0
    """Of all recordings, each once."""
    sources: list[SubjectSource] = field(default_factory=list)
    drift: dict[str, dict[str, DriftSeen]] = field(default_factory=dict)
    """By subject and modality, of the first choice of withheld modalities."""
    contradictions: list[str] = field(default_factory=list)
    """Which recordings have labels of another species than the model's."""
    engine: str = ""


def choose_withheld(
    spec: ModelSpec, without: Sequence[str], *, each: bool
) -> list[tuple[str, ...]]:
    """Return which modalities to withhold in each pass through the recordings.

    Args:
        spec: the model.
        without: withheld together; empty: nothing is.
        each: also read each modality alone, all the others withheld.

    Raises:
        ConfigError: a modality that the model does not know, or nothing would be left.
    """
    if set(without) >= set(spec.modalities) or not set(without) <= set(spec.modalities):
        raise ConfigError(
            f"--without: expected some but not all of {', '.join(spec.modalities)}, "
            f"found {', '.join(without)}"
        )
    chosen = [tuple(m for m in spec.modalities if m in without)]
    if each:
        chosen += [tuple(o for o in spec.modalities if o != m) for m in spec.modalities]
    return list(dict.fromkeys(chosen))


def evaluate_recordings(
    recordings: Iterable[LabRecording],
    bundle: Bundle,
    withheld: Sequence[tuple[str, ...]],
    *,
    engine: str,
    epoch_s: float | None = None,
    hop_s: float | None = None,
    advance: Advance,
) -> Evaluated:
    """Stage recordings as the daemon would, once for each choice of withheld modalities.

    Args:
        recordings: taken one at a time.
        bundle: the model.
        withheld: as `choose_withheld` gives.
        engine: name of the engine, or auto.
        epoch_s: length of the epochs compared, s; default: of each hypnogram what it was scored
            in, where it tells and the model's epochs are not longer; else the model's.
        hop_s: from one live estimate to the next, s; default: the model's epoch.
        advance: progress.

    Raises:
        HypnodError: a recording cannot be staged.
    """
    check_epoch(bundle.spec.epoch_s if epoch_s is None else epoch_s, bundle.spec.epoch_s)
    hops = hops_per_epoch(hop_s, bundle.spec, "--hop")
    hop_s = bundle.spec.epoch_s / hops
    evaluated = Evaluated(hop_s)
    for lab in recordings:
        recording = lab.open()
        lengths = note(evaluated, lab, recording, bundle, epoch_s)
        n_rows, staging = len(lab.stream.subjects), StagingConfig(hop_s=hop_s)
        with open_engine(
            bundle, engine, n_rows=n_rows, hops_per_epoch=hops, n_read=staging.final_lag + 1
        ) as running:
            evaluated.engine = running.description
            for without in withheld:
                drift = DriftLog([*lab.subjects.values()], bundle.spec.modalities, hop_s)
                nights = _stage(
                    lab, recording, running, staging, bundle.manifest, without, drift, advance
                )
                count(evaluated.counts, lab, nights, without, bundle.spec, hop_s, lengths)
                if without == withheld[0]:
                    _add_drift(evaluated.drift, drift)
    return evaluated


def note(
    evaluated: Evaluated,
    lab: LabRecording,
    recording: Recording,
    bundle: Bundle,
    epoch_s: float | None,
) -> Mapping[str, float]:
    """Take in what a recording is; return the length of the epochs compared, by subject, s.

    Raises:
        RecordingError: it is shorter than one of them.
    """
    if epoch_s is not None and recording.duration < epoch_s:
        raise _no_epoch(lab, epoch_s, recording.duration)
    evaluated.recordings += 1
    evaluated.seconds += recording.duration
    lengths = {name: epoch_s or compared_s(h, bundle.spec) for name, h in lab.hypnograms.items()}
    learnt = learnt_as(lab, bundle)
    evaluated.sources += [
        msgspec.structs.replace(source_of(lab, s, lengths[s.name]), learnt=learnt)
        for s in lab.stream.subjects
    ]
    labels = (*recording.ch_names, *recording.skipped)
    if (contradiction := contradict(labels, bundle.spec)) is not None:
        evaluated.contradictions.append(f"{lab.name}: {contradiction}")
    return lengths


def _add_drift(total: dict[str, dict[str, DriftSeen]], drift: DriftLog) -> None:
    """Take in the drift of the subjects of one recording."""
    for name, seen in drift.seen.items():
        before = total.get(name)
        total[name] = seen if before is None else {m: before[m] + seen[m] for m in seen}


def compared_s(hypnogram: Hypnogram, spec: ModelSpec) -> float:
    """Return the length of the epochs in which a model is held against a hypnogram, s."""
    return max(hypnogram.epoch_s or 0.0, spec.epoch_s)


def source_of(lab: LabRecording, subject: SubjectChannels, epoch_s: float) -> SubjectSource:
    """Return what a subject of a recording is read from, compared in epochs of this length."""
    return SubjectSource(
        recording=lab.name,
        subject=lab.subjects[subject.name],
        channels=subject.channels,
        hypnogram=lab.scored_in,
        read=lab.accounts.get(subject.name),
        own=tuple(map(str, lab.own)),
        left_out=lab.left_out,
        epoch_s=epoch_s,
    )


def _stage(
    lab: LabRecording,
    recording: Recording,
    engine: Engine,
    staging: StagingConfig,
    manifest: BundleManifest,
    without: tuple[str, ...],
    drift: DriftLog,
    advance: Advance,
) -> Mapping[tuple[str, Kind], list[Estimate]]:
    """Return the estimates by subject and kind."""
    stream = _withhold(lab, without)
    for row in range(len(stream.subjects)):
        engine.clear_context(row)
    nights: dict[tuple[str, Kind], list[Estimate]] = defaultdict(list)
    before = 0
    staged = stage_recording(
        recording,
        stream,
        engine,
        staging,
        reference=manifest.reference,
        grammar=manifest.grammar,
        drift=drift,
    )
    for n_read, estimates in staged:
        for estimate in estimates:
            nights[estimate.subject, estimate.kind].append(estimate)
        advance((n_read - before) / recording.sfreq)
        before = n_read
    if not nights:
        raise _no_epoch(lab, engine.spec.epoch_s, recording.duration)
    return nights


def _no_epoch(lab: LabRecording, epoch_s: float, duration_s: float) -> RecordingError:
    return RecordingError(
        f"{lab.name}: expected at least one epoch of {epoch_s:g} s, found {duration_s:g} s"
    )


def _withhold(lab: LabRecording, without: tuple[str, ...]) -> StreamChannels:
    """Return the stream as if its subjects had no such channels."""
    subjects = []
    for subject in lab.stream.subjects:
        left = {m: label for m, label in subject.channels.items() if m not in without}
        if not left:
            raise ConfigError(
                f"{lab.name}: expected a channel of {subject.name} beside "
                f"{' and '.join(without)}, found none"
            )
        subjects.append(msgspec.structs.replace(subject, channels=left))
    return msgspec.structs.replace(lab.stream, subjects=tuple(subjects))


def count(
    counts: dict[Case, Count],
    lab: LabRecording,
    nights: Mapping[tuple[str, Kind], list[Estimate]],
    without: tuple[str, ...],
    spec: ModelSpec,
    hop_s: float,
    lengths: Mapping[str, float],
) -> None:
    """Hold the estimates of one recording against the experts' hypnograms.

    Args:
        counts: taken into.
        lab: the recording.
        nights: its estimates, by subject as in the recording, and kind.
        without: what was withheld.
        spec: of the model.
        hop_s: from one live estimate to the next, s.
        lengths: of the epochs compared, by subject, s.
    """
    for (name, kind), estimates in nights.items():
        length = lengths[name]
        hypnogram, subject = lab.hypnograms[name], lab.subjects[name]
        apart_s = spec.epoch_s if kind == "final" else hop_s
        hops = round(spec.epoch_s / apart_s)
        epochs = aggregate(estimates[::hops], spec.epoch_s, length, spec.stages)
        truth = to_indices(hypnogram.to_epochs(length, len(epochs)), spec.stages)
        for part, n in ((ALL, len(epochs)), (FIRST_MINUTE, math.ceil(FIRST_MINUTE_S / length))):
            count = counts.setdefault(Case(without, kind, part), Count(spec.stages))
            count.add(subject, epochs[:n], truth[:n])
        bouts = tally_both(truth, _indices(epochs, spec), length, spec.stages)
        # each estimate shows a newest part of its epoch that no earlier one did
        newest = hypnogram.to_epochs(apart_s, hops - 1 + len(estimates))[hops - 1 :]
        delays = find_delays(
            to_indices(newest, spec.stages),
            _indices(estimates, spec),
            apart_s,
            len(spec.stages),
        )
        counts[Case(without, kind, ALL)].add_course(subject, CourseTally(*bouts, delays))


def _indices(epochs: Sequence[Estimate], spec: ModelSpec) -> NDArray[np.int8]:
    return to_indices((epoch.stage for epoch in epochs), spec.stages)
