"""Recordings → conditioned epochs → context windows, exactly as a live stream would give them."""

import math
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.signal.conditioning import Conditioner
from models.simulator.simulate import simulate_recording
from models.spec import ModelSpec
from models.stages import to_indices
from models.subject import Subject

# The daemon cuts on this very grid; tests/models/training/test_dataset.py holds them together.
_TIE_BREAK = 0.382

SFREQS = (128.0, 200.0, 250.0, 256.0, 400.0, 500.0, 512.0, 512.0, 512.0, 1000.0, 1024.0, 2000.0)
"""Sampling rates that simulated mice are drawn from; most labs of the paper's kind use 512 Hz."""


@dataclass(frozen=True)
class Windows:
    """A batch of context windows."""

    epochs: Tensor
    """(B, N, M, T) float32."""
    stages: Tensor
    """(B, N) int64."""
    mask: Tensor
    """(B, N, M) bool."""


def condition(
    spec: ModelSpec, data: NDArray[np.floating], sfreq: float, *, whole: bool = False
) -> NDArray[np.float32]:
    """Filter, cut, resample and normalise a whole recording as the daemon does live.

    Args:
        spec: the model the epochs are for.
        data: (n_samples, n_subjects × M) µV, without gaps.
        sfreq: sampling rate, Hz; need not be whole: epochs are cut by time.
        whole: z-score each channel over the whole recording instead of normalising causally: what
            offline scoring does and live staging cannot. For comparison alone.

    Returns:
        (n_subjects, n_epochs, M, T) float32; only whole epochs.
    """
    n_subjects = data.shape[1] // spec.n_modalities
    conditioner = Conditioner(spec, sfreq, n_subjects)
    filtered = conditioner.filter(data)
    starts = epoch_starts(len(data), sfreq, spec.epoch_s, conditioner.n_in)
    usable = np.ones((n_subjects, spec.n_modalities), bool)
    out = np.empty((n_subjects, len(starts), spec.n_modalities, spec.n_times), np.float32)
    for k, start in enumerate(starts.tolist()):
        epoch = conditioner.resample(filtered[start : start + conditioner.n_in])
        out[:, k] = epoch if whole else conditioner.normalise(epoch, usable)
    if whole:
        out -= out.mean((1, 3), keepdims=True)
        out /= out.std((1, 3), keepdims=True)
        np.clip(out, -spec.clip, spec.clip, out=out)
    return out


def epoch_starts(n_samples: int, sfreq: float, epoch_s: float, n_in: int) -> NDArray[np.intp]:
    """Return the first sample of every whole epoch; shape (n_epochs,)."""
    n = max(0, math.floor(n_samples / sfreq / epoch_s) + 1)
    starts = np.ceil(np.arange(n) * (epoch_s * sfreq) - _TIE_BREAK).astype(np.intp)
    whole: NDArray[np.intp] = starts[starts + n_in <= n_samples]
    return whole


def simulate_subjects(
    spec: ModelSpec,
    seeds: Sequence[int],
    hours: float,
    artefacts_per_hour: float = 6.0,
    sfreqs: Sequence[float] = SFREQS,
    *,
    whole: bool = False,
) -> Iterator[Subject]:
    """Simulate one mouse per seed, each at a sampling rate drawn from `sfreqs`; condition it.

    From half an hour on, three of four mice show every stage, since that time of many has no REM
    or no sleep at all; the fourth does what mice do. Artefacts stay in, with the true stage: those
    that the daemon's checks find are masks there, and random masks here; the others have to be
    lived with.
    """
    for seed in seeds:
        recording = simulate_recording(
            seed=seed,
            duration_s=hours * 3600,
            sfreq=float(np.random.default_rng([seed, 1]).choice(sfreqs)),
            artefacts_per_hour=artefacts_per_hour,
            every_stage=hours >= 0.5 and seed % 4 != 0,
        )
        (epochs,) = condition(spec, recording.data, recording.sfreq, whole=whole)
        stages = to_indices(recording.hypnograms[0], spec.stages)[: len(epochs)]
        usable = np.ones(epochs.shape[:2], bool)
        yield Subject(f"simulated-{seed}", epochs, stages.astype(np.int64), usable)


def simulate_packed(
    spec: ModelSpec, seeds: Sequence[int], hours: float, processes: int = 1, *, whole: bool = False
) -> Iterator[Subject]:
    """Simulate mice as `simulate_subjects` does, so many at once, each in half the memory."""
    simulate = partial(_simulate_one, spec, hours, whole)
    processes = min(processes, len(seeds))
    if processes <= 1:
        yield from map(simulate, seeds)
        return
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(simulate, seeds)


def _simulate_one(spec: ModelSpec, hours: float, whole: bool, seed: int) -> Subject:
    (subject,) = simulate_subjects(spec, [seed], hours, whole=whole)
    return pack(subject)


def pack(subject: Subject) -> Subject:
    """Return the subject in half the memory; amplitudes keep three digits and a half."""
    return replace(subject, epochs=subject.epochs.astype(np.float16))


def n_windows(subjects: Sequence[Subject], n_context: int) -> int:
    """Count the windows of one pass."""
    return sum(max(0, len(subject.epochs) // n_context - 1) for subject in subjects)


def iterate_windows(
    spec: ModelSpec,
    subjects: Sequence[Subject],
    batch_size: int,
    rng: np.random.Generator,
    *,
    masks: bool = True,
) -> Iterator[Windows]:
    """Go through all subjects once, in shuffled batches of windows, with random masks unless told.

    Windows of a subject touch but do not overlap and start at a random offset, so that every
    epoch is encoded once a pass and seen at another slot in each. What was not usable in the
    recording is masked too.
    """
    N = spec.n_context
    places = [
        (s, offset + N * w)
        for s, offset in enumerate(rng.integers(N, size=len(subjects)).tolist())
        for w in range(len(subjects[s].epochs) // N - 1)
    ]
    order = rng.permutation(len(places))
    for first in range(0, len(places), batch_size):
        chosen = [places[i] for i in order[first : first + batch_size]]
        mask = np.stack([subjects[s].usable[k : k + N] for s, k in chosen])
        if masks:
            mask &= draw_masks(len(chosen), N, spec.n_modalities, rng)
        yield Windows(
            torch.from_numpy(np.stack([subjects[s].epochs[k : k + N] for s, k in chosen])).float(),
            torch.from_numpy(np.stack([subjects[s].stages[k : k + N] for s, k in chosen])),
            torch.from_numpy(mask),
        )


def draw_masks(
    n_windows: int, n_context: int, n_modalities: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Mask what a live stream may lack: warm-up, a lost modality, single gaps.

    Returns:
        (n_windows, n_context, n_modalities), True where valid. About half of the windows lack
        something; the newest slot of a warming-up window is never masked by the warm-up.
    """
    slots = np.arange(n_context)
    u = rng.random((3, n_windows, 1, 1))
    filled = rng.integers(1, n_context + 1, (n_windows, 1, 1))
    warming_up = (u[0] < 0.2) & (slots[:, None] < n_context - filled)

    edges = np.sort(rng.integers(0, n_context + 1, (2, n_windows, 1, 1)), axis=0)
    whole = rng.random((n_windows, 1, 1)) < 0.5
    inside = whole | ((slots[:, None] >= edges[0]) & (slots[:, None] < edges[1]))
    which = rng.integers(n_modalities, size=(n_windows, 1, 1)) == np.arange(n_modalities)
    lost = (u[1] < 0.2) & inside & which

    gaps = (u[2] < 0.2) & (rng.random((n_windows, n_context, 1)) < 0.15)
    masks: NDArray[np.bool_] = ~(warming_up | lost | gaps)
    return masks
