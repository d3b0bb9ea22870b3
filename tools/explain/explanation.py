"""What a decision rests on, in numbers; docs/explain.md says what each can and cannot tell.

Attention is where the net looked. `support` is what it counted for: by how much the log-odds of
the decided stage, in the net's own evidence, fall when a part is taken out; below 0 the part spoke
against the stage. What is taken out is masked, silenced, or set to what is usual: see each.
"""

from datetime import timedelta
from typing import Annotated

import msgspec

Natural = Annotated[int, msgspec.Meta(ge=0)]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One of the pieces of its epoch that an encoder attends to."""

    name: str
    start_s: float | None
    """Within the epoch, s; null: a running mean, which reaches back beyond it."""
    stop_s: float | None
    attention: float
    """Mean over heads and layers, of differential attention of both softmaxes' difference, in
    even shares: 1 is what a piece would have if one softmax looked at all alike."""
    undifferenced: float | None
    """What the first softmax alone would give, for the same sum; what attention is above it was
    amplified, below it suppressed. Null: attention is not differential."""
    support: float
    """Nats. Taken out: samples are silenced, levels set to the subject's usual ones."""


class Band(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A feature of a modality, for nets of levels."""

    modality: str
    name: str
    low_hz: float | None
    high_hz: float | None
    level: float
    """Of the epoch, SDs from the subject's own running mean; mean over its parts."""
    support: float
    """Nats. Taken out: the feature is as usual in the epoch and its running means."""


class Slot(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One epoch of the context window."""

    onset_s: float
    """Since the recording's first sample, s."""
    stage: str
    """By the same kind of estimate; empty before the recording."""
    valid: dict[str, bool]
    """By modality: False is masked."""
    attention: float
    """Share of what the epoch's own tokens attend to: mean over heads, layers and these tokens,
    summed over the modalities."""
    support: float
    """Nats. Taken out: all of the slot is masked, of the decided epoch too."""


class Explanation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One decision and what it rests on."""

    file: str
    subject: str
    model: str
    """Name of the bundle, and the first digits of its hash."""
    kind: str
    onset_s: float
    """Of the epoch, since the recording's first sample, s."""
    clock: str | None
    """The same on the recorder's clock; null where the file hides it."""
    epoch_s: float
    stage: str
    probabilities: dict[str, float]
    """With the grammar, as `hypnod score` gives them."""
    evidence: dict[str, float]
    """The net's own; attention and support are of these."""
    pathway: str
    validity: dict[str, str]
    """By modality `ok`, or why the epoch was staged without it."""
    slot: Natural
    """Of the epoch in the window, from 0."""
    window: tuple[Slot, ...]
    parts: dict[str, tuple[Part, ...]]
    """By modality that was usable; one alone tells nothing within an epoch."""
    bands: tuple[Band, ...]
    """Empty: the net is given samples."""
    modalities: dict[str, float]
    """Support by modality, nats. Taken out: it is masked in all of the window. Empty where one
    alone was read."""

    @property
    def when(self) -> str:
        """The epoch's onset, for people."""
        if self.clock is not None:
            return self.clock[11:19]
        return f"{timedelta(seconds=round(self.onset_s))} after the first sample"

    @property
    def alone(self) -> str:
        """What the net's own evidence says, without the grammar."""
        return max(self.evidence, key=lambda stage: self.evidence[stage])

    @property
    def own(self) -> Slot:
        """The decided epoch."""
        return self.window[self.slot]
