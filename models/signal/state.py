"""The state of a pipeline that a restart needs to go on: its time grid and what it has learnt."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import SpecError


@dataclass(frozen=True, slots=True)
class Adaptation:
    """What a pipeline has learnt of its animals, without any label."""

    level: NDArray[np.float64]
    """(n_subjects, n_modalities), running log amplitude."""
    seen_s: NDArray[np.float64]
    """(n_subjects, n_modalities), usable signal that it was learnt from, s."""
    averages: NDArray[np.float64]
    """(n_subjects, n_modalities, n_averages), what drift is measured from; without a reference
    there are none."""
    averaged_s: NDArray[np.float64]
    """(n_subjects, n_modalities), usable signal that they were made of, s."""
    relative_mean: NDArray[np.float64]
    """(n_subjects, n_modalities, n_features), the animals' running features; none where the net is
    given samples. In the population's SDs, likewise the following."""
    relative_variance: NDArray[np.float64]
    """(n_subjects, n_modalities, n_features)."""
    relative_s: NDArray[np.float64]
    """(n_subjects, n_modalities), usable signal that they were made of, s."""


@dataclass(frozen=True, slots=True)
class PipelineState:
    """Where a pipeline stands after an epoch; its filters always start anew."""

    origin: float
    """Time of point 0 of the grid, on the source's clock, s."""
    next_hop: int
    """The point of the grid whose epoch is cut next."""
    newest: float
    """Time of the newest sample, on the source's clock as shifted, s."""
    drift: float
    """Tracked correction of the sampling interval, s."""
    clock_shift: float
    """What is added to timestamps, as the source's clock was set, s."""
    adaptation: Adaptation
    recent: Mapping[str, NDArray[np.generic]]
    """What the last seconds left: `Relative.recent` and `NoBrain.recent`, where there are these."""


def check_shapes(
    what: str, given: Mapping[str, NDArray[np.generic]], own: Mapping[str, NDArray[np.generic]]
) -> None:
    """Check that arrays to go on from are of the shapes that whoever takes them has.

    Args:
        what: what they are, for the message.
        given: arrays by name; others than those of `own` do not matter.
        own: what there is now.

    Raises:
        SpecError: an array is missing or of another shape.
    """
    for name, array in own.items():
        found = given[name].shape if name in given else "nothing"
        if found != array.shape:
            raise SpecError(f"{what} {name!r}: expected shape {array.shape}, found {found}")
