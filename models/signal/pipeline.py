"""One stream's way from chunks to epochs: montage, timeline, conditioning, cutting, quality.

The daemon feeds it from LSL, `hypnod score` from a file: the same samples give the same epochs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from models.errors import RecordingError, SpecError, StreamError, UnitError
from models.signal.chunk import Chunk, StreamDescription
from models.signal.clock.timeline import Timeline
from models.signal.conditioning import Conditioner
from models.signal.drift import Drift, Looks
from models.signal.epochs import CutEpoch, EpochBuffer
from models.signal.features import BandLevels, Powers
from models.signal.montage import Montage, StreamChannels, misfit, unit_of, units_with
from models.signal.no_brain import check_for
from models.signal.quality import ABSENT, MAX_UV, OK, Quality, QualityLimits, doubt_unit
from models.signal.relative import Relative
from models.signal.state import Adaptation, PipelineState
from models.spec import ModelSpec, Reference

_UNIT_CHECK_S = 10.0
"""So much whole signal is held against the declared unit, s."""


@dataclass(frozen=True, slots=True)
class EpochBatch:
    """One epoch of all subjects of a stream, ready for the stager."""

    stream: str
    """The stream, as named in the config."""
    hop: int
    """Counts the points of the stream's time grid from 0."""
    onset: float
    """On the source's clock, s."""
    epochs: NDArray[np.float32]
    """(n_subjects, n_modalities, n_inputs), what the net is given."""
    usable: NDArray[np.bool_]
    """(n_subjects, n_modalities)."""
    reasons: NDArray[np.object_]
    """(n_subjects, n_modalities): `ok`, or why it cannot be used; `absent` if there is none."""
    arrived: float | None
    """When its last sample arrived, local clock, s; None where it never did."""
    after: PipelineState
    """What a restart needs to go on with the next epoch."""
    drift: NDArray[np.float64]
    """(n_subjects, n_modalities), how unlike the training animals they look; NaN where that is
    not known."""
    looks: NDArray[np.float64]
    """(n_subjects, n_modalities, features), what drift is measured from."""
    microvolts: NDArray[np.float32]
    """(n_subjects, n_modalities, n_times), filtered and no more, µV."""
    features: NDArray[np.float64]
    """(n_subjects, n_bands + 1), what `BandLevels` says of them, dB; NaN where not usable."""
    lead_off: NDArray[np.float64]
    """(n_subjects,), log odds that the EEG's lead has just come off; NaN where not known."""
    unseen_s: NDArray[np.float64]
    """(n_subjects,), how long before its end the newest sample lies of the modality of those usable
    that came last, s: what is flat or never came in between is not seen."""
    lost_s: NDArray[np.float64]
    """(n_subjects, n_modalities), how much of it never came, is no number or is flat, s."""


class Pipeline:
    """Turns the chunks of one stream into conditioned epochs of its subjects.

    Args:
        stream: the subjects and their channels.
        spec: the model the epochs are for.
        description: what the stream says of itself.
        reference: what the model's training animals look like; None: drift is not measured.
        quality: when an epoch cannot be used; default: the usual limits.
        hop_s: time between two epochs' onsets, s; default: their length.
        stall_s: see `pop_ready`, s.

    Raises:
        ConfigError, StreamError: the stream does not fit the config or the model; see `Montage`.
        SpecError: its sampling rate is too high.
    """

    def __init__(
        self,
        stream: StreamChannels,
        spec: ModelSpec,
        description: StreamDescription,
        reference: Reference | None = None,
        *,
        quality: QualityLimits | None = None,
        hop_s: float | None = None,
        stall_s: float = np.inf,
    ) -> None:
        self.description = description
        self._stream = stream
        self._spec = spec
        self._reference = reference
        self._limits = quality = quality or QualityLimits()
        self._hop_s = hop_s = hop_s or spec.epoch_s
        self._stall_s = stall_s
        sfreq, n_subjects = description.sfreq, len(stream.subjects)
        if sfreq < spec.min_sfreq:
            raise misfit(
                description,
                f"expected a sampling rate from {spec.min_sfreq:g} Hz for a {spec.species}, "
                f"found {sfreq:g} Hz",
            )
        self._montage = Montage(stream, description, spec.modalities)
        self._timeline = Timeline(sfreq, stream.jitter_s)
        self._conditioner = Conditioner(spec, sfreq, n_subjects, hop_s, quality)
        self._drift = Drift(spec, reference, n_subjects, hop_s) if reference is not None else None
        self._looks = Looks(spec, reference)
        relative = spec.relative
        self._relative = None if relative is None else Relative(spec, n_subjects, hop_s, sfreq)
        n_parts = 1 if relative is None else relative.n_parts
        n_in, n_channels = self._conditioner.n_in, self._conditioner.n_channels
        self._features = BandLevels(spec)
        self._buffer = EpochBuffer(sfreq, n_in, hop_s, n_channels)
        self._quality = Quality(quality, spec.modalities, n_subjects, sfreq, n_parts)
        self._no_brain = check_for(spec, n_subjects, sfreq, hop_s) if quality.no_brain else None
        self._absent = np.array(
            [[m not in s.channels for m in spec.modalities] for s in stream.subjects]
        )
        self._unit_check: list[NDArray[np.float64]] | None = []
        self.doubts: list[str] = []
        """What speaks against the unit of some animals of a stream, whose others it fits."""
        self._latest: tuple[float, float] | None = None

    @property
    def sfreq(self) -> float:
        """Sampling rate as the timestamps show it, Hz."""
        return self._timeline.sfreq

    @property
    def dropped(self) -> int:
        """Samples dropped because their timestamps lay in the past."""
        return self._timeline.dropped

    @property
    def timeline(self) -> Timeline:
        """What became of the timestamps."""
        return self._timeline

    def succeed(self, description: StreamDescription) -> "Pipeline":
        """Return the pipeline that goes on in the same time grid with a source that has changed.

        The filters start anew and what there is of the present epoch is lost; each channel's
        level stays.

        Raises:
            ConfigError, StreamError, SpecError: the source does not fit; see the class.
        """
        heir = Pipeline(
            self._stream,
            self._spec,
            description,
            self._reference,
            quality=self._limits,
            hop_s=self._hop_s,
            stall_s=self._stall_s,
        )
        heir._timeline.resume(self._timeline)
        if self._latest is not None:
            heir._buffer.resume(self._buffer.origin, self._buffer.next_hop)
            heir._latest = self._latest
        heir.adapt(self.adaptation)
        heir._go_on(self._recent())
        if self._unit_check is None:
            heir._unit_check = None
        return heir

    def recall(self, state: PipelineState) -> None:
        """Go on after the last epoch of another process, before the first sample.

        What is missing since then comes out as epochs with gaps.
        """
        self._timeline.recall(state.drift, state.clock_shift)
        self._buffer.resume(state.origin, state.next_hop)
        self.adapt(state.adaptation)
        self._go_on(state.recent)

    @property
    def adaptation(self) -> Adaptation:
        """What was learnt of the animals so far."""
        levels = self._conditioner.state()
        drift = {} if self._drift is None else self._drift.state()
        relative = {} if self._relative is None else self._relative.state()
        nothing = np.empty((self._absent.shape[0], self._absent.shape[1], 0))
        return Adaptation(
            level=np.asarray(levels["level"], np.float64),
            seen_s=np.asarray(levels["seen_s"], np.float64),
            averages=drift.get("averages", nothing),
            averaged_s=drift.get("seen_s", np.zeros(self._absent.shape)),
            relative_mean=relative.get("mean", nothing),
            relative_variance=relative.get("variance", nothing),
            relative_s=relative.get("seen_s", np.zeros(self._absent.shape)),
        )

    def adapt(self, adaptation: Adaptation) -> None:
        """Take what was learnt of the same animals before.

        Raises:
            SpecError: it is of other subjects, modalities, or of another reference, or not finite.
        """
        for name in Adaptation.__slots__:
            if not np.isfinite(getattr(adaptation, name)).all():
                raise SpecError(
                    f"what was learnt, {name!r}: expected numbers, found NaN or infinity"
                )
        levels = {"level": adaptation.level, "seen_s": adaptation.seen_s}
        self._conditioner.load_state(self._conditioner.state() | levels)
        if self._drift is not None:
            drift = {"averages": adaptation.averages, "seen_s": adaptation.averaged_s}
            self._drift.load_state(drift)
        if self._relative is not None:
            self._relative.load_state(
                {
                    "mean": adaptation.relative_mean,
                    "variance": adaptation.relative_variance,
                    "seen_s": adaptation.relative_s,
                }
            )

    def _recent(self) -> Mapping[str, NDArray[np.generic]]:
        recent: dict[str, NDArray[np.generic]] = {}
        if self._relative is not None:
            recent |= self._relative.recent()
        if self._no_brain is not None:
            recent |= self._no_brain.recent()
        return recent

    def _go_on(self, recent: Mapping[str, NDArray[np.generic]]) -> None:
        if self._relative is not None:
            self._relative.load_recent(recent)
        if self._no_brain is not None:
            self._no_brain.load_recent(recent)

    def explain_drift(self, subject: int, modality: int) -> str:
        """Say in what a subject differs most from the training animals, for a person."""
        return "" if self._drift is None else self._drift.explain(subject, modality)

    def count_from(self, hop: int) -> None:
        """Give this number to the point of the grid that the first sample is."""
        self._buffer.resume(np.nan, hop)

    def push(self, chunk: Chunk) -> None:
        """Take the samples of one pull.

        Raises:
            StreamError: none of the first second of samples has a timestamp that can be a time.
        """
        data = self._montage.apply(chunk.data)
        for run in self._timeline.place(chunk.timestamps, chunk.arrived):
            raw = data[run.samples]
            filtered, settling = self._conditioner.filter(raw, restart=run.after_gap)
            self._buffer.append(
                run.times, raw, filtered, settling, after_gap=run.after_gap, arrived=chunk.arrived
            )
            self._latest = (float(run.times[-1]), chunk.arrived)
        if np.isnan(self._timeline.last) and self._timeline.strange >= self.description.sfreq:
            raise StreamError(
                f"stream {self._stream.name!r}: expected timestamps in s, found "
                f"{chunk.timestamps[-1]:.15g}, which is none; is it in ms or µs? Let the source "
                "stamp with the LSL clock, or leave that to LSL"
            )

    def pop_ready(self, now: float | None = None, most: int | None = None) -> list[EpochBatch]:
        """Return the epochs that became ready, in order.

        Args:
            now: local clock, s. Where the source has been silent for `stall_s`, epochs that
                ended that long ago are given up and returned with what there is of them.
            most: return no more than so many; the next call returns the others.

        Raises:
            UnitError: the first epochs' amplitudes contradict the unit of every animal of a stream.
            RecordingError: they contradict that of one in a recording.
        """
        overdue = -np.inf
        if now is not None and self._latest is not None:
            time, arrived = self._latest
            if now - arrived > self._stall_s:
                overdue = time + (now - arrived) - self._stall_s
        return [self._batch(cut) for cut in islice(self._buffer.pop(overdue), most)]

    def _batch(self, cut: CutEpoch) -> EpochBatch:
        found = self._quality.assess(cut.raw, cut.missing, cut.settling)
        reasons, lost = found.reasons, found.lost
        reasons[self._absent] = ABSENT
        lead_off = np.full(len(reasons), np.nan)
        if self._no_brain is not None:
            lead_off = self._no_brain.mark(cut.raw, cut.hop, reasons)
        usable = reasons == OK
        self._check_units(cut)
        microvolts = self._conditioner.resample(cut.filtered)
        whole = usable & ~lost.any(axis=-1)
        normalised = self._conditioner.normalise(microvolts, whole)
        looks = self._looks(normalised)
        drift = np.full(usable.shape, np.nan)
        if self._drift is not None:
            drift = self._drift.update(looks, whole)
        powers = Powers(microvolts, self._spec.sfreq, usable)
        given = normalised
        if self._relative is not None:
            given = self._relative(powers, usable, lost)
        return EpochBatch(
            stream=self._stream.name,
            hop=cut.hop,
            onset=cut.onset,
            epochs=given,
            usable=usable,
            reasons=reasons,
            arrived=cut.arrived,
            after=self._state(),
            drift=drift,
            looks=looks,
            microvolts=microvolts,
            features=self._features(powers, whole),
            lead_off=lead_off,
            unseen_s=np.where(usable, found.unseen_s, 0.0).max(axis=1),
            lost_s=found.lost_s,
        )

    def _state(self) -> PipelineState:
        return PipelineState(
            origin=self._buffer.origin,
            next_hop=self._buffer.next_hop,
            newest=self._timeline.last,
            drift=self._timeline.drift,
            clock_shift=self._timeline.clock_shift,
            adaptation=self.adaptation,
            recent=self._recent(),
        )

    def _check_units(self, cut: CutEpoch) -> None:
        """Hold the first whole epochs' amplitudes against each animal's unit, once."""
        if self._unit_check is None or cut.missing.any():
            return
        rms = cut.filtered.std(axis=0, dtype=np.float64)
        raw = np.where(np.isfinite(cut.raw), cut.raw, 0.0)
        beyond = np.median(np.abs(raw), axis=0) > MAX_UV  # not filtered; the unit may be why
        rms = np.where(beyond, raw.std(axis=0), rms).reshape(self._absent.shape)
        self._unit_check.append(np.where(self._absent, np.nan, rms))
        if len(self._unit_check) < max(1, round(_UNIT_CHECK_S / self._hop_s)):
            return
        typical = np.median(np.stack(self._unit_check), axis=0)  # NaN where absent
        self._unit_check = None
        n_present = np.count_nonzero(~self._absent, axis=0)
        every = range(self._spec.n_modalities)
        right = {m for m in every if len(self._doubts(m, typical)) < n_present[m]}
        for m in every:
            apart = bool(right - {m})
            doubts = self._doubts(m, typical, apart=apart)
            if doubts and self.description.is_file:
                raise RecordingError(f"{self.description.name}: {doubts[0]}")
            is_set = unit_of(self._stream, self._spec.modalities[m]) is not None
            if doubts and len(doubts) == n_present[m] and not is_set:
                raise UnitError(f"stream {self.description.name!r}: {doubts[0]}")
            # a lead that is off may look so: the stream goes on
            self.doubts += self._doubts(m, typical, apart=apart, sure=False)

    def _doubts(
        self, m: int, rms_uv: NDArray[np.float64], *, apart: bool = False, sure: bool = True
    ) -> list[str]:
        """Return what speaks against a modality's unit, a sentence for each animal."""
        modality, doubts = self._spec.modalities[m], []
        advised = partial(units_with, self._stream, modality, apart=apart)
        for s in np.flatnonzero(~self._absent[:, m]).tolist():
            unit = self._montage.units[s * self._spec.n_modalities + m]
            whose = f"{modality} of {self._stream.subjects[s].name}"
            rms = float(rms_uv[s, m])
            doubt = doubt_unit(rms, unit, whose, self.description, advised, sure=sure)
            doubts += [doubt] * bool(doubt)
        return doubts
