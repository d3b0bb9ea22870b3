"""What a recorder writes when no brain is on the wire: noise, hum, a railing or open input.

The two channels are those of any subject: EEG and EMG of a mouse, EEG and EOG of a person.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from models.simulator.noise import Track, between, mains, pink_noise

_LEAST_UV, _MOST_UV = 1.0, 2000.0
_DRIFT_HZ = 0.05  # corner below which brown noise no longer rises

Draw = Callable[[np.random.Generator, int, float, float], Track]
"""Draws so many samples, of any amplitude, at a sampling rate and on a grid of a frequency, Hz."""


def draw_no_brain(
    rng: np.random.Generator, duration_s: float, sfreq: float, kind: str | None = None
) -> tuple[NDArray[np.float32], str]:
    """Draw two channels that see no subject.

    Args:
        rng: the source of randomness.
        duration_s: length, s.
        sfreq: sampling rate, Hz.
        kind: one of `KINDS`; default: any of them, drawn from `rng`.

    Returns:
        (n_samples, 2) µV, each channel of an RMS between 1 and 2000 µV, and the kind.
    """
    kind = kind or str(rng.choice(list(KINDS)))
    mains_hz = float(rng.choice([50.0, 60.0]))
    channels = [_draw(rng, kind, round(duration_s * sfreq), sfreq, mains_hz) for _ in range(2)]
    amplitudes = [between(rng, _LEAST_UV, _MOST_UV) for _ in channels]
    return (np.stack(channels, axis=1) * amplitudes).astype(np.float32), kind


def _draw(rng: np.random.Generator, kind: str, n: int, sfreq: float, mains_hz: float) -> Track:
    """Draw one channel of RMS 1."""
    x = KINDS[kind](rng, n, sfreq, mains_hz)
    return x / max(float(np.sqrt(np.mean(x**2))), 1e-9)


def _white(rng: np.random.Generator, n: int, _sfreq: float, _mains_hz: float) -> Track:
    return rng.standard_normal(n)


def _pink(rng: np.random.Generator, n: int, _sfreq: float, _mains_hz: float) -> Track:
    return pink_noise(rng, n)


def _brown(rng: np.random.Generator, n: int, sfreq: float, _mains_hz: float) -> Track:
    decay = np.exp(-2 * np.pi * _DRIFT_HZ / sfreq)
    x = np.asarray(signal.lfilter([1.0], [1.0, -decay], rng.standard_normal(n)))
    return x / max(float(np.std(x)), 1e-9)


def _hum(rng: np.random.Generator, n: int, sfreq: float, mains_hz: float) -> Track:
    return mains(n, sfreq, mains_hz) + between(rng, 0.01, 1.0) * rng.standard_normal(n)


def _saturated(rng: np.random.Generator, n: int, sfreq: float, mains_hz: float) -> Track:
    """Draw an open input that is at its rails most of the time."""
    return np.clip(between(rng, 3.0, 100.0) * _floating(rng, n, sfreq, mains_hz), -1.0, 1.0)


def _floating(rng: np.random.Generator, n: int, sfreq: float, mains_hz: float) -> Track:
    """Draw the drift, hum and noise of an open input."""
    drift = between(rng, 0.3, 3.0) * _brown(rng, n, sfreq, mains_hz)
    hum = between(rng, 0.1, 3.0) * mains(n, sfreq, mains_hz)
    return drift + hum + between(rng, 0.03, 1.0) * rng.standard_normal(n)


def _modulated(rng: np.random.Generator, n: int, sfreq: float, mains_hz: float) -> Track:
    """Draw noise that swells with the mains."""
    return rng.standard_normal(n) * (1.0 + rng.uniform(0.3, 1.0) * mains(n, sfreq, mains_hz))


def _quantised(rng: np.random.Generator, n: int, _sfreq: float, _mains_hz: float) -> Track:
    """Draw noise of about the converter's last bit."""
    return np.round(between(rng, 0.3, 2.0) * rng.standard_normal(n))


def _mixture(rng: np.random.Generator, n: int, sfreq: float, mains_hz: float) -> Track:
    kinds = rng.choice([kind for kind in KINDS if kind != "mixture"], 2, replace=False)
    return sum(
        (between(rng, 0.2, 1.0) * _draw(rng, str(k), n, sfreq, mains_hz) for k in kinds),
        start=np.zeros(n),
    )


KINDS: dict[str, Draw] = {
    "white": _white,
    "pink": _pink,
    "brown": _brown,
    "hum": _hum,
    "saturated": _saturated,
    "floating": _floating,
    "modulated": _modulated,
    "quantised": _quantised,
    "mixture": _mixture,
}
"""What may be on the wire instead of a brain."""
