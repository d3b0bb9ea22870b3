"""EMG whose muscle tone is given second by second.

Muscle noise under an envelope, with twitches in REM and sharp movements in active Wake; and
what neck electrodes see besides: heart beats, breathing, sway, amplifier noise and hum.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from models.simulator.mouse.animal import Animal
from models.simulator.mouse.eeg import hum
from models.simulator.mouse.tracks import Tracks
from models.simulator.noise import Spectrum, Track, interpolate, shaped_noise, wander
from models.stages import MOUSE

FINE_HZ = 50  # rate of everything slower than 10 Hz: tone, movement, heart phase


def add_emg(
    out: NDArray[np.float32],
    rng: np.random.Generator,
    tracks: Tracks,
    animal: Animal,
    sfreq: float,
) -> None:
    """Add the EMG to `out`, (n_samples, 2) µV, which has the EEG; they leak into each other."""
    tone, movement = _muscle_tracks(rng, tracks, animal)
    beats = _heart_phase(rng, tracks, animal)
    floor = rng.standard_normal(len(out), np.float32)
    floor *= np.float32(animal.floor_uv * np.sqrt(sfreq / 200.0))
    out[:, 1] += floor + np.float32(animal.cross) * out[:, 0]
    for where, noise in shaped_noise(rng, muscle_spectrum(animal), len(out), sfreq):
        times = np.arange(where.start, where.stop) / sfreq
        muscle = noise * interpolate(tone, FINE_HZ, times)
        slow = interpolate(movement, FINE_HZ, times)
        heart = animal.heart_uv * _heart_beat(interpolate(beats, FINE_HZ, times), animal, sfreq)
        out[where, 0] += animal.leak * (muscle + slow)
        out[where, 1] += muscle + slow + heart + hum(times, animal)


def muscle_spectrum(animal: Animal) -> Spectrum:
    """Return the power density of muscle noise whose RMS from 10 to 500 Hz is 1."""
    low_hz, high_hz = animal.emg_band_hz

    def shape(freqs: Track) -> Track:
        f = np.maximum(freqs, 1e-3)
        return np.asarray(1 / (1 + (low_hz / f) ** 4) / (1 + (f / high_hz) ** 2))

    total = shape(np.arange(10.0, 500.0)).sum()
    return lambda _, freqs: shape(freqs)[None] / total


def _muscle_tracks(rng: np.random.Generator, tracks: Tracks, animal: Animal) -> tuple[Track, Track]:
    """Return the tone's envelope and the slow movement potentials, µV at `FINE_HZ`."""
    log_tone = np.repeat(tracks.log_emg, FINE_HZ)
    log_tone = ndimage.uniform_filter1d(log_tone, FINE_HZ, mode="nearest")
    n = len(log_tone)
    activity = np.repeat(tracks.activity, FINE_HZ)
    spread = 0.35 * activity
    log_tone += spread * wander(rng, n, 0.25 * FINE_HZ) - spread**2
    kicks = _kicks(rng, tracks, animal)
    envelope = np.sqrt(np.exp(2 * log_tone) + (animal.emg_uv * kicks) ** 2)
    sway = _narrow(rng, n, 0.3, 5.0) * (0.3 + 3.0 * animal.emg_contrast * activity**2 + kicks)
    breath = _narrow(rng, n, 2.0, 3.5)
    return envelope, animal.emg_uv * sway + animal.breath_uv * (1 - 0.5 * activity) * breath


def _narrow(rng: np.random.Generator, n: int, low_hz: float, high_hz: float) -> Track:
    """Return noise between two frequencies of RMS 1, at `FINE_HZ`."""
    band = signal.butter(1, [low_hz, high_hz], "bandpass", fs=FINE_HZ, output="sos")
    density = np.pi / 2 * (high_hz - low_hz) / (FINE_HZ / 2)
    return np.asarray(signal.sosfilt(band, rng.standard_normal(n)) / np.sqrt(density))


def _kicks(rng: np.random.Generator, tracks: Tracks, animal: Animal) -> Track:
    """Return the envelope of twitches in sleep and jerks in Wake, in tones at `FINE_HZ`."""
    nrem, rem = (tracks.stages[:, MOUSE.index(stage)] for stage in ("NREM", "REM"))
    rate = rem * animal.twitches + 0.008 * nrem + animal.movements * tracks.activity
    hits = np.flatnonzero(rng.random(FINE_HZ * len(rate)) < np.repeat(rate / FINE_HZ, FINE_HZ))
    kicks = np.zeros(FINE_HZ * len(rate))
    size = np.exp(rng.normal(0.0, 0.7, len(hits)))
    kicks[hits] = size * (2.0 + 6.0 * np.repeat(tracks.activity, FINE_HZ)[hits])
    return np.asarray(signal.lfilter([0.4], [1.0, -0.6], ndimage.maximum_filter1d(kicks, 3)))


def _heart_phase(rng: np.random.Generator, tracks: Tracks, animal: Animal) -> Track:
    """Return the number of heart beats so far, at `FINE_HZ`."""
    wake, rem = (tracks.stages[:, MOUSE.index(stage)] for stage in ("Wake", "REM"))
    change = 0.02 * wander(rng, len(wake), 5.0) + 0.04 * wander(rng, len(wake), 300.0)
    rate = 1.0 + 0.03 * rem + 0.05 * wake + 0.12 * tracks.activity + change
    smooth = ndimage.gaussian_filter1d(animal.heart_hz * rate, 2.0, mode="nearest")
    fine = np.repeat(smooth, FINE_HZ)
    return np.cumsum(fine * (1.0 + 0.06 * wander(rng, len(fine), 0.1 * FINE_HZ))) / FINE_HZ


def _heart_beat(beats: Track, animal: Animal, sfreq: float) -> NDArray[np.float32]:
    """Return a sharp wave of amplitude 1, and its rebound, around each whole number of `beats`."""
    width_s = max(animal.beat_s, 0.4 / sfreq)  # no narrower than the sampling can carry
    t = ((beats - np.round(beats)) / (animal.heart_hz * width_s)).astype(np.float32)
    sharp = 0.5 * np.exp(-0.5 * (t - 2.5) ** 2) - np.exp(-0.5 * t**2)
    return np.asarray(sharp + 0.1 * np.exp(-0.5 * ((t - 10.0) / 4.0) ** 2))
