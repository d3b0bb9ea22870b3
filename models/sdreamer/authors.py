"""The sDREAMER authors' checkpoints → a bundle: weights trained on real mice, run live.

Two nets of their public code are known by the names of their weights, misspelling included: the
hierarchical one of the paper (github.com/yzhaoinuw/sdreamer_flow), and the variant that their
scoring app ships weights for (github.com/yzhaoinuw/sleep_scoring). How many epochs, layers and
hidden units there are follows from the weights' shapes; the number of heads does not, it is taken
to be theirs (8).
"""

import re
from enum import StrEnum

from models import checkpoint as files
from models.base import Model
from models.checkpoint import Checkpoint
from models.spec import MIXED, Band, ModelSpec
from models.stages import MOUSE

MODALITIES = ("eeg", "emg")
EPOCH_S = 1.0
"""Length of an epoch of every net that the authors published, s."""
HIGHPASS_HZ = 0.1
"""An electrode's offset goes, slow waves stay; they filtered nothing."""
LOWPASS = 0.45
"""Of the net's sampling rate: what has that rate is not filtered, what is faster does not alias."""
CLIP = 100.0
"""The authors limit nothing: in standard deviations, further than any muscle goes."""
ASSUMED = (
    "8 attention heads; Wake, NREM, REM in this order; epochs of 1 s; signals divided by their "
    "standard deviation, which is a running one here"
)
"""What the weights do not say."""

_UNUSED = re.compile(r"ep_moe_transformer\.pool\.")
"""A pooler that the hierarchical net registers and never uses."""


class Variant(StrEnum):
    """Which of the authors' nets."""

    PAPER = "sDREAMER, the paper's hierarchical net"
    APP = "sDREAMER, the scoring app's net"


_Rules = tuple[tuple[str, str], ...]
"""Our names → theirs, one substitution after another; `<a,b>` stands for several weights."""

_BLOCK_RULES: _Rules = (
    (r"\.blocks\.", r".transformer."),
    (r"(transformer\.\d+)\.norm\.", r"\1.norm1."),
    (r"\.attention\.", r".attn."),
    (r"\.experts\.mixed\.", r".experts.mix."),
    (r"\.experts\.(\w+)\.norm\.", r".norm2_\1."),
    (r"\.experts\.(\w+)\.up\.", r".mlp_\1.ff.0.0."),
    (r"\.experts\.(\w+)\.down\.", r".mlp_\1.ff.3."),
    (r"\.modality$", r".mod_emb.weight"),
    (r"\.position$", r".<eeg,emg>_loader.get_pos.pos_emb"),
    (r"transformer\.proj\.(\w+)\.", r"transformer.\1_proj."),
)
_SEQUENCE_RULES: _Rules = (
    (r"^heads\.mixed\.", r"cls_head.mlp."),
    (r"^heads\.(\w+)\.", r"cls_head_\1.mlp."),
    (r"^sequence\.pool\.", r"moe_transformer.pool.pool_head.0."),
    (r"^sequence\.", r"moe_transformer."),
    *_BLOCK_RULES,
)
_EPOCH_RULES: dict[Variant, _Rules] = {
    Variant.PAPER: (
        (r"^epoch\.", r"ep_moe_transformer."),
        (r"\.cls$", r".<eeg,emg>_loader.get_cls.cls_token"),
        (r"\.patch\.(\w+)\.0\.", r".\1_loader.patch_ecncoder.to_patch_embedding.1."),
        (r"\.patch\.(\w+)\.2\.", r".\1_loader.patch_ecncoder.to_patch_embedding.3."),
        *_BLOCK_RULES,
    ),
    Variant.APP: (
        (r"^epoch\.modalities\.(\w+)\.", r"\1_transformer."),
        (r"\.cls$", r".get_cls.cls_token"),
        (r"\.position$", r".get_pos.pos_emb"),
        (r"\.patch\.0\.", r".patch_ecncoder.to_patch_embedding.1."),
        (r"\.patch\.2\.", r".patch_ecncoder.to_patch_embedding.3."),
        (r"\.gamma_", r".gamma"),
        (r"\.attention\.qkv\.", r".attn1.to_<q,k,v>."),
        (r"\.attention\.proj\.", r".attn1.to_out.0."),
        (r"\.experts\.\w+\.norm\.", r".norm2."),
        (r"\.experts\.\w+\.up\.", r".ff.ff.0.proj."),
        (r"\.experts\.\w+\.down\.", r".ff.ff.3."),
        *_BLOCK_RULES,
    ),
}


def recognise(checkpoint: Checkpoint) -> Variant | None:
    """Return which of the authors' nets a checkpoint is of, if of one."""
    for beginning, variant in (
        ("ep_moe_transformer.", Variant.PAPER),
        ("eeg_transformer.", Variant.APP),
    ):
        if any(name.startswith(beginning) for name in checkpoint.weights):
            return variant
    return None


def read_spec(
    checkpoint: Checkpoint, highpass_hz: float | None = None, lowpass_hz: float | None = None
) -> ModelSpec:
    """Return what a checkpoint's net expects and gives, from the shapes of its weights.

    What the weights do not say is as the authors' code prepares signals: Wake, NREM and REM in
    this order, epochs of 1 s, division by the standard deviation, no limit.

    Args:
        checkpoint: the weights.
        highpass_hz: of both modalities; default: 0.1.
        lowpass_hz: of both; default: none but against aliasing.

    Raises:
        WeightsError: a weight that tells a size is missing or has no such shape.
    """
    shape, count = checkpoint.shape, checkpoint.count
    app = recognise(checkpoint) is Variant.APP
    epoch = "eeg_transformer" if app else "ep_moe_transformer"
    eeg = epoch if app else f"{epoch}.eeg_loader"
    n_tokens, token_size = shape(f"{eeg}.get_pos.pos_emb")[-2:]
    patch_size = shape(f"{eeg}.patch_ecncoder.to_patch_embedding.1.weight")[-1]
    n_times = (n_tokens - 1) * patch_size
    sfreq = n_times / EPOCH_S
    return ModelSpec(
        model="sdreamer",
        species="mouse",
        stages=MOUSE,
        modalities=MODALITIES,
        pathways=(MIXED, *MODALITIES),
        bands=(Band(highpass_hz or HIGHPASS_HZ, lowpass_hz or LOWPASS * sfreq),) * len(MODALITIES),
        sfreq=sfreq,
        epoch_s=EPOCH_S,
        n_context=shape("moe_transformer.eeg_loader.get_pos.pos_emb")[-2],
        token_shape=(len(MODALITIES), token_size),
        amplitude="sd",
        clip=CLIP,
        architecture={
            "patch_size": patch_size,
            "ffn_size": shape("moe_transformer.transformer.0.mlp_eeg.ff.0.0.weight")[0],
            "epoch_layers": count(rf"{epoch}\.transformer\.\d+\.norm1\.weight"),
            "sequence_layers": checkpoint.count(
                r"moe_transformer\.transformer\.\d+\.norm1\.weight"
            ),
            "mixed_layers": checkpoint.count(
                r"moe_transformer\.transformer\.\d+\.norm2_mix\.weight"
            ),
            "head_size": shape("cls_head.mlp.0.weight")[0],
            "separate_epochs": app,
        },
    )


def load_net(checkpoint: Checkpoint, spec: ModelSpec) -> tuple[Model, list[str]]:
    """Return the net with a checkpoint's weights; see `models.checkpoint.load_net`."""
    variant = recognise(checkpoint) or Variant.PAPER
    return files.load_net(
        checkpoint, spec, variant, lambda name: find_sources(name, variant), _UNUSED
    )


def find_sources(name: str, variant: Variant) -> list[str]:
    """Return the authors' names of one of our weights: of each modality's, or of Q, K and V."""
    rules = _EPOCH_RULES[variant] if name.startswith("epoch.") else _SEQUENCE_RULES
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    choices = re.search(r"<(.*)>", name)
    return [name.replace(choices[0], c) for c in choices[1].split(",")] if choices else [name]
