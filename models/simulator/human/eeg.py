"""The background of EEG and EOG: noise whose spectrum follows the stages second by second.

A broken power law for each stage, steeper from W over N2 to N3, above 10 Hz most (Lendner et al.
2020, eLife 9:e55092; Schneider et al. 2022, doi:10.3389/fninf.2022.989262), and on it the rhythms:
alpha with the eyes closed (8 to 13 Hz), theta (4 to 7 Hz) of N1, beta and muscle of W, the delta of
N3. Levels and exponents are chosen so that epochs resemble real ones (docs/simulator.md). What has
a shape, such as a spindle, is drawn by `waves.py`.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.simulator.bands import wide_bands
from models.simulator.human.person import Person
from models.simulator.human.sites import Site
from models.simulator.human.tracks import N1, N2, N3, REM, Tracks, W
from models.simulator.noise import Spectrum, Track, interpolate, shaped_noise, wander

_LEVEL_UV2 = np.array([1.2, 1.2, 2.6, 8.0, 1.0])  # power density at 10 Hz by stage, µV²/Hz
_LOW = np.array([1.1, 1.7, 1.75, 1.65, 1.7])  # exponent below 10 Hz
_HIGH = np.array([1.2, 1.9, 2.8, 3.2, 2.1])  # above
_BREAK_HZ = 10.0
_KNEE_HZ = 0.7  # below which the background no longer rises
_GRID = np.arange(0.5, 200.25, 0.5)  # Hz; where the power of a rhythm is measured


def add_background(
    out: NDArray[np.float32],
    rng: np.random.Generator,
    tracks: Tracks,
    person: Person,
    sfreq: float,
) -> None:
    """Add the background to `out`, (n_samples, 2) µV: EEG, EOG.

    The EOG sees the frontal brain, so part of its background is the EEG's.
    """
    levels = _levels(rng, tracks, person)
    strayed = np.array(person.tilt) + person.wander * np.stack(
        [wander(rng, len(tracks.scored), s) for s in person.wander_s], axis=1
    )
    coherence = min(0.95, person.eog.shared * person.shared)
    common, own = rng.spawn(2)
    seed = common.integers(2**63)
    for column, site, share, source in (
        (0, person.eeg, 1.0, np.random.default_rng(seed)),
        (1, person.eog, coherence, np.random.default_rng(seed)),
        (1, person.eog, 1.0 - coherence, own),
    ):
        spectrum = _spectrum(levels, strayed, person, site, share)
        for where, noise in shaped_noise(source, spectrum, len(out), sfreq):
            out[where, column] += noise


def _spectrum(
    levels: dict[str, Track],
    strayed: NDArray[np.float64],
    person: Person,
    site: Site,
    share: float,
) -> Spectrum:
    """Return the power density that a derivation sees, times `share`."""

    def spectrum(times: Track, freqs: Track) -> NDArray[np.float64]:
        shapes = _shapes(freqs, person)
        power = np.stack([interpolate(levels[name], 1.0, times) for name in shapes], axis=1)
        gains = np.array([getattr(site, _SEEN_WITH[name]) ** 2 for name in shapes])
        density = (power * gains) @ np.stack(list(shapes.values()))
        now = np.stack([interpolate(track, 1.0, times) for track in strayed.T], axis=1)
        density *= np.exp(now @ wide_bands(freqs))
        return np.asarray(share * (density + person.floor_uv**2 / 100.0))

    return spectrum


_SEEN_WITH = {
    **dict.fromkeys(("W", "N1", "N2", "N3", "REM", "beta"), "background"),
    "delta": "slow_wave",
    "theta": "theta",
    "alpha": "alpha",
    "slower alpha": "alpha",
    "sigma": "spindle",
    "muscle": "muscle",
}
"""The gain of a site that each part of the spectrum is seen with."""


def _levels(rng: np.random.Generator, tracks: Tracks, person: Person) -> dict[str, Track]:
    """Return the level of each part of the spectrum, (n_seconds,); of rhythms in µV²."""
    n = len(tracks.scored)
    w, n1, n2, n3, rem = tracks.stages.T
    base = np.exp(
        person.level
        + person.variability * wander(rng, n, 6.0)
        + 0.15 * wander(rng, n, 300.0)
        + 0.1 * wander(rng, n, 3600.0)
    )
    sleeping = person.sleeping_muscle * (n1 + n2 + n3) + 0.5 * person.sleeping_muscle * rem
    muscle = w * (0.7 + 0.6 * (1 - tracks.closed)) + sleeping + 0.8 * tracks.arousal
    muscle = muscle * np.exp(0.35 * wander(rng, n, 4.0) + 0.3 * wander(rng, n, 200.0))
    muscle += 8.0 * tracks.moving
    waxing = np.exp(0.7 * wander(rng, n, 2.5) - 0.25)
    eyes = tracks.closed + 0.08 * (w - tracks.closed) + 0.35 * tracks.arousal
    bursts = person.rem_alpha * (wander(rng, n, 2.0) > 0.8)
    levels = {
        "W": base * np.maximum(w, 0.6 * tracks.arousal),
        "N1": base * n1,
        "N2": base * n2 * (1 - 0.5 * tracks.arousal),
        "N3": base * n3 * (1 - 0.5 * tracks.arousal),
        "REM": base * rem,
        "theta": person.theta_uv**2 * (n1 + 0.35 * rem + 0.5 * n2 + 0.1 * w) * base,
        "alpha": (person.alpha_uv * eyes * waxing) ** 2,
        "slower alpha": (person.alpha_uv * rem * bursts * waxing) ** 2,
        "sigma": (0.035 * person.spindle_uv) ** 2 * (n2 + 0.9 * n3),
        "beta": person.beta_uv**2 * (w + 0.25 * n1 + 0.2 * rem + 0.6 * tracks.arousal),
        "muscle": (person.muscle_uv * muscle) ** 2,
        "delta": (0.09 * person.slow_wave_uv * tracks.depth) ** 2,
    }
    for name, k in (("W", W), ("N1", N1), ("N2", N2), ("N3", N3), ("REM", REM)):
        levels[name] = levels[name] * np.exp(person.stage_levels[k])
    return levels


def _shapes(freqs: Track, person: Person) -> dict[str, Track]:
    """Return the shape of each part of the spectrum at `freqs`, (n_freqs,)."""
    f = np.maximum(freqs, 1e-3)
    shapes = {}
    mean_log = float(np.log(_LEVEL_UV2).mean())
    for name, level, low, high in zip(
        ("W", "N1", "N2", "N3", "REM"), _LEVEL_UV2, _LOW, _HIGH, strict=True
    ):
        contrasted = np.exp(mean_log + person.contrast * (np.log(level) - mean_log))
        a = max(0.3, _LOW.mean() + person.contrast * (low - _LOW.mean()) + person.slope_low)
        b = max(0.3, _HIGH.mean() + person.contrast * (high - _HIGH.mean()) + person.slope_high)
        shapes[name] = contrasted * _power_law(f, a, b)
    alpha_hz, slower_hz = person.alpha_hz, person.alpha_hz - 1.5
    return shapes | {
        "theta": _unit(f, lambda g: np.exp(-0.5 * ((g - 5.3) / 1.1) ** 2)),
        "alpha": _unit(f, lambda g: np.exp(-0.5 * ((g - alpha_hz) / 0.6) ** 2)),
        "slower alpha": _unit(f, lambda g: np.exp(-0.5 * ((g - slower_hz) / 0.6) ** 2)),
        "sigma": _unit(f, lambda g: np.exp(-0.5 * ((g - person.spindle_hz) / 1.0) ** 2)),
        "beta": _unit(f, lambda g: np.exp(-0.5 * ((g - 18.0) / 6.0) ** 2)),
        "muscle": _unit(f, lambda g: 1 / (1 + (22.0 / g) ** 4) / (1 + (g / 90.0) ** 2)),
        "delta": _unit(f, lambda g: np.exp(-0.5 * (np.log(g / person.slow_wave_hz) / 0.6) ** 2)),
    }


def _power_law(f: Track, low: float, high: float) -> Track:
    """Return a power law of 1 at its break, with other exponents below and above."""
    x = f / _BREAK_HZ
    flat = (1 + (_KNEE_HZ / f) ** 4) ** (-low / 4)
    return np.asarray(flat * np.where(x < 1, x**-low, x**-high))


def _unit(f: Track, shape: Callable[[Track], Track]) -> Track:
    """Return the shape at `f` scaled to a power of 1 in all."""
    total = float(shape(_GRID).sum() * (_GRID[1] - _GRID[0]))
    return np.asarray(shape(f) / total)
