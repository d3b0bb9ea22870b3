"""EEG whose band powers are given second by second.

Noise with a changing spectrum: within a band its shape follows the stage (slow waves and
spindles in NREM, theta with its harmonic in REM and active Wake, a 1/f background), and
each band is brought to the power asked for. The electrode then bends the spectrum, and slow
waves are sharper at their troughs.
"""

import numpy as np
from numpy.typing import NDArray

from models.simulator.bands import band_masks, wide_bands
from models.simulator.mouse.animal import Animal
from models.simulator.mouse.tracks import Tracks
from models.simulator.noise import Spectrum, Track, interpolate, shaped_noise, wander
from models.stages import MOUSE

_THETA_HZ = 40.0  # theta and its harmonic are nothing above
_KNEE_HZ = 5.0
_GRID = np.arange(0.5, 100.25, 0.5)  # Hz; where the powers of the bands are measured


def add_eeg(
    out: NDArray[np.float32],
    rng: np.random.Generator,
    tracks: Tracks,
    animal: Animal,
    sfreq: float,
) -> None:
    """Add the EEG, its drift and its hum to `out`, (n_samples,) µV."""
    spectrum = eeg_spectrum(rng, tracks, animal)
    drift = 0.2 * animal.eeg_uv * wander(rng, len(tracks.log_emg), 20.0)
    rms = np.exp(tracks.log_rms)
    for where, noise in shaped_noise(rng, spectrum, len(out), sfreq):
        times = np.arange(where.start, where.stop) / sfreq
        scale = interpolate(rms, 1.0, times).astype(np.float32)
        sharper = noise + np.float32(animal.skew) * (noise**2 / scale - scale)
        out[where] += sharper + interpolate(drift, 1.0, times) + 0.5 * hum(times, animal)


def hum(times: Track, animal: Animal) -> Track:
    """Return the mains hum at `times` (s), µV."""
    return animal.mains_uv * np.sin(2 * np.pi * animal.mains_hz * times)


def eeg_spectrum(rng: np.random.Generator, tracks: Tracks, animal: Animal) -> Spectrum:
    """Return the EEG's power density as a function of time and frequency."""
    n = len(tracks.log_emg)
    wake, nrem = tracks.stages[:, MOUSE.index("Wake")], tracks.stages[:, MOUSE.index("NREM")]
    shift = wake * (0.9 * tracks.arousal - 0.8) - 0.8 * nrem
    theta_hz = np.clip(animal.theta_hz + shift + 0.3 * wander(rng, n, 6.0), 4.5, 10.0)
    rem = tracks.stages[:, MOUSE.index("REM")]
    height = animal.theta_share * (rem + wake * (0.1 + 0.6 * tracks.arousal)) + 0.3 * nrem
    width = 1.3 - 0.7 * rem - 0.5 * tracks.arousal
    followed = np.column_stack([tracks.stages, theta_hz, height, width])

    def spectrum(times: Track, freqs: Track) -> NDArray[np.float64]:
        now = np.stack([interpolate(track, 1.0, times) for track in followed.T])
        log_power = [interpolate(track, 1.0, times) for track in tracks.log_power.T]
        power = _shape(_GRID, now, animal) @ band_masks(_GRID).T * (_GRID[1] - _GRID[0])
        gain = np.exp(np.stack(log_power, axis=1)) / power
        density: NDArray[np.float64] = _shape(freqs, now, animal) * (gain @ band_masks(freqs))
        if animal.wander > 0:
            strayed = [interpolate(track, 1.0, times) for track in tracks.wandering.T]
            density *= np.exp(np.stack(strayed, axis=1) @ wide_bands(freqs))
        density *= electrode(freqs, animal)
        density += animal.floor_uv**2 / 100.0
        return density

    return spectrum


def electrode(freqs: Track, animal: Animal) -> Track:
    """Return the power gain of the animal's electrode and amplifier at `freqs` (Hz)."""
    f = np.maximum(freqs, 1e-3)
    octaves = np.log2(f)
    bends = sum(
        gain * np.cos(np.pi * k * (octaves + 1) / 8) for k, gain in enumerate(animal.ripple, 1)
    )
    ends = (1 + (animal.highpass_hz / f) ** 2) ** 2 * (1 + (f / animal.lowpass_hz) ** 4)
    return np.asarray(np.exp(bends) / ends)


def _shape(freqs: Track, now: NDArray[np.float64], animal: Animal) -> NDArray[np.float64]:
    """Return the spectrum of each frame, (n_frames, n_freqs), its bands not yet scaled.

    Args:
        freqs: (n_freqs,), Hz.
        now: (6, n_frames): the shares of the three stages, theta's frequency, height and width.
        animal: whose spectrum it is.
    """
    f = np.maximum(freqs, 1e-3)
    background = 1 / (1 + (f / _KNEE_HZ) ** 2) ** (animal.slope / 2) / (1 + (0.4 / f) ** 4)
    slow = 1.5 * np.exp(-0.5 * (np.log(f / animal.delta_hz) / 0.5) ** 2)
    spindle = animal.sigma * _bell(f, 11.3, 1.2)
    fast = np.exp(-0.5 * (np.log(f / 60.0) / 0.4) ** 2)
    stages = np.stack(
        [
            background * (1 + fast),
            background * (1 + slow + spindle),
            background * (1 + fast + 0.3 * slow),
        ]
    )
    density = now[:3].T @ stages
    low = f < _THETA_HZ
    centre, height, width = now[3:, :, None]
    theta = _bell(f[low], centre, width) + 0.06 * _bell(f[low], 2 * centre, 1.5 * width)
    density[:, low] *= 1 + height * theta
    return np.asarray(density)


def _bell(f: Track, centre: Track | float, width: Track | float) -> NDArray[np.float64]:
    return np.asarray(np.exp(-0.5 * ((f - centre) / width) ** 2))
