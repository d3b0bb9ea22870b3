"""Causal conditioning of the signal: the same code conditions training data and live data.

A `Conditioner` owns, for all channels of one stream at once, the filter, the resampling of a
cut epoch to the model's rate, and the running normalisation. Every step is causal and a
per-sample (filter) or per-epoch (normaliser) recursion, so how the samples were chunked
cannot change a single bit of the result.

Columns are subject-major: channel = subject × n_modalities + modality.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import signal, sparse

from models.errors import SpecError
from models.signal.chunk import MAX_SFREQ
from models.signal.quality import QualityLimits, within_range
from models.signal.state import check_shapes
from models.spec import Band, ModelSpec

_INTERPOLATION_TAPS = 8
_MAD_TO_SD = 1.4826  # of a normal distribution
_MAX_LOG_STEP = 1.0  # an epoch pulls the running log amplitude at most as if e-fold away
_MAX_AMPLITUDE_RATIO = 20.0  # an epoch pulls the running standard deviation at most as if so large
_MIN_AMPLITUDE = 1e-3  # µV; a flatter epoch would be divided by nothing
_N_FIRST = 3  # good samples whose median a channel starts from: one of them may be out of range
_GONE_UV = 0.3  # ringing below this is gone: it adds to some µV in the slow bands of a quiet EEG

Floats = NDArray[np.float64]


class Conditioner:
    """Filter, resample and normalise all subjects of one stream.

    Args:
        spec: the model the epochs are for.
        sfreq: the stream's nominal sampling rate, from `spec.min_sfreq` to MAX_SFREQ, Hz.
        n_subjects: subjects in the stream.
        hop_s: seconds between epochs; default: `spec.epoch_s`.
        limits: what of the signal is out of range; default: the usual limits.

    Raises:
        SpecError: `sfreq` is out of range.
    """

    def __init__(
        self,
        spec: ModelSpec,
        sfreq: float,
        n_subjects: int,
        hop_s: float | None = None,
        limits: QualityLimits | None = None,
    ) -> None:
        check_sfreq(spec, sfreq)
        self.spec = spec
        self.sfreq = sfreq
        self.n_subjects = n_subjects
        self.n_channels = n_subjects * spec.n_modalities
        self.n_in = round(sfreq * spec.epoch_s)
        self._hop_s = spec.epoch_s if hop_s is None else hop_s
        self._sos = [design_filter(band, sfreq) for band in spec.bands]
        self._zi = [np.zeros((len(sos), n_subjects, 2)) for sos in self._sos]
        limits = limits or QualityLimits()
        self._max_uv = [float(getattr(limits, m).max_abs_uv) for m in spec.modalities]
        self._memory = [_design_memory(sos) for sos in self._sos]
        self._ringing = np.zeros((self.n_channels, 1))
        self._firsts = np.full((self.n_channels, _N_FIRST), np.inf)  # not seen yet
        self._settled = np.zeros(self.n_channels, bool)
        self._last = np.zeros(self.n_channels)
        self._interpolate = interpolation_matrix(sfreq, spec.sfreq, self.n_in, spec.n_times)
        self._level = np.zeros((n_subjects, spec.n_modalities))
        self._seen_s = np.zeros((n_subjects, spec.n_modalities))

    def filter(
        self, data: NDArray[np.floating], *, restart: bool = False
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Filter contiguous samples, going on from the previous call.

        A sample that is not finite, or beyond `quality.MAX_UV`, is filtered as the last good one
        of its channel; whoever cuts epochs decides whether they still count. A channel starts
        settled on the median of its first three good samples, as which they are read: neither a
        constant offset nor one number that the source was switched on with leaves a transient.

        Args:
            data: (n_samples, n_channels), µV.
            restart: samples are missing before these; start anew.

        Returns:
            The filtered samples (n_samples, n_channels) float32, µV; and of each whether the
            filter still rings of samples further from 0, once it has taken their slow part away,
            than the limits allow.
        """
        if restart:
            self._settled[:] = False
            self._firsts[:] = np.inf
        if len(data) == 0:
            shape = (0, self.n_channels)
            return np.zeros(shape, np.float32), np.zeros(shape, bool)
        x = np.array(data.T, dtype=np.float64, order="C")  # a copy: _settle writes into it
        start, level = self._settle(x)
        high, out = np.empty_like(x), np.empty_like(x)
        n_modalities = self.spec.n_modalities
        for m, sos in enumerate(self._sos):
            columns = slice(m, None, n_modalities)
            high[columns], out[columns], self._zi[m] = _filter(sos, x[columns], self._zi[m])
        for channel in np.flatnonzero(start).tolist():
            high[channel], out[channel] = self._filter_from(
                channel, start[channel], level[channel], x[channel]
            )
        return out.T.astype(np.float32), (self._follow_ringing(high) > _GONE_UV).T

    def _follow_ringing(self, high: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how far the filter may still ring of what was out of range, µV.

        Args:
            high: (n_channels, n_samples), high-passed and no more, µV.
        """
        ringing = np.empty_like(high)
        for m, (b, a) in enumerate(self._memory):
            columns = slice(m, None, self.spec.n_modalities)
            far = np.abs(high[columns])
            far[far <= self._max_uv[m]] = 0.0
            ringing[columns], zi = signal.lfilter(b, a, far, zi=self._ringing[columns])
            self._ringing[columns] = zi
        return ringing

    def _settle(self, x: Floats) -> tuple[NDArray[np.intp], Floats]:
        """Hold samples that are none in place, and find where channels start.

        Returns:
            (n_channels,) index of the first sample, 0 where it goes on, n_samples where it does not
            start yet; (n_channels,) the value on which those that start are settled, µV.
        """
        start, level = np.zeros(self.n_channels, np.intp), np.zeros(self.n_channels)
        within = within_range(x)
        for channel in np.flatnonzero(~self._settled | ~within.all(axis=1)).tolist():
            good = np.flatnonzero(within[channel])
            if not self._settled[channel]:
                wanted = np.flatnonzero(np.isinf(self._firsts[channel]))
                firsts = good[: len(wanted)]
                self._firsts[channel, wanted[: len(firsts)]] = x[channel, firsts]
                if len(firsts) < len(wanted):
                    x[channel] = 0.0
                    start[channel] = x.shape[1]
                    continue
                start[channel] = firsts[-1]
                level[channel] = x[channel, firsts[-1]] = np.median(self._firsts[channel])
                self._settle_filter(channel, level[channel])
            before = np.maximum.accumulate(np.where(within[channel], np.arange(x.shape[1]), -1))
            held = np.where(before < 0, self._last[channel], x[channel, np.maximum(before, 0)])
            x[channel] = held
        settled = start < x.shape[1]
        self._last[settled] = x[settled, -1]
        self._settled |= settled
        return start, level

    def _settle_filter(self, channel: int, level: float) -> None:
        """Put one channel's filter in the state of having seen this value forever."""
        subject, modality = divmod(channel, self.spec.n_modalities)
        zi = signal.sosfilt_zi(self._sos[modality]) * level
        self._zi[modality][:, subject] = zi
        self._ringing[channel] = 0.0

    def _filter_from(
        self, channel: int, start: int, level: float, x: Floats
    ) -> tuple[Floats, Floats]:
        """Filter one channel that starts inside this chunk (rare)."""
        high, out = np.zeros_like(x), np.zeros_like(x)
        if start < len(x):
            subject, modality = divmod(channel, self.spec.n_modalities)
            sos = self._sos[modality]
            settled = signal.sosfilt_zi(sos) * level
            high[start:], out[start:], zi = _filter(sos, x[start:], settled)
            self._zi[modality][:, subject] = zi
        return high, out

    def resample(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring the filtered samples of one epoch to the model's rate.

        Args:
            samples: (n_in, n_channels), the epoch's first sample first.

        Returns:
            (n_subjects, n_modalities, n_times) float32, µV.
        """
        if self._interpolate is not None:
            samples = self._interpolate @ samples
        shape = (self.n_subjects, self.spec.n_modalities, self.spec.n_times)
        return np.ascontiguousarray(samples.T, dtype=np.float32).reshape(shape)

    def normalise(
        self, epochs: NDArray[np.float32], usable: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Divide by each channel's running amplitude, which the usable epochs update first.

        The running amplitude is an exponentially forgetting Huber estimate of the mean log
        of the epochs' robust standard deviation (1.4826 × median |x|), or the root of such a
        mean of their x², as `spec.amplitude` says; until `spec.normaliser_s` seconds were seen,
        all epochs weigh the same.

        Args:
            epochs: (n_subjects, n_modalities, n_times), µV.
            usable: (n_subjects, n_modalities); the others change nothing.

        Returns:
            float32 of the same shape, in amplitudes, limited to ± `spec.clip`.
        """
        first = usable & (self._seen_s == 0)
        self._seen_s = np.where(
            usable, np.minimum(self._seen_s + self._hop_s, self.spec.normaliser_s), self._seen_s
        )
        gain = self._hop_s / np.maximum(self._seen_s, self._hop_s)
        follow = self._follow_sd if self.spec.amplitude == "sd" else self._follow_robust
        self._level = np.where(usable, follow(epochs, gain, first), self._level)
        scaled = epochs * np.exp(-self._level)[..., None].astype(np.float32)
        return np.clip(scaled, -self.spec.clip, self.spec.clip)

    def _follow_robust(
        self, epochs: NDArray[np.float32], gain: NDArray[np.float64], first: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Return each channel's log amplitude after these epochs (n_subjects, n_modalities)."""
        log_amplitude = np.log(np.maximum(robust_sd(epochs), _MIN_AMPLITUDE))
        step = np.clip(log_amplitude - self._level, -_MAX_LOG_STEP, _MAX_LOG_STEP)
        return np.where(first, log_amplitude, self._level + gain * step)

    def _follow_sd(
        self, epochs: NDArray[np.float32], gain: NDArray[np.float64], first: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Return the same where the amplitude is the standard deviation."""
        power = np.square(epochs, dtype=np.float64).mean(axis=-1)
        before = np.exp(2 * self._level)
        counted = np.minimum(power, before * _MAX_AMPLITUDE_RATIO**2)
        after = np.where(first, power, before + gain * (counted - before))
        level: NDArray[np.float64] = 0.5 * np.log(np.maximum(after, _MIN_AMPLITUDE**2))
        return level

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Return copies of the arrays that a restart needs to go on exactly here."""
        filters = {f"filter_{m}": zi.copy() for m, zi in enumerate(self._zi)}
        return filters | {
            "ringing": self._ringing.copy(),
            "firsts": self._firsts.copy(),
            "settled": self._settled.copy(),
            "last": self._last.copy(),
            "level": self._level.copy(),
            "seen_s": self._seen_s.copy(),
        }

    def load_state(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on from `state()` of a conditioner of the same spec, rate and subjects.

        Raises:
            SpecError: an array is missing or of another shape.
        """
        check_shapes("conditioner state", state, self.state())
        self._zi = [np.array(state[f"filter_{m}"], np.float64) for m in range(len(self._zi))]
        self._ringing = np.array(state["ringing"], np.float64)
        self._firsts = np.array(state["firsts"], np.float64)
        self._settled = np.array(state["settled"], bool)
        self._last = np.array(state["last"], np.float64)
        self._level = np.array(state["level"], np.float64)
        self._seen_s = np.array(state["seen_s"], np.float64)


def robust_sd(x: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return 1.4826 × the median of |x|, (…, n) → (…); x is finite."""
    half, rest = divmod(x.shape[-1], 2)
    parted = np.partition(np.abs(x), half, axis=-1)
    median = parted[..., half]
    if not rest:  # np.median parts at both of the middle, ten times as slow
        median = (parted[..., :half].max(axis=-1) + median) / 2
    return _MAD_TO_SD * median.astype(np.float64)


def check_sfreq(spec: ModelSpec, sfreq: float) -> None:
    """See that a model stages signals of this sampling rate, Hz.

    Raises:
        SpecError: it does not.
    """
    low = spec.min_sfreq
    if not low <= sfreq <= MAX_SFREQ:
        raise SpecError(
            f"expected a sampling rate of {low:g} to {MAX_SFREQ:g} Hz, found {sfreq:g} Hz"
        )


def _filter(sos: Floats, x: Floats, zi: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the samples (…, n) after the high-pass, after the whole filter, and its state."""
    high, state = signal.sosfilt(sos[:1], x, zi=zi[:1])
    if len(sos) == 1:
        return high, high, np.asarray(state)
    out, rest = signal.sosfilt(sos[1:], high, zi=zi[1:])
    return high, out, np.concatenate([state, rest])


def _design_memory(sos: Floats) -> tuple[Floats, Floats]:
    """Return the filter that makes of samples' sizes how far a band-pass may still ring of them.

    It is an exponential around the band-pass's impulse response, from its time constant on.

    Args:
        sos: (n_sections, 6), second-order sections.
    """
    pole = max(float(np.abs(np.roots(section[3:])).max()) for section in sos)
    constant = int(-1 / np.log(pole)) + 1
    impulse = np.zeros(10 * constant)
    impulse[0] = 1.0
    size = np.abs(signal.sosfilt(sos, impulse)) / pole ** np.arange(len(impulse))
    return np.array([size[constant:].max()]), np.array([1.0, -pole])


def design_filter(band: Band, sfreq: float) -> NDArray[np.float64]:
    """Return the causal band-pass of one modality as second-order sections.

    Butterworth high-pass (order 2), elliptic low-pass (order 6, 0.1 dB, 60 dB). Where the
    stream is too slow to contain the low-pass edge, its own anti-alias filter is the limit.
    """
    sections = [signal.butter(2, band.highpass_hz, "highpass", fs=sfreq, output="sos")]
    if band.lowpass_hz < 0.45 * sfreq:
        sections.append(
            signal.ellip(6, 0.1, 60.0, band.lowpass_hz, "lowpass", fs=sfreq, output="sos")
        )
    return np.concatenate(sections)


def interpolation_matrix(
    sfreq_in: float, sfreq_out: float, n_in: int, n_out: int
) -> sparse.csr_array | None:
    """Return the matrix that resamples one epoch, or None where the rates are equal.

    Output sample j lies at the middle of its share of the epoch. Each row is a Lagrange
    interpolation over 8 neighbouring samples of the epoch itself: the next epoch is not waited
    for. The input must already be band-limited (`design_filter`).
    """
    if sfreq_in == sfreq_out:
        return None
    position = (np.arange(n_out) + 0.5) * (sfreq_in / sfreq_out) - 0.5
    position = np.clip(position, 0, n_in - 1)
    first = np.floor(position).astype(int) - _INTERPOLATION_TAPS // 2 + 1
    first = np.clip(first, 0, n_in - _INTERPOLATION_TAPS)
    taps = np.arange(_INTERPOLATION_TAPS)
    offset = (position - first)[:, None]
    weights = np.ones((n_out, _INTERPOLATION_TAPS))
    for k in taps:
        for other in taps[taps != k]:
            weights[:, k] *= (offset[:, 0] - other) / (k - other)
    rows = np.repeat(np.arange(n_out), _INTERPOLATION_TAPS)
    columns = (first[:, None] + taps).ravel()
    matrix = sparse.csr_array((weights.ravel(), (rows, columns)), shape=(n_out, n_in))
    return matrix.astype(np.float32)
