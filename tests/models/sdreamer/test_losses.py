import math

import msgspec
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from models.sdreamer.losses import PAPER, LossConfig, staging_loss
from models.stages import UNSCORED

B, M, N, S = 3, 2, 4, 3
PLAIN = LossConfig(alpha=0.0, single=0.0)


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    logits = torch.randn(B, 1 + M, N, S, requires_grad=True)
    return logits, torch.randint(S, (B, N)), torch.ones(B, N, M, dtype=torch.bool)


def _kl(p: torch.Tensor, q: torch.Tensor, tau: float) -> torch.Tensor:
    p, q = (p / tau).softmax(-1), (q / tau).softmax(-1)
    return p * (p / q).log()


def test_without_distillation_it_is_the_mixed_cross_entropy(batch) -> None:
    logits, stages, mask = batch
    expected = F.cross_entropy(logits[:, 0].reshape(-1, S), stages.reshape(-1))
    torch.testing.assert_close(staging_loss(logits, stages, mask, PLAIN), expected)


def test_papers_loss_is_written_out(batch) -> None:
    logits, stages, mask = batch
    mixed, eeg, emg = logits.unbind(1)
    expected = F.cross_entropy(mixed.reshape(-1, S), stages.reshape(-1))
    expected = expected + 2.0 * (_kl(mixed, eeg, 1.0).mean() + _kl(mixed, emg, 3.0).mean())
    torch.testing.assert_close(staging_loss(logits, stages, mask, PAPER), expected)


def test_default_averages_over_slots_scales_and_teaches_the_true_stage(batch) -> None:
    logits, stages, mask = batch
    config = LossConfig(alpha=0.7, single=0.3)
    mixed, eeg, emg = logits.unbind(1)
    cross = [F.cross_entropy(x.reshape(-1, S), stages.reshape(-1)) for x in (mixed, eeg, emg)]
    divergence = _kl(mixed, eeg, 1.0).sum(-1).mean() + 9.0 * _kl(mixed, emg, 3.0).sum(-1).mean()
    expected = cross[0] + 0.3 * (cross[1] + cross[2]) + 0.7 * divergence
    torch.testing.assert_close(staging_loss(logits, stages, mask, config), expected)


def test_weights_are_those_of_the_true_stage(batch) -> None:
    logits, stages, mask = batch
    weights = torch.tensor([2.0, 0.5, 1.0])
    each = F.cross_entropy(logits[:, 0].reshape(-1, S), stages.reshape(-1), reduction="none")
    expected = (weights[stages.reshape(-1)] * each).mean()
    torch.testing.assert_close(staging_loss(logits, stages, mask, PLAIN, weights), expected)


@pytest.mark.parametrize("detached", [True, False])
def test_teacher_learns_from_distillation_only_if_not_detached(batch, detached: bool) -> None:
    logits, stages, mask = batch
    distilled = msgspec.structs.replace(PAPER, detach_teacher=detached)
    gradients = [
        torch.autograd.grad(staging_loss(logits, stages, mask, config), logits)[0][:, 0]
        for config in (PLAIN, distilled)
    ]
    assert torch.allclose(*gradients) == detached


def test_unscored_and_masked_slots_do_not_matter(batch) -> None:
    logits, stages, mask = batch
    stages[0, 1] = UNSCORED
    mask[1, 2] = False  # nothing there
    mask[2, 3, 1] = False  # no emg there
    loss = staging_loss(logits, stages, mask, LossConfig())
    (gradient,) = torch.autograd.grad(loss, logits)
    zero = gradient.abs().sum(-1) == 0
    expected = torch.zeros(B, 1 + M, N, dtype=torch.bool)
    expected[0, :, 1] = expected[1, :, 2] = expected[2, 2, 3] = True
    assert torch.equal(zero, expected)


def test_batch_with_nothing_to_learn_gives_zero(batch) -> None:
    logits, stages, mask = batch
    loss = staging_loss(logits, torch.full_like(stages, UNSCORED), mask, LossConfig())
    loss.backward()
    assert loss.item() == 0.0
    assert math.isfinite(logits.grad.abs().sum().item())
