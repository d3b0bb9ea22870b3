"""Parity: how far two engines of the same model agree."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.base import Engine
from engines.errors import EngineError

_LOST = 0.15  # chance of a tick to change whether a modality of a row is valid


@dataclass(frozen=True, slots=True)
class Parity:
    """What comparing two engines gave."""

    n_compared: int
    """Estimates compared: slots of all pathways, rows and ticks."""
    max_abs_difference: float
    """Largest difference of a probability; infinite where only one engine gave NaN."""
    argmax_agreement: float
    """Fraction of estimates with the same most probable stage."""


def compare(
    engine: Engine,
    reference: Engine,
    ticks: int,
    seed: int,
    *,
    n_rows: int | None = None,
    unimodal: bool = True,
) -> Parity:
    """Run random epochs with random losses through two engines and compare every probability.

    Amplitudes are as conditioned epochs have them. Both engines' context windows are cleared
    before and after.

    Args:
        engine: the engine in question.
        reference: an engine for the same spec, with as many rows, hops and slots read.
        ticks: steps to run.
        seed: of the random numbers.
        n_rows: each step is of the first so many rows; default: of a random part of all.
        unimodal: read the pathways of the single modalities as well.

    Raises:
        EngineError: the engines are not for the same, or one of them failed.
    """
    for what in ("spec", "n_rows", "hops_per_epoch", "n_read"):
        expected, found = getattr(reference, what), getattr(engine, what)
        if expected != found:
            raise EngineError(f"parity: expected equal {what}, found {expected} and {found}")
    _clear(engine, reference)
    random = np.random.default_rng(seed)
    valid = np.ones((engine.n_rows, engine.spec.n_modalities), bool)
    answers = []
    for _ in range(ticks):
        valid ^= random.random(valid.shape) < _LOST
        n = n_rows or int(random.integers(1, engine.n_rows, endpoint=True))
        rows = random.permutation(n_rows or engine.n_rows)[:n]
        epochs = random_epochs(random, engine, n)
        answers.append(
            [e.step(epochs, rows, valid[rows], unimodal=unimodal) for e in (engine, reference)]
        )
    _clear(engine, reference)
    a, b = (np.concatenate(of_one) for of_one in zip(*answers, strict=True))
    return _measure(a, b)


def random_epochs(random: np.random.Generator, engine: Engine, n: int) -> NDArray[np.float32]:
    """Return noise of random colour and amplitude, (n, n_modalities, n_inputs)."""
    shape = (n, engine.spec.n_modalities, engine.spec.n_inputs)
    white = random.standard_normal(shape)
    slow = np.cumsum(white, axis=-1) / np.sqrt(np.arange(1, shape[-1] + 1))
    epochs = np.exp(random.normal(0.0, 0.7, (*shape[:2], 1))) * (white + slow)
    return np.clip(epochs, -engine.spec.clip, engine.spec.clip).astype(np.float32)


def _clear(*engines: Engine) -> None:
    for engine in engines:
        for row in range(engine.n_rows):
            engine.clear_context(row)


def _measure(a: NDArray[np.float32], b: NDArray[np.float32]) -> Parity:
    """Compare probabilities (n, n_pathways, n_read, n_stages)."""
    absent = np.isnan(b)
    n_compared = int(np.count_nonzero(~absent.any(axis=-1)))
    if not np.array_equal(np.isnan(a), absent):
        return Parity(n_compared, float("inf"), 0.0)
    if n_compared == 0:
        return Parity(0, 0.0, 1.0)
    present = ~absent.any(axis=-1)
    agreement = np.mean(a[present].argmax(axis=-1) == b[present].argmax(axis=-1))
    return Parity(n_compared, float(np.abs(a[present] - b[present]).max()), float(agreement))
