"""Whether an epoch of a modality can be used, and if not, why."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Annotated, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.signal.chunk import StreamDescription
from models.signal.montage import Unit, Units, advise_unit, microvolts_in

OK = "ok"
MISSING = "missing"
ABSENT = "absent"
"""No channel of a subject is of this modality: nothing is amiss, and nothing of it is told."""
NOT_FINITE = "not_finite"
FLAT = "flat"
CLIPPED = "clipped"
OUT_OF_RANGE = "out_of_range"
SETTLING = "settling"
MAINS = "mains"
NO_BRAIN = "no_brain"

NO_SIGNAL = frozenset({MISSING, NOT_FINITE, FLAT})
"""Reasons for UNKNOWN; the others are artefacts."""

MAX_UV = 1e6
"""No sample of an electrode lies further from 0, µV: half-cells give some 300 mV at most, which
amplifiers are built to bear, and this is three times that. What does is never filtered."""

_MOST_LOST = 0.5
"""Share of an epoch's seconds. People are scored by what is left of an epoch until more than half
of it is obscured (AASM Manual for the Scoring of Sleep and Associated Events, major body movement);
a mouse's epoch of one second is lost with that second."""

_PLAUSIBLE_RMS_UV = (5.0, 2000.0)  # of any EEG, EMG or EOG, epoch by epoch
_UNITS: dict[Unit, float] = {"µV": 1.0, "mV": 1e3, "V": 1e6, "nV": 1e-3}

Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]


def within_range(x: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Tell which samples (µV, any shape) are finite and not beyond `MAX_UV`."""
    within: NDArray[np.bool_] = np.abs(x) <= MAX_UV
    return within


class ModalityLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a usable epoch of one modality looks like."""

    min_rms_uv: Annotated[float, msgspec.Meta(ge=0, le=MAX_UV)]
    """A second is flat below this standard deviation, µV, and an epoch when more than half of its
    seconds are."""
    max_abs_uv: Annotated[float, msgspec.Meta(gt=0, le=MAX_UV)]
    """A sample further than this from the epoch's mean is out of range, µV. One that is further
    from 0 after the high-pass filter makes it ring, and the epochs until that is gone settling."""
    max_out_of_range: Fraction = 0.01
    """Fraction of a second's samples out of range, or settling, above which that second is lost;
    the latter from the first one that is, so that it counts alike wherever in it it begins. An
    epoch is an artefact when more than half of its seconds are lost."""


class QualityLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When an epoch of one modality cannot be used."""

    max_missing: Fraction = 0.02
    """Fraction of a part's samples missing above which it is lost. Levels of people are measured in
    parts of 3 s, and an epoch is missing when more than half of its parts are lost; the parts of
    other models are whole epochs. The mean of the others stands for a part that is lost, and for
    one with a flat second."""
    max_not_finite: Fraction = 0.02
    """Fraction of the epoch's samples that may be NaN or infinite; they are held."""
    max_clipped: Fraction = 0.05
    """Fraction of a second's samples at one and the same extreme value of the epoch above which
    that second is clipped; an epoch is when more than half of its seconds are."""
    max_mains: Fraction = 0.8
    """Fraction of the power at the mains frequency above which it is mains hum."""
    mains_hz: Literal[50, 60] = 50
    """Mains frequency, Hz."""
    no_brain: bool = True
    """Whether EEG, or a person's EOG, that is steady noise, as of a lead that came off, is an
    artefact (`no_brain`) after about ten seconds, and the EMG with it where it is as steady; and
    whether rules switch nothing on from some three seconds after it began (`lead_off` of messages;
    only for mice)."""
    eeg: ModalityLimits = ModalityLimits(min_rms_uv=0.5, max_abs_uv=3000.0)
    """Amplitude limits of EEG."""
    emg: ModalityLimits = ModalityLimits(min_rms_uv=0.1, max_abs_uv=5000.0)
    """Amplitude limits of EMG."""
    eog: ModalityLimits = ModalityLimits(min_rms_uv=0.5, max_abs_uv=3000.0)
    """Amplitude limits of EOG."""


class Assessment(NamedTuple):
    """What was found of an epoch of all subjects of a stream."""

    reasons: NDArray[np.object_]
    """(n_subjects, n_modalities) of str: `ok` or the gravest reason."""
    lost: NDArray[np.bool_]
    """(n_subjects, n_modalities, n_parts), the parts that lack too many samples, or are flat for a
    second."""
    unseen_s: NDArray[np.float64]
    """(n_subjects, n_modalities), how long before the end of the epoch the newest sample came that
    is not in a flat second, s."""
    lost_s: NDArray[np.float64]
    """(n_subjects, n_modalities), how much of the epoch never came, is no number or is flat, s."""


class Quality:
    """The checks of all channels of one stream.

    Args:
        limits: the thresholds.
        modalities: in the model's order.
        n_subjects: subjects of the stream.
        sfreq: sampling rate of the raw samples, Hz.
        n_parts: equal parts of an epoch that a model can do without.
    """

    def __init__(
        self,
        limits: QualityLimits,
        modalities: Sequence[str],
        n_subjects: int,
        sfreq: float,
        n_parts: int = 1,
    ) -> None:
        each: list[ModalityLimits] = [getattr(limits, m) for m in modalities] * n_subjects
        self._limits = limits
        self._shape = (n_subjects, len(modalities))
        self._sfreq = sfreq
        self._n_parts = n_parts
        self._min_rms = np.array([limit.min_rms_uv for limit in each])
        self._max_abs = np.array([limit.max_abs_uv for limit in each])
        self._max_out = np.array([limit.max_out_of_range for limit in each])

    def assess(
        self,
        raw: NDArray[np.float64],
        missing: NDArray[np.bool_],
        settling: NDArray[np.bool_],
    ) -> Assessment:
        """Judge an epoch.

        Args:
            raw: (n_in, n_channels), µV, NaN where missing.
            missing: (n_in,), the samples that never came.
            settling: (n_in, n_channels), where the filter rings of what was out of range.
        """
        limits, n = self._limits, len(raw)
        x = raw.T.copy()
        within = within_range(x)
        n_finite = np.isfinite(x).sum(axis=1)
        x[~within] = 0.0
        parts = _parts(n, max(1, round(n / self._sfreq)))  # its seconds
        counts = np.add.reduceat(within, parts.begins, axis=1, dtype=np.int64)
        sums = np.add.reduceat(x, parts.begins, axis=1)
        n_within = counts.sum(axis=1)
        mean = (sums.sum(axis=1) / np.maximum(n_within, 1))[:, None]
        x -= mean
        x[~within] = 0.0
        powers = np.add.reduceat(np.square(x), parts.begins, axis=1)
        power = powers.sum(axis=1) / np.maximum(n_within, 1)
        out = (np.abs(x) > self._max_abs[:, None]) | (np.isfinite(raw.T) & ~within)
        hum = self._mains_power(x) / np.maximum(power, 1e-12)
        reasons = np.full(len(x), OK, dtype=object)
        flat = self._flat(counts, sums - counts * mean, powers)
        never_came = _fractions(missing[None], _parts(n, self._n_parts)) > limits.max_missing
        lost = never_came | _any(flat, self._n_parts)
        # From the least to the most telling: the later one stands.
        beyond = _fractions(out, parts) > self._max_out
        clipped = _clipped(x, within, parts) > limits.max_clipped
        if settling.any():  # seldom, and an epoch of people has many seconds
            seconds = np.split(settling, parts.begins[1:])
            rings = [_ringing(second) > self._max_out for second in seconds]
            reasons[_lost(np.logical_or(rings, beyond))] = SETTLING
        reasons[hum > limits.max_mains] = MAINS
        reasons[_lost(beyond)] = OUT_OF_RANGE
        reasons[_lost(clipped)] = CLIPPED
        reasons[_lost(flat | (_fractions(missing[None], parts) == 1))] = FLAT
        reasons[n_within == 0] = OUT_OF_RANGE
        n_came = n - np.count_nonzero(missing)
        reasons[n_came - n_finite > limits.max_not_finite * n] = NOT_FINITE
        reasons[n_finite == 0] = NOT_FINITE
        if _lost(never_came).all():  # of all channels alike
            reasons[:] = MISSING
        return Assessment(
            reasons.reshape(self._shape),
            lost.T.reshape(*self._shape, -1),
            self._unseen_s(within, flat, parts).reshape(self._shape),
            (n - np.where(flat.T, 0, counts).sum(axis=1)).reshape(self._shape) / self._sfreq,
        )

    def _flat(
        self,
        counts: NDArray[np.int64],
        sums: NDArray[np.float64],
        powers: NDArray[np.float64],
    ) -> NDArray[np.bool_]:
        """Tell which seconds came and hardly move, (n_seconds, n_channels).

        Args:
            counts: (n_channels, n_seconds), of the samples that count.
            sums: likewise, of these.
            powers: likewise, of their squares.
        """
        at_least_one = np.maximum(counts, 1)
        variance = np.maximum(powers / at_least_one - np.square(sums / at_least_one), 0.0)
        flat: NDArray[np.bool_] = (variance < np.square(self._min_rms)[:, None]) & (counts > 0)
        return flat.T

    def _unseen_s(
        self, within: NDArray[np.bool_], flat: NDArray[np.bool_], parts: "_Parts"
    ) -> NDArray[np.float64]:
        """Return for how long nothing came at the end but flat seconds, (n_channels,)."""
        if within[:, -1].all() and not flat[-1].any():  # nearly always
            return np.zeros(len(within))
        seen = within & ~np.repeat(flat.T, parts.lengths, axis=1)
        newest = np.where(seen.any(axis=1), seen[:, ::-1].argmax(axis=1), seen.shape[1])
        return np.asarray(newest / self._sfreq, np.float64)

    def _mains_power(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean power at the mains frequency of (n_channels, n_in); (n_channels,), µV²."""
        wave = _wave(self._limits.mains_hz / self._sfreq, x.shape[1])
        return np.asarray(2.0 * np.square(x @ wave).sum(axis=1) / x.shape[1] ** 2, np.float64)


@lru_cache
def _wave(frequency: float, n: int) -> NDArray[np.float64]:
    """Return cosine and sine of so many periods a sample, (n, 2)."""
    phase = 2 * np.pi * frequency * np.arange(n)
    return np.stack([np.cos(phase), np.sin(phase)], axis=1)


class _Parts(NamedTuple):
    """Equal parts of an epoch, (n_parts,) each."""

    begins: NDArray[np.int64]
    lengths: NDArray[np.int64]


@lru_cache
def _parts(n: int, n_parts: int) -> _Parts:
    """Return the parts of an epoch of n samples."""
    edges = np.linspace(0, n, n_parts + 1).round().astype(np.int64)
    return _Parts(edges[:-1], np.diff(edges))


def _fractions(samples: NDArray[np.bool_], parts: _Parts) -> NDArray[np.float64]:
    """Return the fraction of each part's samples, (n_channels, n), as (n_parts, n_channels)."""
    counts = np.add.reduceat(samples, parts.begins, axis=1, dtype=np.int64)
    return np.asarray((counts / parts.lengths).T, np.float64)


def _lost(parts: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which channels' epochs are lost with so many of their parts, (n_parts, n_channels)."""
    lost: NDArray[np.bool_] = parts.sum(axis=0) > _MOST_LOST * len(parts)
    return lost


def _any(seconds: NDArray[np.bool_], n_parts: int) -> NDArray[np.bool_]:
    """Tell in which parts of an epoch any of its seconds is, (n_seconds, n_channels)."""
    if n_parts > len(seconds):
        return np.repeat(seconds, _parts(n_parts, len(seconds)).lengths, axis=0)
    return np.logical_or.reduceat(seconds, _parts(len(seconds), n_parts).begins, axis=0)


def _clipped(
    x: NDArray[np.float64], within: NDArray[np.bool_], parts: _Parts
) -> NDArray[np.float64]:
    """Return the fraction of each second at the epoch's highest or lowest value, the larger."""
    at_top = within & (x == x.max(axis=1)[:, None])
    at_bottom = within & (x == x.min(axis=1)[:, None])
    return np.maximum(_fractions(at_top, parts), _fractions(at_bottom, parts))


def _ringing(settling: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Fraction of samples that are settling, from each channel's first one on; (n_channels,).

    What begins in an epoch's last samples is as large as what begins in its middle, and rings on;
    what ends in its first ones is all but gone.
    """
    since = len(settling) - settling.argmax(axis=0)
    fraction: NDArray[np.float64] = np.count_nonzero(settling, axis=0) / since
    return fraction


def doubt_unit(
    rms_uv: float,
    declared: str,
    whose: str,
    description: StreamDescription,
    advised: Callable[[Unit], Units] = lambda unit: unit,
    *,
    sure: bool = True,
) -> str:
    """Say that an amplitude fits another unit than the declared one; nothing where it does not.

    Args:
        rms_uv: typical standard deviation of a channel's epochs, in µV as declared.
        declared: unit in the stream's description, or as the user says it.
        whose: modality and subject, for the message.
        description: of the stream or recording.
        advised: the units to set where this one is another.
        sure: only where no wire gives it; else also where a wire that is off might, but so does
            the least signal in µV that is declared as mV.
    """
    low, high = _PLAUSIBLE_RMS_UV
    most = high * 10 if sure or microvolts_in(declared, whose, description) <= 1 else low * 1e3
    if low / 10 <= rms_uv <= most or rms_uv == 0:
        return ""
    for unit, microvolts in _UNITS.items():
        if low <= rms_uv / microvolts_in(declared, whose, description) * microvolts <= high:
            return (
                f"expected {whose} of {low:g} to {high:g} µV rms, found {rms_uv:.3g} µV with the "
                f"declared unit {declared}; the values look like {unit}: "
                f"{advise_unit(advised(unit), description)}"
            )
    return ""
