"""Waves that have a shape and a time: spindles, K-complexes, slow, vertex and sawtooth waves.

What each looks like is the AASM manual's (Berry et al., version 3, 2023, rules IV): spindles
11 to 16 Hz of at least 0.5 s; K-complexes, a sharp negative wave and a slower positive one, of at
least 0.5 s; slow waves 0.5 to 2 Hz of more than 75 µV peak to peak; vertex waves, sharp and below
0.5 s; sawtooth waves 2 to 6 Hz, triangular. Negative is down in the data.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from models.simulator.human.person import Person
from models.simulator.human.sites import Site
from models.simulator.human.tracks import N1, N2, N3, REM, Tracks
from models.simulator.noise import Track, wander
from models.simulator.recording import Event

SPINDLE, K_COMPLEX, SLOW_WAVE = "spindle", "K-complex", "slow wave"
VERTEX_WAVE, SAWTOOTH = "vertex wave", "sawtooth waves"
_GAIN = {
    SPINDLE: "spindle",
    K_COMPLEX: "slow_wave",
    SLOW_WAVE: "slow_wave",
    VERTEX_WAVE: "vertex",
    SAWTOOTH: "vertex",
}


def add_waves(
    out: NDArray[np.float32],
    rng: np.random.Generator,
    tracks: Tracks,
    person: Person,
    sfreq: float,
) -> tuple[Event, ...]:
    """Add the waves to `out`, (n_samples, 2) µV: EEG, EOG; return where they are."""
    events = []
    for event, waves in _draw(rng, tracks, person):
        start = round(event.onset_s * sfreq)
        n = min(round(event.duration_s * sfreq), len(out) - start)
        if n < 2:
            continue
        t = np.arange(0.5, n) / (event.duration_s * sfreq)
        for column, site in enumerate((person.eeg, person.eog)):
            gain = getattr(site, _GAIN[event.kind])
            out[start : start + n, column] += gain * waves(t, site)
        events.append(event)
    return tuple(events)


Seen = Callable[[Track, Site], Track]


def _draw(rng: np.random.Generator, tracks: Tracks, person: Person) -> Iterator[tuple[Event, Seen]]:
    asleep = 1 - tracks.arousal
    shares = tracks.stages * asleep[:, None]
    sure = shares * (tracks.scored[:, None] == np.arange(5))
    n = len(tracks.scored)
    waxing = np.exp(0.5 * wander(rng, n, 12.0) - 0.12)  # spindles come about every 50 s in groups
    lighter = np.clip(1.2 - tracks.depth, 0.3, 1.0)
    rate = person.spindles / 60 * (sure[:, N2] + 0.6 * sure[:, N3]) * waxing * lighter
    for onset in _onsets(rng, rate, 1.2):
        yield _spindle(rng, onset, person)
    for onset in _onsets(rng, person.k_complexes / 60 * sure[:, N2] * lighter, 4.0):
        yield _k_complex(rng, onset, person)
        if rng.random() < 0.4:
            yield _spindle(rng, onset + rng.uniform(0.5, 0.9), person)
    for onset in _onsets(rng, 0.9 * np.minimum(tracks.depth, 1.0) ** 1.5, 0.45):
        yield _slow_wave(rng, onset, float(tracks.depth[int(onset)]), person)
    late = person.vertex_waves / 60 * (sure[:, N1] + 0.1 * sure[:, N2])
    for onset in _onsets(rng, late, 1.0):
        yield _vertex_wave(rng, onset, person)
    for onset in _onsets(rng, person.sawtooth / 60 * sure[:, REM], 4.0):
        yield _sawtooth(rng, onset)


def _onsets(rng: np.random.Generator, rate: Track, apart_s: float) -> list[float]:
    """Return times, s, of events at `rate` per second, (n_seconds,), at least so far apart."""
    counts = rng.poisson(rate)
    at = np.repeat(np.arange(len(rate)), counts) + rng.random(int(counts.sum()))
    kept: list[float] = []
    for onset in np.sort(at).tolist():
        if not kept or onset >= kept[-1] + apart_s:
            kept.append(onset)
    return kept


def _spindle(rng: np.random.Generator, onset: float, person: Person) -> tuple[Event, Seen]:
    length = float(np.clip(0.9 * np.exp(rng.normal(0.0, 0.35)), 0.5, 2.0))
    hz = person.spindle_hz + rng.normal(0.0, 0.4)
    half = 0.5 * person.spindle_uv * np.exp(rng.normal(0.0, 0.3))
    phase, slowing, peak = rng.uniform(0, 2 * np.pi), rng.normal(-0.6, 0.3), rng.uniform(0.35, 0.6)

    def wave(t: Track, site: Site) -> Track:
        cycles = length * ((hz - site.slower_hz) * t + 0.5 * slowing * t**2)
        skewed = t ** (np.log(0.5) / np.log(peak))
        return np.asarray(half * np.sin(np.pi * skewed) ** 1.5 * np.sin(2 * np.pi * cycles + phase))

    return Event(onset, length, SPINDLE), wave


def _k_complex(rng: np.random.Generator, onset: float, person: Person) -> tuple[Event, Seen]:
    length = float(rng.uniform(0.7, 1.3))
    size = max(90.0, 1.0 * person.slow_wave_uv) * np.exp(rng.normal(0.0, 0.25))
    down = rng.uniform(0.5, 0.65)

    def wave(t: Track, _: Site) -> Track:
        trough = np.exp(-0.5 * ((t - 0.27) / 0.09) ** 2)
        crest = np.exp(-0.5 * ((t - 0.62) / 0.14) ** 2)
        return np.asarray(size * ((1 - down) * crest - down * trough))

    return Event(onset, length, K_COMPLEX), wave


def _slow_wave(
    rng: np.random.Generator, onset: float, depth: float, person: Person
) -> tuple[Event, Seen]:
    hz = float(np.clip(person.slow_wave_hz * np.exp(rng.normal(0.0, 0.3)), 0.5, 2.0))
    size = person.slow_wave_uv * np.exp(rng.normal(0.0, 0.3)) * min(1.3, depth**0.7)
    down = rng.uniform(0.35, 0.5)  # share of the duration below zero: troughs are sharper

    def wave(t: Track, _: Site) -> Track:
        low = -np.sin(np.pi * t / down) * (t < down)
        high = np.sin(np.pi * (t - down) / (1 - down)) * (t >= down)
        return np.asarray(size * (0.55 * low + 0.45 * high))

    return Event(onset, 1 / hz, SLOW_WAVE), wave


def _vertex_wave(rng: np.random.Generator, onset: float, person: Person) -> tuple[Event, Seen]:
    length = float(rng.uniform(0.3, 0.5))
    size = max(50.0, 0.55 * person.slow_wave_uv) * np.exp(rng.normal(0.0, 0.3))

    def wave(t: Track, _: Site) -> Track:
        trough = np.exp(-0.5 * ((t - 0.4) / 0.12) ** 2)
        crests = np.exp(-0.5 * ((t - 0.72) / 0.13) ** 2)
        return np.asarray(size * (0.35 * crests - 0.7 * trough))

    return Event(onset, length, VERTEX_WAVE), wave


def _sawtooth(rng: np.random.Generator, onset: float) -> tuple[Event, Seen]:
    length, hz = float(rng.uniform(1.5, 6.0)), rng.uniform(2.0, 5.0)
    size = rng.uniform(15.0, 50.0)

    def wave(t: Track, _: Site) -> Track:
        turns = t * length * hz
        return np.asarray(size * (turns % 1.0 - 0.5) * np.sin(np.pi * t) ** 0.5)

    return Event(onset, length, SAWTOOTH), wave
