"""Eyes: the potentials of gaze and lids, which EOG and frontal EEG see; and skin and heart.

The cornea is positive: where the eyes turn, an electrode beside them sees a step of some 20 µV a
degree. Amplifiers have no direct current, so each step decays. AASM (Berry et al., version 3,
2023): blinks 0.5 to 2 Hz with the eyes open, reading a slow phase and a rapid return, slow
eye movements sinusoidal with a first deflection above 0.5 s, rapid ones below.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from models.simulator.human.person import Person
from models.simulator.human.tracks import N1, N2, Tracks, W, bouts
from models.simulator.noise import Track, interpolate, wander
from models.simulator.recording import Event

FINE_HZ = 50  # rate of what is slower than 20 Hz
RAPID, SLOW, BLINK = "rapid eye movement", "slow eye movements", "blink"

_DECAY_S = 1.2  # of a step behind the amplifier
_BLINK_S = 0.3
_BLOCK_S = 600


def add_eyes(
    out: NDArray[np.float32],
    rng: np.random.Generator,
    tracks: Tracks,
    person: Person,
    sfreq: float,
) -> tuple[Event, ...]:
    """Add what gaze and lids do to `out`, (n_samples, 2) µV: EEG, EOG; return what they do."""
    horizontal, vertical, rapid = _saccades(rng, tracks, person)
    rolling, slow = _rolling(rng, tracks, person)
    lids, blinks = _blinks(rng, tracks, person)
    swings = [_skin(rng, tracks, person) for _ in range(2)]
    gaze = (horizontal + rolling, vertical + lids)
    for start in range(0, len(out), round(_BLOCK_S * sfreq)):
        block = out[start : start + round(_BLOCK_S * sfreq)]
        times = np.arange(start, start + len(block)) / sfreq
        left, up = (interpolate(track, FINE_HZ, times) for track in gaze)
        for column, site in enumerate((person.eeg, person.eog)):
            skin = interpolate(swings[column], FINE_HZ, times)
            block[:, column] += site.horizontal * left + site.vertical * up + skin
    return rapid + slow + blinks


def add_heart_and_mains(
    out: NDArray[np.float32],
    rng: np.random.Generator,
    tracks: Tracks,
    person: Person,
    sfreq: float,
) -> None:
    """Add R-waves and hum to `out`, (n_samples, 2) µV."""
    n = len(tracks.scored)
    rate = 1 + 0.12 * tracks.stages[:, W] + 0.15 * tracks.arousal + 0.2 * tracks.moving
    rate = ndimage.gaussian_filter1d(rate, 3.0, mode="nearest")
    rate = person.heart_hz * rate * (1 + 0.04 * wander(rng, n, 3.0))
    beats = np.cumsum(np.repeat(rate, FINE_HZ)) / FINE_HZ
    width_s = max(0.012, 0.4 / sfreq)
    for start in range(0, len(out), round(_BLOCK_S * sfreq)):
        block = out[start : start + round(_BLOCK_S * sfreq)]
        times = np.arange(start, start + len(block)) / sfreq
        phase = interpolate(beats, FINE_HZ, times)
        t = (phase - np.round(phase)) / (person.heart_hz * width_s)
        wave = np.exp(-0.5 * t**2) - 0.3 * np.exp(-0.5 * (t - 2.5) ** 2)
        hum = person.mains_uv * np.sin(2 * np.pi * person.mains_hz * times)
        for column, site in enumerate((person.eeg, person.eog)):
            block[:, column] += site.heart * person.heart_uv * wave + hum


def _saccades(
    rng: np.random.Generator, tracks: Tracks, person: Person
) -> tuple[Track, Track, tuple[Event, ...]]:
    """Return the gaze to the left and up, µV at `FINE_HZ`, and when the eyes moved rapidly."""
    open_eyes = tracks.stages[:, W] - tracks.closed
    rate = 0.9 * open_eyes + 0.08 * tracks.closed + person.rapid * tracks.phasic
    rate += 0.02 * tracks.stages[:, 4] + 0.3 * tracks.arousal
    hits = rng.random(FINE_HZ * len(rate)) < np.repeat(rate / FINE_HZ, FINE_HZ)
    at = np.flatnonzero(hits)
    reading = (wander(rng, len(rate), 120.0) > 1.0) & (open_eyes > 0.5)
    steps = person.eye_uv * rng.normal(0.0, 0.6, (2, len(at)))
    steps[1] *= 0.6
    # The eyes come back: half of each turn is undone by the next.
    steps[:, 1:] -= 0.5 * steps[:, :-1]
    gaze = np.zeros((2, len(hits)))
    gaze[:, at] = steps
    for start, end in bouts(reading.astype(np.int64)):
        if reading[start]:
            _read(rng, gaze[0], start, end, person)
    decay = np.exp(-1.0 / (_DECAY_S * FINE_HZ))
    gaze = signal.lfilter([1.0], [1.0, -decay], gaze, axis=1)
    gaze = ndimage.gaussian_filter1d(gaze, 1.0, axis=1)  # a turn takes some 50 ms
    events = tuple(Event(float(i) / FINE_HZ, 0.5, RAPID) for i in at.tolist())
    return gaze[0], gaze[1], events


def _read(rng: np.random.Generator, gaze: Track, start: int, end: int, person: Person) -> None:
    """Add lines being read: small steps to one side, then one back."""
    t, line_s = float(start), rng.uniform(1.5, 3.5)
    while t < end - line_s:
        n = int(rng.integers(4, 8))
        at = ((t + np.sort(rng.uniform(0.1, 0.9, n)) * line_s) * FINE_HZ).astype(int)
        gaze[at] -= 0.12 * person.eye_uv
        gaze[int((t + line_s) * FINE_HZ) - 1] += 0.12 * n * person.eye_uv
        t += line_s * np.exp(rng.normal(0.0, 0.1))


def _rolling(
    rng: np.random.Generator, tracks: Tracks, person: Person
) -> tuple[Track, tuple[Event, ...]]:
    """Return slow rolling to the left, µV at `FINE_HZ`, and the spells of it."""
    n = len(tracks.scored)
    drowsy = tracks.closed * (wander(rng, n, 20.0) > 0.3)
    early = tracks.stages[:, N2] * np.exp(-_since(tracks.scored == N2) / 60.0)
    amount = tracks.stages[:, N1] * (wander(rng, n, 15.0) > -0.6) + 0.7 * drowsy + 0.4 * early
    amount = ndimage.gaussian_filter1d(np.minimum(amount, 1.0), 1.5, mode="nearest")
    hz = np.repeat(0.3 * np.exp(0.3 * wander(rng, n, 8.0)), FINE_HZ)
    swing = np.sin(2 * np.pi * np.cumsum(hz) / FINE_HZ)
    size = np.repeat(amount * np.exp(0.4 * wander(rng, n, 4.0)), FINE_HZ)
    size = ndimage.uniform_filter1d(size, FINE_HZ, mode="nearest")
    spells = (amount > 0.5).astype(np.int64)
    events = tuple(
        Event(float(start), float(end - start), SLOW)
        for start, end in bouts(spells).tolist()
        if spells[start]
    )
    return 1.4 * person.slow_eye_uv * size * swing, events


def _since(here: NDArray[np.bool_]) -> Track:
    """Return for how many seconds it has been so, 0 where it is not."""
    count = np.cumsum(here)
    return count - np.maximum.accumulate(np.where(here, 0, count))


def _blinks(
    rng: np.random.Generator, tracks: Tracks, person: Person
) -> tuple[Track, tuple[Event, ...]]:
    """Return what blinking lids do to the gaze up, µV at `FINE_HZ`, and when."""
    rate = person.blinks * (tracks.stages[:, W] - tracks.closed)
    at = np.flatnonzero(rng.random(FINE_HZ * len(rate)) < np.repeat(rate / FINE_HZ, FINE_HZ))
    pulses = np.zeros(FINE_HZ * len(rate))
    pulses[at] = person.blink_uv * np.exp(rng.normal(0.0, 0.25, len(at)))
    kernel = np.hanning(round(1.2 * _BLINK_S * FINE_HZ))
    events = tuple(Event(float(i) / FINE_HZ - _BLINK_S / 2, _BLINK_S, BLINK) for i in at.tolist())
    return 2.0 * np.convolve(pulses, kernel, mode="same"), events


def _skin(rng: np.random.Generator, tracks: Tracks, person: Person) -> Track:
    """Return the potentials of skin and sweat and what gross movement does, µV at `FINE_HZ`."""
    n = len(tracks.scored)
    sweating = wander(rng, n, 1800.0) > 0.7
    drift = person.drift_uv * (0.6 + 1.2 * tracks.stages[:, W]) * wander(rng, n, 2.0)
    drift += person.sweat_uv * sweating * ndimage.gaussian_filter1d(wander(rng, n, 2.0), 1.0)
    slow = np.interp(np.arange(n * FINE_HZ) / FINE_HZ, np.arange(n) + 0.5, drift)
    sway = signal.sosfilt(
        signal.butter(2, [0.2, 2.0], "bandpass", fs=FINE_HZ, output="sos"),
        rng.standard_normal(n * FINE_HZ),
    )
    heads = 7.0 * np.exp(0.8 * wander(rng, n, 5.0) - 0.3)  # heads are seldom quite still
    awake = heads * (tracks.stages[:, W] - tracks.closed)
    return np.asarray(slow + np.repeat(awake + 80.0 * tracks.moving, FINE_HZ) * sway)
