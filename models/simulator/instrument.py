"""What a lab's wires, amplifiers and software make of an EEG and an EMG.

Filters, compression, rectified or enveloped EMG, noise, hum, quantisation. Most instruments
change little, few much. What they do is chosen after recordings of several labs, not fitted.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from models.simulator.noise import Track, between, mains, pink_noise

_BELOW_NYQUIST = 0.9
_NOTCH_Q = 30.0
_ENVELOPE_S = 1.0  # over which the EMG's level is taken where it is compressed
_LEVEL_SAMPLES = 200_000  # from which a channel's level is read


@dataclass(frozen=True)
class Instrument:
    """What lies between an animal and the numbers in a file; by default nothing does.

    Levels are relative to the channel: for the EEG to its SD, from the median of |x|; for the
    EMG to the 30th percentile of |x|, which quiet muscles have.
    """

    eeg_gain: float = 1.0
    emg_gain: float = 1.0
    eeg_lowpass: tuple[float, int] | None = None
    """Corner, Hz, and order of the EEG's low-pass."""
    eeg_highpass_hz: float | None = None
    """Corner of the EEG's high-pass of first order."""
    compression: float = 0.0
    """Exponent by which the EMG's contrast in level is lessened: 0 leaves it, 1 takes it away."""
    emg_envelope_s: float | None = None
    """Length of the moving average of the EMG's absolute value that is written instead of it."""
    rectified: bool = False
    """The EMG's absolute value is written."""
    emg_lowpass_hz: float | None = None
    """Corner of the EMG's low-pass of second order, behind the rectifier if there is one."""
    emg_noise: float = 0.0
    """SD of white noise in the EMG, levels."""
    eeg_pink: float = 0.0
    """SD of pink noise in the EEG, levels."""
    eeg_in_emg: float = 0.0
    """SD of the EEG that the EMG's wire sees, levels."""
    eeg_hum: float = 0.0
    """Amplitude of mains hum with harmonics in the EEG, levels."""
    emg_hum: float = 0.0
    """The same in the EMG."""
    notch: bool = False
    """Both channels have a notch at the mains frequency."""
    mains_hz: float = 50.0
    eeg_step: float = 0.0
    """Step of the EEG's quantisation, levels; 0 is none."""
    emg_step: float = 0.0
    """The same of the EMG."""
    eeg_offset: float = 0.0
    """Constant added to the EEG, levels."""
    emg_offset: float = 0.0
    """The same to the EMG."""

    @classmethod
    def draw(cls, rng: np.random.Generator, mains_hz: float = 50.0) -> "Instrument":
        """Draw an instrument on a grid of `mains_hz`: most are kind, few harsh."""
        rectified, lowpass_hz, envelope_s = _draw_emg_form(rng)
        return cls(
            eeg_gain=between(rng, 0.4, 2.5),
            emg_gain=between(rng, 0.5, 2.0),
            eeg_lowpass=(between(rng, 15.0, 100.0), int(rng.integers(1, 7)))
            if rng.random() < 0.6
            else None,
            eeg_highpass_hz=between(rng, 0.2, 2.0) if rng.random() < 0.3 else None,
            compression=_rarely(rng, 0.25) * rng.uniform(0.0, 0.7),
            emg_envelope_s=envelope_s,
            rectified=rectified,
            emg_lowpass_hz=lowpass_hz,
            emg_noise=_rarely(rng, 0.4) * between(rng, 0.1, 2.0),
            eeg_pink=_rarely(rng, 0.05) * between(rng, 0.05, 0.5),
            eeg_in_emg=_rarely(rng, 0.05) * between(rng, 0.2, 2.0),
            eeg_hum=_rarely(rng, 0.05) * between(rng, 0.05, 1.0),
            emg_hum=_rarely(rng, 0.05) * between(rng, 0.1, 3.0),
            notch=rng.random() < 0.1,
            mains_hz=mains_hz,
            eeg_step=_rarely(rng, 0.05) * between(rng, 0.01, 0.2),
            emg_step=_rarely(rng, 0.05) * between(rng, 0.02, 0.4),
            eeg_offset=_rarely(rng, 0.05) * rng.normal(0.0, 5.0),
            emg_offset=_rarely(rng, 0.05) * rng.normal(0.0, 5.0),
        )

    def apply(
        self, data: NDArray[np.float32], sfreq: float, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Return what this instrument makes of EEG and EMG.

        Args:
            data: (n_samples, 2) µV: EEG, EMG.
            sfreq: sampling rate, Hz; corners that it cannot carry are lowered to what it can.
            rng: the source of the noise.

        Returns:
            (n_samples, 2) µV.
        """
        eeg, emg = np.array(data.T, np.float64)
        if self.eeg_in_emg > 0:
            emg += self.eeg_in_emg * _quiet_level(emg) / _eeg_level(eeg) * eeg
        out = np.empty_like(data)
        out[:, 0] = self._eeg(eeg, sfreq, rng)
        out[:, 1] = self._emg(emg, sfreq, rng)
        return out

    def _eeg(self, x: Track, sfreq: float, rng: np.random.Generator) -> Track:
        if self.eeg_lowpass is not None:
            x = _filter(x, "lowpass", *self.eeg_lowpass, sfreq)
        if self.eeg_highpass_hz is not None:
            x = _filter(x, "highpass", self.eeg_highpass_hz, 1, sfreq)
        level = _eeg_level(x)
        if self.eeg_pink > 0:
            x = x + self.eeg_pink * level * pink_noise(rng, len(x))
        x = self._mains(x, self.eeg_hum * level, sfreq)
        return self.eeg_gain * _digitise(x, self.eeg_step * level, self.eeg_offset * level)

    def _emg(self, x: Track, sfreq: float, rng: np.random.Generator) -> Track:
        if self.compression > 0:
            x = x * _running_rms(x, sfreq) ** -self.compression
        if self.rectified:
            x = np.abs(x)
        if self.emg_envelope_s is not None:
            x = _moving_average(np.abs(x), max(1, round(self.emg_envelope_s * sfreq)))
        if self.emg_lowpass_hz is not None:
            x = _filter(x, "lowpass", self.emg_lowpass_hz, 2, sfreq)
        level = _quiet_level(x)
        if self.emg_noise > 0:
            x = x + self.emg_noise * level * rng.standard_normal(len(x))
        x = self._mains(x, self.emg_hum * level, sfreq)
        return self.emg_gain * _digitise(x, self.emg_step * level, self.emg_offset * level)

    def _mains(self, x: Track, hum_uv: float, sfreq: float) -> Track:
        if hum_uv > 0:
            x = x + hum_uv * mains(len(x), sfreq, self.mains_hz)
        if self.notch and self.mains_hz < _BELOW_NYQUIST * sfreq / 2:
            x = signal.lfilter(*signal.iirnotch(self.mains_hz, _NOTCH_Q, sfreq), x)
        return x


def _draw_emg_form(rng: np.random.Generator) -> tuple[bool, float | None, float | None]:
    """Return whether the EMG is rectified, its low-pass in Hz and its envelope in s."""
    luck = rng.random()
    if luck < 0.25:
        return True, between(rng, 20.0, 150.0) if rng.random() < 0.5 else None, None
    if luck < 0.45:
        return False, between(rng, 30.0, 120.0), None
    if luck < 0.49:
        return False, None, between(rng, 0.02, 0.5)
    return False, None, None


def _rarely(rng: np.random.Generator, chance: float) -> float:
    """Return 1 with this chance, else 0."""
    return float(rng.random() < chance)


def _filter(
    x: Track, kind: Literal["lowpass", "highpass"], corner_hz: float, order: int, sfreq: float
) -> Track:
    corner_hz = min(corner_hz, _BELOW_NYQUIST * sfreq / 2)
    sos = signal.butter(order, corner_hz, kind, fs=sfreq, output="sos")
    return np.asarray(signal.sosfilt(sos, x))


def _moving_average(x: Track, n: int) -> Track:
    """Return the mean of the last n samples."""
    return np.asarray(ndimage.uniform_filter1d(x, n, mode="nearest", origin=(n - 1) // 2))


def _running_rms(x: Track, sfreq: float) -> Track:
    """Return the RMS around each sample in units of its median."""
    power = ndimage.uniform_filter1d(x * x, max(1, round(_ENVELOPE_S * sfreq)))
    rms = np.sqrt(np.maximum(power, 0.0)) + 1e-6
    return np.asarray(rms / np.median(rms[:: _stride(len(rms))]))


def _digitise(x: Track, step: float, offset: float) -> Track:
    x = x + offset
    return np.round(x / step) * step if step > 0 else x


def _eeg_level(x: Track) -> float:
    return 1.4826 * float(np.median(np.abs(x[:: _stride(len(x))]))) + 1e-9


def _quiet_level(x: Track) -> float:
    return float(np.percentile(np.abs(x[:: _stride(len(x))]), 30)) + 1e-9


def _stride(n: int) -> int:
    return max(1, n // _LEVEL_SAMPLES)
