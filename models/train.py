"""Train sDREAMER on simulated mice and export the bundle: `python -m models.train --help`.

Everything random follows from the seed: the mice, the weights, and, pass by pass, the windows,
the masks and the dropout. So a run that was interrupted goes on from its last whole pass as
if it had not been.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch import Tensor

from models import dataset, sdreamer
from models.dataset import Windows
from models.errors import WeightsError
from models.evaluate import Scores, evaluate
from models.export import export_bundle
from models.losses import LossConfig, staging_loss
from models.sdreamer import SDreamer
from models.spec import MIXED, Band, Hyperparameter, ModelSpec
from models.stages import MOUSE
from models.subject import Subject

FINAL_LAG = 8
"""Epochs of right-hand context of the final reading that is reported."""

console = Console(soft_wrap=True, highlight=False)


class TrainConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to train."""

    passes: int = 4
    """At most so many times through the training subjects."""
    patience: int = 3
    """Passes without a better validation before stopping."""
    batch_size: int = 8
    """Context windows of a step."""
    learning_rate: float = 1e-3
    """Peak of the schedule."""
    weight_decay: float = 1e-4
    """Of AdamW."""
    warmup: float = 0.05
    """Fraction of all steps in which the learning rate rises."""
    clip: float = 1.0
    """Limit of the gradient's norm."""
    bfloat16: bool = True
    """Multiply matrices in bfloat16: several times as fast on processors that can."""
    seed: int = 0
    """Of weights, windows, masks and dropout."""
    loss: LossConfig = LossConfig()
    """What is minimised."""


@dataclass
class Progressing:
    """Where a run is: all that going on from a pass needs."""

    model: SDreamer
    optimizer: torch.optim.Optimizer
    done: int = 0
    """Passes."""
    best: float = -math.inf
    """Best validation κ (live, mixed)."""
    best_pass: int = -1
    best_weights: dict[str, Tensor] | None = None

    def save(self, path: Path) -> None:
        """Write to `path`, whole or not at all."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "done": self.done,
            "best": self.best,
            "best_pass": self.best_pass,
            "best_weights": self.best_weights,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(".part")
        torch.save(state, scratch)
        scratch.replace(path)

    def load(self, path: Path) -> None:
        """Go on from `path`; raises WeightsError if it is of another net."""
        state: dict[str, Any] = torch.load(path, weights_only=True)
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise WeightsError(f"{path}: expected a run of the same net, found: {error}") from error
        self.done, self.best = state["done"], state["best"]
        self.best_pass, self.best_weights = state["best_pass"], state["best_weights"]


def mouse_spec(**architecture: Hyperparameter) -> ModelSpec:
    """Return the spec of the shipped bundle: the paper's net, for mice."""
    return ModelSpec(
        model="sdreamer",
        stages=MOUSE,
        modalities=("eeg", "emg"),
        bands=(Band(0.5, 100.0), Band(10.0, 200.0)),
        sfreq=512.0,
        epoch_s=1.0,
        n_context=16,
        token_size=128,
        architecture=architecture,
    )


def learning_rate(step: int, n_steps: int, config: TrainConfig) -> float:
    """Return the rate of one optimiser step: a linear rise, then half a cosine to zero."""
    rise = max(1, round(config.warmup * n_steps))
    if step < rise:
        return config.learning_rate * (step + 1) / rise
    fraction = (step - rise) / max(1, n_steps - rise)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * fraction))


def train(
    spec: ModelSpec,
    training: Sequence[Subject],
    validation: Sequence[Subject],
    config: TrainConfig,
    *,
    state: Path | None = None,
    report: Callable[[str], None] = lambda _: None,
    progress: Progress | None = None,
) -> SDreamer:
    """Train a net and return it with the weights of its best pass, in eval mode.

    Args:
        spec: the net.
        training: subjects to learn from.
        validation: other subjects, which decide when to stop and which weights are best.
        config: how.
        state: where to keep the run after each pass; if it is there, the run goes on.
        report: is told one line per pass.
        progress: a bar to advance.

    Raises:
        WeightsError: `state` is of another net.
    """
    torch.manual_seed(config.seed)
    model = sdreamer.build(spec)
    run = Progressing(model, _optimizer(model, config))
    if state is not None and state.exists():
        run.load(state)
    while run.done < config.passes and run.done - run.best_pass <= config.patience:
        loss = _run_pass(run, training, config, progress)
        report(f"pass {run.done}: loss {loss:.3f}, validation κ live: {_validate(run, validation)}")
        run.done += 1
        if state is not None:
            run.save(state)
    if run.best_weights is not None:
        model.load_state_dict(run.best_weights)
    return model.eval()


def _optimizer(model: SDreamer, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW that decays matrices only."""
    matrices = [p for p in model.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if p.ndim != 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate)


def _run_pass(
    run: Progressing, training: Sequence[Subject], config: TrainConfig, progress: Progress | None
) -> float:
    """Learn from every subject once and return the mean loss."""
    rng = np.random.default_rng([config.seed, run.done])
    torch.manual_seed(int(rng.integers(2**31)))
    spec = run.model.spec
    n_steps = math.ceil(dataset.n_windows(training, spec.n_context) / config.batch_size)
    task = None if progress is None else progress.add_task("", total=n_steps)
    losses: list[float] = []
    run.model.train()
    for batch in dataset.iterate_windows(spec, training, config.batch_size, rng):
        step = run.done * n_steps + len(losses)
        losses.append(
            _step(run, batch, learning_rate(step, config.passes * n_steps, config), config)
        )
        if progress is not None and task is not None:
            text = f"pass {run.done}, loss {np.mean(losses[-50:]):.3f}"
            progress.update(task, advance=1, description=text)
    return float(np.mean(losses))


def _step(run: Progressing, batch: Windows, rate: float, config: TrainConfig) -> float:
    """Take one optimiser step and return the loss."""
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
        logits = run.model(batch.epochs, batch.mask)
    loss = staging_loss(logits, batch.stages, batch.mask, config.loss)
    run.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), config.clip)
    run.optimizer.step()
    return loss.item()


def _validate(run: Progressing, validation: Sequence[Subject]) -> str:
    """Keep the weights if they are the best so far, and say how good each pathway is."""
    scores = evaluate(run.model, validation)
    if scores[MIXED, 0].kappa > run.best:
        run.best, run.best_pass = scores[MIXED, 0].kappa, run.done
        run.best_weights = {k: v.clone() for k, v in run.model.state_dict().items()}
    return ", ".join(f"{pathway} {s.kappa:.3f}" for (pathway, _), s in scores.items())


def split_seeds(n_subjects: int, seed: int) -> tuple[list[int], list[int], list[int]]:
    """Return different subjects' seeds for training, validation and test (80, 10, 10 %)."""
    n_held = max(1, n_subjects // 10)
    seeds = list(range(1000 * seed, 1000 * seed + n_subjects))
    return seeds[2 * n_held :], seeds[:n_held], seeds[n_held : 2 * n_held]


def describe(scores: dict[tuple[str, int], Scores]) -> dict[str, str]:
    """Return one line of figures for each pathway and lag, for people and for provenance."""
    return {
        f"{pathway} {f'final, lag {lag}' if lag else 'live'}": (
            f"κ {s.kappa:.4f}, accuracy {s.accuracy:.4f}, macro-F1 {s.macro_f1:.4f}"
        )
        for (pathway, lag), s in scores.items()
    }


def main(
    out: Annotated[Path, typer.Option(help="The bundle's folder.")],
    subjects: Annotated[int, typer.Option(min=3, help="Simulated mice, 80/10/10 %.")] = 80,
    hours: Annotated[float, typer.Option(min=0.02, help="Of each mouse.")] = 1.0,
    passes: Annotated[int, typer.Option(min=1, help="At most, through the data.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    dropout: Annotated[
        float, typer.Option(min=0, max=0.9, help="The paper's is 0.1; simulated mice need none.")
    ] = 0.0,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads.")] = 1,
    state: Annotated[
        Path | None, typer.Option(help="Keep the run here, and go on from here if it exists.")
    ] = None,
) -> None:
    """Train sDREAMER on simulated mice and export the bundle."""
    torch.set_num_threads(threads)
    spec = mouse_spec(dropout=dropout)
    config = TrainConfig(passes=passes, seed=seed)
    started = time.monotonic()
    training, validation, test = (
        list(dataset.simulate_subjects(spec, seeds, hours)) for seeds in split_seeds(subjects, seed)
    )
    console.print(f"{len(training)} mice to learn from, {len(validation)} + {len(test)} held out")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as bar:
        model = train(
            spec, training, validation, config, state=state, report=console.print, progress=bar
        )
    scores = evaluate(model, test, (0, FINAL_LAG))
    figures = {f"test, {name}": line for name, line in describe(scores).items()}
    for name, line in figures.items():
        console.print(f"{name}: {line}")
    console.print(f"confusion (rows true, {', '.join(spec.stages)}):\n{scores[MIXED, 0].confusion}")
    provenance = {
        "data": f"{subjects} simulated mice of {hours:g} h: {len(training)} to learn from, "
        f"{len(validation)} to stop by, {len(test)} to test",
        "command": f"python -m models.train --subjects {subjects} --hours {hours:g} "
        f"--passes {passes} --seed {seed} --dropout {dropout:g}",
        "minutes": f"{(time.monotonic() - started) / 60:.0f}",
    }
    export_bundle(model, spec, out, out.name, provenance | _versions(config) | figures)
    console.print(f"wrote {out}")


def _versions(config: TrainConfig) -> dict[str, str]:
    """Return what else the weights follow from."""
    return {
        "config": msgspec.json.encode(config).decode(),
        "date": datetime.now(UTC).date().isoformat(),
        "hypnod": metadata.version("hypnod"),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
    }


if __name__ == "__main__":
    typer.run(main)
