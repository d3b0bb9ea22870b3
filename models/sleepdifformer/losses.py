"""What SleepDIFFormer is trained to minimise: staging, alike whatever the dataset.

    CE + α · (first order + second order + sequence) + β · reconstruction

(arXiv:2508.15215 and its code; the alignment is SleepDG's, arXiv:2401.05363.) The terms of α
compare μ (`models.sleepdifformer.branch`) between the datasets (domains) of a batch, pair by pair:
with a single one they are 0. Slots without any valid modality count in none.

B: windows, N: slots, W: width of μ, S: stages.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  everybody's name for it

from models.sleepdifformer.branch import Branch
from models.sleepdifformer.net import SleepDIFFormer
from models.spec import ModelSpec
from models.stages import UNSCORED

_LEAST = 1e-8  # length of a vector that a correlation divides by


class LossConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The loss, by its named hyperparameters.

    Nothing is aligned or reconstructed unless it is asked for: one dataset has nothing to be
    aligned with, and levels are not a signal that is worth drawing. `PAPER` has both.
    """

    label_smoothing: float = 0.1
    """ε: so much of the true stage is spread over all stages."""
    alignment: float = 0.0
    """Weight α."""
    reconstruction: float = 0.0
    """Weight β."""


PAPER = LossConfig(alignment=0.5, reconstruction=0.5)
"""The loss of the authors' code."""
PAPER_RECIPE = {
    "passes": 50,
    "patience": 50,
    "batch_size": 16,
    "learning_rate": 5e-4,
    "weight_decay": 5e-5,
    "warmup": 0.0,
    "clip": 1.0,
    "masks": False,
    "balance": False,
    "loss": PAPER,
}
"""How the authors' code trains, but for its optimiser: theirs is Adam, whose weight decay is a part
of the gradient and acts on everything; here it is AdamW's, on matrices."""


def staging_loss(
    logits: Tensor,
    stages: Tensor,
    mask: Tensor,
    config: LossConfig,
    weights: Tensor | None = None,
) -> Tensor:
    """Return the cross-entropy of a batch of context windows with smoothed labels.

    −Σ_s q_s · log p_s, q_s = (1 − ε) · [s is true] + ε / S (Szegedy et al. 2016,
    doi:10.1109/CVPR.2016.308).

    Args:
        logits: (B, 1, N, S).
        stages: (B, N) int64; `UNSCORED` is ignored.
        mask: (B, N, M) bool; slots without a valid modality are ignored.
        config: the hyperparameters.
        weights: (S,), what a slot of each stage counts; default: 1.

    Returns:
        A scalar; 0 where nothing is scored.
    """
    used = (stages != UNSCORED) & mask.any(-1)
    total = F.cross_entropy(
        logits[:, 0].float()[used],
        stages[used],
        weights,
        reduction="sum",
        label_smoothing=config.label_smoothing,
    )
    return total / used.sum().clamp(min=1)


def first_order(mu: Tensor, seen: Tensor, domains: Tensor) -> Tensor:
    """Return Σ over pairs of domains of ‖m_a − m_b‖² / W, m the mean of μ over a domain's slots.

    Args:
        mu: (B, N, W).
        seen: (B, N), slots that count.
        domains: (B,) int64.
    """
    means = [x.mean(0) for x in _rows(mu, seen, domains)]
    return _sum_over_pairs(mu, means)


def second_order(mu: Tensor, seen: Tensor, domains: Tensor) -> Tensor:
    """Return Σ over pairs of ‖C_a − C_b‖² / W², C the covariance (W, W) of μ over a domain's slots.

    CORAL (Sun and Saenko 2016, arXiv:1607.01719); arguments as of `first_order`.
    """
    covariances = [x.T.cov() for x in _rows(mu, seen, domains)]
    return _sum_over_pairs(mu, covariances)


def sequence_correlation(mu: Tensor, seen: Tensor, domains: Tensor) -> Tensor:
    """Return the mean over pairs of ‖R_a − R_b‖², R (N, N) the mean of a domain's windows' r.

    r_ij is the correlation of μ of slot i with μ of slot j of the same window, over the W features;
    only windows in which both count are in the mean. Arguments as of `first_order`.
    """
    centred = mu - mu.mean(2, keepdim=True)
    unit = centred / centred.norm(dim=2, keepdim=True).clamp(min=_LEAST)
    r, both = unit @ unit.transpose(1, 2), seen[:, :, None] & seen[:, None]
    means, there = [], []
    for domain in sorted(set(domains.tolist())):
        r_of, n = r[domains == domain], both[domains == domain].sum(0)
        means.append((r_of * both[domains == domain]).sum(0) / n.clamp(min=1))
        there.append(n > 0)
    pairs = list(combinations(range(len(means)), 2))
    if not pairs:
        return mu.new_zeros(())
    differences = [((means[a] - means[b]) * (there[a] & there[b])).square().sum() for a, b in pairs]
    return torch.stack(differences).mean()


def reconstruction(drawn: Tensor, epochs: Tensor, mask: Tensor) -> Tensor:
    """Return the mean squared error of epochs (B, N, M, T) where `mask` (B, N, M) is valid."""
    valid = mask[..., None]
    error = (drawn - epochs).masked_fill(~valid, 0.0).square().mean(-1)
    return error.sum() / mask.sum().clamp(min=1)


def _rows(mu: Tensor, seen: Tensor, domains: Tensor) -> Iterator[Tensor]:
    """Yield μ of each domain's slots, (slots, W); a covariance needs two."""
    for domain in sorted(set(domains.tolist())):
        rows = mu[(domains == domain)[:, None] & seen]
        if len(rows) > 1:
            yield rows


def _sum_over_pairs(mu: Tensor, values: Sequence[Tensor]) -> Tensor:
    """Return the sum of the mean squared differences of all pairs; of no pair 0."""
    pairs = [(a - b).square().mean() for a, b in combinations(values, 2)]
    return torch.stack(pairs).sum() if pairs else mu.new_zeros(())


class Aligned(nn.Module):
    """What is trained beside the net: the branch, and what it adds to the loss."""

    def __init__(self, spec: ModelSpec, config: LossConfig) -> None:
        super().__init__()
        self.config = config
        self.branch = Branch(spec)

    def forward(
        self, model: SleepDIFFormer, epochs: Tensor, mask: Tensor, domains: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the logits of windows (B, N, M, T), and a scalar; see `models.base`."""
        logits, mu, drawn = self.branch(model, epochs, mask)
        mu, seen = mu.float(), mask.any(-1)
        terms = (first_order, second_order, sequence_correlation)
        aligned = torch.stack([term(mu, seen, domains) for term in terms]).sum()
        drawn_well = reconstruction(drawn.float(), epochs, mask)
        return logits, self.config.alignment * aligned + self.config.reconstruction * drawn_well


def beside(spec: ModelSpec, config: LossConfig) -> Aligned | None:
    """Return what is to be trained beside a net, with weights drawn from torch's generator."""
    return Aligned(spec, config) if config.alignment or config.reconstruction else None
