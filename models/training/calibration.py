"""What validation subjects settle after training: temperatures and the powers of the grammar.

A temperature T divides a pathway's logits so that confidence deserves its name (arXiv:1706.04599):
which stage wins stays the same. It is folded into the last layer of the pathway's head, so it
costs nothing when the net runs. The grammar makes surer of itself what was calibrated, so what is
published by it has temperatures of its own.
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from torch import nn

from models.base import Model
from models.grammar import counted_for, grammar_of
from models.recordings import scores
from models.scored_epochs import ScoredEpochs
from models.spec import Grammar, ModelSpec
from models.stages import UNSCORED
from models.training.balance import stage_weights
from models.training.dataset import draw_masks
from models.training.evaluate import (
    encode_all,
    evidence,
    in_scored_epochs,
    published,
    read_all,
    read_windows,
)

BETAS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.5, 3.0)
"""Powers of the evidence that are tried."""

_MOST = 10.0  # temperatures are sought from a tenth to ten
_AS_GOOD = 0.002
_LEAST = 1e-12  # probability, whose logarithm is taken


def fit_temperatures(
    model: Model,
    subjects: Sequence[ScoredEpochs],
    *,
    masks: bool = True,
    balance: bool = True,
    every: int = 1,
    seed: int = 0,
) -> dict[str, float]:
    """Return each pathway's temperature that makes the true stages most likely.

    Args:
        model: the net, in eval mode.
        subjects: neither trained nor tested on; epochs are read live (last slot).
        masks: draw what a live stream may lack, as training does.
        balance: let the stages weigh as in training.
        every: read only every so many-th epoch.
        seed: of the masks.

    Returns:
        Temperature by pathway; 1 where nothing is scored.
    """
    rng = np.random.default_rng(seed)
    logits, stages, seen = zip(
        *(_read_live(model, s, rng, masks, every) for s in subjects), strict=True
    )
    all_logits, all_stages = np.concatenate(logits), np.concatenate(stages)
    scored = (all_stages != UNSCORED)[:, None] & np.concatenate(seen)
    by_stage = stage_weights(model.spec, subjects) if balance else np.ones(len(model.spec.stages))
    return {
        pathway: _fit(all_logits[scored[:, p], p], all_stages[scored[:, p]], by_stage)
        for p, pathway in enumerate(model.spec.pathways)
    }


def _read_live(
    model: Model, subject: ScoredEpochs, rng: np.random.Generator, masks: bool, every: int
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]:
    """Return logits (n, P, S) of P pathways, stages (n,), which would be answers (n, P)."""
    N, M = model.spec.n_context, model.spec.n_modalities
    drawn = draw_masks(len(subject.epochs), N, M, rng) if masks else None
    parts = read_windows(
        model, encode_all(model, subject.epochs, subject.usable), subject.usable, drawn, every
    )
    logits, seen = zip(*((x[:, :, -1], mask[:, -1]) for x, mask in parts), strict=True)
    newest = np.concatenate(seen)
    answered = model.spec.readable(newest)
    answered[:, 0] &= model.spec.pathway_for(newest) == 0
    return np.concatenate(logits), subject.stages[::every], answered


def _fit(
    logits: NDArray[np.float32], stages: NDArray[np.int64], by_stage: NDArray[np.float64]
) -> float:
    """Return the temperature with the least negative log-likelihood; logits (n, S)."""
    if len(stages) == 0:
        return 1.0
    rows, weights = np.arange(len(stages)), by_stage[stages]

    def cost(log_temperature: float) -> float:
        scaled = logits.astype(np.float64) * np.exp(-log_temperature)
        return float(-(weights * log_softmax(scaled, axis=-1)[rows, stages]).mean())

    limits = (-np.log(_MOST), np.log(_MOST))
    return float(np.exp(minimize_scalar(cost, bounds=limits, method="bounded").x))


@torch.no_grad()
def fold_temperatures(model: Model, temperatures: Mapping[str, float]) -> None:
    """Divide each pathway's logits by its temperature from now on, by its head's last layer."""
    for pathway, temperature in temperatures.items():
        head = model.heads[pathway]
        last = head[-1] if isinstance(head, nn.Sequential) else head
        for parameter in last.parameters():
            parameter.div_(temperature)


def fit_grammar(model: Model, subjects: Sequence[ScoredEpochs], lag: int) -> Grammar | None:
    """Return the species' grammar with the powers of `BETAS` that stage subjects best.

    Best is the highest mean of κ and the F1 of REM (the rarest stage, and the one that is read
    where it cannot be), of all subjects' epochs together as they were scored. Of powers that are
    within 0.002 of it the least is taken: it makes the fewest transitions. Where there is nothing
    to go by, it is 1.

    Args:
        model: the net, calibrated and in eval mode.
        subjects: neither trained nor tested on.
        lag: of the final reading, in epochs.

    Returns:
        None where the packaged counts are not of the stages that the model tells apart.
    """
    if not counted_for(model.spec):
        return None
    grammar = grammar_of(model.spec.species, 1.0, 1.0)
    read = [read_all(model, s.epochs, s.usable)[:, :, -1 - lag :].copy() for s in subjects]
    live, final = (_fit_beta(model.spec, subjects, read, each, grammar) for each in (0, lag))
    return msgspec.structs.replace(grammar, beta_live=live, beta_final=final)


def fit_confidence(
    model: Model, subjects: Sequence[ScoredEpochs], grammar: Grammar, lag: int
) -> Grammar:
    """Return the grammar with the temperatures that make the true stages most likely.

    Every epoch weighs the same: what is published is to be right as often as it says. The mixed
    pathway, or what is there of it, decides.

    Args:
        model: the net, calibrated and in eval mode.
        subjects: neither trained nor tested on; as unlike each other as those that are met later.
        grammar: with its powers.
        lag: of the final reading, in epochs.
    """
    untempered = msgspec.structs.replace(grammar, temperature_live=1.0, temperature_final=1.0)
    read = [read_all(model, s.epochs, s.usable)[:, :, -1 - lag :].copy() for s in subjects]
    live, final = (_fit_published(model.spec, subjects, read, k, untempered) for k in (0, lag))
    return msgspec.structs.replace(grammar, temperature_live=live, temperature_final=final)


def _fit_published(
    spec: ModelSpec,
    subjects: Sequence[ScoredEpochs],
    read: Sequence[NDArray[np.float32]],
    lag: int,
    untempered: Grammar,
) -> float:
    """Return the temperature of what is published of the mixed pathway at a lag."""
    logits, stages = [], []
    for each, subject in zip(read, subjects, strict=True):
        said = evidence(spec, each, subject.usable, lag)[:, 0]
        answers = published(spec, said, lag, untempered)
        truth, answers = in_scored_epochs(spec, subject, answers)
        known = (truth != UNSCORED) & np.isfinite(answers).all(axis=-1)
        logits.append(np.log(np.maximum(answers[known], _LEAST)))
        stages.append(truth[known])
    return _fit(np.concatenate(logits), np.concatenate(stages), np.ones(len(spec.stages)))


def _fit_beta(
    spec: ModelSpec,
    subjects: Sequence[ScoredEpochs],
    read: Sequence[NDArray[np.float32]],
    lag: int,
    grammar: Grammar,
) -> float:
    """Return the best power of what the mixed pathway, or what is there of it, says at a lag."""
    said = [
        evidence(spec, each, s.usable, lag)[:, 0] for each, s in zip(read, subjects, strict=True)
    ]
    merits = {}
    for beta in BETAS:
        tried = msgspec.structs.replace(grammar, beta_live=beta, beta_final=beta)
        tallies = [
            scores.tally(*in_scored_epochs(spec, s, published(spec, each, lag, tried)))
            for each, s in zip(said, subjects, strict=True)
        ]
        found = scores.score(reduce(add, tallies), spec.stages)
        known = [x for x in (found.kappa, found.f1["REM"]) if x is not None]
        if known:
            merits[beta] = float(np.mean(known))
    best = max(merits.values(), default=0.0)
    return min((b for b, merit in merits.items() if merit >= best - _AS_GOOD), default=1.0)
