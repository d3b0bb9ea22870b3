"""What a model expects and gives: the contract between training, engines and daemon."""

import math
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.errors import SpecError
from models.relative_spec import RelativeSpec
from models.stages import SPECIES, STAGE_SETS

MODALITIES = ("eeg", "emg", "eog")
MIXED = "mixed"
"""The pathway that reads all modalities; every other one has the name of the one it reads."""

SLOWEST_HZ = {"mouse": 100.0, "human": 50.0}
"""Sampling rate of the slowest channel that is staged, by species. People's EOG has little above
25 Hz, and comes at 50 Hz in the largest collection (SHHS)."""

LIVE_HOP_S = {"mouse": 1.0, "human": 5.0}
"""How often a stage is wanted by who watches, by species, s. A person's epoch is long: a stage of
it every 5 s is six times as much to compute, and none that is on show is older than 5 s."""

_LONGEST_STAY_S = 1e6  # in a stage, on average
_MOST_BETA = 10.0

Hyperparameter = bool | int | float | str
LearntAs = Literal["trained", "stopped on"]
"""What a recording was for: its epochs were trained on, or they decided when to stop, which weights
are best, the temperatures and the grammar's powers."""


class Band(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The pass band of one modality's causal filter."""

    highpass_hz: float
    """Corner of the 2nd-order Butterworth high-pass, Hz."""
    lowpass_hz: float
    """Pass-band edge of the elliptic low-pass, Hz; it is also the anti-alias filter."""


class ModelSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything about a model that code outside the network needs to know.

    What the net is given of an epoch is `(n_subjects, n_modalities, n_inputs) float32`, modalities
    in the order given here; probabilities are `(…, n_pathways, n_context, n_stages)`, pathways and
    stages in the order given here.
    """

    model: str
    """Name of the architecture, one of `models.base.MODELS`."""
    species: str
    """Whose sleep it stages: mouse, human."""
    stages: tuple[str, ...]
    """The closed stage set."""
    modalities: tuple[str, ...]
    """What the channels of a subject are: eeg, emg, eog."""
    pathways: tuple[str, ...]
    """What can be read of a window: mixed, then those modalities that can be read alone."""
    bands: tuple[Band, ...]
    """The filter of each modality."""
    sfreq: float
    """Sampling rate of the conditioned epochs, Hz."""
    epoch_s: float
    """Length of an epoch, s."""
    n_context: int
    """Epochs in the context window (the paper's N)."""
    token_shape: tuple[int, ...]
    """Of what an epoch is encoded to: (n_modalities, D) where each modality has a token of its
    own, (D,) where one is for the whole epoch."""
    amplitude: Literal["robust", "sd"] = "robust"
    """What the running amplitude of a channel is: robust, from the median |x| of its epochs; sd,
    the standard deviation, for weights trained on signals that were divided by theirs."""
    normaliser_s: float = 1800.0
    """Time constant of the running amplitude of each channel, s."""
    clip: float = 10.0
    """Normalised samples are limited to ± this many amplitudes."""
    relative: RelativeSpec | None = None
    """What the net is given of an epoch; null: its normalised samples."""
    architecture: dict[str, Hyperparameter] = {}
    """Hyperparameters of the architecture."""

    def __post_init__(self) -> None:
        _check_known("species", (self.species,), SPECIES)
        _check_known("modalities", self.modalities, MODALITIES)
        if self.stages not in STAGE_SETS:
            sets = " or ".join("/".join(s) for s in STAGE_SETS)
            raise SpecError(f"stages: expected {sets}, found {'/'.join(self.stages)}")
        _check_known("pathways", self.pathways, (MIXED, *self.modalities))
        if self.pathways[0] != MIXED:
            raise SpecError(f"pathways: expected {MIXED} first, found {self.pathways[0]}")
        if len(self.bands) != len(self.modalities):
            raise SpecError(
                f"bands: expected one for each of {len(self.modalities)} modalities, "
                f"found {len(self.bands)}"
            )
        self._check_sizes()
        if self.relative is not None:
            self._check_relative(self.relative)

    def _check_sizes(self) -> None:
        for name in ("sfreq", "epoch_s", "n_context", "normaliser_s", "clip"):
            if not getattr(self, name) > 0:
                raise SpecError(f"{name}: expected more than 0, found {getattr(self, name)}")
        *per_modality, size = self.token_shape or (0,)
        if per_modality not in ([], [self.n_modalities]) or size < 1:
            raise SpecError(
                f"token_shape: expected ({self.n_modalities}, D) or (D,), found {self.token_shape}"
            )
        if abs(self.sfreq * self.epoch_s - self.n_times) > 1e-6:
            raise SpecError(
                f"expected epoch_s × sfreq to be a whole number of samples, "
                f"found {self.epoch_s} s × {self.sfreq} Hz"
            )

    def _check_relative(self, relative: RelativeSpec) -> None:
        if len(relative.edges_hz) != self.n_modalities:
            raise SpecError(
                f"relative: expected {self.n_modalities} modalities, found {len(relative.edges_hz)}"
            )
        if self.n_times % relative.n_parts:
            raise SpecError(
                f"relative.n_parts: expected a divisor of {self.n_times} samples, "
                f"found {relative.n_parts}"
            )
        part_s = self.epoch_s / relative.n_parts
        for edges in filter(None, relative.edges_hz):
            bins = np.diff(edges) * part_s
            if edges[0] < 0 or edges[-1] > self.sfreq / 2 or bins.min() < 1 - 1e-9:
                raise SpecError(
                    f"relative.edges_hz: expected 0 to {self.sfreq / 2:g} Hz, at least "
                    f"{1 / part_s:g} Hz apart, found {', '.join(f'{e:g}' for e in edges)}"
                )
        if relative.memory_s < self.epoch_s:
            raise SpecError(
                f"relative.memory_s: expected at least an epoch, {self.epoch_s:g} s, "
                f"found {relative.memory_s:g}"
            )

    @property
    def n_times(self) -> int:
        """Samples of a conditioned epoch."""
        return round(self.sfreq * self.epoch_s)

    @property
    def looks_back_s(self) -> float:
        """How far back an estimate looks: its context window, or the longest running mean, s."""
        recent_s = () if self.relative is None else self.relative.recent_s
        return max((self.context_s, *recent_s))

    @property
    def min_sfreq(self) -> float:
        """Sampling rate of the slowest channel that is staged, Hz."""
        return SLOWEST_HZ[self.species]

    @property
    def live_hop_s(self) -> float:
        """Time from one stage to the next for who watches: a whole fraction of the epoch, s."""
        return self.epoch_s / max(1, round(self.epoch_s / LIVE_HOP_S[self.species]))

    @property
    def n_inputs(self) -> int:
        """Numbers that the net is given of each modality of an epoch."""
        if self.relative is None:
            return self.n_times
        return math.prod(self.relative.shape)

    @property
    def n_modalities(self) -> int:
        """Channels of a subject."""
        return len(self.modalities)

    @property
    def context_s(self) -> float:
        """Length of the context window, s."""
        return self.n_context * self.epoch_s

    def ring_length(self, hops_per_epoch: int) -> int:
        """Return how many tokens a window spans, its first and last included, one a hop."""
        return (self.n_context - 1) * hops_per_epoch + 1

    def pathway_for(self, valid: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Return which pathway answers for epochs: its own where one modality alone is valid.

        Args:
            valid: (…, n_modalities).

        Returns:
            Index into `pathways` (…); mixed where nothing is valid, which nothing answers for.
        """
        own = [self.pathways.index(m) if m in self.pathways else 0 for m in self.modalities]
        alone = valid.sum(axis=-1) == 1
        return np.where(alone, np.array(own, np.intp)[valid.argmax(axis=-1)], 0)

    def readable(self, valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which pathways have something to read.

        Args:
            valid: (…, n_modalities), of an epoch or anywhere in a window.

        Returns:
            (…, n_pathways): mixed reads any modality, another only its own.
        """
        own = [valid[..., self.modalities.index(p)] for p in self.pathways[1:]]
        return np.stack([valid.any(axis=-1), *own], axis=-1)

    def token_valid(self, valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return where tokens count, to broadcast to (…, *token_shape).

        Args:
            valid: (…, n_modalities).

        Returns:
            (…, n_modalities, 1), or (…, 1) of one token for the whole epoch, which counts where
            any modality is valid.
        """
        if len(self.token_shape) == 1:
            return np.logical_or.reduce(valid, axis=-1, keepdims=True)
        return valid[..., None]


def _check_known(what: str, found: tuple[str, ...], known: tuple[str, ...]) -> None:
    """Raise SpecError unless there are some, all of them known and each but once."""
    if not found or len({*found} & {*known}) < len(found):
        raise SpecError(
            f"{what}: expected some of {', '.join(known)}, found {', '.join(found) or 'none'}"
        )


def _array(name: str, values: object, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return a field as an array of this shape; raises SpecError where it is none."""
    try:
        found = np.array(values, np.float64)
    except ValueError as error:
        raise SpecError(f"{name}: expected shape {shape}, found {error}") from error
    if found.shape != shape or not np.isfinite(found).all():
        raise SpecError(f"{name}: expected finite numbers of shape {shape}, found {found.shape}")
    return found


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the animals that a model was trained on look like; `models.signal.drift` reads it.

    All by modality, in the model's order. A feature is a slow average over an animal's epochs:
    the log share of the power in each band, the log peakedness of the amplitudes, and the log SD
    of the epochs' log amplitude.
    """

    n_animals: int
    """How many it was made of."""
    edges_hz: tuple[tuple[float, ...], ...]
    """Edges of the bands, one more than there are bands, rising, Hz."""
    mean: tuple[tuple[float, ...], ...]
    """(n_modalities, n_features), of the animals."""
    covariance: tuple[tuple[tuple[float, ...], ...], ...]
    """(n_modalities, n_features, n_features), of the animals, shrunk."""
    limit: tuple[float, ...]
    """(n_modalities,), the Mahalanobis distance that 99 % of unknown animals keep."""

    def __post_init__(self) -> None:
        if not self.edges_hz or len(self.edges_hz[0]) < 2:
            raise SpecError("reference.edges_hz: expected at least one band, found none")
        n_modalities, n_features = len(self.edges_hz), len(self.edges_hz[0]) + 1
        edges = self._array("edges_hz", (n_modalities, n_features - 1))
        self._array("mean", (n_modalities, n_features))
        covariance = self._array("covariance", (n_modalities, n_features, n_features))
        limit = self._array("limit", (n_modalities,))
        if not (np.diff(edges) > 0).all():
            raise SpecError("reference.edges_hz: expected rising ones, found others")
        symmetric = np.array_equal(covariance, covariance.swapaxes(1, 2))
        if not symmetric or not np.linalg.eigvalsh(covariance).min() > 0:
            raise SpecError("reference.covariance: expected a positive definite one, found another")
        if not limit.min() > 0:
            raise SpecError(f"reference.limit: expected more than 0, found {limit.min()}")

    def _array(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
        return _array(f"reference.{name}", getattr(self, name), shape)


class Grammar(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which stage follows which, how often, and how much the net weighs against that.

    `models.grammar` makes the published probabilities of it and of the net's own, the evidence.
    """

    source: str
    """The scored recordings that the rates are of."""
    rates: tuple[tuple[float, ...], ...]
    """(n_stages, n_stages), in the order of the spec's stages: how often a stage (row) goes over
    into another (column), per second spent in it, 1/s; 0 on the diagonal."""
    beta_live: float
    """The power that the evidence of one epoch is raised to for `live`. 1 would take epochs for
    independent observations; the net has read most of them before, so less is better."""
    beta_final: float
    """The same for `final`."""
    temperature_live: float = 1.0
    """Divides the logarithm of what the filter finds for `live`, before it is published: it takes
    what the net says of one epoch and the next for independent, and is too sure of itself."""
    temperature_final: float = 1.0
    """The same for `final`."""

    def __post_init__(self) -> None:
        n_stages = len(self.rates)
        rates = _array("grammar.rates", self.rates, (n_stages, n_stages))
        if np.diag(rates).any() or (rates < 0).any():
            raise SpecError("grammar.rates: expected 0 on the diagonal and none below 0")
        if not np.linalg.matrix_power(np.eye(n_stages) + (rates > 0), n_stages).all():
            raise SpecError("grammar.rates: expected a way from each stage to each other")
        stays_s = 1.0 / np.maximum(rates.sum(axis=1), 1e-300)
        if not (stays_s >= 1.0).all() or not (stays_s <= _LONGEST_STAY_S).all():
            raise SpecError(
                f"grammar.rates: expected each stage to last from 1 to {_LONGEST_STAY_S:g} s on "
                f"average, found {stays_s.tolist()}"
            )
        for name in ("beta_live", "beta_final"):
            if not 0 < getattr(self, name) <= _MOST_BETA:
                raise SpecError(
                    f"grammar.{name}: expected above 0 and at most {_MOST_BETA:g}, "
                    f"found {getattr(self, name)}"
                )
        for name in ("temperature_live", "temperature_final"):
            if not 0 < getattr(self, name) < np.inf:
                raise SpecError(
                    f"grammar.{name}: expected a number above 0, found {getattr(self, name)}"
                )


class BundleManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The content of a bundle's `spec.json`."""

    format: int
    """Version of the bundle format."""
    name: str
    """Name of the bundle, e.g. sdreamer-mouse."""
    spec: ModelSpec
    """The model."""
    files: dict[str, str]
    """SHA-256 of every other file of the bundle, by its name."""
    provenance: dict[str, str] = {}
    """How it was made: data, seed, versions, date. Free text by key."""
    reference: Reference | None = None
    """What the animals that it was trained on look like; null: there is no drift measure."""
    temperatures: dict[str, float] = {}
    """By pathway, what its logits were divided by so that confidence means what it says: it is in
    the weights already. Empty: nobody calibrated it."""
    grammar: Grammar | None = None
    """What the stages are taken from beside the net's own probabilities; null: from these alone."""
    learnt_from: dict[str, LearntAs] = {}
    """What each recording was for, by the SHA-256 of its file: its figures would flatter."""

    def __post_init__(self) -> None:
        if self.reference is not None and len(self.reference.limit) != self.spec.n_modalities:
            raise SpecError(
                f"reference: expected {self.spec.n_modalities} modalities, "
                f"found {len(self.reference.limit)}"
            )
        if self.grammar is not None and len(self.grammar.rates) != len(self.spec.stages):
            raise SpecError(
                f"grammar.rates: expected {len(self.spec.stages)} stages, "
                f"found {len(self.grammar.rates)}"
            )


BUNDLE_FORMAT = 3
STEP_FILE = "step.onnx"
ALL_FILE = "step-all.onnx"
WEIGHTS_FILE = "weights.safetensors"
SPEC_FILE = "spec.json"
