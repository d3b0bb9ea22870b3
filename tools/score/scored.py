"""A staged recording: its hypnograms, at the model's epochs or longer ones, and the expert's."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from daemon.messages import Kind
from daemon.stager import Estimate
from engines.bundle import Bundle
from models.errors import SpeciesError
from models.recordings.agreement import Agreement, compare
from models.recordings.hypnogram import Hypnogram
from models.recordings.hypnograms.account import HypnogramAccount
from models.recordings.open import Recording
from models.signal.montage import StreamChannels
from models.spec import ModelSpec
from models.species import contradict
from tools.score.aggregate import aggregate
from tools.score.drift import Drifts, doubts


@dataclass(frozen=True, kw_only=True)
class StagedBy:
    """What staged a recording."""

    name: str
    """Of the bundle, or of the teacher."""
    hash: str
    """SHA-256 of what it follows from."""
    spec: ModelSpec
    """What it reads and says."""
    has_grammar: bool
    """Whether the evidence is not what the stages are taken from."""
    kinds: Mapping[Kind, str]
    """The estimates that there are, and what they are called."""


def by_bundle(bundle: Bundle) -> StagedBy:
    """Return what there is to say of a bundle that staged as live."""
    return StagedBy(
        name=bundle.manifest.name,
        hash=bundle.hash,
        spec=bundle.spec,
        has_grammar=bundle.manifest.grammar is not None,
        kinds={"live": "live", "final": "final"},
    )


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A staged recording, with all that the outputs need."""

    recording: Recording
    stream: StreamChannels
    by: StagedBy
    engine: str
    kind: Kind
    """Which estimates make the hypnogram."""
    hop_s: float
    """From one live estimate to the next, s."""
    epoch_s: float | None = None
    """Length of the epochs to give out, s; default: one for each estimate."""
    estimates: Sequence[Estimate]
    references: Mapping[str, Hypnogram]
    """What someone else says, by subject."""
    accounts: Mapping[str, HypnogramAccount] = field(default_factory=dict)
    """What was read of that, by subject."""
    reference_name: str
    unused: Mapping[str, str] = field(default_factory=dict)
    """Why channels of the file are nobody's, by label."""
    drift: Drifts
    """Of each subject, by modality."""

    @property
    def kind_name(self) -> str:
        """What the estimates are called that make the hypnogram."""
        return self.by.kinds[self.kind]

    @property
    def by_whom(self) -> str:
        """Who staged it, and which estimates these are, in words."""
        kind = "" if self.by.name == self.kind_name else f", {self.kind_name} estimates"
        return f"{self.by.name} {self.by.hash[:12]}{kind}"

    @property
    def staged_by(self) -> str:
        """The same in files, where nobody is to take its stages for an expert's."""
        return f"hypnod: {self.by_whom}"

    @property
    def step_s(self) -> float:
        """From one epoch given out to the next, s."""
        return self.step_of(self.kind)

    def step_of(self, kind: Kind) -> float:
        """Return the time from one epoch of a kind to the next that is given out, s."""
        return max(self.epoch_s or 0.0, self._apart_s(kind))

    def _apart_s(self, kind: Kind) -> float:
        """Return how far apart the estimates of a kind are, s."""
        return self.by.spec.epoch_s if kind == "final" else self.hop_s

    @cached_property
    def _estimates(self) -> Mapping[tuple[str, Kind], list[Estimate]]:
        nights: dict[tuple[str, Kind], list[Estimate]] = defaultdict(list)
        for estimate in self.estimates:
            nights[estimate.subject, estimate.kind].append(estimate)
        return nights

    @cached_property
    def _epochs(self) -> dict[tuple[str, Kind], list[Estimate]]:
        return {
            (subject.name, kind): self._at(subject.name, kind, self.step_of(kind))
            for subject in self.stream.subjects
            for kind in self.by.kinds
        }

    def _at(self, subject: str, kind: Kind, epoch_s: float, every: int = 1) -> list[Estimate]:
        estimates = self._estimates[subject, kind][::every]
        return aggregate(estimates, every * self._apart_s(kind), epoch_s, self.by.spec.stages)

    def epochs(self, subject: str, kind: Kind | None = None) -> list[Estimate]:
        """Return one subject's estimates of a kind (default: the chosen one), by epoch."""
        return self._epochs[subject, kind or self.kind]

    def hypnogram(self, subject: str) -> list[str]:
        """Return the stage of each epoch of one subject."""
        return [e.stage for e in self.epochs(subject)]

    def reference(self, subject: str) -> list[str] | None:
        """Return what the other hypnogram says of each epoch."""
        if subject not in self.references:
            return None
        return self.references[subject].to_epochs(self.step_s, len(self.epochs(subject)))

    def compared_epoch_s(self, subject: str) -> float | None:
        """Return the epochs of the comparison: the other hypnogram's, if they are longer, s."""
        if subject not in self.references:
            return None
        own_s = max(self.step_s, self.by.spec.epoch_s)
        return max(own_s, self.references[subject].epoch_s or 0.0)

    @property
    def contradictions(self) -> list[str]:
        """What speaks against the recording being of such animals as the model was trained on."""
        labels = (*self.recording.ch_names, *self.recording.skipped)
        found = contradict(labels, self.by.spec)
        return [*([] if found is None else [found]), *doubts(self.drift)]

    def agreement(self, subject: str) -> Agreement | None:
        """Return how far the two agree."""
        epoch_s = self.compared_epoch_s(subject)
        if epoch_s is None:
            return None
        # epochs of a short hop overlap: those that do not are compared
        every = 1 if self.epoch_s else round(self.by.spec.epoch_s / self.step_s)
        found = [e.stage for e in self._at(subject, self.kind, epoch_s, every)]
        truth = self.references[subject].to_epochs(epoch_s, len(found))
        return compare(truth, found, self.by.spec.stages)


def refuse(
    file: Path, contradictions: Sequence[str | None], *, anyway: bool, how: str = "--anyway"
) -> None:
    """Raise SpeciesError where something contradicts the species of the bundle, unless told.

    Args:
        file: the recording.
        contradictions: what speaks against it.
        anyway: whether that is no matter.
        how: to say so.
    """
    found = "; ".join(filter(None, contradictions))
    if found and not anyway:
        raise SpeciesError(f"{file}: {found}; {how} stages it all the same")
