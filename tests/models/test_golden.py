"""The net against the reference's own numbers: random weights, an input, its logits."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models import sdreamer
from tests.support.bundles import mouse_spec

GOLDEN = Path(__file__).parents[3] / "shared" / "data" / "golden" / "sdreamer_hmome_n16.npz"

EPOCH, SEQUENCE = "ep_moe_transformer", "moe_transformer"


def _reference_name(name: str) -> str:
    """Return the reference's name of one of our per-modality or shared tensors."""
    side, *rest = name.split(".")
    if side == "heads":
        pathway, index, kind = rest
        head = "cls_head" if pathway == "mixed" else f"cls_head_{pathway}"
        return f"{head}.mlp.{index}.{kind}"
    prefix = {"epoch": EPOCH, "sequence": SEQUENCE}[side]
    if rest[0] == "patch":
        index = {"0": "1", "2": "3"}[rest[2]]
        return f"{prefix}.{rest[1]}_loader.patch_ecncoder.to_patch_embedding.{index}.{rest[3]}"
    if rest[0] == "pool":
        return f"{prefix}.pool.pool_head.0.{rest[1]}"
    if rest[0] == "proj":
        return f"{prefix}.{rest[1]}_proj.weight"
    if rest[0] == "norm":
        return f"{prefix}.norm.{rest[1]}"
    block = f"{prefix}.transformer.{rest[1]}"
    if rest[2] == "experts":
        pathway = "mix" if rest[3] == "mixed" else rest[3]
        part = {"norm": f"norm2_{pathway}", "up": f"mlp_{pathway}.ff.0.0"}
        return f"{block}.{part.get(rest[4], f'mlp_{pathway}.ff.3')}.{rest[5]}"
    names = {"norm": "norm1", "attention": "attn"}
    return ".".join([block, *(names.get(part, part) for part in rest[2:])])


def _load(model: torch.nn.Module, weights: dict[str, torch.Tensor]) -> set[str]:
    """Load the reference's weights; return the names that were used."""
    state, used = {}, set()
    for name, parameter in model.state_dict().items():
        side, *rest = name.split(".")
        if rest[-1] in ("cls", "position", "modality"):
            prefix = {"epoch": EPOCH, "sequence": SEQUENCE}[side]
            names = {
                "cls": [f"{prefix}.{m}_loader.get_cls.cls_token" for m in ("eeg", "emg")],
                "position": [f"{prefix}.{m}_loader.get_pos.pos_emb" for m in ("eeg", "emg")],
                "modality": [f"{prefix}.mod_emb.weight"],
            }[rest[-1]]
            value = torch.cat([weights[n] for n in names]).view(parameter.shape)
        else:
            names = [_reference_name(name)]
            value = weights[names[0]]
        state[name] = value
        used.update(names)
    model.load_state_dict(state)
    return used


@pytest.mark.skipif(not GOLDEN.exists(), reason=f"golden vectors not found at {GOLDEN}")
def test_reference_weights_give_the_reference_logits() -> None:
    with np.load(GOLDEN) as file:
        golden = {name: torch.from_numpy(file[name]) for name in file.files}
    weights = {k.removeprefix("weights/"): v for k, v in golden.items() if k.startswith("weights/")}
    model = sdreamer.build(mouse_spec()).eval()
    used = _load(model, weights)
    assert {n for n in weights if n not in used} == {
        f"{EPOCH}.pool.pool_head.0.weight",
        f"{EPOCH}.pool.pool_head.0.bias",
    }
    with torch.no_grad():
        logits = model(golden["input"])
        mixed, _ = model.read(model.encode(golden["input"]), torch.ones(2, 16, 2, dtype=torch.bool))
    for i, pathway in enumerate(model.spec.pathways):
        torch.testing.assert_close(logits[:, i], golden[f"logits_{pathway}"], rtol=0, atol=1e-4)
    torch.testing.assert_close(mixed, golden["logits_mixed"], rtol=0, atol=1e-4)


@pytest.mark.parametrize(("n_context", "expected"), [(16, 2_035_081), (64, 2_047_369)])
def test_size_is_the_papers(n_context: int, expected: int) -> None:
    model = sdreamer.build(mouse_spec(n_context))
    assert sum(p.numel() for p in model.parameters()) == expected
