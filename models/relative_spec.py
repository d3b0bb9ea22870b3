"""Levels that a net is given of an epoch: which, and what they are relative to."""

from typing import Literal

import msgspec
import numpy as np

from models.errors import SpecError


class RelativeSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a net is given of an epoch in place of its samples; `models.signal.relative` makes it.

    All by modality, in the model's order. A feature is a natural logarithm: with bands, the share
    of each in the power of all of them, then, if asked for, the power of all; without, the RMS and
    the robust SD of the epoch, µV. The net gets each relative to the animal's own running centre
    and spread; the shares, which no gain changes, relative to the population, too; and of all these
    the running means over the last seconds, so that it need not learn to average. A long epoch may
    be told in parts, so that what happens within it, such as a spindle, is not averaged away.
    """

    source: str
    """What the population's means and SDs were measured on."""
    edges_hz: tuple[tuple[float, ...], ...]
    """Edges of the bands, rising, Hz; empty: this modality has none."""
    mean: tuple[tuple[float, ...], ...]
    """Of each feature over the population: what an animal is held against at first."""
    sd: tuple[tuple[float, ...], ...]
    """Of each feature within an animal, typically."""
    prior_s: float = 10.0
    """So much signal of the animal's own weighs as much as the population, s."""
    memory_s: float = 14400.0
    """Time constant of the running mean and SD, s."""
    recent_s: tuple[float, ...] = (4.0, 16.0, 64.0)
    """Time constants of the running means over the last seconds, s."""
    n_parts: int = 1
    """Equal parts of an epoch, each of which has its own levels."""
    own: Literal["moments", "quantiles", "both"] = "moments"
    """What an animal's centre and spread are: mean and SD; middle and distance of the 5th and the
    95th percentile, which depend less on how long it was in which stage; or first the one, then
    the other."""
    population: bool = True
    """Whether the net is given shares relative to the population, too."""
    total: bool = True
    """Whether the power of all bands is a feature, which an amplifier's gain changes."""

    def __post_init__(self) -> None:
        if self.n_parts < 1:
            raise SpecError(f"relative.n_parts: expected at least 1, found {self.n_parts}")
        if any(len(e) == 1 or not (np.diff(e) > 0).all() for e in self.edges_hz):
            raise SpecError("relative.edges_hz: expected at least two, rising, or none")
        for name in ("mean", "sd"):
            found = tuple(map(len, getattr(self, name)))
            if found != self.n_features:
                raise SpecError(
                    f"relative.{name}: expected {self.n_features} features by modality, "
                    f"found {found}"
                )
        mean, sd = ([x for row in rows for x in row] for rows in (self.mean, self.sd))
        if not (np.isfinite(mean + sd).all() and all(x > 0 for x in sd)):
            raise SpecError("relative: expected finite means and SDs of more than 0, found others")
        if not all(s > 0 for s in self.recent_s):
            raise SpecError(f"relative.recent_s: expected more than 0, found {self.recent_s}")
        if not 0 < self.prior_s <= self.memory_s:
            raise SpecError(
                f"relative.prior_s: expected more than 0, at most {self.memory_s:g} s, "
                f"found {self.prior_s:g}"
            )

    @property
    def n_features(self) -> tuple[int, ...]:
        """Features of each modality."""
        return tuple(len(edges) - (not self.total) if edges else 2 for edges in self.edges_hz)

    @property
    def n_bands(self) -> tuple[int, ...]:
        """Bands of each modality."""
        return tuple(max(0, len(edges) - 1) for edges in self.edges_hz)

    @property
    def n_own(self) -> tuple[int, ...]:
        """Levels of each modality that are relative to the animal's own."""
        return tuple(n * (2 if self.own == "both" else 1) for n in self.n_features)

    @property
    def n_levels(self) -> tuple[int, ...]:
        """Levels of an epoch of each modality: its own, then shares of the bands, if given."""
        shares = self.n_bands if self.population else (0,) * len(self.edges_hz)
        return tuple(map(sum, zip(self.n_own, shares, strict=True)))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows that the net is given of a modality (parts, then running means), and levels."""
        return self.n_parts + len(self.recent_s), max(self.n_levels)
