"""What a lab's wires, amplifiers and software make of an EEG and an EMG or EOG.

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
_LEAST_EMG_UV, _SEEN_HZ = 3.0, 10.0  # SD of what of an EMG is seen
_LEVEL_SAMPLES = 200_000  # from which a channel's level is read


@dataclass(frozen=True)
class Amplifier:
    """What lies between a pair of electrodes and the numbers in a file; by default nothing does.

    What it adds is relative to a level of the channel, which its user measures.
    """

    gain: float = 1.0
    lowpass: tuple[float, int] | None = None
    """Corner, Hz, and order of the low-pass."""
    highpass_hz: float | None = None
    """Corner of the high-pass of first order."""
    noise: float = 0.0
    """SD of its noise, levels."""
    pink: bool = False
    """Whether the noise is pink; else white."""
    hum: float = 0.0
    """Amplitude of mains hum with harmonics, levels."""
    mains_hz: float = 50.0
    notch: bool = False
    """Whether there is a notch at the mains frequency."""
    offset: float = 0.0
    """Constant added, levels."""
    limit: float | None = None
    """Where its input is cut off on either side, levels."""
    step: float = 0.0
    """Step of the quantisation, levels; 0 is none."""

    def pass_band(self, x: Track, sfreq: float) -> Track:
        """Return a channel (n_samples,) behind the filters.

        Corners that the rate cannot carry are lowered to what it can.
        """
        if self.lowpass is not None:
            x = _filter(x, "lowpass", *self.lowpass, sfreq)
        if self.highpass_hz is not None:
            x = _filter(x, "highpass", self.highpass_hz, 1, sfreq)
        return x

    def write(self, x: Track, level: float, sfreq: float, rng: np.random.Generator) -> Track:
        """Return what becomes of a filtered channel (n_samples,) whose level is `level`."""
        if self.noise > 0:
            noise = pink_noise(rng, len(x)) if self.pink else rng.standard_normal(len(x))
            x = x + self.noise * level * noise
        if self.hum > 0:
            x = x + self.hum * level * mains(len(x), sfreq, self.mains_hz)
        if self.notch and self.mains_hz < _BELOW_NYQUIST * sfreq / 2:
            x = signal.lfilter(*signal.iirnotch(self.mains_hz, _NOTCH_Q, sfreq), x)
        x = x + self.offset * level
        if self.limit is not None:
            x = np.clip(x, -self.limit * level, self.limit * level)
        if self.step > 0:
            x = np.round(x / (self.step * level)) * (self.step * level)
        return self.gain * x

    def record(self, x: Track, sfreq: float, rng: np.random.Generator) -> Track:
        """Return what becomes of an EEG or EOG (n_samples,); its level is its SD, robustly."""
        x = self.pass_band(x, sfreq)
        return self.write(x, robust_sd(x), sfreq, rng)


@dataclass(frozen=True)
class Instrument:
    """What records a mouse's EEG and EMG; by default it changes nothing.

    The level of the EEG is its SD, from the median of |x|; that of the EMG the 30th percentile of
    |x|, which quiet muscles have.
    """

    eeg: Amplifier = Amplifier()
    emg: Amplifier = Amplifier()
    """Its filters lie behind the rectifier if there is one."""
    compression: float = 0.0
    """Exponent by which the EMG's contrast in level is lessened: 0 leaves it, 1 takes it away."""
    rectified: bool = False
    """The EMG's absolute value is written."""
    emg_envelope_s: float | None = None
    """Length of the moving average of the EMG's absolute value that is written instead of it."""
    eeg_in_emg: float = 0.0
    """SD of the EEG that the EMG's wire sees, levels."""

    @classmethod
    def draw(cls, rng: np.random.Generator, mains_hz: float = 50.0) -> "Instrument":
        """Draw an instrument on a grid of `mains_hz`: most are kind, few harsh."""
        rectified, lowpass_hz, envelope_s = _draw_emg_form(rng)
        eeg_gain, emg_gain = between(rng, 0.4, 2.5), between(rng, 0.5, 2.0)
        eeg_lowpass = None
        if rng.random() < 0.6:
            eeg_lowpass = between(rng, 15.0, 100.0), int(rng.integers(1, 7))
        highpass_hz = between(rng, 0.2, 2.0) if rng.random() < 0.3 else None
        compression = rarely(rng, 0.25) * rng.uniform(0.0, 0.7)
        emg_noise = rarely(rng, 0.4) * between(rng, 0.1, 2.0)
        eeg_pink = rarely(rng, 0.05) * between(rng, 0.05, 0.5)
        eeg_in_emg = rarely(rng, 0.05) * between(rng, 0.2, 2.0)
        eeg_hum = rarely(rng, 0.05) * between(rng, 0.05, 1.0)
        emg_hum = rarely(rng, 0.05) * between(rng, 0.1, 3.0)
        notch = bool(rng.random() < 0.1)
        eeg_step = rarely(rng, 0.05) * between(rng, 0.01, 0.2)
        emg_step = rarely(rng, 0.05) * between(rng, 0.02, 0.4)
        eeg_offset = rarely(rng, 0.05) * rng.normal(0.0, 5.0)
        emg_offset = rarely(rng, 0.05) * rng.normal(0.0, 5.0)
        return cls(
            eeg=Amplifier(
                gain=eeg_gain,
                lowpass=eeg_lowpass,
                highpass_hz=highpass_hz,
                noise=eeg_pink,
                pink=True,
                hum=eeg_hum,
                mains_hz=mains_hz,
                notch=notch,
                offset=eeg_offset,
                step=eeg_step,
            ),
            emg=Amplifier(
                gain=emg_gain,
                lowpass=None if lowpass_hz is None else (lowpass_hz, 2),
                noise=emg_noise,
                hum=emg_hum,
                mains_hz=mains_hz,
                notch=notch,
                offset=emg_offset,
                step=emg_step,
            ),
            compression=compression,
            rectified=rectified,
            emg_envelope_s=envelope_s,
            eeg_in_emg=eeg_in_emg,
        )

    def apply(
        self, data: NDArray[np.float32], sfreq: float, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Return what this instrument makes of EEG and EMG.

        Args:
            data: (n_samples, 2) µV: EEG, EMG.
            sfreq: sampling rate, Hz.
            rng: the source of the noise.

        Returns:
            (n_samples, 2) µV.
        """
        eeg, emg = np.array(data.T, np.float64)
        if self.eeg_in_emg > 0:
            emg += self.eeg_in_emg * _quiet_level(emg) / robust_sd(eeg) * eeg
        out = np.empty_like(data)
        out[:, 0] = self.eeg.record(eeg, sfreq, rng)
        emg = self.emg.pass_band(self._form(emg, sfreq), sfreq)
        out[:, 1] = self.emg.write(emg, _quiet_level(emg), sfreq, rng)
        return out

    def _form(self, x: Track, sfreq: float) -> Track:
        """Return the EMG compressed, rectified or enveloped."""
        if self.compression > 0:
            x = x * _running_rms(x, sfreq) ** -self.compression
        if self.rectified:
            x = np.abs(x)
        if self.emg_envelope_s is not None:
            x = _moving_average(np.abs(x), max(1, round(self.emg_envelope_s * sfreq)))
        return x


def turn_up(data: NDArray[np.float32], sfreq: float) -> NDArray[np.float32]:
    """Return EEG and EMG, (n_samples, 2) µV, with the gain that an EMG needs to be seen.

    Less of it is taken for another unit.
    """
    seen = robust_sd(_filter(data[:, 1].astype(np.float64), "highpass", _SEEN_HZ, 2, sfreq))
    gains = np.array([1.0, max(1.0, _LEAST_EMG_UV / seen)], np.float32)
    return data * gains


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


def rarely(rng: np.random.Generator, chance: float) -> float:
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


def robust_sd(x: Track) -> float:
    """Return the SD of a channel, from the median of |x|."""
    return 1.4826 * float(np.median(np.abs(x[:: _stride(len(x))]))) + 1e-9


def _quiet_level(x: Track) -> float:
    return float(np.percentile(np.abs(x[:: _stride(len(x))]), 30)) + 1e-9


def _stride(n: int) -> int:
    return max(1, n // _LEVEL_SAMPLES)
