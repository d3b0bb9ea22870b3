"""What the net is said to multiply, against torch's own count of it."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from models.sleepdifformer.net import new_spec, released
from models.sleepdifformer.work import count_products
from models.spec import ModelSpec
from models.weights import build_model
from tests.support.bundles import everything, human_levels


@torch.no_grad()
@pytest.mark.parametrize("spec", [new_spec(), released(new_spec()), human_levels()])
def test_multiplications_are_those_that_torch_counts(spec: ModelSpec) -> None:
    model, slots = build_model(spec).eval(), torch.arange(3)
    epoch = torch.randn(1, spec.n_modalities, spec.n_inputs)
    tokens = torch.randn(1, spec.n_context, *spec.token_shape)
    mask = torch.ones(1, spec.n_context, spec.n_modalities, dtype=torch.bool)
    encode, read = count_products(spec, len(slots))
    with FlopCounterMode(display=False) as counted:
        model.encode(epoch, everything(epoch))
    assert counted.get_total_flops() == 2 * encode
    with FlopCounterMode(display=False) as counted:
        model.read(tokens, mask, slots=slots)
    assert counted.get_total_flops() == 2 * read
