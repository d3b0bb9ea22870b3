"""What a model expects and gives: the contract between training, engines and daemon."""

import msgspec

from models.errors import SpecError
from models.stages import STAGE_SETS

MIXED = "mixed"

Hyperparameter = bool | int | float | str


class Band(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The pass band of one modality's causal filter."""

    highpass_hz: float
    """Corner of the 2nd-order Butterworth high-pass, Hz."""
    lowpass_hz: float
    """Pass-band edge of the elliptic low-pass, Hz; it is also the anti-alias filter."""


class ModelSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything about a model that code outside the network needs to know.

    Epochs are `(n_subjects, n_modalities, n_times) float32`, modalities in the order given
    here; probabilities are `(…, n_stages)`, stages in the order given here.
    """

    model: str
    """Name of the architecture: a module of `models/`."""
    stages: tuple[str, ...]
    """The closed stage set."""
    modalities: tuple[str, ...]
    """What the channels of a subject are: eeg, emg, eog."""
    bands: tuple[Band, ...]
    """The filter of each modality."""
    sfreq: float
    """Sampling rate of the epochs given to the network, Hz."""
    epoch_s: float
    """Length of an epoch, s."""
    n_context: int
    """Epochs in the context window (the paper's N)."""
    token_size: int
    """Length of an epoch token of one modality."""
    normaliser_s: float = 1800.0
    """Time constant of the running amplitude of each channel, s."""
    clip: float = 10.0
    """Normalised samples are limited to ± this many amplitudes."""
    architecture: dict[str, Hyperparameter] = {}
    """Hyperparameters of the architecture."""

    def __post_init__(self) -> None:
        if self.stages not in STAGE_SETS:
            sets = " or ".join("/".join(s) for s in STAGE_SETS)
            raise SpecError(f"stages: expected {sets}, found {'/'.join(self.stages)}")
        if len(self.bands) != len(self.modalities):
            raise SpecError(
                f"bands: expected one for each of {len(self.modalities)} modalities, "
                f"found {len(self.bands)}"
            )
        for name in ("sfreq", "epoch_s", "n_context", "token_size", "normaliser_s", "clip"):
            if not getattr(self, name) > 0:
                raise SpecError(f"{name}: expected more than 0, found {getattr(self, name)}")
        if abs(self.sfreq * self.epoch_s - self.n_times) > 1e-6:
            raise SpecError(
                f"expected epoch_s × sfreq to be a whole number of samples, "
                f"found {self.epoch_s} s × {self.sfreq} Hz"
            )

    @property
    def n_times(self) -> int:
        """Samples of an epoch given to the network."""
        return round(self.sfreq * self.epoch_s)

    @property
    def n_modalities(self) -> int:
        """Channels of a subject."""
        return len(self.modalities)

    @property
    def pathways(self) -> tuple[str, ...]:
        """Names along the pathway axis of an engine's answer: mixed, then each modality."""
        return (MIXED, *self.modalities)


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


BUNDLE_FORMAT = 1
STEP_FILE = "step.onnx"
FULL_FILE = "full.onnx"
WEIGHTS_FILE = "weights.safetensors"
SPEC_FILE = "spec.json"
