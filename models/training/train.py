"""Train a net: AdamW, early stopping on validation subjects, and a run that can be gone on with.

Everything random follows from the seed: the weights, and, pass by pass, the windows, the masks
and the dropout. So a run that was interrupted goes on from its last whole pass as if it had not
been.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import nn

from models.errors import RecordingError
from models.scored_epochs import ScoredEpochs
from models.sdreamer.losses import PAPER, LossConfig, staging_loss
from models.sdreamer.net import SDreamer
from models.spec import Band, Hyperparameter, ModelSpec
from models.stages import MOUSE
from models.training import dataset
from models.training.dataset import Windows
from models.training.devices import Device
from models.training.evaluate import evaluate
from models.training.run import Pass, Run, describe
from models.weights import build_model


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
    validate_every: int = 4
    """Validation and calibration read only every so many-th epoch."""
    seed: int = 0
    """Of weights, windows, masks and dropout."""
    loss: LossConfig = LossConfig()
    """What is minimised."""


PAPER_RECIPE = TrainConfig(
    passes=100,
    patience=30,
    batch_size=16,
    learning_rate=1e-3,
    warmup=0.0,
    clip=None,
    masks=False,
    loss=PAPER,
)
"""The recipe of the sDREAMER authors' code (with dropout 0.1 in the architecture), but for its
schedule: theirs counts steps as if they were passes, so that the rate swings up and down; here
one half of a cosine spans the run, as their paper means it."""


class Watcher:
    """Is told how a run goes; the base does nothing with it."""

    def resumed(self, n_passes: int) -> None:
        """Take in that the run goes on after so many passes."""

    def step(self, done: int, total: int, loss: float) -> None:
        """Take in a step of a pass: the first is 1."""

    def passed(self, result: Pass) -> None:
        """Take in a pass."""


def mouse_spec(n_context: int = 16, **architecture: Hyperparameter) -> ModelSpec:
    """Return the spec of the shipped bundle, the paper's net for mice, or one that differs."""
    return ModelSpec(
        model="sdreamer",
        stages=MOUSE,
        modalities=("eeg", "emg"),
        bands=(Band(0.5, 100.0), Band(10.0, 200.0)),
        sfreq=512.0,
        epoch_s=1.0,
        n_context=n_context,
        token_size=128,
        architecture=architecture,
    )


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
    start: SDreamer | None = None,
    state: Path | None = None,
    watcher: Watcher | None = None,
) -> tuple[SDreamer, list[Pass]]:
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
        watcher: is told of steps and passes.

    Raises:
        RecordingError: no training subject has enough epochs for a window.
        WeightsError: `state` is of another run, or damaged.
    """
    _check_length(spec, training)
    torch.manual_seed(config.seed)
    model = build_model(spec)
    if start is not None:
        model.load_state_dict(start.state_dict())
    model.to(device.place)
    about = describe(spec, training, validation, config, start)
    run = Run(model, _optimizer(model, config), device.scaler(), about)
    watcher = watcher or Watcher()
    if state is not None and state.exists():
        run.load(state)
        watcher.resumed(run.n_passes)
    if start is not None and not run.history:
        run.add(_validate(run, validation, config, device, 0))
        watcher.passed(run.history[0])
    called = device.parallel(model)
    while run.n_passes < config.passes and _may_improve(run, config):
        _run_pass(run, called, training, validation, config, device, watcher)
        if state is not None and device.rank == 0:
            run.save(state)
        watcher.passed(run.history[-1])  # after it is kept: who was told of a pass may interrupt
    if run.best_weights is not None:
        model.load_state_dict(run.best_weights)
    return model.eval(), run.history


def _check_length(spec: ModelSpec, training: Sequence[ScoredEpochs]) -> None:
    if dataset.n_windows(training, spec.n_context) == 0:
        longest = max((len(subject.epochs) for subject in training), default=0)
        raise RecordingError(
            f"expected a recording to learn from of at least {2 * spec.n_context} epochs, two "
            f"context windows, found {longest} in the longest"
        )


def _may_improve(run: Run, config: TrainConfig) -> bool:
    return not run.history or run.n_passes - run.best.number < config.patience


def _optimizer(model: SDreamer, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW that decays matrices only."""
    matrices = [p for p in model.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if p.ndim != 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def _run_pass(
    run: Run,
    called: nn.Module,
    training: Sequence[ScoredEpochs],
    validation: Sequence[ScoredEpochs],
    config: TrainConfig,
    device: Device,
    watcher: Watcher,
) -> None:
    """Learn from every subject once."""
    done = run.n_passes
    rng = np.random.default_rng([config.seed, done])
    torch.manual_seed(int(rng.integers(2**31)) + device.rank)
    spec = run.model.spec
    n_steps = math.ceil(dataset.n_windows(training, spec.n_context) / config.batch_size)
    batches = dataset.iterate_windows(spec, training, config.batch_size, rng, masks=config.masks)
    losses: list[float] = []
    run.model.train()
    for step, batch in enumerate(batches):
        if len(batch.stages) < device.n_ranks:
            continue
        rate = learning_rate(done * n_steps + step, config.passes * n_steps, config)
        losses.append(_step(run, called, batch, rate, config, device))
        watcher.step(step + 1, n_steps, float(np.mean(losses[-50:])))
    loss = device.agree(float(np.mean(losses)))
    run.add(_validate(run, validation, config, device, done + 1, loss))


def _step(
    run: Run, called: nn.Module, batch: Windows, rate: float, config: TrainConfig, device: Device
) -> float:
    """Take one optimiser step on this process's share of the batch and return its loss."""
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    share = slice(device.rank, None, device.n_ranks)
    epochs, stages, mask = (
        x[share].to(device.place) for x in (batch.epochs, batch.stages, batch.mask)
    )
    with device.autocast():
        logits = called(epochs, mask)
    loss = staging_loss(logits, stages, mask, config.loss)
    run.optimizer.zero_grad()
    run.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
    if config.clip is not None:
        run.scaler.unscale_(run.optimizer)
        nn.utils.clip_grad_norm_(run.model.parameters(), config.clip)
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
