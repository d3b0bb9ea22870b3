"""Train a net: AdamW, early stopping on validation subjects, and a run that can be gone on with.

Everything random follows from the seed: the weights, and, pass by pass, the windows, the masks
and the dropout. So a run that was interrupted goes on from its last whole pass as if it had not
been.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from models.base import Model, part_of
from models.errors import RecordingError
from models.scored_epochs import ScoredEpochs
from models.spec import ModelSpec
from models.training import dataset
from models.training.balance import stage_weights
from models.training.dataset import Windows
from models.training.devices import Device
from models.training.evaluate import evaluate
from models.training.run import Pass, Run, describe
from models.weights import build_model

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Of logits, stages and mask."""


class TrainConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to train."""

    passes: int = 3
    """At most so many times through the training subjects."""
    patience: int = 3
    """Passes without a better validation before stopping."""
    batch_size: int = 16
    """Context windows of a step."""
    learning_rate: float = 4e-4
    """Peak of the schedule. The epochs of a window are alike, so gradients are noisy: with 1e-3
    the net stays for long where it says the commonest stage."""
    weight_decay: float = 1e-4
    """Of AdamW, on matrices."""
    warmup: float = 0.05
    """Fraction of all steps in which the learning rate rises."""
    clip: float | None = 1.0
    """Limit of the gradient's norm; null: none."""
    masks: bool = True
    """Draw what a live stream may lack: warm-up, gaps, a lost modality."""
    balance: bool = True
    """Let stages weigh what they do in experts' hypnograms; see `models.training.balance`."""
    validate_every: int = 4
    """Validation and calibration read only every so many-th epoch."""
    keep: float = 0.0
    """How much of the weights that training starts from is in those that are validated and
    returned, the rest is of those it reached: what few recordings teach then costs less of what
    many did (Wortsman et al. 2022, arXiv:2109.01903)."""
    seed: int = 0
    """Of weights, windows, masks and dropout."""
    loss: msgspec.Struct | None = None
    """What is minimised, the LossConfig of the model's folder; null: its defaults."""


class Watcher:
    """Shows how a run goes; this one shows nothing."""

    def resumed(self, n_passes: int) -> None:
        """Show that the run goes on after so many passes."""

    def step(self, done: int, total: int, loss: float) -> None:
        """Show a step of a pass; the first is 1."""

    def passed(self, result: Pass) -> None:
        """Show a pass."""


def paper_recipe(model: str) -> TrainConfig:
    """Return how the authors of a model train it; raises SpecError if there is no such model."""
    return TrainConfig(**part_of(model, "losses").PAPER_RECIPE)


def with_loss(config: TrainConfig, model: str) -> TrainConfig:
    """Return the settings with the model's own loss where they name none."""
    loss = config.loss or part_of(model, "losses").LossConfig()
    return msgspec.structs.replace(config, loss=loss)


def learning_rate(step: int, n_steps: int, config: TrainConfig) -> float:
    """Return the rate of one optimiser step: a linear rise, then half a cosine to zero."""
    rise = round(config.warmup * n_steps)
    if step < rise:
        return config.learning_rate * (step + 1) / rise
    fraction = (step - rise) / max(1, n_steps - rise)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * fraction))


def train(
    spec: ModelSpec,
    training: Sequence[ScoredEpochs],
    validation: Sequence[ScoredEpochs],
    config: TrainConfig,
    device: Device,
    *,
    start: Model | None = None,
    state: Path | None = None,
    watcher: Watcher | None = None,
) -> tuple[Model, list[Pass]]:
    """Train a net and return it with the weights of its best pass, in eval mode, and its history.

    The weights that training starts from count as a pass, too, if they are not new ones: what
    learns nothing better from a lab's recordings stays as it was.

    Args:
        spec: the net.
        training: subjects to learn from.
        validation: other subjects, which decide when to stop and which weights are best.
        config: how.
        device: where.
        start: a net of the same spec, to go on from its weights; default: new ones.
        state: where to keep the run after each pass; if it is there, the run goes on.
        watcher: called after each step and pass.

    Raises:
        RecordingError: no training subject has enough epochs for a window.
        WeightsError: `state` is of another run, or damaged.
    """
    _check_length(spec, training)
    config = with_loss(config, spec.model)
    torch.manual_seed(config.seed)
    model = build_model(spec)
    if start is not None:
        model.load_state_dict(start.state_dict())
    about = describe(spec, training, validation, config, start)
    learner = _Learner(model, part_of(spec.model, "losses").beside(spec, config.loss))
    learner.to(device.place)
    optimizer = _optimizer(learner, config)
    run = Run(model, optimizer, device.scaler(), about, beside=learner.beside)
    watcher = watcher or Watcher()
    if state is not None and state.exists():
        run.load(state)
        watcher.resumed(run.n_passes)
    if start is not None and not run.history:
        run.add(_validate(run, validation, config, device, 0))
        watcher.passed(run.history[0])
    called = device.parallel(learner)
    loss = _loss_of(spec, training, config, device)
    while run.n_passes < config.passes and _may_improve(run, config):
        _run_pass(run, called, loss, training, validation, config, device, watcher, start)
        if state is not None and device.rank == 0:
            run.save(state)
        watcher.passed(run.history[-1])  # after it is kept: it may interrupt
    if run.best_weights is not None:
        model.load_state_dict(run.best_weights)
    return model.eval(), run.history


class _Learner(nn.Module):
    """What learns, called as one: the net, and what is trained beside it, if anything."""

    def __init__(self, model: Model, beside: nn.Module | None) -> None:
        super().__init__()
        self.model, self.beside = model, beside

    def forward(self, epochs: Tensor, mask: Tensor, domains: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of windows, and what is added to their loss, a scalar."""
        if self.beside is None:
            logits = self.model(epochs, mask)
            return logits, logits.new_zeros(())
        logits, more = self.beside(self.model, epochs, mask, domains)
        return logits, more


def _loss_of(
    spec: ModelSpec, training: Sequence[ScoredEpochs], config: TrainConfig, device: Device
) -> Loss:
    """Return what is minimised, of logits, stages and mask."""
    weights = None
    if config.balance:
        weights = torch.tensor(stage_weights(spec, training), dtype=torch.float32).to(device.place)
    staging_loss = part_of(spec.model, "losses").staging_loss
    return partial(staging_loss, config=config.loss, weights=weights)


def _check_length(spec: ModelSpec, training: Sequence[ScoredEpochs]) -> None:
    if dataset.n_windows(training, spec.n_context) == 0:
        longest = max((len(subject.epochs) for subject in training), default=0)
        raise RecordingError(
            f"expected a recording to learn from of at least {2 * spec.n_context} epochs, two "
            f"context windows, found {longest} in the longest"
        )


def _may_improve(run: Run, config: TrainConfig) -> bool:
    return not run.history or run.n_passes - run.best.number < config.patience


def _optimizer(learner: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW that decays matrices only."""
    matrices = [p for p in learner.parameters() if p.ndim == 2]
    others = [p for p in learner.parameters() if p.ndim != 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def _run_pass(
    run: Run,
    called: nn.Module,
    loss_of: Loss,
    training: Sequence[ScoredEpochs],
    validation: Sequence[ScoredEpochs],
    config: TrainConfig,
    device: Device,
    watcher: Watcher,
    start: Model | None,
) -> None:
    """Learn from every subject once."""
    done = run.n_passes
    rng = np.random.default_rng([config.seed, done])
    torch.manual_seed(int(rng.integers(2**31)) + device.rank)
    spec = run.model.spec
    n_steps = math.ceil(dataset.n_windows(training, spec.n_context) / config.batch_size)
    batches = dataset.iterate_windows(spec, training, config.batch_size, rng, masks=config.masks)
    losses: list[float] = []
    called.train()
    for step, batch in enumerate(batches):
        if len(batch.stages) < device.n_ranks:
            continue
        rate = learning_rate(done * n_steps + step, config.passes * n_steps, config)
        losses.append(_step(run, called, loss_of, batch, rate, config, device))
        watcher.step(step + 1, n_steps, float(np.mean(losses[-50:])))
    loss = device.agree(float(np.mean(losses)))
    with _partly(run.model, start, config.keep):
        run.add(_validate(run, validation, config, device, done + 1, loss))


@contextmanager
def _partly(model: Model, start: Model | None, keep: float) -> Iterator[None]:
    """Give the net so much of the weights that training started from, for a while."""
    if start is None or not keep:
        yield
        return
    before = start.state_dict()
    reached = {name: weights.clone() for name, weights in model.state_dict().items()}
    model.load_state_dict(
        {name: w.lerp(before[name].to(w.device), keep) for name, w in reached.items()}
    )
    yield
    model.load_state_dict(reached)


def _step(
    run: Run,
    called: nn.Module,
    loss_of: Loss,
    batch: Windows,
    rate: float,
    config: TrainConfig,
    device: Device,
) -> float:
    """Take one optimiser step on this process's share of the batch and return its loss."""
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    share = slice(device.rank, None, device.n_ranks)
    epochs, stages, mask, domains = (
        x[share].to(device.place) for x in (batch.epochs, batch.stages, batch.mask, batch.domains)
    )
    with device.autocast():
        logits, more = called(epochs, mask, domains)
    loss: Tensor = loss_of(logits, stages, mask) + more
    run.optimizer.zero_grad()
    run.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
    if config.clip is not None:
        run.scaler.unscale_(run.optimizer)
        nn.utils.clip_grad_norm_(called.parameters(), config.clip)
    run.scaler.step(run.optimizer)
    run.scaler.update()
    return loss.item()


def _validate(
    run: Run,
    validation: Sequence[ScoredEpochs],
    config: TrainConfig,
    device: Device,
    number: int,
    loss: float | None = None,
) -> Pass:
    """Return what the pass gave; every process returns the first one's figures."""
    with device.autocast():
        scores = evaluate(run.model, validation, every=config.validate_every)
    live = {pathway: each for (pathway, _), each in scores.items()}
    return Pass(
        number=number,
        loss=loss,
        kappa={p: device.agree(-1.0 if s.kappa is None else s.kappa) for p, s in live.items()},
        accuracy={p: device.agree(s.accuracy or 0.0) for p, s in live.items()},
    )
