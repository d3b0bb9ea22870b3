"""The SleepDIFFormer authors' checkpoints → a bundle: weights trained on real people, run live.

Their public code (github.com/Ben1001409/SleepDIFFormer) writes a plain state dict. Its loop over
layers feeds each with the embeddings, so that the last layer alone acts: that net is what a
checkpoint is of (`models.sleepdifformer.net.released`). How many heads of differential attention,
slots and hidden units there are follows from the weights' shapes; the heads of the sequence stage
do not, they are taken to be theirs (8). What a net is to do without a modality was never learnt.
"""

import re

import msgspec
import torch

from models import checkpoint as files
from models.base import Model
from models.checkpoint import Checkpoint
from models.errors import WeightsError
from models.sleepdifformer.net import PER_TOKEN, new_spec
from models.spec import Band, ModelSpec

RELEASED = "SleepDIFFormer as its released code computes, by the last layer alone"
SFREQ = 100.0
"""Sampling rate of every net that the authors published, Hz."""
HIGHPASS_HZ, LOWPASS_HZ = 0.3, 35.0
CLIP = 100.0
"""The authors limit nothing."""
ASSUMED = (
    "8 attention heads of the sequence stage; W, N1, N2, N3, REM in this order; 100 Hz; signals "
    "divided by their standard deviation, which is a running one here; a lost modality, which no "
    "such net has met, has the bias of the last LayerNorm for a token"
)
"""What the weights do not say."""

_ENCODER = "ae.encoder."
_LAYERS = rf"{re.escape(_ENCODER)}seq_encoder_1\.layers\.(\d+)\."
_NUMBERS = {"eeg": "1", "eog": "2"}
_NORMS = {
    "norm_before.eeg": "norm4",
    "norm_before.eog": "norm5",
    "norm_first": "norm1",
    "norm_token.eeg": "norm2",
    "norm_token.eog": "norm6",
    "norm_after.eeg": "norm3",
    "norm_after.eog": "norm7",
}
_FFN = {"eeg.0": "conv1", "eeg.3": "conv2", "eog.0": "conv3", "eog.3": "conv4"}
_RULES: tuple[tuple[str, str], ...] = (
    (r"^heads\.mixed\.", "classifier."),
    (r"^mu\.", "ae.encoder.fc_mu1."),
    (r"^sequence\.(position)$", "ae.encoder.seq_encoder_global2.pos_embedding"),
    (r"^sequence\.norm\.", "ae.encoder.seq_encoder_global2.ln."),
    (r"^sequence\.", "ae.encoder.seq_encoder_global2.layers.encoder_layer_0."),
    (r"\.norm_(\d)\.", r".ln_\1."),
    (r"\.attention\.qkv\.", ".self_attention.in_proj_"),
    (r"\.attention\.proj\.", ".self_attention.out_proj."),
    (r"encoder_layer_0\.ffn\.0\.", "encoder_layer_0.mlp.linear_1."),
    (r"encoder_layer_0\.ffn\.3\.", "encoder_layer_0.mlp.linear_2."),
    (r"\.series\.", ".embed_decreasing_kernel_128."),
    (r"\.token$", ".glb_token"),
    (r"(en_embedding_\d)\.position$", r"\1.pos_embedding"),
    (r"\.dsa\.", ".self_attention."),
    (r"\.dca\.", ".cross_attention."),
    (r"\.qkv\.weight$", r".<q_proj,k_proj,v_proj>.weight"),
    (r"\.(v|out)\.weight$", r".\1_proj.weight"),
    (r"\.lambdas$", ".inner_attention.<lambda_q1,lambda_k1,lambda_q2,lambda_k2>"),
    (r"_attention\.norm\.", "_attention.inner_attention.subln."),
)
"""Our names → theirs, one substitution after another; `<a,b>` stands for several weights."""


def recognise(checkpoint: Checkpoint) -> str | None:
    """Return what a checkpoint's net is called, if it is one of SleepDIFFormer."""
    known = any(re.match(_LAYERS, name) for name in checkpoint.weights)
    return RELEASED if known else None


def read_spec(
    checkpoint: Checkpoint, highpass_hz: float | None = None, lowpass_hz: float | None = None
) -> ModelSpec:
    """Return what a checkpoint's net expects and gives, from the shapes of its weights.

    Args:
        checkpoint: the weights.
        highpass_hz: of both modalities; default: 0.3, the authors'.
        lowpass_hz: of both; default: 35, the authors'.

    Raises:
        WeightsError: a weight that tells a size is missing or has no such shape.
    """
    shape, last = checkpoint.shape, _last_layer(checkpoint)
    layer = f"{_ENCODER}seq_encoder_1.layers.{last}."
    embedding = f"{_ENCODER}en_embedding_1."
    n_series, width = shape(f"{embedding}pos_embedding")[-2:]
    n_context, token_size = shape(f"{_ENCODER}seq_encoder_global2.pos_embedding")[-2:]
    block = f"{_ENCODER}seq_encoder_global2.layers.encoder_layer_0."
    lambdas = checkpoint.weights.get(f"{layer}self_attention.inner_attention.lambda_q1")
    if lambdas is None or lambdas.ndim != 1 or not len(lambdas):
        raise WeightsError(
            f"{checkpoint.path}: expected the vector "
            f"{layer}self_attention.inner_attention.lambda_q1, found another"
        )
    spec = new_spec(
        n_context,
        layers=1,
        first_layer=last,
        n_heads=max(1, width // (2 * len(lambdas))),
        ffn_size=shape(f"{layer}conv1.weight")[0],
        filters=shape(f"{embedding}embed_decreasing_kernel_128.0.weight")[0],
        sequence_size=shape(f"{block}mlp.linear_1.weight")[0],
    )
    return msgspec.structs.replace(
        spec,
        bands=(Band(highpass_hz or HIGHPASS_HZ, lowpass_hz or LOWPASS_HZ),) * spec.n_modalities,
        sfreq=SFREQ,
        epoch_s=n_series * PER_TOKEN / SFREQ,
        token_shape=(token_size,),
        amplitude="sd",
        clip=CLIP,
    )


def load_net(checkpoint: Checkpoint, spec: ModelSpec) -> tuple[Model, list[str]]:
    """Return the net with a checkpoint's weights; see `models.checkpoint.load_net`."""
    last, D = _last_layer(checkpoint), spec.token_shape[0] // spec.n_modalities
    biases = [
        files.take(checkpoint, f"{_ENCODER}seq_encoder_1.layers.{last}.{_NORMS[norm]}.bias", (D,))
        for norm in ("norm_after.eeg", "norm_after.eog")
    ]
    return files.load_net(
        checkpoint,
        spec,
        RELEASED,
        lambda name: find_sources(name, last),
        _unused(last),
        own={"epoch.absent": torch.stack(biases)},
    )


def find_sources(name: str, layer: int) -> list[str]:
    """Return the authors' names of one of our weights, of which `layer` is theirs of our layer."""
    if found := re.match(r"epoch\.embedding\.(\w+)\.", name):
        name = f"{_ENCODER}en_embedding_{_NUMBERS[found[1]]}.{name[found.end() :]}"
    elif found := re.match(r"epoch\.layers\.0\.", name):
        rest = name[found.end() :]
        for ours, theirs in _NORMS.items():
            rest = re.sub(rf"^{ours}\.", f"{theirs}.", rest)
        for ours, theirs in _FFN.items():
            rest = re.sub(rf"^ffn\.{ours}\.", f"{theirs}.", rest)
        name = f"{_ENCODER}seq_encoder_1.layers.{layer}.{rest}"
    for pattern, replacement in _RULES:
        name = re.sub(pattern, replacement, name)
    choices = re.search(r"<(.*)>", name)
    return [name.replace(choices[0], c) for c in choices[1].split(",")] if choices else [name]


def _last_layer(checkpoint: Checkpoint) -> int:
    found = [re.match(_LAYERS, name) for name in checkpoint.weights]
    return max(int(each[1]) for each in found if each is not None)


def _unused(last: int) -> re.Pattern[str]:
    """Return what matches the names that the authors' net holds and that influence no stage."""
    return re.compile(
        "|".join(
            (
                r"ae\.decoder\.",
                r"ae\.encoder\.(seq_encoder_2|seq_encoder_global1|mlp)\.",
                r"ae\.encoder\.en_embedding_[12]\.(value_embedding|position_embedding)\.",
                r"ae\.encoder\.seq_encoder_global2\..*\.diff_attention\.",
                rf"ae\.encoder\.seq_encoder_1\.layers\.(?!{last}\.)\d+\.",
                rf"ae\.encoder\.seq_encoder_1\.layers\.{last}\.mlp_feedforward\.",
                rf"ae\.encoder\.seq_encoder_1\.layers\.{last}\.cross_attention\.[qk]_proj\.",
                rf"ae\.encoder\.seq_encoder_1\.layers\.{last}\.\w+_attention\.(lambda_|subln\.)",
            )
        )
    )
