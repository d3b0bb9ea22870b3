"""The sDREAMER authors' names for the weights of their two nets, from hypnod's names.

Facts of their public code (github.com/yzhaoinuw/sdreamer_flow, github.com/yzhaoinuw/sleep_scoring):
what a checkpoint calls the weights, misspelling included.
"""

import re
from enum import StrEnum


class Variant(StrEnum):
    """Which of the authors' nets."""

    PAPER = "the paper's hierarchical net"
    APP = "the scoring app's net"


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


def find_sources(name: str, variant: Variant) -> list[str]:
    """Return the authors' names of one of our weights: of each modality's, or of Q, K and V."""
    rules = _EPOCH_RULES[variant] if name.startswith("epoch.") else _SEQUENCE_RULES
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    choices = re.search(r"<(.*)>", name)
    return [name.replace(choices[0], c) for c in choices[1].split(",")] if choices else [name]
