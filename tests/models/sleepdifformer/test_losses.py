"""The loss against its equations written out, and that a net learns by it."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from models.scored_epochs import ScoredEpochs
from models.sleepdifformer.branch import Branch
from models.sleepdifformer.losses import (
    PAPER,
    LossConfig,
    beside,
    first_order,
    reconstruction,
    second_order,
    sequence_correlation,
    staging_loss,
)
from models.stages import UNSCORED
from models.training.devices import open_device
from models.training.train import TrainConfig, paper_recipe, train
from models.weights import build_model
from tests.support.bundles import everything, human_levels, human_spec, random_model
from tests.support.training import Lines

B, N, W, S = 4, 3, 6, 5
DOMAINS = torch.tensor([0, 2, 0, 2])
SEEN = torch.ones(B, N, dtype=torch.bool)


@pytest.fixture
def mu() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(B, N, W, requires_grad=True)


def test_staging_smooths_labels_and_ignores_what_is_unscored_or_lost() -> None:
    torch.manual_seed(0)
    logits, stages = torch.randn(B, 1, N, S), torch.randint(S, (B, N))
    mask = torch.ones(B, N, 2, dtype=torch.bool)
    stages[0, 0] = UNSCORED
    mask[1, 1] = False
    mask[2, 2, 1] = False  # the EEG is there
    used = torch.ones(B, N, dtype=torch.bool)
    used[0, 0] = used[1, 1] = False
    smooth = 0.9 * F.one_hot(stages[used], S) + 0.1 / S
    expected = -(smooth * logits[:, 0][used].log_softmax(-1)).sum(-1).mean()
    torch.testing.assert_close(staging_loss(logits, stages, mask, PAPER), expected)
    weights = torch.tensor([2.0, 0.0, 1.0, 1.0, 0.5])
    each = -(weights * smooth * logits[:, 0][used].log_softmax(-1)).sum(-1)
    torch.testing.assert_close(staging_loss(logits, stages, mask, PAPER, weights), each.mean())
    nothing = torch.full_like(stages, UNSCORED)
    assert staging_loss(logits, nothing, mask, PAPER) == 0.0


def test_first_and_second_order_are_written_out(mu: Tensor) -> None:
    a, b = (mu[d == DOMAINS].flatten(0, 1) for d in (0, 2))
    expected = (a.mean(0) - b.mean(0)).square().sum() / W
    torch.testing.assert_close(first_order(mu, SEEN, DOMAINS), expected)
    c = [(x - x.mean(0)).T @ (x - x.mean(0)) / (len(x) - 1) for x in (a, b)]
    expected = (c[0] - c[1]).square().sum() / W**2
    torch.testing.assert_close(second_order(mu, SEEN, DOMAINS), expected)


def test_sequence_correlation_is_written_out(mu: Tensor) -> None:
    found = np.array([np.corrcoef(window) for window in mu.detach().numpy()])
    a, b = (found[DOMAINS.numpy() == d].mean(0) for d in (0, 2))
    expected = ((a - b) ** 2).sum()
    assert sequence_correlation(mu, SEEN, DOMAINS).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("term", [first_order, second_order, sequence_correlation])
def test_alignment_is_zero_in_one_domain_and_of_equal_ones(term, mu: Tensor) -> None:
    assert term(mu, SEEN, torch.zeros(B, dtype=torch.int64)) == 0
    twice = torch.cat([mu[:2], mu[:2]])
    found = term(twice, SEEN, torch.tensor([0, 0, 1, 1]))
    torch.testing.assert_close(found, torch.zeros(()), rtol=0, atol=1e-10)
    assert term(mu, SEEN, DOMAINS) > 0


@pytest.mark.parametrize("term", [first_order, second_order, sequence_correlation])
def test_alignment_learns_nothing_of_slots_without_signal(term, mu: Tensor) -> None:
    seen = SEEN.clone()
    seen[0, 1] = seen[3] = False
    (gradient,) = torch.autograd.grad(term(mu, seen, DOMAINS), mu)
    assert torch.equal(gradient.abs().sum(-1) > 0, seen)


def test_alignment_of_three_domains_is_over_pairs(mu: Tensor) -> None:
    three = torch.tensor([0, 1, 2, 2])
    pairs = [
        (mu[(three == a) | (three == b)], three[(three == a) | (three == b)])
        for a, b in ((0, 1), (0, 2), (1, 2))
    ]
    for term, join in ((first_order, sum), (sequence_correlation, lambda x: sum(x) / 3)):
        each = [term(x, SEEN[: len(x)], d) for x, d in pairs]
        torch.testing.assert_close(term(mu, SEEN, three), join(each))


def test_reconstruction_is_of_what_is_valid() -> None:
    epochs, drawn = torch.randn(B, N, 2, 10), torch.randn(B, N, 2, 10)
    mask = torch.rand(B, N, 2) < 0.6
    expected = (drawn - epochs)[mask].square().mean()
    torch.testing.assert_close(reconstruction(drawn, epochs, mask), expected)
    epochs[~mask] = math.nan
    torch.testing.assert_close(reconstruction(drawn, epochs, mask), expected)


@pytest.mark.parametrize("spec", [human_spec(), human_spec(epoch_s=3.0), human_levels()])
def test_the_branch_draws_epochs_and_leaves_the_net_as_it_is(spec) -> None:
    model, branch = random_model(spec, 0), Branch(spec).eval()
    epochs = torch.randn(2, spec.n_context, 2, spec.n_inputs)
    names = [*model.state_dict()]
    logits, mu, drawn = branch(model, epochs, everything(epochs))
    torch.testing.assert_close(logits, model(epochs, everything(epochs)))
    width = spec.token_shape[0]
    assert (mu.shape, drawn.shape) == ((2, spec.n_context, width), epochs.shape)
    assert [*build_model(spec).state_dict()] == names


def test_nothing_is_trained_beside_a_net_that_only_stages() -> None:
    assert beside(human_spec(), LossConfig(alignment=0.0, reconstruction=0.0)) is None
    assert beside(human_spec(), PAPER) is not None


def easy_person(seed: int, dataset: str) -> ScoredEpochs:
    """Bouts of five stages that differ in the EEG's frequency, at 100 Hz."""
    rng, T = np.random.default_rng(seed), human_spec().n_times
    stages = np.repeat(rng.permutation(np.arange(20) % S), 4)
    t = np.arange(T) / 100
    hz = np.array([20.0, 9.0, 6.0, 1.0, 13.0])[stages, None]
    eeg = np.sin(2 * np.pi * (hz * t + rng.random((len(stages), 1))))
    eog = rng.standard_normal((len(stages), T)) * np.array([2.0, 1.0, 0.5, 0.5, 2.0])[stages, None]
    epochs = np.stack([eeg, eog], axis=1).astype(np.float32)
    usable = np.ones((len(stages), 2), bool)
    return ScoredEpochs(str(seed), epochs, stages, usable, dataset=dataset)


CONFIG = TrainConfig(passes=2, batch_size=8, learning_rate=1e-2)


def test_training_with_everything_beside_learns_and_goes_on_where_it_was(tmp_path: Path) -> None:
    people = [easy_person(seed, "ab"[seed % 2]) for seed in range(4)]
    spec, state = human_spec(), tmp_path / "run.pt"
    with open_device("cpu", "float32") as device:
        whole, history = train(spec, people[:3], people[3:], CONFIG, device)
        with pytest.raises(KeyboardInterrupt):
            train(
                spec, people[:3], people[3:], CONFIG, device,
                state=state, watcher=Lines(1, at_once=True),
            )  # fmt: skip
        again, _ = train(spec, people[:3], people[3:], CONFIG, device, state=state)
    assert len(history) == 2
    assert history[-1].loss < history[0].loss
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_paper_recipe_is_one_that_can_be_trained_by() -> None:
    config = paper_recipe("sleepdifformer")
    assert (config.passes, config.learning_rate, config.batch_size) == (50, 5e-4, 16)
    assert config.loss == PAPER
