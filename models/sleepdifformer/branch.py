"""What SleepDIFFormer is trained with beside, and left behind: it says what an epoch looked like.

The mean of an epoch's series tokens goes through a sequence stage of its own and the net's last
linear layer to μ, from which transposed convolutions draw the epoch anew (arXiv:2508.15215, after
SleepDG, arXiv:2401.05363). The losses align μ between datasets.
"""

import torch
from torch import Tensor, nn

from models.errors import SpecError
from models.sleepdifformer.net import SequenceEncoder, SleepDIFFormer, read_architecture
from models.spec import ModelSpec

_BEFORE_LAST = 100  # points that the decoder makes of an epoch before its last step


class Branch(nn.Module):
    """The second sequence stage and the decoder.

    Raises:
        SpecError: epochs are no multiple of 100 samples.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        architecture = read_architecture(spec)
        self.shape = (spec.n_modalities, spec.n_inputs)
        self.sequence = SequenceEncoder(spec, architecture)
        n = spec.n_modalities * spec.n_inputs
        self.decoder: nn.Module = (
            nn.Linear(spec.token_shape[0], n)  # levels are no waves to convolve
            if architecture.patch_size
            else _deconvolutions(spec, architecture.dropout)
        )

    def forward(
        self, model: SleepDIFFormer, epochs: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run the net and this on windows (B, N, M, T).

        Returns:
            Logits (B, 1, N, S), μ (B, N, 2 D) and the epochs as they are drawn (B, N, M, T).
        """
        tokens, series = model.encode_series(epochs, mask)
        logits = torch.stack(model.read(tokens, mask), dim=1)
        mu = model.mu(self.sequence(series, mask.any(-1)))
        flat = mu.flatten(0, 1)
        drawn = self.decoder(flat if isinstance(self.decoder, nn.Linear) else flat[..., None])
        return logits, mu, drawn.view(*mu.shape[:2], *self.shape)


def _deconvolutions(spec: ModelSpec, dropout: float) -> nn.Sequential:
    """Return transposed convolutions, (G, 2 D, 1) → (G, M, T): 1, 5, 10, 20, 100, T points."""
    (width,) = spec.token_shape
    if spec.n_inputs % _BEFORE_LAST:
        raise SpecError(
            f"sleepdifformer: expected epochs of a multiple of {_BEFORE_LAST} samples to draw, "
            f"found {spec.n_inputs}"
        )
    sizes = (width, width, width // 2, width // 4, width // 4)
    layers: list[nn.Module] = []
    for i, (kernel, stride, padding) in enumerate(((5, 5, 0), (10, 2, 4), (10, 2, 4), (5, 5, 0))):
        n = sizes[i + 1]
        layers += [
            nn.ConvTranspose1d(sizes[i], n, kernel, stride, padding, bias=False),
            nn.BatchNorm1d(n),
            nn.GELU(),
            nn.Dropout(dropout),
        ]
    s = spec.n_inputs // _BEFORE_LAST
    kernel = 2 * s + 4 - s % 2  # 64 of the paper's 3000 samples
    last = nn.ConvTranspose1d(sizes[-1], spec.n_modalities, kernel, s, s // 2 + 2, bias=False)
    return nn.Sequential(*layers, last)
