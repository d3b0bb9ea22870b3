"""What engines, export and training need of a model, and which models there are.

A model is a folder of `models/`, written from one paper:

    net.py      build(spec) → Model; new_spec(n_context, **architecture), the paper's own spec;
                given_levels(spec, relative), one whose net is given levels, not samples
    losses.py   LossConfig; staging_loss(logits, stages, mask, config, weights); PAPER_RECIPE, the
                settings of `models.training.train.TrainConfig` that the paper trains with
    work.py     count_products(spec, n_read) → multiplications to encode an epoch, to read slots
    authors.py  its authors' checkpoints, for `hypnod import`

The first two need torch. Nothing here does: a part is imported when somebody asks for it.

B: subjects, N: epochs of the context window, M: modalities, T: samples of an epoch, S: stages.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from models.errors import SpecError
from models.spec import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module, ModuleDict
else:
    Module = object  # a net inherits from torch's as well

MODELS = {"sdreamer": "models.sdreamer"}
"""The folder of each model, by `ModelSpec.model`."""
NEW_MODELS = {"mouse": "sdreamer", "human": "sleepdifformer"}
"""What is trained anew, by species."""


class Model(ABC, Module):
    """A net: derive from this and from torch's Module, in this order."""

    spec: ModelSpec
    """What it expects and gives."""
    heads: "ModuleDict"
    """What gives the logits of each pathway, by its name; the last layer is linear."""

    @abstractmethod
    def encode(self, epochs: "Tensor", valid: "Tensor") -> "Tensor":
        """Encode epochs to tokens that depend on nothing but their epoch.

        Args:
            epochs: (…, M, T), conditioned.
            valid: (…, M) bool; where False the samples do not matter.

        Returns:
            (…, *token_shape).
        """

    @abstractmethod
    def read(
        self,
        tokens: "Tensor",
        mask: "Tensor",
        pathways: Sequence[str] | None = None,
        slots: "Tensor | None" = None,
    ) -> "list[Tensor]":
        """Read a context window.

        Args:
            tokens: (B, N, *token_shape), oldest first.
            mask: (B, N, M) bool, False where an epoch's modality is not valid: nobody attends to
                it, and what its token holds does not matter.
            pathways: which to read; default: all of the spec.
            slots: (R,), which slots of the window to read; default: all N.

        Returns:
            Logits (B, R, S) of each of these pathways.
        """

    @abstractmethod
    def forward(self, epochs: "Tensor", mask: "Tensor") -> "Tensor":
        """Encode and read whole windows, as training does.

        Args:
            epochs: (B, N, M, T), conditioned, oldest first.
            mask: as for `read`.

        Returns:
            Logits (B, P, N, S), in the order of `spec.pathways`.
        """


def part_of(model: str, part: str) -> ModuleType:
    """Import one module of a model's folder.

    Raises:
        SpecError: there is no such model.
    """
    if model not in MODELS:
        raise SpecError(f"model: expected one of {', '.join(MODELS)}, found {model!r}")
    return import_module(f"{MODELS[model]}.{part}")
