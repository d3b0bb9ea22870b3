"""What engines, export and training need of a model, and which models there are.

A model is a folder of `models/`, written from one paper:

    net.py      build(spec) → Model; new_spec(n_context, **architecture), the paper's own spec;
                given_levels(spec, relative), one whose net is given levels, not samples
    losses.py   LossConfig; staging_loss(logits, stages, mask, config, weights); beside(spec,
                config) → what is trained beside the net and left behind, called with the net,
                epochs, mask and domains (B,), or None: the logits and what is added to the loss;
                PAPER_RECIPE, the settings of `models.training.train.TrainConfig` that the paper
                trains with
    work.py     count_products(spec, n_read) → multiplications to encode an epoch, to read slots
    authors.py  its authors' checkpoints, for `hypnod import`: recognise(checkpoint) → what their
                net is called, or None; read_spec(checkpoint, highpass_hz, lowpass_hz);
                load_net(checkpoint, spec) → the net and the names that it does not use; ASSUMED

The first two need torch. Nothing here does: a part is imported when somebody asks for it.

B: subjects, N: epochs of the context window, M: modalities, T: samples of an epoch, S: stages.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from models.errors import SpecError
from models.spec import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module, ModuleDict
else:
    Module = object  # a net inherits from torch's as well

MODELS = {"sdreamer": "models.sdreamer", "sleepdifformer": "models.sleepdifformer"}
"""The folder of each model, by `ModelSpec.model`."""
NEW_MODELS = {"mouse": "sdreamer", "human": "sleepdifformer"}
"""What is trained anew, by species."""


class Weights(NamedTuple):
    """What a token attends to in one layer, each (B, N, heads, L)."""

    weights: "Tensor"
    """What the values are multiplied with; rows sum to 1, or of differential attention to 1 - λ."""
    first: "Tensor"
    """The softmax, of differential attention the first; rows sum to 1."""
    second: "Tensor | None" = None
    """The other softmax of differential attention: weights = first - λ · second."""


@dataclass(frozen=True)
class AttentionMaps:
    """What decisions on a batch of context windows rest on."""

    within: dict[str, list[Weights]]
    """By modality and layer, what becomes the epoch token attends to: the L - 1 pieces of its
    epoch, oldest first, and, last, itself."""
    over: dict[str, "list[Tensor]"]
    """By pathway and layer (B, heads, K, N, K, N): slots (the first N) attend to slots. K is the
    tokens an epoch that meet: one of each modality, in their order, or 1. Rows sum to 1."""


class Watched:
    """A layer that tells what it attends to while somebody watches; mix it into a Module."""

    _seen: "list[tuple[Tensor, ...]] | None" = None

    def saw(self, *weights: "Tensor") -> None:
        """Tell what was attended to."""
        if self._seen is not None:
            self._seen.append(weights)


@contextmanager
def watching(*layers: Any) -> "Iterator[list[list[tuple[Tensor, ...]]]]":
    """Give what each of these `Watched` layers tells inside the `with`, call by call."""
    seen: list[list[tuple[Tensor, ...]]] = [[] for _ in layers]
    for layer, told in zip(layers, seen, strict=True):
        layer._seen = told  # noqa: SLF001  nobody else is to set it
    try:
        yield seen
    finally:
        for layer in layers:
            layer._seen = None  # noqa: SLF001


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

    @abstractmethod
    def attend(self, epochs: "Tensor", mask: "Tensor") -> AttentionMaps:
        """Return what the decisions on whole windows rest on.

        Args:
            epochs: (B, N, M, T), as for `forward`.
            mask: as for `read`.
        """


def part_of(model: str, part: str) -> ModuleType:
    """Import one module of a model's folder.

    Raises:
        SpecError: there is no such model.
    """
    if model not in MODELS:
        raise SpecError(f"model: expected one of {', '.join(MODELS)}, found {model!r}")
    return import_module(f"{MODELS[model]}.{part}")
