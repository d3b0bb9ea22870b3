"""How well a net stages unseen subjects, read as it will be read live."""

from collections.abc import Iterator, Sequence
from functools import reduce
from operator import add

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.base import Model
from models.grammar import Filter
from models.longer_epochs import average
from models.recordings import scores
from models.recordings.hypnogram import Hypnogram
from models.recordings.scores import Scores, Tally
from models.scored_epochs import ScoredEpochs
from models.spec import Grammar, ModelSpec
from models.stages import from_indices, to_indices

Reading = tuple[str, int]
"""Pathway and lag: how many epochs later an epoch is read; 0 is live, more is final."""

_BATCH = 128


@torch.no_grad()
def encode_all(model: Model, epochs: NDArray[np.floating], usable: NDArray[np.bool_]) -> Tensor:
    """Return the tokens (n, *token_shape) of conditioned epochs (n, M, T), on the net's device."""
    device = next(model.parameters()).device
    parts = [
        model.encode(
            torch.from_numpy(epochs[i : i + _BATCH]).float().to(device),
            torch.from_numpy(usable[i : i + _BATCH]).to(device),
        )
        for i in range(0, len(epochs), _BATCH)
    ]
    return torch.cat(parts).float()


@torch.no_grad()
def read_windows(
    model: Model,
    tokens: Tensor,
    usable: NDArray[np.bool_],
    drawn: NDArray[np.bool_] | None = None,
    every: int = 1,
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Read the window that ends with each epoch; before the first epoch it is masked.

    Args:
        model: the net, in eval mode.
        tokens: (n, *token_shape), of one recording.
        usable: (n, M).
        drawn: (n, N, M), more that is masked (False) in each window.
        every: read only every so many-th window, the first and so on.

    Yields:
        Batch by batch, logits (b, n_pathways, N, S) and what was seen (b, N, M).
    """
    N = model.spec.n_context
    before = tokens.new_zeros(N - 1, *tokens.shape[1:])
    windows = torch.cat([before, tokens]).unfold(0, N, 1).movedim(-1, 1)[::every]
    there = torch.from_numpy(np.concatenate([np.zeros((N - 1, usable.shape[1]), bool), usable]))
    masks = there.unfold(0, N, 1).permute(0, 2, 1)
    if drawn is not None:
        masks = masks & torch.from_numpy(drawn)
    masks = masks[::every]
    for i in range(0, len(windows), _BATCH):
        window, seen = windows[i : i + _BATCH], masks[i : i + _BATCH]
        logits = torch.stack(model.read(window, seen.to(tokens.device)), 1)
        yield logits.float().cpu().numpy(), seen.numpy()


def read_all(
    model: Model,
    epochs: NDArray[np.floating],
    usable: NDArray[np.bool_] | None = None,
    every: int = 1,
) -> NDArray[np.float32]:
    """Return what an engine's `step` gives after each epoch of a recording.

    Each epoch is encoded once; before the first epoch the window is masked (warm-up).

    Args:
        model: the net, in eval mode.
        epochs: (n, M, T), conditioned.
        usable: (n, M); default: all are.
        every: give only every so many-th answer.

    Returns:
        Probabilities (n / every, n_pathways, N, S); [k, :, -1] is epoch k · every as read live.
    """
    there = np.ones(epochs.shape[:2], bool) if usable is None else usable
    parts = read_windows(model, encode_all(model, epochs, there), there, every=every)
    logits = np.concatenate([x for x, _ in parts])
    probabilities: NDArray[np.float32] = torch.from_numpy(logits).softmax(-1).numpy()
    return probabilities


def as_answered(
    spec: ModelSpec, probabilities: NDArray[np.float32], usable: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Return what the daemon answers of epochs, (n, n_pathways, S), NaN where it answers nothing.

    In the place of the mixed pathway stands what the daemon reads: see `ModelSpec.pathway_for`.
    Where nothing is usable it says ART or UNKNOWN. A single pathway has no answer to an epoch
    whose modality is not usable.

    Args:
        spec: the model.
        probabilities: (n, n_pathways, S), of the epoch's slot.
        usable: (n, M).
    """
    answers = probabilities.copy()
    answers[:, 0] = probabilities[np.arange(len(usable)), spec.pathway_for(usable)]
    answers[~spec.readable(usable)] = np.nan
    return answers


def published(
    spec: ModelSpec, said: NDArray[np.float32], lag: int, grammar: Grammar
) -> NDArray[np.float32]:
    """Return what the daemon publishes by a bundle's grammar, (n, …, S), NaN where it has nothing.

    Args:
        spec: the model.
        said: (n, …, lag + 1, S), as `evidence` gives.
        lag: how many epochs later an epoch is read; 0 is live, more is final.
        grammar: of the bundle.
    """
    of_rates = Filter(grammar, spec.epoch_s)
    own = said[..., 0, :]
    found = of_rates.final_all(said) if lag else of_rates.live_all(own)
    return np.where(np.isnan(own), np.nan, found).astype(np.float32)


def evidence(
    spec: ModelSpec, read: NDArray[np.float32], usable: NDArray[np.bool_], lag: int
) -> NDArray[np.float32]:
    """Return what is said of each epoch and those after it, a lag later.

    Args:
        spec: the model.
        read: (n, n_pathways, n_context, S), as `read_all` gives.
        usable: (n, M).
        lag: in epochs.

    Returns:
        (n - lag, n_pathways, lag + 1, S), the epoch itself first; NaN as in `as_answered`.
    """
    n = max(0, len(read) - lag)
    slots = [
        as_answered(spec, read[lag:, :, k - 1 - lag], usable[k : k + n]) for k in range(lag + 1)
    ]
    return np.stack(slots, axis=-2)


def tally(
    model: Model,
    subject: ScoredEpochs,
    lags: Sequence[int] = (0,),
    every: int = 1,
    *,
    grammar: Grammar | None = None,
    as_scored: bool = False,
) -> dict[Reading, Tally]:
    """Count one recording's epochs by pathway and lag, as the daemon would answer them.

    Args:
        model: the net, in eval mode.
        subject: an unseen one.
        lags: how many epochs later an epoch is read: 0 is live (last slot), more is final.
        every: count only every so many-th epoch.
        grammar: of the bundle; `every` is 1 with one.
        as_scored: count the expert's epochs, each with the mean of the probabilities that it
            covers, instead of the net's; `every` is 1 then.
    """
    spec = model.spec
    read = read_all(model, subject.epochs, subject.usable, every)
    when = np.arange(len(subject.epochs))[::every]
    tallies = {}
    for lag in lags:
        epochs = when[when >= lag] - lag
        if grammar is None:
            slots = as_answered(spec, read[when >= lag, :, -1 - lag], subject.usable[epochs])
        else:
            slots = published(spec, evidence(spec, read, subject.usable, lag), lag, grammar)
        truth = subject.stages[epochs]
        if as_scored:
            truth, slots = in_scored_epochs(spec, subject, slots)
        for p, pathway in enumerate(spec.pathways):
            tallies[pathway, lag] = scores.tally(truth, slots[:, p])
    return tallies


def in_scored_epochs(
    spec: ModelSpec, subject: ScoredEpochs, answers: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the stages of the epochs that the expert scored (m,), and the mean answers to them.

    Args:
        spec: the model.
        subject: one recording.
        answers: (n, …, S), to its first epochs; what is returned is (m, …, S).
    """
    truth = subject.stages[: len(answers)]
    if subject.scored_in <= 1:
        return truth, answers
    longer = average(answers, subject.scored_in)
    short = Hypnogram.from_epochs(from_indices(truth, spec.stages), 1.0)
    scored = short.to_epochs(subject.scored_in, len(longer))
    return to_indices(scored, spec.stages).astype(np.int64), longer


def evaluate(
    model: Model, subjects: Sequence[ScoredEpochs], lags: Sequence[int] = (0,), every: int = 1
) -> dict[Reading, Scores]:
    """Score every pathway on all subjects together; see `tally`. The net is left in eval mode."""
    model.eval()
    return pool([tally(model, s, lags, every) for s in subjects], model.spec.stages)


def pool(tallies: Sequence[dict[Reading, Tally]], stages: Sequence[str]) -> dict[Reading, Scores]:
    """Return the figures of several recordings' epochs together."""
    return {
        reading: scores.score(reduce(add, (each[reading] for each in tallies)), stages)
        for reading in tallies[0]
    }
