"""What a machine might want to know of a staged recording."""

from collections import Counter
from dataclasses import dataclass, field

import msgspec

from daemon.stager import Estimate
from models.recordings.agreement import Agreement
from models.recordings.hypnograms.account import HypnogramAccount
from models.signal.quality import OK
from models.stages import ART, UNKNOWN
from tools.score.drift import DriftSummary
from tools.score.scored import Scored


class SubjectSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One subject in the JSON summary."""

    channels: dict[str, str]
    """Label by modality."""
    epochs: int
    """Epochs of the hypnogram."""
    seconds: dict[str, float]
    """Time in each stage, in ART and in UNKNOWN, s."""
    unscored: dict[str, int]
    """Epochs that are ART or UNKNOWN, by reason."""
    pathways: dict[str, int]
    """Epochs by what was read."""
    masked: dict[str, int]
    """Epochs that have a stage, though a modality was not read: by which, and why."""
    agreement: Agreement | None
    """With the hypnogram to compare with."""
    hypnogram: HypnogramAccount | None
    """What was read of that hypnogram, and what was not."""
    agreement_epoch_s: float | None
    """Length of the epochs compared: those of that hypnogram where they are longer, s."""
    drift: dict[str, DriftSummary]
    """By modality, where it was known: how unlike the training animals it looked."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON summary."""

    file: str
    bundle: str
    """Name of the model bundle, or `offline teacher`."""
    model: str
    """First 12 digits of the bundle's or the teacher's SHA-256."""
    engine: str
    kind: str
    """Which estimates the hypnogram is of: live, final or offline teacher."""
    epoch_s: float
    """Length of an epoch of the hypnogram, s."""
    hop_s: float
    """From one of its epochs to the next, s."""
    duration_s: float
    """Of the recording, interruptions included, s."""
    skipped: dict[str, str]
    """Why channels of the file are not used, by label."""
    flaws: tuple[str, ...]
    """Where the file is not whole, or contradicts itself."""
    contradictions: tuple[str, ...]
    """What speaks against the recording being of such animals as the model was trained on."""
    subjects: dict[str, SubjectSummary]


@dataclass
class SubjectCounts:
    """Counts the epochs of one subject's hypnogram, as they come.

    Args:
        channels: label by modality.
    """

    channels: dict[str, str]
    epochs: int = 0
    _stages: Counter[str] = field(default_factory=Counter)
    _unscored: Counter[str] = field(default_factory=Counter)
    _pathways: Counter[str] = field(default_factory=Counter)
    _masked: Counter[str] = field(default_factory=Counter)

    def add(self, estimate: Estimate) -> None:
        """Take in an epoch."""
        self.epochs += 1
        self._stages[estimate.stage] += 1
        if estimate.pathway is not None:
            self._pathways[estimate.pathway] += 1
        if estimate.reason is not None:
            self._unscored[estimate.reason] += 1
            return
        found = estimate.validity
        self._masked.update(f"{m} {found[m]}" for m in self.channels if found[m] != OK)

    def summarise(
        self,
        stages: tuple[str, ...],
        step_s: float,
        drift: dict[str, DriftSummary],
        agreement: Agreement | None = None,
        agreement_epoch_s: float | None = None,
        hypnogram: HypnogramAccount | None = None,
    ) -> SubjectSummary:
        """Return the figures.

        Args:
            stages: the stage set.
            step_s: from one epoch to the next, s.
            drift: by modality, where it was known.
            agreement: with a hypnogram to compare with.
            agreement_epoch_s: length of the epochs compared, s.
            hypnogram: what was read of it.
        """
        return SubjectSummary(
            channels=self.channels,
            epochs=self.epochs,
            seconds={s: self._stages[s] * step_s for s in (*stages, ART, UNKNOWN)},
            unscored=dict(self._unscored),
            pathways=dict(self._pathways),
            masked=dict(self._masked),
            agreement=agreement,
            hypnogram=hypnogram,
            agreement_epoch_s=agreement_epoch_s,
            drift=drift,
        )


def summarise(scored: Scored) -> Summary:
    """Return what there is to know of a recording whose estimates are all here."""
    spec, subjects = scored.by.spec, {}
    for subject in scored.stream.subjects:
        name, counts = subject.name, SubjectCounts(subject.channels)
        for epoch in scored.epochs(name):
            counts.add(epoch)
        subjects[name] = counts.summarise(
            spec.stages,
            scored.step_s,
            dict(scored.drift[name]),
            scored.agreement(name),
            scored.compared_epoch_s(name),
            scored.accounts.get(name),
        )
    return Summary(
        file=str(scored.recording.path),
        bundle=scored.by.name,
        model=scored.by.hash[:12],
        engine=scored.engine,
        kind=scored.kind_name,
        epoch_s=scored.epoch_s or spec.epoch_s,
        hop_s=scored.step_s,
        duration_s=scored.recording.duration,
        skipped=dict(scored.unused),
        flaws=scored.recording.flaws,
        contradictions=tuple(scored.contradictions),
        subjects=subjects,
    )
