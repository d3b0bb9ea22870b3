"""Where a training run is: what going on from a pass needs, on the disk after each."""

import hashlib
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from models.base import Model
from models.errors import WeightsError
from models.scored_epochs import ScoredEpochs
from models.spec import MIXED, ModelSpec

_PARTS = ("net", "settings", "subjects", "weights to start from")


class Pass(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one pass through the training subjects gave."""

    number: int
    """From 1; 0: the weights that training started from, if not new ones."""
    loss: float | None
    """Mean over its steps; none of pass 0."""
    kappa: dict[str, float]
    """Validation κ by pathway, read live; NaN is -1."""
    accuracy: dict[str, float]
    """Validation accuracy by pathway, read live; without epochs 0."""


def best_pass(history: Sequence[Pass]) -> Pass:
    """Return the first pass of the highest validation κ (live, mixed)."""
    return max(history, key=lambda each: each.kappa[MIXED])


@dataclass
class Run:
    """Where a run is: all that going on from a pass needs."""

    model: Model
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    about: str
    """What the run follows from, as JSON: going on with another is refused."""
    history: list[Pass] = field(default_factory=list)
    best_weights: dict[str, Tensor] | None = None
    beside: nn.Module | None = None
    """What is trained beside the net, and goes on with it."""

    @property
    def n_passes(self) -> int:
        """How many passes are done."""
        return self.history[-1].number if self.history else 0

    @property
    def best(self) -> Pass:
        """The pass whose weights are taken."""
        return best_pass(self.history)

    def add(self, result: Pass) -> None:
        """Take in a pass, and keep the weights if they are the best so far."""
        self.history.append(result)
        if self.best is result:
            self.best_weights = {k: v.clone() for k, v in self.model.state_dict().items()}

    def save(self, path: Path) -> None:
        """Write to `path`, whole or not at all."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "about": self.about,
            "history": [msgspec.structs.asdict(each) for each in self.history],
            "best_weights": self.best_weights,
        }
        if self.beside is not None:
            state["beside"] = self.beside.state_dict()
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(".part")
        torch.save(state, scratch)
        scratch.replace(path)

    def load(self, path: Path) -> None:
        """Go on from `path`; raises WeightsError if it is of another run, or damaged."""
        state = _read(path, next(self.model.parameters()).device)
        if state["about"] != self.about:
            raise WeightsError(
                f"{path}: expected a run of the same net, subjects and settings, found one that "
                f"differs in its {_differences(state['about'], self.about)}; "
                "remove it to begin anew"
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.history = [Pass(**each) for each in state["history"]]
        self.best_weights = state["best_weights"]
        if self.beside is not None:
            self.beside.load_state_dict(state["beside"])


def describe(
    spec: ModelSpec,
    training: Sequence[ScoredEpochs],
    validation: Sequence[ScoredEpochs],
    config: msgspec.Struct,
    start: Model | None,
) -> str:
    """Return what a run follows from, as JSON in the order of `_PARTS`."""
    subjects = [[(s.name, len(s.epochs)) for s in part] for part in (training, validation)]
    about: list[object] = [spec, config, subjects]
    if start is not None:
        about.append(_hash(start))
    return msgspec.json.encode(about).decode()


def _hash(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for tensor in model.state_dict().values():
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def _read(path: Path, place: torch.device) -> dict[str, Any]:
    try:
        state = torch.load(path, weights_only=True, map_location=place)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsError(
            f"{path}: expected a run to go on with, found a damaged or another file "
            f"({type(error).__name__}); remove it to begin anew"
        ) from error
    if not isinstance(state, dict) or "about" not in state:
        raise WeightsError(f"{path}: expected a run to go on with, found another file of torch's")
    return state


def _differences(found: str, expected: str) -> str:
    """Name the parts in which two runs differ, both as `describe` gives them."""
    pairs = zip_longest(msgspec.json.decode(found), msgspec.json.decode(expected))
    differing = [name for name, (a, b) in zip(_PARTS, pairs, strict=False) if a != b]
    return " and ".join(differing)
