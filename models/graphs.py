"""The inputs and outputs of a model's graphs, which follow from its spec.

    step       newest epoch and cached tokens → probabilities of slots by the first pathway, which
               reads all modalities, and the epoch's token
    step all   the same by every pathway, where there are several
    full       the epochs of a whole window → probabilities of all slots
    ring step  either step as a GPU runs it: the tokens of all rows lie in one ring on the device

Who writes the graphs, who runs them and who reserves memory for them all ask here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from models.spec import ModelSpec

BATCH, SLOTS, READ = "B", "R", "K"
"""Axes: subjects of a call; slots of a ring, of all rows; slots of the window that are read."""


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a graph."""

    shape: tuple[int, ...]
    """Of one subject or slot."""
    dtype: type[np.generic] = np.float32
    """Of its numbers."""
    first: str = BATCH
    """Name of its first axis, whose length is not the spec's."""

    @property
    def axes(self) -> list[str | int]:
        """Its whole shape."""
        return [self.first, *self.shape]

    def n_bytes(self, n: int) -> int:
        """Return its size for n subjects or slots."""
        return n * prod(self.shape) * np.dtype(self.dtype).itemsize


Ports = dict[str, Port]
"""By name, in the graph's order."""


def steps(spec: ModelSpec) -> tuple[tuple[str, ...], ...]:
    """Return the pathways of each step: of the first alone, and of all where there are several."""
    usual = spec.pathways[:1]
    return (usual,) if usual == spec.pathways else (usual, spec.pathways)


def step_inputs(spec: ModelSpec) -> Ports:
    """Return the inputs of a step: tokens oldest first, mask and its newest slot last.

    `slots` says which of the window to read, from 0.
    """
    N, M = spec.n_context, spec.n_modalities
    return {
        "epochs": Port((M, spec.n_inputs)),
        "tokens": Port((N - 1, *spec.token_shape)),
        "mask": Port((N, M), np.bool_),
        "slots": Port((), np.int64, READ),
    }


def step_outputs(spec: ModelSpec, pathways: Sequence[str], n_read: int) -> Ports:
    """Return the outputs of a step: the probabilities of each pathway by its name, and `token`."""
    ports = {pathway: Port((n_read, len(spec.stages))) for pathway in pathways}
    return ports | {"token": Port(spec.token_shape)}


def ring_step_inputs(spec: ModelSpec) -> Ports:
    """Return the inputs of the ring step.

    `before` says where in the ring the slots before the newest are. What is not valid in `epochs`
    is zeros.
    """
    step = step_inputs(spec)
    return {
        "epochs": step["epochs"],
        "mask": step["mask"],
        "before": Port((spec.n_context - 1,), np.int64),
        "ring": Port(spec.token_shape, first=SLOTS),
    }


def ring_step_outputs(spec: ModelSpec, pathways: Sequence[str], n_read: int) -> Ports:
    """Return the outputs of the ring step of some pathways where the newest n slots are read.

    `token` is zeros where not valid. Who runs the step writes it into the ring.
    """
    return {
        "probabilities": Port((len(pathways), n_read, len(spec.stages))),
        "token": Port(spec.token_shape),
    }
