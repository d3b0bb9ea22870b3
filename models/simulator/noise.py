"""What every simulated signal is made of: noise with a changing spectrum, random walks, hum."""

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import fft, signal

_BLOCK = 256  # frames synthesised at once: bounds the memory
_HARMONICS = (1, 2, 3)

Track = NDArray[np.float64]
Spectrum = Callable[[Track, Track], NDArray[np.float64]]


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw between two limits, evenly on a log scale."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def wander(rng: np.random.Generator, n: int, time_constant: float) -> Track:
    """Return n values of a stationary first-order random walk, mean 0 and SD 1."""
    decay = np.exp(-1.0 / time_constant)
    noise = rng.standard_normal(n) * np.sqrt(1.0 - decay**2)
    noise[0] /= np.sqrt(1.0 - decay**2)
    return np.asarray(signal.lfilter([1.0], [1.0, -decay], noise))


def interpolate(track: Track, rate: float, times: Track) -> Track:
    """Return `track`, whose value i holds for the middle of its i-th 1/rate s, at `times` (s)."""
    position = times * rate - 0.5
    low = max(0, int(position[0]))
    part = track[low : int(position[-1]) + 2]
    return np.interp(position, np.arange(low, low + len(part)), part)


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


def mains(n_samples: int, sfreq: float, mains_hz: float) -> Track:
    """Return hum of amplitude 1 with two fainter harmonics, as far as the sampling carries it."""
    phase = 2 * np.pi * mains_hz / sfreq * np.arange(n_samples)
    out = np.zeros(n_samples)
    for k in _HARMONICS:
        if k * mains_hz < sfreq / 2:
            out += np.sin(k * (phase + k)) / k
    return out


def pink_noise(rng: np.random.Generator, n_samples: int) -> Track:
    """Return noise of SD 1 whose power falls as 1/f over three decades below the Nyquist.

    The filter is that of J. O. Smith, Spectral Audio Signal Processing, "Example: Synthesis of
    1/F Noise".
    """
    b = (0.049922035, -0.095993537, 0.050612699, -0.004408786)
    a = (1.0, -2.494956002, 2.017265875, -0.522189400)
    x = signal.lfilter(b, a, rng.standard_normal(n_samples))
    return np.asarray(x / max(float(np.std(x)), 1e-12))
