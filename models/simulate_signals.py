"""EEG and EMG of a mouse whose hypnogram is given.

EEG is noise whose power spectrum follows the stage from second to second: a 1/f background,
delta, sigma, theta with its harmonic, and gamma. EMG is muscle noise under a tone that follows
the stage and the animal's movements, with heart beats. Spectral shapes and amplitudes are
roughly those of real mice; they are not fitted to any one animal.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, signal

from models.simulate_animal import Animal, Behaviour, Track, wander

FINE_HZ = 50  # rate of everything slower than 10 Hz: tone, movement, drift, heart phase

_BLOCK = 256  # frames synthesised at once: bounds the memory
_THETA_HZ = 40.0  # theta and its harmonic are nothing above


def interpolate(track: Track, rate: float, times: Track) -> Track:
    """Return `track`, whose value i holds for the middle of its i-th 1/rate s, at `times` (s)."""
    position = times * rate - 0.5
    low = max(0, int(position[0]))
    part = track[low : int(position[-1]) + 2]
    return np.interp(position, np.arange(low, low + len(part)), part)


Spectrum = Callable[[Track, Track], NDArray[np.float64]]


def shaped_noise(
    rng: np.random.Generator, spectrum: Spectrum, n_samples: int, sfreq: float
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Yield Gaussian noise with a changing power spectrum, block by block.

    Frames of 2 s overlap by half under a sine window, whose squares add up to 1: the power
    glides from the spectrum of one second to that of the next.

    Args:
        rng: the source of randomness.
        spectrum: gives the one-sided power density `(n_frames, n_freqs)`, µV²/Hz, at times
            `(n_frames,)` s and frequencies `(n_freqs,)` Hz.
        n_samples: samples to make.
        sfreq: sampling rate, Hz.

    Yields:
        Where in the recording the block lies, and its samples, µV.
    """
    hop = round(sfreq)
    freqs = np.arange(hop + 1, dtype=np.float64) * (sfreq / (2 * hop))
    window = np.sin(np.pi * (np.arange(2 * hop) + 0.5) / (2 * hop)).astype(np.float32)
    tail = np.zeros(hop, np.float32)
    n_frames = -(-n_samples // hop) + 1  # frame k is centred on sample k × hop
    for first in range(0, n_frames, _BLOCK):
        frames = np.arange(first, min(first + _BLOCK, n_frames), dtype=np.float64)
        # A unit white spectrum has E|X|² = 2·hop per bin; density 2/sfreq.
        gain = np.sqrt(spectrum(frames * (hop / sfreq), freqs) * (0.5 * hop * sfreq))
        noise = rng.standard_normal((len(frames), 2 * (hop + 1)), np.float32).view(np.complex64)
        x = fft.irfft(noise * gain.astype(np.float32), n=2 * hop, axis=1) * window
        first_half, second_half = x[:, :hop], x[:, hop:]
        first_half[1:] += second_half[:-1]
        first_half[0] += tail
        tail = second_half[-1].copy()
        start = (first - 1) * hop  # the first frame's first half lies before the recording
        block = first_half.reshape(-1)[max(0, -start) :]
        where = slice(max(0, start), min(max(0, start) + len(block), n_samples))
        yield where, block[: where.stop - where.start]


def eeg_spectrum(rng: np.random.Generator, behaviour: Behaviour, animal: Animal) -> Spectrum:
    """Return the EEG's power density as a function of time and frequency."""
    tracks = _eeg_powers(rng, behaviour, animal)
    theta_hz = _theta_hz(rng, behaviour, animal)
    theta_width = 1.3 - 0.8 * behaviour.rem - 0.5 * behaviour.activity

    def spectrum(times: Track, freqs: Track) -> NDArray[np.float64]:
        shapes = _eeg_shapes(freqs, animal)
        powers = np.exp([interpolate(tracks[name], 1.0, times) for name in shapes])
        density = powers.T @ np.stack(list(shapes.values()))
        density += animal.floor_uv**2 / 100.0
        low = freqs[freqs < _THETA_HZ]
        centre = interpolate(theta_hz, 1.0, times)[:, None]
        width = interpolate(theta_width, 1.0, times)[:, None]
        theta = _bell(low, centre, width) + 0.08 * _bell(low, 2 * centre, 1.5 * width)
        density[:, : len(low)] += np.exp(interpolate(tracks["theta"], 1.0, times))[:, None] * theta
        return density

    return spectrum


def _eeg_powers(rng: np.random.Generator, b: Behaviour, animal: Animal) -> dict[str, Track]:
    """Return the log power, µV², of each component of the EEG, each `(n_seconds,)`."""
    n = len(b.wake)
    quiet = b.wake * (1.0 - b.activity)
    # Delta builds up over the first half minute of a NREM bout and fades before REM.
    depth = 1.0 - 0.65 * np.exp(-b.age_s / 25.0)
    before_rem = b.into_rem * np.exp(-b.left_s / 8.0)
    spindle = ndimage.uniform_filter1d((rng.random(n) < 0.07).astype(float), 2)
    delta, theta = animal.delta, animal.theta
    powers = {
        "background": 0.9 * b.nrem + 0.4 * b.rem + 0.5 * b.wake,
        "delta": delta * (1.6 * b.nrem * depth * (1.0 - 0.5 * before_rem) + 0.07 * b.rem)
        + (0.1 + 0.25 * quiet) * b.wake,
        "theta": b.nrem * (0.15 + 0.5 * theta * before_rem)
        + theta * (1.0 * b.rem + 0.12 * quiet + 0.7 * b.activity),
        "sigma": b.nrem * (0.05 + 0.8 * spindle + 0.2 * before_rem) + 0.03,
        "gamma": 0.015 * b.nrem + 0.05 * b.rem + 0.04 * b.wake + 0.05 * b.activity,
    }
    flicker = {"background": 0.15, "delta": 0.45, "theta": 0.4, "sigma": 0.3, "gamma": 0.2}
    slow = 2 * np.log(animal.eeg_uv / np.sqrt(1.0 + 1.3 * delta)) + 0.25 * wander(rng, n, 900.0)
    # Across a change of stage the spectrum moves within about three seconds.
    return {
        name: ndimage.gaussian_filter1d(np.log(power), 0.8, mode="nearest")
        + slow
        + flicker[name] * wander(rng, n, 2.5)
        for name, power in powers.items()
    }


def _theta_hz(rng: np.random.Generator, b: Behaviour, animal: Animal) -> Track:
    shift = -1.0 * b.nrem + b.wake * (1.0 * b.activity - 0.7)
    return np.clip(animal.theta_hz + shift + 0.3 * wander(rng, len(shift), 6.0), 5.0, 10.0)


def _eeg_shapes(freqs: Track, animal: Animal) -> dict[str, Track]:
    """Return the density, 1/Hz, of each component of power 1."""
    f = np.maximum(freqs, 1e-3)
    highpass = 1.0 / (1.0 + (0.6 / f) ** 4)
    knee_hz = 4.0
    background = highpass / (1.0 + (f / knee_hz) ** 2) ** (animal.slope / 2)
    delta = np.exp(-0.5 * (np.log(f / 2.2) / 0.42) ** 2)
    return {
        "background": background / 6.0,  # its power up to 100 Hz
        "delta": delta / 2.5,
        "sigma": _bell(f, 11.5, 1.8),
        "gamma": _bell(f, 60.0, 20.0),
    }


def _bell(f: Track, centre: Track | float, width: Track | float) -> NDArray[np.float64]:
    """Return a normal density over frequency, 1/Hz."""
    return np.asarray(np.exp(-0.5 * ((f - centre) / width) ** 2) / (np.sqrt(2 * np.pi) * width))


def _muscle_spectrum(times: Track, freqs: Track) -> NDArray[np.float64]:
    """Return the density of muscle noise of RMS 1, broad from 25 to 350 Hz."""
    f = np.maximum(freqs, 1e-3)
    density = 1.0 / (1.0 + (25.0 / f) ** 4) / (1.0 + (f / 350.0) ** 4) / 361.0
    return np.asarray(density[None])


def add_eeg(
    out: NDArray[np.float32],
    rng: np.random.Generator,
    behaviour: Behaviour,
    animal: Animal,
    sfreq: float,
) -> None:
    """Add the EEG, its drift and its hum to `out`, (n_samples,) µV."""
    spectrum = eeg_spectrum(rng, behaviour, animal)
    drift = 0.2 * animal.eeg_uv * wander(rng, len(behaviour.wake), 20.0)
    for where, noise in shaped_noise(rng, spectrum, len(out), sfreq):
        times = np.arange(where.start, where.stop) / sfreq
        out[where] += noise + interpolate(drift, 1.0, times) + 0.5 * _hum(times, animal)


def add_emg(
    out: NDArray[np.float32],
    rng: np.random.Generator,
    behaviour: Behaviour,
    animal: Animal,
    sfreq: float,
) -> None:
    """Add the EMG, and what of it leaks into the EEG, to `out`, (n_samples, 2) µV."""
    tone, movement = _muscle_tracks(rng, behaviour, animal)
    beats = _heart_phase(rng, behaviour, animal)
    for where, noise in shaped_noise(rng, _muscle_spectrum, len(out), sfreq):
        times = np.arange(where.start, where.stop) / sfreq
        muscle = noise * interpolate(tone, FINE_HZ, times)
        slow = interpolate(movement, FINE_HZ, times)
        heart = animal.heart_uv * _heart_beat(interpolate(beats, FINE_HZ, times), animal, sfreq)
        out[where, 0] += animal.leak * (muscle + slow)
        out[where, 1] += muscle + slow + heart + _hum(times, animal)


def _hum(times: Track, animal: Animal) -> Track:
    return animal.mains_uv * np.sin(2 * np.pi * animal.mains_hz * times)


def _muscle_tracks(rng: np.random.Generator, b: Behaviour, animal: Animal) -> tuple[Track, Track]:
    """Return the tone's envelope and the slow movement potentials, µV at `FINE_HZ`."""
    n = len(b.wake)
    log_snr = np.log(animal.emg_snr)
    log_tone = b.rem * np.log(animal.atonia) + b.wake * log_snr * (0.3 + 0.7 * b.activity)
    log_tone += (0.06 + 0.2 * b.wake) * wander(rng, n, 4.0) + 0.15 * wander(rng, n, 600.0)
    fine = ndimage.gaussian_filter1d(np.repeat(log_tone, FINE_HZ), 0.3 * FINE_HZ, mode="nearest")
    activity = np.repeat(b.activity, FINE_HZ)
    fine += 0.4 * activity * wander(rng, len(fine), 0.25 * FINE_HZ)
    twitch = _twitches(rng, b, animal)
    envelope = animal.emg_uv * np.sqrt(np.exp(2 * fine) + twitch**2) + 0.5 * animal.floor_uv
    band = signal.butter(1, [0.4, 6.0], "bandpass", fs=FINE_HZ, output="sos")
    sway = signal.sosfilt(band, rng.standard_normal(len(fine))) / 0.45
    movement = sway * animal.emg_uv * (0.7 + animal.emg_snr * activity**2 + 0.7 * twitch)
    return envelope, movement


def _twitches(rng: np.random.Generator, b: Behaviour, animal: Animal) -> Track:
    """Return the envelope of phasic twitches in REM, rarer in NREM, in tones at `FINE_HZ`."""
    rate = np.repeat(b.rem * animal.twitches + b.nrem * 0.008, FINE_HZ) / FINE_HZ
    hits = np.flatnonzero(rng.random(len(rate)) < rate)
    kicks = np.zeros(len(rate))
    kicks[hits] = 0.25 * animal.emg_snr * np.exp(rng.normal(0.0, 0.6, len(hits)))
    kicks = ndimage.maximum_filter1d(kicks, 5)
    return np.asarray(signal.lfilter([0.3], [1.0, -0.8], kicks))


def _heart_phase(rng: np.random.Generator, b: Behaviour, animal: Animal) -> Track:
    """Return the number of heart beats so far, at `FINE_HZ`."""
    n = len(b.wake)
    rate = animal.heart_hz * (
        1.0 + 0.03 * b.rem + b.wake * (0.05 + 0.12 * b.activity) + 0.02 * wander(rng, n, 5.0)
    )
    smooth = ndimage.gaussian_filter1d(rate, 3.0, mode="nearest")
    return np.cumsum(np.repeat(smooth, FINE_HZ)) / FINE_HZ


def _heart_beat(beats: Track, animal: Animal, sfreq: float) -> NDArray[np.float32]:
    """Return a biphasic wave of amplitude 1 around each whole number of `beats`."""
    width_s = max(0.003, 0.7 / sfreq)  # no narrower than the sampling can carry
    t = ((beats - np.round(beats)) / (animal.heart_hz * width_s)).astype(np.float32)
    return np.asarray(t * np.exp(0.5 - 0.5 * t**2))
